import { createReadStream } from 'node:fs'
import { findDeviceProfile } from '../../db/devices.ts'
import { assertReachable, openPool } from '../../db/pool.ts'
import { insertSamples, type NewSample } from '../../db/samples.ts'
import { CoherenceError } from '../../pipeline/errors.ts'
import { uuidBytes } from '../../pipeline/samples.ts'
import { usage, type Register } from '../command.ts'
import { parseConfig, readEnvironment } from '../config.ts'
import { formatBytes } from '../output.ts'

/** One insert per this many samples or this many bytes. */
const BATCH_SAMPLES = 1_000
const BATCH_BYTES = 1024 ** 2
/** … or per this long, so that a slow pipe's samples do not wait. */
const BATCH_MS = 1_000

export const ingestCommand: Register = (program, bind) => {
  program
    .command('ingest')
    .description(
      'bytes from a file or a pipe become samples of a device: cat /dev/hwrng | coherence ingest --device ID',
    )
    .requiredOption('--device <id>', 'the device, a uuid')
    .option('--file <path>', 'read this file instead of the pipe')
    .action(
      bind(async ({ output, signal }, flags: { device: string; file?: string }) => {
        try {
          uuidBytes(flags.device)
        } catch {
          throw usage(`--device takes a uuid, not ${JSON.stringify(flags.device)}.`)
        }
        if (flags.file === undefined && process.stdin.isTTY) throw usage('name a --file, or pipe bytes in.')
        const config = parseConfig(readEnvironment())
        const pool = openPool({ databaseUrl: config.databaseUrl, caCert: config.databaseCaCert, max: 1 })
        try {
          await assertReachable(pool, config.databaseUrl)
          const device = await findDeviceProfile(pool, flags.device)
          if (device === null) {
            throw new CoherenceError(
              'DEVICE_UNKNOWN',
              `device ${flags.device} does not exist, is not active, or has no active sampling profile.`,
            )
          }
          const progress = output.progress(`ingesting into ${device.deviceName}`)
          const source = flags.file === undefined ? process.stdin : createReadStream(flags.file)
          // Ctrl-C ends the input; what was read is still stored.
          signal.addEventListener('abort', () => source.destroy(), { once: true })
          let sequence = device.nextSequence
          let samples = 0
          let bytes = 0
          let batch: NewSample[] = []
          let batchBytes = 0
          let since = performance.now()
          const flush = async () => {
            await insertSamples(pool, batch)
            samples += batch.length
            bytes += batchBytes
            batch = []
            batchBytes = 0
            since = performance.now()
            progress.update(`${samples} samples, ${formatBytes(bytes)}`)
          }
          const add = async (data: Uint8Array) => {
            const { deviceId, profileId } = device
            batch.push({ deviceId, profileId, timestamp: now(), sequence: sequence++, data })
            batchBytes += data.length
            if (batch.length >= BATCH_SAMPLES || batchBytes >= BATCH_BYTES || performance.now() - since >= BATCH_MS)
              await flush()
          }
          try {
            for await (const sample of cutSamples(source, device.sampleSizeBytes)) await add(sample)
          } catch (cause) {
            if (!signal.aborted) {
              await flush()
              throw (cause as NodeJS.ErrnoException).syscall === undefined
                ? cause
                : new CoherenceError(
                    'INPUT_INVALID',
                    `cannot read ${flags.file ?? 'the pipe'}: ${(cause as Error).message}`,
                    { cause },
                  )
            }
          }
          await flush()
          progress.end()
          output.result(
            { device: device.deviceId, samples, bytes },
            () => `${samples} samples, ${formatBytes(bytes)} ingested.`,
          )
        } finally {
          await pool.end()
        }
      }),
    )
}

/** Pieces of `size` bytes as they fill, the last one shorter. Each is memory of its own. */
async function* cutSamples(source: AsyncIterable<unknown>, size: number): AsyncGenerator<Uint8Array> {
  let sample = new Uint8Array(size)
  let filled = 0
  for await (const piece of source) {
    const bytes = piece as Buffer
    for (let at = 0; at < bytes.length;) {
      const taken = Math.min(size - filled, bytes.length - at)
      sample.set(bytes.subarray(at, at + taken), filled)
      filled += taken
      at += taken
      if (filled === size) {
        yield sample
        sample = new Uint8Array(size)
        filled = 0
      }
    }
  }
  if (filled > 0) yield sample.subarray(0, filled)
}

/** Now, with microseconds, as Postgres reads it: samples of one millisecond keep their order. */
function now(): string {
  const micros = Math.round((performance.timeOrigin + performance.now()) * 1000)
  const ms = Math.floor(micros / 1000)
  return `${new Date(ms).toISOString().slice(0, -1)}${String(micros - ms * 1000).padStart(3, '0')}Z`
}
