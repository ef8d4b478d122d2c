import {
  insufficientResult,
  okResult,
  type TestDefinition,
  type TestParams,
  type TestResult,
  totalBytes,
} from './definition.ts'

/** Of a block, 20,000 bits. */
const BLOCK_BYTES = 2500
/** What the first block's continuous run test compares with. */
const PRELUDE_BYTES = 4
/** Fewest and most ones, both failing. */
const MONOBIT = [9725, 10_275] as const
/** Least and greatest sum of squares of the 16 counts of 4-bit values: 2.16 < 16/5000 sum - 5000 < 46.17. */
const POKER = [1_563_176, 1_576_928] as const
/** Fewest and most runs of either bit of lengths 1, 2, 3, 4, 5, and 6 or more. */
const RUNS = [
  [2315, 2685],
  [1114, 1386],
  [527, 723],
  [240, 384],
  [103, 209],
  [103, 209],
] as const
const LONG_RUN = 26

const TALLIES = ['standard', 'rngtest'] as const
type Tally = (typeof TALLIES)[number]

export const FIPS_TESTS = ['monobit', 'poker', 'runs', 'long_run', 'continuous_run'] as const
type FipsTest = (typeof FIPS_TESTS)[number]

/** How many blocks there were, how many failed any test, and how many each. */
export type FipsCounts = { blocks: number; failures: number } & Record<FipsTest, number>

/** A stream of blocks. */
export interface FipsState {
  readonly counts: FipsCounts
  readonly tally: Tally
  /** The 4 bytes of the prelude, then those of a block that is not whole yet. */
  readonly held: Uint8Array
  heldBytes: number
  /** The word before the block, or null until it is known. */
  lastWord: number | null
  lastBit: number
}

export function openFips(tally: Tally = 'rngtest'): FipsState {
  const counts = { blocks: 0, failures: 0, monobit: 0, poker: 0, runs: 0, long_run: 0, continuous_run: 0 }
  return { counts, tally, held: new Uint8Array(BLOCK_BYTES), heldBytes: 0, lastWord: null, lastBit: 0 }
}

/** Takes the next bytes of the stream. A last part that is no whole block is not tested. */
export function addFipsBytes(state: FipsState, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length;) {
    const wanted = state.lastWord === null ? PRELUDE_BYTES : BLOCK_BYTES
    if (state.heldBytes === 0 && wanted === BLOCK_BYTES && bytes.length - at >= BLOCK_BYTES) {
      testBlock(state, bytes.subarray(at, at + BLOCK_BYTES))
      at += BLOCK_BYTES
      continue
    }
    const part = bytes.subarray(at, at + wanted - state.heldBytes)
    state.held.set(part, state.heldBytes)
    state.heldBytes += part.length
    at += part.length
    if (state.heldBytes < wanted) return
    state.heldBytes = 0
    if (wanted === PRELUDE_BYTES) state.lastWord = wordAt(state.held, 0)
    else testBlock(state, state.held)
  }
}

function wordAt(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]
}

function testBlock(state: FipsState, block: Uint8Array): void {
  const { counts } = state
  const nibbles = countNibbles(block)
  let ones = 0
  nibbles.forEach((count, nibble) => (ones += count * onesOfNibble(nibble)))
  const { runs, longest } = countRuns(block)
  if (state.tally === 'rngtest') spoilAsRngtest(state, block, runs, nibbles)
  const failed: Record<FipsTest, boolean> = {
    monobit: ones <= MONOBIT[0] || ones >= MONOBIT[1],
    poker: isOutside(
      nibbles.reduce((sum, count) => sum + count * count, 0),
      POKER,
    ),
    runs: runs.some((count, i) => isOutside(count, RUNS[i % 6])),
    long_run: longest >= LONG_RUN,
    continuous_run: repeatsWord(state, block),
  }
  for (const test of FIPS_TESTS) if (failed[test]) counts[test]++
  counts.blocks++
  if (FIPS_TESTS.some((test) => failed[test])) counts.failures++
  state.lastBit = block[BLOCK_BYTES - 1] & 1
}

function isOutside(value: number, [least, most]: readonly [number, number]): boolean {
  return value < least || value > most
}

function countNibbles(block: Uint8Array): Uint32Array {
  const counts = new Uint32Array(16)
  for (let i = 0; i < block.length; i++) {
    counts[block[i] >>> 4]++
    counts[block[i] & 15]++
  }
  return counts
}

function onesOfNibble(nibble: number): number {
  return (nibble & 1) + ((nibble >>> 1) & 1) + ((nibble >>> 2) & 1) + (nibble >>> 3)
}

