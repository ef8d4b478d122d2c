import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { createDevice, createLocalUser, findDevicesByName } from '../db/devices.ts'
import { ensurePartitionOf } from '../db/partitions.ts'
import { insertSamples, type NewSample } from '../db/samples.ts'
import { biased, clockJitter, osGenerator, sharedPair, type Source, type TimedSource } from './sources.ts'

/** Samples a second and bytes a sample of every live device: 2 KiB/s each. */
export const LIVE_RATE_HZ = 4
export const LIVE_SAMPLE_BYTES = 512

const LOCAL_USER = 'you@localhost'

export interface LiveDevice {
  readonly id: string
  readonly profileId: string
  readonly source: Source | TimedSource
  sequence: bigint
}

/** This machine's own sources, registered as devices of one local user. */
export async function registerLiveDevices(pool: pg.Pool): Promise<{ userId: string; devices: LiveDevice[] }> {
  const userId = await createLocalUser(pool, LOCAL_USER)
  const [pairA, pairB] = sharedPair()
  const devices: LiveDevice[] = []
  for (const source of [osGenerator(), clockJitter(), biased(), pairA, pairB]) {
    devices.push(await registerDevice(pool, userId, source))
  }
  return { userId, devices }
}

/** A device of the local user for bytes from files and pipes, made once. Returns its name. */
export async function registerOwnDevice(pool: pg.Pool): Promise<string> {
  const name = 'mine'
  if ((await findDevicesByName(pool, name)).length > 0) return name
  const userId = await createLocalUser(pool, LOCAL_USER)
  const description = 'bytes that coherence ingest is given'
  const size = { sampleRateHz: 1, sampleSizeBytes: LIVE_SAMPLE_BYTES }
  await createDevice(pool, { userId, name, description, clientType: 'linux', ...size })
  return name
}

async function registerDevice(pool: pg.Pool, userId: string, source: Source | TimedSource): Promise<LiveDevice> {
  const { deviceId, profileId } = await createDevice(pool, {
    userId,
    name: source.name,
    description: source.title,
    clientType: source.clientType,
    sampleRateHz: LIVE_RATE_HZ,
    sampleSizeBytes: LIVE_SAMPLE_BYTES,
  })
  return { id: deviceId, profileId, source, sequence: 0n }
}

/**
 * Lets every device sample LIVE_RATE_HZ times a second, all at the same instants, until `seconds` have passed or the signal
 * aborts. Returns what was stored.
 */
export async function sampleLive(
  pool: pg.Pool,
  devices: readonly LiveDevice[],
  options: { seconds: number; signal: AbortSignal; onSecond?: (elapsed: number) => void },
): Promise<{ samples: number; bytes: number }> {
  const started = performance.now()
  const step = 1000 / LIVE_RATE_HZ
  let samples = 0
  let second = 0
  let offset = 0
  for (let beat = 0; beat < options.seconds * LIVE_RATE_HZ && !options.signal.aborted; beat++) {
    const wait = started + beat * step - performance.now()
    if (wait > 0) await sleep(wait, undefined, { signal: options.signal }).catch(() => {})
    if (options.signal.aborted) break
    const timestamp = new Date()
    const now = Math.floor(timestamp.getTime() / 1000)
    offset = now === second ? offset + LIVE_SAMPLE_BYTES : 0
    second = now
    const batch = devices.map((device): NewSample => {
      const { source } = device
      const data =
        'readAt' in source ? source.readAt(second, offset, LIVE_SAMPLE_BYTES) : source.read(LIVE_SAMPLE_BYTES)
      return { deviceId: device.id, profileId: device.profileId, timestamp, sequence: device.sequence++, data }
    })
    await insertSamples(pool, batch)
    samples += batch.length
    options.onSecond?.((performance.now() - started) / 1000)
  }
  return { samples, bytes: samples * LIVE_SAMPLE_BYTES }
}

/**
 * A device whose ten minutes of the OS generator, one sample a second, are stamped `daysAgo` days ago: an archive that
 * retention has outlived.
 */
export async function loadArchive(
  pool: pg.Pool,
  userId: string,
  daysAgo: number,
): Promise<{ samples: number; bytes: number }> {
  const source = { ...osGenerator(), name: 'archive', title: `OS generator, stamped ${daysAgo} days ago` }
  const device = await registerDevice(pool, userId, source)
  const day = new Date(Math.floor(Date.now() / 86_400_000 - daysAgo) * 86_400_000)
  await ensurePartitionOf(pool, day)
  const batch = Array.from({ length: 600 }, (_, second): NewSample => {
    const timestamp = new Date(day.getTime() + 12 * 3_600_000 + second * 1000)
    const data = source.read(LIVE_SAMPLE_BYTES)
    return { deviceId: device.id, profileId: device.profileId, timestamp, sequence: device.sequence++, data }
  })
  await insertSamples(pool, batch)
  return { samples: batch.length, bytes: batch.length * LIVE_SAMPLE_BYTES }
}
