import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Pool } from 'pg'
import { CHUNK_MAX_ROWS } from '../../db/chunks.ts'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { openNextChunk, setRowsPerChunk } from '../../db/series.ts'
import type { Config } from '../../infra/config.ts'
import { openContext } from '../../infra/context.ts'
import { createLogger } from '../../infra/logger.ts'
import { startStack } from '../../infra/stack.ts'
import type { JobContext } from '../../jobs/context.ts'
import type { Telemetry } from '../../jobs/telemetry.ts'

const DEVICES = 8
const BATCH_BYTES = 4 * 1024 ** 2
/** The default of CHUNK_TARGET_BYTES. */
const CHUNK_BYTES = 32 * 1024 ** 2

/**
 * Does something on a server and a store of its own, and removes both. The server is durable: fsync, full pages, synchronous
 * commit. `settings` are of the environment.
 */
export async function withBenchStack<T>(
  work: (context: JobContext, config: Config) => Promise<T>,
  options: { settings?: Record<string, string>; telemetry?: Telemetry } = {},
): Promise<T> {
  const directory = join(tmpdir(), `coherence-bench-${randomUUID()}`)
  try {
    const stack = await startStack({
      databaseDirectory: join(directory, 'postgres'),
      storageDirectory: join(directory, 'storage'),
      persistent: true,
      environment: options.settings,
    })
    try {
      const { context, close } = await openContext(stack.config, createLogger('error'), {
        telemetry: options.telemetry,
        poolSize: 4,
      })
      try {
        return await work(context, stack.config)
      } finally {
        await close()
      }
    } finally {
      await stack.stop()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** For a packer that takes whatever waits as old enough. */
export function impatient(context: JobContext): JobContext {
  return { ...context, settings: { ...context.settings, chunkMaxAgeSeconds: 0 } }
}

/** Devices of one user, for samples of this size. */
export async function addBenchDevices(pool: Pool, bytes: number, count = DEVICES) {
  const userId = await createLocalUser(pool, 'bench@localhost')
  const device = { userId, description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: bytes }
  const devices: Awaited<ReturnType<typeof createDevice>>[] = []
  for (let n = 0; n < count; n++) devices.push(await createDevice(pool, { ...device, name: `bench ${randomUUID()}` }))
  return devices
}

interface Load {
  readonly bytes: number
  readonly rows: number
  readonly start: number
  readonly chunkBytes?: number
  readonly devices?: number
}

/** Inserts `rows` samples of hashed bytes of new devices, each one a second from `start` (milliseconds since 1970) on, made by the server. */
export async function loadSamples(
  pool: Pool,
  { bytes, rows, start, chunkBytes = CHUNK_BYTES, devices: count }: Load,
  signal: AbortSignal,
): Promise<void> {
  const devices = await addBenchDevices(pool, bytes, count)
  // As packing sets it by the samples it sees.
  await setRowsPerChunk(pool, Math.min(0.9 * CHUNK_MAX_ROWS, Math.round(chunkBytes / bytes)))
  await openNextChunk(pool)
  const batch = Math.min(4096, BATCH_BYTES / bytes)
  for (let first = 0; first < rows; first += batch) {
    signal.throwIfAborted()
    await pool.query(
      `insert into public.entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
       select ($1::uuid[])[1 + n % $3], ($2::uuid[])[1 + n % $3], $4::timestamptz + n / $3 * interval '1 second', n / $3, $5::int,
         (select substr(string_agg(sha256(int8send(n) || int4send(i)), ''), 1, $5::int)
          from generate_series(1, ($5::int + 31) / 32) i)
       from generate_series($6::bigint, $7::bigint) n`,
      [
        devices.map(({ deviceId }) => deviceId),
        devices.map(({ profileId }) => profileId),
        devices.length,
        new Date(start),
        bytes,
        first,
        Math.min(first + batch, rows) - 1,
      ],
    )
  }
}
