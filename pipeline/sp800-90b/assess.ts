import { bitWords, onesInWord, packSymbols } from './bit-words.ts'
import { estimateCollision } from './collision.ts'
import { estimateCompression } from './compression.ts'
import type { Estimate } from './estimate.ts'
import { estimateBitsLag, estimateLag } from './lag.ts'
import { estimateBitsLz78y, estimateLz78y } from './lz78y.ts'
import { estimateMarkov } from './markov.ts'
import { countSymbols, estimateMostCommonValue } from './most-common-value.ts'
import { estimateBitsMultiMcw, estimateMultiMcw } from './multi-mcw.ts'
import { estimateBitsMultiMmc, estimateMultiMmc } from './multi-mmc.ts'
import { estimateTuples } from './tuple.ts'

/** The estimators of SP 800-90B, 6.3, in the standard's order. */
export const ESTIMATORS = [
  'most_common_value',
  'collision',
  'markov',
  'compression',
  't_tuple',
  'lrs',
  'multi_mcw',
  'lag',
  'multi_mmc',
  'lz78y',
] as const

/** Up to here counts of pairs are exact and positions fit beside a word's bits in a double. */
const MOST_BITS = 2 ** 27

export type Estimator = (typeof ESTIMATORS)[number]
/** Collision, Markov and compression are defined for bits only. */
export type Estimates = Readonly<Partial<Record<Estimator, Estimate>>>

export interface NonIidAssessment {
  readonly bits_per_symbol: number
  /** Symbols assessed, and how many different ones they are. */
  readonly n: number
  readonly alphabet: number
  /** Estimates of the symbols themselves; of two different symbols, those of bits. */
  readonly original: Estimates
  /** Estimates of the symbols' bits, most significant first; null where the symbols are as good as bits. */
  readonly bitstring: Estimates | null
  /** Least estimate, in bits a symbol; at most bits_per_symbol. */
  readonly h_original: number
  /** Least estimate, in bits a bit; at most 1. */
  readonly h_bitstring: number | null
  /** min(h_original, bits_per_symbol * h_bitstring). */
  readonly assessed: number
}

/**
 * Non-IID min-entropy assessment of `symbols`, one an element, each below 2^bitsPerSymbol. SP 800-90B, 3.1.3 and 6.3.
 *
 * As in NIST's tool: the symbols that occur are numbered in their order; the k of the predictors is their number; data
 * of two different symbols are assessed as bits and have no bitstring; an estimator that has too few data is left out
 * of the minimum. One symbol alone has no entropy: 0 bits, without estimates.
 * Throws RangeError for no symbols, more than 2^27 bits, a symbol out of range, or bitsPerSymbol outside 1 to 8.
 * Takes 45 bytes of memory a byte of symbols' bits, 140 if they repeat themselves at length.
 */
export function assessNonIid(symbols: Uint8Array, bitsPerSymbol: number): NonIidAssessment {
  if (!Number.isInteger(bitsPerSymbol) || bitsPerSymbol < 1 || bitsPerSymbol > 8) {
    throw new RangeError(`bits per symbol must be an integer from 1 to 8, not ${bitsPerSymbol}`)
  }
  const n = symbols.length
  if (n === 0) throw new RangeError('an assessment needs symbols, and none are given')
  const counts = countSymbols(symbols)
  const present = Uint8Array.from(Array.from(counts.keys()).filter((symbol) => counts[symbol] > 0))
  const alphabet = present.length
  if (present[alphabet - 1] >= 2 ** bitsPerSymbol) {
    throw new RangeError(`symbol ${present[alphabet - 1]} does not fit in ${bitsPerSymbol} bits`)
  }
  if (n * bitsPerSymbol > MOST_BITS) throw new RangeError(`an assessment takes ${MOST_BITS} bits at most`)
  const about = { bits_per_symbol: bitsPerSymbol, n, alphabet }
  if (alphabet === 1) {
    return { ...about, original: {}, bitstring: null, h_original: 0, h_bitstring: null, assessed: 0 }
  }
  if (alphabet === 2) {
    const original = estimateBits(packSymbols(numbered(symbols, present), 1), n)
    const least = leastEstimate(original, bitsPerSymbol)
    return { ...about, original, bitstring: null, h_original: least, h_bitstring: null, assessed: least }
  }
  const packed = packSymbols(symbols, bitsPerSymbol)
  const tuples = estimateTuples(packed, n, bitsPerSymbol)
  const named = numbered(symbols, present)
  const original: Estimates = {
    most_common_value: estimateMostCommonValue(Math.max(...counts), n),
    t_tuple: tuples.tTuple,
    lrs: tuples.lrs,
    multi_mcw: estimateMultiMcw(named, alphabet),
    lag: estimateLag(named, alphabet),
    multi_mmc: estimateMultiMmc(named, alphabet),
    lz78y: estimateLz78y(named, alphabet),
  }
  const bitstring = estimateBits(packed, n * bitsPerSymbol)
  const hOriginal = leastEstimate(original, bitsPerSymbol)
  const hBitstring = leastEstimate(bitstring, 1)
  return {
    ...about,
    original,
    bitstring,
    h_original: hOriginal,
    h_bitstring: hBitstring,
    assessed: Math.min(hOriginal, bitsPerSymbol * hBitstring),
  }
}

/** All ten estimates of the first `bits` bits, per bit. */
export function estimateBits(bytes: Uint8Array, bits: number): Required<Estimates> {
  const ones = bitWords(bytes, bits).reduce((sum, word) => sum + onesInWord(word), 0)
  const tuples = estimateTuples(bytes, bits, 1)
  return {
    most_common_value: estimateMostCommonValue(Math.max(ones, bits - ones), bits),
    collision: estimateCollision(bytes, bits),
    markov: estimateMarkov(bytes, bits),
    compression: estimateCompression(bytes, bits),
    t_tuple: tuples.tTuple,
    lrs: tuples.lrs,
    multi_mcw: estimateBitsMultiMcw(bytes, bits),
    lag: estimateBitsLag(bytes, bits),
    multi_mmc: estimateBitsMultiMmc(bytes, bits),
    lz78y: estimateBitsLz78y(bytes, bits),
  }
}

/** The least of the estimates that there are, and at most `most`. */
function leastEstimate(estimates: Estimates, most: number): number {
  return Object.values(estimates).reduce((least, found) => Math.min(least, found.min_entropy ?? most), most)
}

/** The symbols by their place among the `present` ones, which are in order. */
function numbered(symbols: Uint8Array, present: Uint8Array): Uint8Array {
  const place = new Uint8Array(256)
  present.forEach((symbol, i) => (place[symbol] = i))
  return symbols.map((symbol) => place[symbol])
}
