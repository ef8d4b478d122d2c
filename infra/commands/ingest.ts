import { createReadStream, statSync } from 'node:fs'
import { findDeviceProfile, findDevicesByName } from '../../db/devices.ts'
import type { Queryable } from '../../db/pool.ts'
import { insertSamples, type NewSample } from '../../db/samples.ts'
import { CoherenceError, isCoherenceError } from '../../pipeline/errors.ts'
import { uuidBytes } from '../../pipeline/samples.ts'
import { usage, type Register } from '../command.ts'
import { parseConfig, readEnvironment } from '../config.ts'
import { openDatabase } from '../database.ts'
import { readPieces } from '../input.ts'
import { formatBytes } from '../output.ts'

/** One insert per this many samples or this many bytes. */
const BATCH_SAMPLES = 1_000
const BATCH_BYTES = 1024 ** 2
/** … or per this long, so that a slow pipe's samples do not wait. */
const BATCH_MS = 1_000

export const ingestCommand: Register = (command, bind) => {
  command
    .requiredOption('--device <id>', 'the device: its uuid, or its name if it is the only one of that name')
    .option('--file <path>', 'read this file instead of the pipe')
    .action(
      bind(async ({ output, signal }, flags: { device: string; file?: string }) => {
        if (flags.file === undefined && process.stdin.isTTY) throw usage('name a --file, or pipe bytes in.')
        const config = parseConfig(readEnvironment())
        const pool = await openDatabase(config, { poolSize: 1, orNewer: true })
        try {
          const device = await findDeviceProfile(pool, await findDeviceId(pool, flags.device))
          if (device === null) {
            throw new CoherenceError(
              'DEVICE_UNKNOWN',
              `device ${flags.device} does not exist, is not active, or has no active sampling profile.`,
            )
          }
          const progress = output.progress(`ingesting into ${device.deviceName}`)
          const source = flags.file === undefined ? process.stdin : createReadStream(flags.file)
          // A device such as /dev/hwrng has no end that is known.
          const size = flags.file === undefined ? undefined : statSync(flags.file, { throwIfNoEntry: false })?.size
          const name = flags.file ?? 'the pipe'
          const nextTime = risingTimes()
          let sequence = device.nextSequence
          let samples = 0
          let bytes = 0
          let batch: NewSample[] = []
          let batchBytes = 0
          let since = performance.now()
          const stored = () => `${samples} samples, ${formatBytes(bytes)}`
          const flush = async () => {
            await insertSamples(pool, batch)
            samples += batch.length
            bytes += batchBytes
            batch = []
            batchBytes = 0
            since = performance.now()
            progress.update(stored(), bytes, size, 'bytes')
          }
          const cutter = cutSamples(device.sampleSizeBytes, (data) => {
            const { deviceId, profileId } = device
            batch.push({ deviceId, profileId, timestamp: nextTime(), sequence: sequence++, data })
            batchBytes += data.length
          })
          try {
            // Ctrl-C ends the input; what was read is still stored.
            for await (const piece of readPieces(source, { name, signal, idleMs: BATCH_MS })) {
              cutter.write(piece)
              if (batch.length >= BATCH_SAMPLES || batchBytes >= BATCH_BYTES || performance.now() - since >= BATCH_MS)
                await flush()
            }
            cutter.end()
            await flush()
          } catch (error) {
            if (isCoherenceError(error, 'INPUT_INVALID')) {
              cutter.end()
              await flush()
            }
            if (samples > 0) (error as Error).message += ` What came before is stored: ${stored()}.`
            throw error
          }
          progress.end()
          output.result({ device: device.deviceId, samples, bytes }, () =>
            signal.aborted ? `stopped; ${stored()} were read and are stored.` : `${stored()} ingested.`,
          )
        } finally {
          await pool.end()
        }
      }),
    )
}

/** The id itself, or that of the one active device of this name. */
async function findDeviceId(db: Queryable, given: string): Promise<string> {
  if (isUuid(given)) return given
  const ids = await findDevicesByName(db, given)
  if (ids.length === 1) return ids[0]
  const found = ids.length === 0 ? 'no active device' : `${ids.length} active devices`
  throw usage(`--device takes a uuid, or the name of one device; ${found} has the name ${JSON.stringify(given)}.`)
}

function isUuid(text: string): boolean {
  try {
    uuidBytes(text)
    return true
  } catch {
    return false
  }
}

/** Gives `take` pieces of `size` bytes as they fill, and at the end a last, shorter one. Each is memory of its own. */
function cutSamples(size: number, take: (sample: Uint8Array) => void) {
  let sample = new Uint8Array(size)
  let filled = 0
  return {
    write(bytes: Uint8Array) {
      for (let at = 0; at < bytes.length;) {
        const taken = Math.min(size - filled, bytes.length - at)
        sample.set(bytes.subarray(at, at + taken), filled)
        filled += taken
        at += taken
        if (filled === size) {
          take(sample)
          sample = new Uint8Array(size)
          filled = 0
        }
      }
    },
    end() {
      if (filled > 0) take(sample.subarray(0, filled))
      filled = 0
    },
  }
}

/**
 * The time as Postgres reads it, each at least a microsecond after the one before: samples of one millisecond keep their
 * order, and a clock that is set back does not disturb it.
 */
function risingTimes(): () => string {
  let last = 0
  return () => {
    last = Math.max(last + 1, Date.now() * 1000)
    const ms = Math.floor(last / 1000)
    return `${new Date(ms).toISOString().slice(0, -1)}${String(last - ms * 1000).padStart(3, '0')}Z`
  }
}