/** Runs of zeros by length 1 to 6 or more, then of ones; and the longest of either. */
function countRuns(block: Uint8Array): { runs: Uint32Array; longest: number } {
  const runs = new Uint32Array(12)
  let longest = 0
  let bit = block[0] >>> 7
  let length = 0
  const close = () => {
    runs[6 * bit + Math.min(length, 6) - 1]++
    if (length > longest) longest = length
  }
  for (let i = 0; i < block.length; i += 4) {
    let rest = wordAt(block, i)
    // Runs are taken off the front of the word, each at one step: a run of the present bit is its leading zeros.
    for (let left = 32; left > 0;) {
      const run = Math.min(left, Math.clz32(bit === 1 ? ~rest : rest))
      length += run
      left -= run
      if (left === 0) break
      close()
      length = 0
      bit ^= 1
      rest <<= run
    }
  }
  close()
  return { runs, longest }
}

/** Whether a word of 32 bits equals the one before it; moves on to the last. */
function repeatsWord(state: FipsState, block: Uint8Array): boolean {
  let last = state.lastWord
  let repeats = false
  for (let i = 0; i < block.length; i += 4) {
    const word = wordAt(block, i)
    repeats ||= word === last
    last = word
  }
  state.lastWord = last
  return repeats
}

/**
 * What rngtest adds and confuses: it tallies each run but the last as one of the other bit, and where a block begins with
 * another bit than the one before ended with, a run of no length: one of 6 zeros or more, or a fifteen among the nibbles.
 */
function spoilAsRngtest(state: FipsState, block: Uint8Array, runs: Uint32Array, nibbles: Uint32Array): void {
  const lastLength = trailingRun(block)
  const lastBit = block[BLOCK_BYTES - 1] & 1
  const lastClass = Math.min(lastLength, 6) - 1
  runs[6 * lastBit + lastClass]--
  for (let i = 0; i < 6; i++) [runs[i], runs[6 + i]] = [runs[6 + i], runs[i]]
  runs[6 * lastBit + lastClass]++
  const first = block[0] >>> 7
  if (first === state.lastBit) return
  if (first === 1) runs[5]++
  else nibbles[15]++
}

function trailingRun(block: Uint8Array): number {
  const bit = block[BLOCK_BYTES - 1] & 1
  let length = 0
  for (let i = 8 * BLOCK_BYTES - 1; i >= 0; i--) {
    if (((block[i >>> 3] >>> (7 - (i & 7))) & 1) !== bit) break
    length++
  }
  return length
}

function tallyParam({ tally }: TestParams): Tally {
  const found = TALLIES.find((name) => name === tally)
  if (found) return found
  throw new RangeError(`parameter tally must be "standard" or "rngtest", not ${JSON.stringify(tally)}`)
}

const MINIMUM_BITS = 8 * (PRELUDE_BYTES + BLOCK_BYTES)

function resultOf({ counts }: FipsState, params: TestParams, bits: number, leftOut: number): TestResult {
  if (counts.blocks === 0) return insufficientResult(fips1402, params, MINIMUM_BITS, bits)
  const metrics = { ...counts, ...(leftOut > 0 && { bytes_left_out: leftOut }) }
  return okResult(fips1402, params, { p_values: [], statistic: counts.failures, metrics })
}

/**
 * The statistical tests of FIPS 140-2 on blocks of 20,000 bits of the longest segment. The statistic is the number of blocks
 * that fail any; of a good source about 1 in 1,250 does.
 */
export const fips1402: TestDefinition = {
  name: 'fips_140_2',
  title: 'Statistical tests of FIPS 140-2',
  formula:
    'ones, 16/5000 sum of squared counts of 4-bit values - 5000, runs by length, longest run, repeated 32-bit words',
  source: 'FIPS 140-2 (change notice of 2001-10-10), 4.9.1; 32-bit continuous run as in rngtest',
  notes:
    'Equal to rngtest: the first 32 bits are only compared with, and two slips of that program are repeated. It tallies the last ' +
    'run of a block as one of the other bit than all others, and where a block begins with another bit than the one before ' +
    'ended with, it counts a run or a 4-bit value too many. With `tally` `standard` the counts are right, which changes the ' +
    'verdict on blocks that are just at a limit.',
  minimumBits: MINIMUM_BITS,
  defaults: { tally: 'rngtest' },
  suites: { 'fips140-2': {} },
  run(segments, params) {
    const state = openFips(tallyParam(params))
    const longest = segments.reduce((best, one) => (one.length > best.length ? one : best), new Uint8Array(0))
    addFipsBytes(state, longest)
    return resultOf(state, params, 8 * longest.length, totalBytes(segments) - longest.length)
  },
  open(params) {
    const state = openFips(tallyParam(params))
    let bytes = 0
    return {
      add(piece) {
        addFipsBytes(state, piece)
        bytes += piece.length
      },
      finish: () => resultOf(state, params, 8 * bytes, 0),
    }
  },
}
