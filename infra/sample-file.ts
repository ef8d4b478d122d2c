import { createReadStream, type ReadStream, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream'
import { parse } from 'csv-parse'
import { z } from 'zod'
import type { NewSample } from '../db/samples.ts'
import { decodeChunk } from '../pipeline/chunk-format.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { sampleData, type SampleColumns, uuidAt } from '../pipeline/samples.ts'

export const SAMPLE_FORMATS = ['arrow', 'csv', 'json', 'jsonl'] as const
export type SampleFormat = (typeof SAMPLE_FORMATS)[number]

/** A sample, or why what stands there is none; `at` says where it stands. */
type ParsedRow = { at: string } & ({ sample: NewSample } | { problem: string })
/** `read` is the part of the file that was read by then, 0 to 1. */
export type FileSample = ParsedRow & { read: number }

/** Postgres writes bytes as \\x and hex digits, most others as base64. */
const BYTES = z.union(
  [
    z
      .string()
      .regex(/^\\x([0-9a-f]{2})*$/i)
      .transform((text) => new Uint8Array(Buffer.from(text.slice(2), 'hex'))),
    z.base64().transform((text) => new Uint8Array(Buffer.from(text, 'base64'))),
  ],
  { error: String.raw`sample_data is neither \x… nor base64` },
)

/** A row of entropy_samples, as CSV and JSON exports have it; other columns are left alone. */
const ROW = z.object({
  device_id: z.guid('device_id is no uuid').transform((id) => id.toLowerCase()),
  profile_id: z.guid('profile_id is no uuid').transform((id) => id.toLowerCase()),
  timestamp: z
    .string('timestamp is no text')
    .refine(
      (text) => !Number.isNaN(Date.parse(text.replace(' ', 'T').replace(/([+-]\d{2})$/, '$1:00'))),
      'timestamp is no time',
    ),
  sequence: z
    .union([z.int(), z.string().regex(/^-?\d{1,19}$/)], { error: 'sequence is no whole number' })
    .transform((value) => BigInt(value)),
  sample_data: BYTES,
})

/** The samples of a file, in its order. Throws INPUT_INVALID if it cannot be read, or is not of this format. */
export async function* readSampleFile(path: string, format: SampleFormat): AsyncGenerator<FileSample> {
  try {
    if (format === 'arrow') yield* fromChunk(decodeChunk(await readFile(path)).samples)
    else if (format === 'csv') yield* fromCsv(path)
    else if (format === 'json') yield* fromList(JSON.parse(await readFile(path, 'utf8')) as unknown)
    else yield* fromLines(path)
  } catch (cause) {
    if (cause instanceof CoherenceError && cause.code !== 'CHUNK_FORMAT') throw cause
    throw new CoherenceError('INPUT_INVALID', `cannot read ${path} as ${format}: ${(cause as Error).message}.`, {
      cause,
    })
  }
}

function* fromChunk(samples: SampleColumns): Generator<FileSample> {
  for (let row = 0; row < samples.rows; row++) {
    yield {
      at: `row ${row + 1}`,
      read: (row + 1) / samples.rows,
      sample: {
        deviceId: uuidAt(samples.deviceId, row),
        profileId: uuidAt(samples.profileId, row),
        timestamp: isoOf(samples.timestamp[row]),
        sequence: samples.sequence[row],
        data: sampleData(samples, row),
      },
    }
  }
}

/** Microseconds since 1970 as ISO 8601, all six decimals. */
function isoOf(microseconds: bigint): string {
  const within = ((microseconds % 1_000_000n) + 1_000_000n) % 1_000_000n
  const seconds = new Date(Number((microseconds - within) / 1000n)).toISOString().slice(0, 19)
  return `${seconds}.${String(within).padStart(6, '0')}Z`
}

async function* fromCsv(path: string): AsyncGenerator<FileSample> {
  const rows = parse({
    bom: true,
    columns: true,
    info: true,
    skip_empty_lines: true,
    record_delimiter: ['\r\n', '\n'],
  })
  const { source, readPart } = openStream(path)
  // Whatever fails, fails the rows.
  pipeline(source, rows, () => {})
  for await (const { record, info } of rows as AsyncIterable<{ record: unknown; info: { lines: number } }>) {
    yield { ...parseRow(record, `line ${info.lines}`), read: readPart() }
  }
}

function* fromList(document: unknown): Generator<FileSample> {
  if (!Array.isArray(document)) throw new Error('it is not a list of rows')
  for (const [i, row] of document.entries()) yield { ...parseRow(row, `row ${i + 1}`), read: (i + 1) / document.length }
}

async function* fromLines(path: string): AsyncGenerator<FileSample> {
  let line = 0
  const { source, readPart } = openStream(path)
  for await (const text of createInterface({ input: source, crlfDelay: Infinity })) {
    line++
    if (text.trim() !== '') yield { ...parseLine(text, `line ${line}`), read: readPart() }
  }
}

/** Of what is no plain file, such as a pipe, nobody knows what part has been read: 0. */
function openStream(path: string): { source: ReadStream; readPart: () => number } {
  const source = createReadStream(path)
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  return { source, readPart: () => (size === 0 ? 0 : source.bytesRead / size) }
}

function parseLine(text: string, at: string): ParsedRow {
  try {
    return parseRow(JSON.parse(text), at)
  } catch {
    return { at, problem: 'this is no JSON' }
  }
}

function parseRow(row: unknown, at: string): ParsedRow {
  const { data, error } = ROW.safeParse(row)
  if (error) return { at, problem: error.issues[0].message }
  const { device_id: deviceId, profile_id: profileId, timestamp, sequence, sample_data: bytes } = data
  return { at, sample: { deviceId, profileId, timestamp, sequence, data: bytes } }
}
