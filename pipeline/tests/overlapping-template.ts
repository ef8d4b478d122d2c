import { logGamma } from '../special.ts'
import { insufficientResult, integerParam, okResult, type TestDefinition, totalBytes } from './definition.ts'
import { classesStatistic } from './longest-run.ts'
import { countBlocks, insufficientBlocks, type Variant, variantParam } from './sp800-22.ts'

/** SP 800-22 rev 1a, 2.8.7: n >= 10^6, K = 5, and N min(pi) > 5. */
const MINIMUM_BITS = 1_000_000
const K = 5
const MINIMUM_EXPECTED = 5

/**
 * For a byte that follows `run` ones in a row (m - 1 standing for more), at 256 run + byte: occurrences of m ones that
 * end in it, times 256, plus the run of ones it leaves.
 */
function overlapTable(m: number): Uint16Array {
  const table = new Uint16Array(256 * m)
  for (let index = 0; index < table.length; index++) {
    let run = index >>> 8
    let hits = 0
    for (let bit = 7; bit >= 0; bit--) {
      if (((index >>> bit) & 1) === 0) run = 0
      else if (run === m - 1) hits++
      else run++
    }
    table[index] = 256 * hits + run
  }
  return table
}

/**
 * Adds to `counts` the number of blocks that hold the template of m ones 0, ..., 4, 5 or more times, overlaps counted,
 * for the whole blocks of M bits among the first `bits` bits of `bytes`.
 */
export function addOverlappingCounts(
  bytes: Uint8Array,
  bits: number,
  m: number,
  M: number,
  counts: Float64Array,
): void {
  const table = overlapTable(m)
  const blocks = Math.floor(bits / M)
  for (let block = 0; block < blocks; block++) {
    const end = (block + 1) * M
    let at = block * M
    let run = 0
    let hits = 0
    const takeBits = (to: number) => {
      for (; at < to; at++) {
        if (((bytes[Math.floor(at / 8)] >>> (7 - (at % 8))) & 1) === 0) run = 0
        else if (run === m - 1) hits++
        else run++
      }
    }
    takeBits(Math.min(end, 8 * Math.ceil(at / 8)))
    const lastByte = Math.floor(end / 8)
    for (let i = at / 8; i < lastByte; i++) {
      const step = table[(run << 8) | bytes[i]]
      run = step & 0xff
      hits += step >>> 8
    }
    at = Math.max(at, 8 * lastByte)
    takeBits(end)
    counts[Math.min(hits, K)]++
  }
}

/**
 * Exact probabilities that M fair bits hold m ones in a row 0, ..., 4, 5 or more times, overlaps counted, by running
 * the distribution of (occurrences, present run of ones) through the block. These are the values that K. Hamano and
 * T. Kaneko (2007) corrected the test with.
 */
export function overlappingProbabilities(m: number, M: number): number[] {
  let now = Array.from({ length: K + 1 }, () => new Float64Array(m))
  now[0][0] = 1
  for (let bit = 0; bit < M; bit++) {
    const next = now.map(() => new Float64Array(m))
    for (let hits = 0; hits <= K; hits++) {
      for (let run = 0; run < m; run++) {
        const half = now[hits][run] / 2
        next[hits][0] += half
        if (run < m - 1) next[hits][run + 1] += half
        else next[Math.min(hits + 1, K)][run] += half
      }
    }
    now = next
  }
  return now.map((runs) => runs.reduce((sum, p) => sum + p, 0))
}

/**
 * The compound Poisson approximation that STS 2.1.2 computes with, although its source also holds the exact values for
 * m = 9: SP 800-22 rev 1a, 3.8, eta = (M - m + 1) / 2^(m+1).
 */
export function compoundPoissonProbabilities(m: number, M: number): number[] {
  const eta = (M - m + 1) / 2 ** (m + 1)
  const pi = [Math.exp(-eta)]
  for (let u = 1; u < K; u++) {
    let sum = 0
    for (let l = 1; l <= u; l++) {
      const logBinomial = logGamma(u) - logGamma(l) - logGamma(u - l + 1)
      sum += Math.exp(l * Math.log(eta) - eta - u * Math.LN2 - logGamma(l + 1) + logBinomial)
    }
    pi.push(sum)
  }
  return [...pi, 1 - pi.reduce((sum, p) => sum + p, 0)]
}

let latest: { key: string; pi: number[] } | undefined

/** The class probabilities, remembered for the parameters last used. */
function classProbabilities(m: number, M: number, variant: Variant): number[] {
  const key = `${variant} ${m} ${M}`
  if (latest?.key !== key) {
    latest = { key, pi: (variant === 'nist212' ? compoundPoissonProbabilities : overlappingProbabilities)(m, M) }
  }
  return latest.pi
}

/** Overlapping template matching: does a run of m ones come too often or too seldom? Blocks lie inside segments. */
export const overlappingTemplate: TestDefinition = {
  name: 'overlapping_template',
  title: 'Overlapping template matching',
  formula:
    'counts of blocks with 0 to 5 or more runs of m ones; chi2 = sum (count - N pi)^2 / (N pi); p = igamc(5/2, chi2/2)',
  source:
    'SP 800-22 rev 1a, 2.8; corrected: exact pi (Hamano, Kaneko 2007); nist212: compound Poisson, 3.8, as STS 2.1.2',
  notes:
    'STS 2.1.2 holds the exact probabilities of Hamano and Kaneko and then overwrites them with the ' +
    "compound Poisson approximation, which good data fail too often: e's first million bits have P " +
    '.110434 there and .159037 with the exact ones. `nist212` takes the approximation. The counts printed ' +
    "in the standard's 50-bit example do not match its string.",
  minimumBits: MINIMUM_BITS,
  defaults: { m: 9, M: 1032, variant: 'corrected' },
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const m = integerParam(params, 'm', 2, 16)
    const M = integerParam(params, 'M', 2 * m, 2 ** 20)
    const pi = classProbabilities(m, M, variantParam(params))
    const needed = Math.max(Math.floor(MINIMUM_BITS / M), Math.floor(MINIMUM_EXPECTED / Math.min(...pi)) + 1)
    const given = 8 * totalBytes(segments)
    const bitsNeeded = Math.max(MINIMUM_BITS, needed * M)
    if (given < bitsNeeded) return insufficientResult(overlappingTemplate, params, bitsNeeded, given)
    const blocks = countBlocks(segments, M)
    if (blocks < needed) return insufficientBlocks(overlappingTemplate, params, needed, M, blocks)
    const counts = new Float64Array(K + 1)
    for (const segment of segments) addOverlappingCounts(segment, 8 * segment.length, m, M, counts)
    const { chi2, p } = classesStatistic(counts, pi)
    return okResult(overlappingTemplate, params, {
      p_values: [p],
      statistic: chi2,
      metrics: { n_bits: blocks * M, bits_left_out: given - blocks * M, blocks, counts: [...counts] },
    })
  },
}
