import { statSync } from 'node:fs'
import { extname } from 'node:path'
import type { NewSample } from '../../db/samples.ts'
import { openImport } from '../../jobs/import-samples.ts'
import { usage, type Register } from '../command.ts'
import { parseConfig, readEnvironment } from '../config.ts'
import { openDatabase } from '../database.ts'
import { readSampleFile, SAMPLE_FORMATS, type SampleFormat } from '../sample-file.ts'
import { storeCache } from '../stores.ts'

/** What one statement stores at most, of one device. */
const BATCH_SAMPLES = 5000
const BATCH_BYTES = 4 * 1024 ** 2
/** What is held of all devices together before the fullest is stored. */
const MOST_HELD = 50_000
/** Reasons of rejected samples are shown with so many places each. */
const PLACES_TOLD = 3

interface Held {
  samples: { at: string; sample: NewSample }[]
  bytes: number
}

export const importCommand: Register = (command, bind) => {
  command
    .argument(
      '<files...>',
      `chunks, or exports of entropy_samples: ${SAMPLE_FORMATS.map((name) => `.${name}`).join(', ')}`,
    )
    .option('--format <name>', `what the files are, whatever they are called: ${SAMPLE_FORMATS.join(', ')}`)
    .action(
      bind(async ({ output, signal }, files: string[], flags: { format?: string }) => {
        const formats = files.map((file) => formatOf(file, flags.format))
        const config = parseConfig(readEnvironment())
        const pool = await openDatabase(config, { poolSize: 1, orNewer: true })
        try {
          const context = { pool, store: { backend: config.storageDriver }, storeOf: storeCache(config) }
          const storeBatch = openImport(context)
          const counts = { accepted: 0, duplicate: 0, rejected: 0 }
          const reasons = new Map<string, { count: number; places: string[] }>()
          const progress = output.progress('importing')
          const sizes = files.map((file) => statSync(file, { throwIfNoEntry: false })?.size ?? 0)
          const size = sizes.reduce((sum, one) => sum + one, 0)
          let read = 0
          const reject = (reason: string, place: string) => {
            const of = reasons.get(reason) ?? { count: 0, places: [] }
            of.count++
            if (of.places.length < PLACES_TOLD) of.places.push(place)
            reasons.set(reason, of)
            counts.rejected++
          }
          const store = async (deviceId: string, { samples }: Held) => {
            const batch = samples.map(({ sample }) => sample)
            const stored = await storeBatch(deviceId, batch)
            for (const { index, status, reason } of stored) {
              if (status === 'rejected') reject(reason ?? 'refused', samples[index].at)
              else counts[status]++
            }
            const text = `${counts.accepted} samples stored, ${counts.duplicate} known, ${counts.rejected} rejected`
            progress.update(text, read, size, 'bytes')
          }
          const held = new Map<string, Held>()
          let holding = 0
          const flush = async (deviceId: string) => {
            const batch = held.get(deviceId)!
            held.delete(deviceId)
            holding -= batch.samples.length
            await store(deviceId, batch)
          }
          for (const [i, file] of files.entries()) {
            const before = sizes.slice(0, i).reduce((sum, one) => sum + one, 0)
            for await (const row of readSampleFile(file, formats[i])) {
              if (signal.aborted) break
              read = before + row.read * sizes[i]
              const place = `${file}, ${row.at}`
              if ('problem' in row) {
                reject(row.problem, place)
                continue
              }
              const { deviceId, data } = row.sample
              const batch = held.get(deviceId) ?? { samples: [], bytes: 0 }
              held.set(deviceId, batch)
              batch.samples.push({ at: place, sample: row.sample })
              batch.bytes += data.length
              holding++
              if (batch.samples.length >= BATCH_SAMPLES || batch.bytes >= BATCH_BYTES) await flush(deviceId)
              else if (holding >= MOST_HELD) await flush(fullest(held))
            }
          }
          for (const deviceId of held.keys()) await flush(deviceId)
          progress.end()
          const rejections = [...reasons].map(([reason, found]) => ({ reason, ...found }))
          output.result({ ...counts, rejections, stopped: signal.aborted }, () =>
            [
              `${counts.accepted} samples stored, ${counts.duplicate} known already, ${counts.rejected} rejected${signal.aborted ? '; stopped, run it again to go on' : ''}.`,
              ...rejections.map(({ reason, count, places }) => `  ${count} times: ${reason} (${places.join('; ')})`),
            ].join('\n'),
          )
          if (signal.aborted) return 130
          return counts.rejected > 0 ? 1 : 0
        } finally {
          await pool.end()
        }
      }),
    )
}

function formatOf(file: string, given: string | undefined): SampleFormat {
  const name = given ?? extname(file).slice(1).toLowerCase()
  const format = SAMPLE_FORMATS.find((one) => one === name)
  if (!format) {
    throw usage(
      given === undefined
        ? `what is ${file}? Say --format ${SAMPLE_FORMATS.join(', ')}.`
        : `--format is one of ${SAMPLE_FORMATS.join(', ')}, not ${JSON.stringify(given)}.`,
    )
  }
  return format
}

function fullest(held: ReadonlyMap<string, Held>): string {
  return [...held].reduce((most, one) => (one[1].samples.length > most[1].samples.length ? one : most))[0]
}
