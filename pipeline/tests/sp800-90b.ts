import { assessNonIid, ESTIMATORS, type Estimates, type NonIidAssessment } from '../sp800-90b/assess.ts'
import { unpackSymbols } from '../sp800-90b/bit-words.ts'
import { COMPRESSION_MINIMUM_BITS } from '../sp800-90b/compression.ts'
import {
  insufficientResult,
  integerParam,
  okResult,
  type TestDefinition,
  type TestResult,
  totalBytes,
} from './definition.ts'

/** Symbols the standard asks for, SP 800-90B, 3.1.1. Fewer are assessed too, as NIST's tool does, and it is said. */
const STANDARD_SYMBOLS = 1_000_000
/** Longer segments are cut here: up to 140 bytes of memory a byte would be needed. */
const MOST_BYTES = 2 ** 23

/**
 * Min-entropy by the ten estimators of SP 800-90B for sources that are not IID. An assessment needs one unbroken
 * sequence and takes the longest segment, the first if several are; `metrics` says what was left out. The statistic is
 * the assessed min-entropy in bits per symbol of `bits_per_symbol` bits. `metrics.original_*` are estimates in bits per
 * symbol, `metrics.bitstring_*` in bits per bit, null where an estimator has too few data, and `decided_by` names the
 * one that gave the least. Symbols of fewer than 8 bits are read on end, most significant bit first.
 */
export const sp80090bNonIid: TestDefinition = {
  name: 'sp800_90b_non_iid',
  title: 'Min-entropy of a source that is not IID',
  formula: 'H = min(H_original, bits_per_symbol H_bitstring), each the least of up to ten estimates',
  source: 'SP 800-90B, 3.1.3 and 6.3',
  notes:
    "Equal to NIST's tool 1.1.7 in all of its printed digits. Of fewer than 1,000,000 symbols the tool " +
    'warns, and so does `symbols_short_of_standard`. Data of one symbol have 0 bits; the tool ends with ' +
    'an error.',
  minimumBits: COMPRESSION_MINIMUM_BITS,
  defaults: { bits_per_symbol: 8 },
  slow: true,
  memory: (bytes) => 75 * Math.min(bytes, MOST_BYTES),
  suites: { 'sp800-90b': {} },
  run(segments, params) {
    const bitsPerSymbol = integerParam(params, 'bits_per_symbol', 1, 8)
    const longest = segments.reduce(
      (best, segment) => (segment.length > best.length ? segment : best),
      new Uint8Array(),
    )
    const bits = 8 * longest.length
    if (bits < COMPRESSION_MINIMUM_BITS) {
      return insufficientResult(sp80090bNonIid, params, COMPRESSION_MINIMUM_BITS, bits)
    }
    const found = assessNonIid(unpackSymbols(longest.subarray(0, MOST_BYTES), bitsPerSymbol), bitsPerSymbol)
    return okResult(sp80090bNonIid, params, {
      p_values: [],
      statistic: found.assessed,
      metrics: describe(found, 8 * totalBytes(segments)),
    })
  },
}

function describe(found: NonIidAssessment, bitsGiven: number): NonNullable<TestResult['metrics']> {
  const used = found.n * found.bits_per_symbol
  const metrics: NonNullable<TestResult['metrics']> = {
    n_bits: used,
    n_symbols: found.n,
    alphabet: found.alphabet,
    h_original: found.h_original,
    h_bitstring: found.h_bitstring,
    decided_by: nameDecisive(found),
  }
  if (used < bitsGiven) metrics.bits_left_out = bitsGiven - used
  if (found.n < STANDARD_SYMBOLS) metrics.symbols_short_of_standard = STANDARD_SYMBOLS - found.n
  addEstimates(metrics, 'original', found.original)
  addEstimates(metrics, 'bitstring', found.bitstring ?? {})
  return metrics
}

function addEstimates(metrics: NonNullable<TestResult['metrics']>, of: string, estimates: Estimates): void {
  for (const name of ESTIMATORS) {
    const estimate = estimates[name]
    if (estimate) metrics[`${of}_${name}`] = estimate.min_entropy
  }
}

/** Which estimate the assessed one is. */
function nameDecisive({ alphabet, original, bitstring, bits_per_symbol, assessed }: NonIidAssessment): string {
  if (alphabet === 1) return 'one symbol only'
  for (const name of ESTIMATORS) if (original[name]?.min_entropy === assessed) return `original_${name}`
  for (const name of ESTIMATORS) {
    const perBit = bitstring?.[name]?.min_entropy ?? null
    if (perBit !== null && perBit * bits_per_symbol === assessed) return `bitstring_${name}`
  }
  return 'symbol width'
}
