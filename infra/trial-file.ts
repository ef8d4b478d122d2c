import { createHash } from 'node:crypto'
import { pipeline } from 'node:stream/promises'
import { createGunzip } from 'node:zlib'
import { parse } from 'csv-parse'
import { CoherenceError, isCoherenceError } from '../pipeline/errors.ts'
import { type LaidOutTrials, openTrialReader } from './trial-layouts.ts'

export interface TrialFile extends LaidOutTrials {
  /** Of the file as it is, packed or not. */
  readonly bytes: number
  readonly sha256: string
}

export interface TrialFileOptions {
  /** How messages call the file. */
  readonly name: string
  /** Bits of a trial; 200, or what the file says, if not given. */
  readonly bits?: number
  readonly signal: AbortSignal
  readonly onProgress: (bytes: number) => void
}

/** A longer line is none of trials, but a file without lines. */
const LONGEST_LINE = 4 * 1024 ** 2

/**
 * Reads per-second trial sums from the pieces of a CSV file, gzipped or not, in either layout. Holds the trials, two bytes
 * each (four from 65,535 bits on), and of the text a line. Throws INPUT_INVALID with the line of what it cannot read, and
 * AbortError once `signal` is raised: half a file has no statistics.
 */
export async function readTrialFile(
  pieces: AsyncIterable<Uint8Array>,
  { name, bits, signal, onProgress }: TrialFileOptions,
): Promise<TrialFile> {
  const hash = createHash('sha256')
  let bytes = 0
  const counted = (async function* () {
    for await (const piece of pieces) {
      hash.update(piece)
      bytes += piece.length
      onProgress(bytes)
      if (piece.length > 0) yield piece
    }
    signal.throwIfAborted()
  })()
  const reader = openTrialReader({ name, bits })
  const parser = parse({
    bom: true,
    info: false,
    relax_column_count: true,
    skip_empty_lines: true,
    max_record_size: LONGEST_LINE,
    on_record: (record: string[], { lines }) => {
      reader.add(record, lines)
      return null
    },
  }).resume()
  try {
    const { isGzip, all } = await lookAhead(counted)
    if (isGzip) await pipeline(all, createGunzip(), requireText(name), parser)
    else await pipeline(all, requireText(name), parser)
  } catch (error) {
    signal.throwIfAborted()
    throw unreadable(error as Error & { code?: string }, name)
  }
  return { ...reader.finish(), bytes, sha256: hash.digest('hex') }
}

/** Whether it begins as gzip does, and everything, the beginning included. */
async function lookAhead(pieces: AsyncGenerator<Uint8Array>) {
  let start: Uint8Array = new Uint8Array(0)
  let isDone = false
  while (start.length < 2 && !isDone) {
    const { value, done } = await pieces.next()
    if (done) isDone = true
    else start = Buffer.concat([start, value])
  }
  const all = (async function* () {
    yield start
    yield* pieces
  })()
  return { isGzip: start[0] === 0x1f && start[1] === 0x8b, all }
}

/** Passes pieces on if the first could be text; no text has a byte of 0. */
function requireText(name: string) {
  return async function* (pieces: AsyncIterable<Uint8Array>) {
    let isFirst = true
    for await (const piece of pieces) {
      if (isFirst && piece.includes(0)) {
        const advice = 'Save the table as CSV: UTF-8, with commas.'
        throw new CoherenceError('INPUT_INVALID', `${name} holds binary data, not lines of text. ${advice}`)
      }
      isFirst = false
      yield piece
    }
  }
}

function unreadable(error: Error & { code?: string }, name: string): Error {
  if (isCoherenceError(error)) return error
  const { code = '', message } = error
  if (code.startsWith('Z_')) {
    const advice = 'Was it cut short? Fetch it again.'
    return new CoherenceError('INPUT_INVALID', `cannot unpack ${name}: ${message}. ${advice}`, { cause: error })
  }
  if (!code.startsWith('CSV_')) return error
  return new CoherenceError('INPUT_INVALID', `${name} is no well-formed CSV: ${message}.`, { cause: error })
}
