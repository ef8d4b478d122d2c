import { createHash, type Hash } from 'node:crypto'
import { withTestPool } from '../jobs/test-pool.ts'
import { allocateShared, cutSequences } from '../pipeline/sequences.ts'
import { findTest, runTests } from '../pipeline/tests/registry.ts'
import type { TestParams, TestResult } from '../pipeline/tests/definition.ts'

export interface AnalyzeOptions {
  readonly tests: readonly { name: string; params: TestParams }[]
  /** Bytes of a sequence; not given: the input is one, if it is no longer than `mostBytes`, otherwise `longInputBytes`. */
  readonly sequenceBytes?: number
  readonly mostSequences?: number
  readonly mostBytes: number
  readonly longInputBytes: number
  /** Threads that run tests; short inputs are tested without any. */
  readonly threads: number
  readonly signal: AbortSignal
  /** Sequences that are done and bytes read; or, of one sequence, tests that are done of so many. */
  readonly onProgress: (progress: { sequences: number; bytes: number } | { tests: number; of: number }) => void
}

export interface Analyzed {
  /** Of what was tested; an input that is cut may be read in part. */
  readonly bytes: number
  readonly sha256: string
  /** Null if the input was one sequence. */
  readonly sequences: { count: number; length_bits: number; left_out_bytes: number } | null
  /** In the order of the sequences, and of the tests in each. */
  readonly results: (TestResult & { sequence?: number })[]
}

/** Below this many bytes a thread takes longer to start than the tests take. */
const WORTH_THREADS = 512 * 1024
/** Sequences that wait for a thread, for each thread. */
const AHEAD = 2

/**
 * Runs tests on an input of any length in bounded memory: as a stream where every test can, else as one sequence, or else
 * cut into sequences, whose results second-level tests may judge.
 */
export async function analyzeInput(pieces: AsyncIterable<Uint8Array>, options: AnalyzeOptions): Promise<Analyzed> {
  const { tests, sequenceBytes } = options
  const hash = createHash('sha256')
  if (sequenceBytes !== undefined) return await analyzeSequences(pieces, sequenceBytes, hash, options)
  if (tests.every(({ name }) => findTest(name).open)) return await analyzeStream(pieces, hash, options)
  const held: Uint8Array[] = []
  let bytes = 0
  const source = pieces[Symbol.asyncIterator]()
  for (;;) {
    const { value, done } = await source.next()
    if (done) return await analyzeWhole(held, bytes, hash, options)
    held.push(value)
    bytes += value.length
    options.onProgress({ sequences: 0, bytes })
    if (bytes > options.mostBytes) break
  }
  const all = (async function* () {
    while (held.length > 0) yield held.shift() as Uint8Array
    yield* { [Symbol.asyncIterator]: () => source }
  })()
  return await analyzeSequences(all, options.longInputBytes, hash, options)
}

async function analyzeStream(
  pieces: AsyncIterable<Uint8Array>,
  hash: Hash,
  { tests, signal, onProgress }: AnalyzeOptions,
): Promise<Analyzed> {
  const streams = tests.map(({ name, params }) => {
    const test = findTest(name)
    return test.open?.({ ...test.defaults, ...params })
  })
  let bytes = 0
  for await (const piece of pieces) {
    hash.update(piece)
    for (const stream of streams) stream?.add(piece)
    bytes += piece.length
    onProgress({ sequences: 0, bytes })
  }
  signal.throwIfAborted()
  const results = streams.flatMap((stream) => (stream ? [stream.finish()] : []))
  return { bytes, sha256: hash.digest('hex'), sequences: null, results }
}

/** One sequence: each test is a task of its own. */
async function analyzeWhole(
  held: Uint8Array[],
  length: number,
  hash: Hash,
  { tests, threads, signal, onProgress }: AnalyzeOptions,
): Promise<Analyzed> {
  // A verdict on half a file would pass for one on the whole.
  signal.throwIfAborted()
  const bytes = allocateShared(length)
  for (let at = 0; held.length > 0;) {
    const piece = held.shift() as Uint8Array
    hash.update(piece)
    bytes.set(piece, at)
    at += piece.length
  }
  const found = { bytes: length, sha256: hash.digest('hex'), sequences: null }
  if (length < WORTH_THREADS) {
    const params = Object.fromEntries(tests.map((test) => [test.name, test.params]))
    return {
      ...found,
      results: runTests(
        tests.map(({ name }) => name),
        [bytes],
        { params },
      ),
    }
  }
  return await withTestPool(Math.min(threads, tests.length), signal, async (pool) => {
    let done = 0
    const parts = await Promise.all(
      tests.map(async (test) => {
        const results = await pool.run({ segments: [bytes], tests: [test] })
        onProgress({ tests: ++done, of: tests.length })
        return results
      }),
    )
    return { ...found, results: parts.flat() }
  })
}

/** Many sequences: each is a task of its own, no more in memory than the threads can keep busy. */
async function analyzeSequences(
  pieces: AsyncIterable<Uint8Array>,
  sequenceBytes: number,
  hash: Hash,
  { tests, threads, mostSequences, signal, onProgress }: AnalyzeOptions,
): Promise<Analyzed> {
  return await withTestPool(threads, signal, async (pool) => {
    const results: Analyzed['results'][] = []
    const running = new Set<Promise<void>>()
    let failure: { error: unknown } | undefined
    let left = 0
    let count = 0
    let done = 0
    const free: Uint8Array[] = []
    const cut = {
      length: sequenceBytes,
      most: mostSequences,
      // Left to the collector, the memory of hundreds of sequences would pile up.
      allocate: (length: number) => free.pop() ?? allocateShared(length),
      onRest: (rest: Uint8Array) => {
        hash.update(rest)
        left = rest.length
      },
    }
    for await (const { index, bytes } of cutSequences(pieces, cut)) {
      hash.update(bytes)
      count = index + 1
      const task = (async () => {
        try {
          const found = await pool.run({ segments: [bytes], tests })
          // What is kept of each of many sequences is what the second level needs.
          results[index] = found.map((result) => ({ ...result, metrics: undefined, sequence: index }))
          free.push(bytes)
          onProgress({ sequences: ++done, bytes: done * sequenceBytes })
        } catch (error) {
          failure ??= { error }
        }
      })()
      running.add(task)
      void task.finally(() => running.delete(task))
      if (running.size >= AHEAD * pool.size) await Promise.race(running)
      if (failure) throw failure.error
    }
    await Promise.all(running)
    if (failure) throw failure.error
    signal.throwIfAborted()
    return {
      bytes: count * sequenceBytes + left,
      sha256: hash.digest('hex'),
      sequences: { count, length_bits: 8 * sequenceBytes, left_out_bytes: left },
      results: results.flat(),
    }
  })
}
