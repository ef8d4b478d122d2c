import { packSymbols, unpackSymbols } from '../sp800-90b/bit-words.ts'
import {
  type ChiSquare,
  testBinaryGoodnessOfFit,
  testBinaryIndependence,
  testGoodnessOfFit,
  testIndependence,
} from '../sp800-90b/iid-chi-square.ts'
import { PERMUTATION_STATISTICS, testPermutations } from '../sp800-90b/iid-permutation.ts'
import { countRepeats } from '../sp800-90b/repeats.ts'
import {
  insufficientResult,
  integerParam,
  notApplicableResult,
  okResult,
  type TestDefinition,
  type TestParams,
  type TestResult,
  totalBytes,
} from './definition.ts'

/** Fewer say nothing; the standard asks for 1,000,000 symbols. */
const MINIMUM_BITS = 8 * 1000
const STANDARD_SYMBOLS = 1_000_000
const MOST_BYTES = 2 ** 23

interface Data {
  /** Symbols by their place among those that occur, as NIST's tool numbers them. */
  readonly symbols: Uint8Array
  /** Symbols that occur. */
  readonly alphabet: number
  readonly facts: { n_symbols: number; alphabet: number; bits_left_out?: number; symbols_short_of_standard?: number }
}

/** The symbols of the longest segment, or the result that there is nothing to test. */
function readData(test: TestDefinition, segments: readonly Uint8Array[], params: TestParams): Data | TestResult {
  const bitsPerSymbol = integerParam(params, 'bits_per_symbol', 1, 8)
  const longest = segments.reduce((best, one) => (one.length > best.length ? one : best), new Uint8Array(0))
  if (8 * longest.length < MINIMUM_BITS) return insufficientResult(test, params, MINIMUM_BITS, 8 * longest.length)
  const used = longest.subarray(0, MOST_BYTES)
  const raw = unpackSymbols(used, bitsPerSymbol)
  const place = new Int16Array(256).fill(-1)
  for (let i = 0; i < raw.length; i++) place[raw[i]] = 0
  let alphabet = 0
  for (let symbol = 0; symbol < 256; symbol++) if (place[symbol] === 0) place[symbol] = alphabet++
  const leftOut = 8 * totalBytes(segments) - bitsPerSymbol * raw.length
  const facts = {
    n_symbols: raw.length,
    alphabet,
    ...(leftOut > 0 && { bits_left_out: leftOut }),
    ...(raw.length < STANDARD_SYMBOLS && { symbols_short_of_standard: STANDARD_SYMBOLS - raw.length }),
  }
  if (alphabet === 1) return notApplicableResult(test, params, 'all symbols are equal: their entropy is 0', facts)
  return { symbols: raw.map((symbol) => place[symbol]), alphabet, facts }
}

/** Below this a part of the IID track fails. SP 800-90B, 5.2. */
const LEVEL = 0.001
/**
 * Fewest symbols for each pair of symbols that may occur. The standard asks for five expected in a bin and merges pairs until there
 * are; but its degrees of freedom then are too few, and good data fail: at this many, 1 in 100 does, at half as many 1 in 14.
 */
const SYMBOLS_A_PAIR = 1.8

/** Independence and goodness of fit. `p_values` is [independence, goodness of fit]; the source fails below .001. */
export const sp80090bChiSquare: TestDefinition = {
  name: 'sp800_90b_chi_square',
  title: 'IID: chi-square of independence and of goodness of fit',
  formula: 'sum (observed - expected)^2 / expected over pairs of symbols in bins, and over the symbols of ten subsets',
  source: 'SP 800-90B, 5.2.1 to 5.2.4',
  notes:
    'Equal to NIST’s tool in all printed digits. The degrees of freedom of the independence test are too few where several pairs of ' +
    'symbols share a bin, below 655,360 bytes: of good data 1 in 100 fails at .001 with 125,000 bytes, and all do with 5,000. Fewer ' +
    'than 1.8 symbols for each pair of those that occur are therefore declined, where the tool gives a verdict.',
  minimumBits: 8 * Math.ceil(SYMBOLS_A_PAIR * 256 ** 2),
  defaults: { bits_per_symbol: 8 },
  suites: { 'sp800-90b-iid': {} },
  run(segments, params) {
    const data = readData(sp80090bChiSquare, segments, params)
    if ('status' in data) return data
    const { symbols, alphabet, facts } = data
    const needed = alphabet === 2 ? 0 : Math.ceil(SYMBOLS_A_PAIR * alphabet ** 2)
    if (symbols.length < needed) {
      const bits = Number(params.bits_per_symbol)
      return insufficientResult(sp80090bChiSquare, params, needed * bits, symbols.length * bits)
    }
    const parts: ChiSquare[] =
      alphabet === 2
        ? [testBinaryIndependence(symbols), testBinaryGoodnessOfFit(symbols)]
        : [testIndependence(symbols, alphabet), testGoodnessOfFit(symbols, alphabet)]
    const p = parts.flatMap((part) => (part.p === null ? [] : [part.p]))
    const [independence, fit] = parts
    const metrics = {
      ...facts,
      independence: independence.statistic,
      independence_df: independence.df,
      goodness_of_fit: fit.statistic,
      goodness_of_fit_df: fit.df,
      verdict: p.every((value) => value >= LEVEL) ? 'passed' : 'failed',
    }
    if (p.length < 2) return notApplicableResult(sp80090bChiSquare, params, 'the data make too few bins', metrics)
    return okResult(sp80090bChiSquare, params, { p_values: p, statistic: independence.statistic, metrics })
  },
}

/** Is the longest repeated substring longer than chance has it? The statistic is its length, P that of one so long. */
export const sp80090bLrs: TestDefinition = {
  name: 'sp800_90b_lrs',
  title: 'IID: length of the longest repeated substring',
  formula: 'P(X >= 1) = 1 - (1 - (sum p^2)^W)^C(L - W + 1, 2), W the length',
  source: 'SP 800-90B, 5.2.5',
  minimumBits: MINIMUM_BITS,
  defaults: { bits_per_symbol: 8 },
  suites: { 'sp800-90b-iid': {} },
  run(segments, params) {
    const data = readData(sp80090bLrs, segments, params)
    if ('status' in data) return data
    const { symbols, facts } = data
    const { longest } = countRepeats(packSymbols(symbols, 8), symbols.length, 8)
    const p = repeatProbability(symbols, longest)
    const metrics = { ...facts, longest, verdict: p >= LEVEL ? 'passed' : 'failed' }
    return okResult(sp80090bLrs, params, { p_values: [p], statistic: longest, metrics })
  },
}

/** Probability that some substring of that length comes twice; 1 for length 0. */
export function repeatProbability(symbols: Uint8Array, length: number): number {
  const counts = new Float64Array(256)
  for (let i = 0; i < symbols.length; i++) counts[symbols[i]]++
  const collision = counts.reduce((sum, count) => sum + (count / symbols.length) ** 2, 0)
  const places = symbols.length - length + 1
  const pairs = (places * (places - 1)) / 2
  return length === 0 ? 1 : -Math.expm1(pairs * Math.log1p(-(collision ** length)))
}

/** Eleven statistics, nineteen with their lags, of the data against those of their shuffles; P-values are not defined. */
export const sp80090bPermutation: TestDefinition = {
  name: 'sp800_90b_permutation',
  title: 'IID: permutation test',
  formula: 'each statistic passes when more than 5 of 10,000 shuffles are at least as large, and more than 5 at most',
  source: 'SP 800-90B, 5.1',
  notes:
    'The compression statistic is the length under Lempel and Ziv (1978) where the standard has bzip2; the null of a permutation ' +
    'test holds for any. The shuffles follow from `seed`. A statistic that has passed is computed no more, as in NIST’s tool; data ' +
    'that fail need all shuffles: half a minute for 125,000 bytes. The metrics say of each failed statistic how many shuffles were ' +
    'more, equal and less.',
  minimumBits: MINIMUM_BITS,
  defaults: { bits_per_symbol: 8, shuffles: 10_000, seed: 'coherence' },
  slow: true,
  memory: (bytes) => 70 * Math.min(bytes, MOST_BYTES),
  suites: { 'sp800-90b-iid': {} },
  run(segments, params) {
    const shuffles = integerParam(params, 'shuffles', 100, 1_000_000)
    const data = readData(sp80090bPermutation, segments, params)
    if ('status' in data) return data
    const { symbols, alphabet, facts } = data
    const found = testPermutations(symbols, alphabet, { seed: String(params.seed), shuffles })
    const failed = PERMUTATION_STATISTICS.filter((name) => !found.counts[name].passed)
    const told = failed.map((name) => {
      const { more, equal, less } = found.counts[name]
      return [`failed_${name}`, [more, equal, less]] as const
    })
    return okResult(sp80090bPermutation, params, {
      p_values: [],
      statistic: failed.length,
      metrics: {
        ...facts,
        shuffles: found.shuffles,
        verdict: found.passed ? 'passed' : 'failed',
        ...Object.fromEntries(told),
      },
    })
  },
}
