/** Statistics of one device over one bucket, from merged slice partials: the columns of `device_timeslice_stats`. */
import { SLICE_LAGS, type SlicePartial } from './slice.ts'
import { chiSquareUpper, normalTwoSided } from './special.ts'
import type { TestStatus } from './tests/definition.ts'
import { runsApply, runsStatistic } from './tests/runs.ts'

/** Stored with every row; changes whenever a number would come out otherwise for the same bytes. */
export const SLICE_METHOD_VERSION = 'slice-1'

/** SP 800-22 rev 1a, 2.1.7 and 2.3.7: no fewer bits. Kept for the autocorrelation's pairs too. */
const MIN_BITS = 100
/** At least 5 expected of each of the 256 byte values. */
const MIN_BYTES_CHI_SQUARE = 1280
/** 99.5 % quantile of the normal, as the SP 800-90B reference tool has it (the text of 6.3.1 prints 2.576). */
const Z_99_TWO_SIDED = 2.5758293035489008

/** One test. Only 'ok' has a p_value; the other two say why in `reason`. `n` counts what the test was given. */
export interface SliceTest {
  status: TestStatus
  reason?: string
  n: number
  statistic?: number
  df?: number
  p_value?: number
}

/** Entry i of every list is of SLICE_LAGS[i]. A lag with too few pairs has null for z and P-value. */
export interface AutocorrelationTest {
  status: TestStatus
  reason?: string
  n: number
  lags?: readonly number[]
  z?: (number | null)[]
  p_values?: (number | null)[]
  pairs?: readonly number[]
}

export interface SliceExtra {
  method_version: string
  bit_order: 'msb'
  entropy: { estimator: 'plug-in'; n_bytes: number; min_entropy_mcv: number | null; max_count: number }
  frequency: { status: TestStatus; reason?: string; ones: number; n_bits: number; z?: number; p_value?: number }
  duplicates: number
  gaps: number
  seconds_covered: number
}

/** Named as the columns of `device_timeslice_stats`. */
export interface SliceStats {
  sample_count: number
  byte_count: number
  /** Bits per byte, 0 to 8; null without bytes. */
  entropy_estimate: number | null
  uniformity_chi_square: SliceTest
  runs_test: SliceTest
  autocorrelation: AutocorrelationTest
  extra: SliceExtra
}

/**
 * The statistics of a bucket, which is that of the merged partial. Depends on the counts alone, so a recomputation gives the
 * same JSON. The entropy is the Shannon plug-in estimate -sum p log2 p of the byte values; it is biased low by about
 * 255 / (2 n_bytes ln 2), hence `extra.entropy` names the estimator and the number of bytes.
 */
export function sliceStats(merged: SlicePartial): SliceStats {
  const { samples, bytes, histogram, secondBits } = merged
  const maxCount = histogram.reduce((max, count) => Math.max(max, count), 0)
  return {
    sample_count: samples,
    byte_count: bytes,
    entropy_estimate: bytes === 0 ? null : shannonEntropy(histogram, bytes),
    uniformity_chi_square: testUniformity(histogram, bytes),
    runs_test: testRuns(merged),
    autocorrelation: testAutocorrelation(merged),
    extra: {
      method_version: SLICE_METHOD_VERSION,
      bit_order: 'msb',
      entropy: {
        estimator: 'plug-in',
        n_bytes: bytes,
        min_entropy_mcv: bytes < 2 ? null : mostCommonValueEntropy(maxCount, bytes),
        max_count: maxCount,
      },
      frequency: testFrequency(merged),
      duplicates: merged.duplicates,
      gaps: merged.gaps,
      seconds_covered: secondBits.reduce((covered, bits) => covered + (bits > 0 ? 1 : 0), 0),
    },
  }
}

function shannonEntropy(histogram: Uint32Array, bytes: number): number {
  let entropy = 0
  for (const count of histogram) if (count > 0) entropy -= (count / bytes) * Math.log2(count / bytes)
  return entropy
}

/** Bits per byte: -log2 of the upper 99 % bound of the commonest value's probability (SP 800-90B 6.3.1). `bytes` >= 2. */
function mostCommonValueEntropy(maxCount: number, bytes: number): number {
  const p = maxCount / bytes
  const upper = Math.min(1, p + Z_99_TWO_SIDED * Math.sqrt((p * (1 - p)) / (bytes - 1)))
  return Math.log2(1 / upper)
}

/** Pearson's chi-square of the byte values against equal probabilities, 255 degrees of freedom, upper tail. */
function testUniformity(histogram: Uint32Array, bytes: number): SliceTest {
  if (bytes < MIN_BYTES_CHI_SQUARE) return insufficient(bytes, `${MIN_BYTES_CHI_SQUARE} bytes needed`)
  const expected = bytes / 256
  let statistic = 0
  for (const count of histogram) statistic += (count - expected) ** 2 / expected
  return { status: 'ok', n: bytes, statistic, df: 255, p_value: chiSquareUpper(statistic, 255) }
}

/**
 * Number of runs (SP 800-22 rev 1a, 2.3) over segments that are not joined, as the chunk's own runs test has it. The segments
 * of a slice are those begun in it, bits - pairs: 0 where it only continues one. `n` is the number of bits.
 */
function testRuns({ bytes, ones, pairs, transitions }: SlicePartial): SliceTest {
  const bits = 8 * bytes
  if (bits < MIN_BITS) return insufficient(bits, `${MIN_BITS} bits needed`)
  const counts = { bits, ones, transitions, segments: bits - pairs }
  if (!runsApply(counts)) {
    return { status: 'not_applicable', reason: 'the share of ones is too far from 1/2 (SP 800-22 2.3.4)', n: bits }
  }
  const { runs, p } = runsStatistic(counts)
  return { status: 'ok', n: bits, statistic: runs, p_value: p }
}

/**
 * Of each lag z = (2A - m) / sqrt(m), A agreements among m pairs; standard normal for fair bits, two-sided P-value. A bias
 * delta of the bits shifts the mean of every z by delta^2 sqrt(m): read it beside the frequency test.
 */
function testAutocorrelation({ bytes, lagPairs, lagAgreements }: SlicePartial): AutocorrelationTest {
  const z = lagPairs.map((m, i) => (m < MIN_BITS ? null : (2 * lagAgreements[i] - m) / Math.sqrt(m)))
  if (z.every((value) => value === null)) {
    return insufficient(8 * bytes, `${MIN_BITS} pairs of bits within segments needed`)
  }
  const pValues = z.map((value) => (value === null ? null : normalTwoSided(value)))
  return { status: 'ok', n: 8 * bytes, lags: SLICE_LAGS, z, p_values: pValues, pairs: [...lagPairs] }
}

/** Monobit: z = (2 ones - n) / sqrt(n), p = erfc(|z| / sqrt 2) (SP 800-22 rev 1a, 2.1). */
function testFrequency({ bytes, ones }: SlicePartial): SliceExtra['frequency'] {
  const bits = 8 * bytes
  if (bits < MIN_BITS) return { status: 'insufficient', reason: `${MIN_BITS} bits needed`, ones, n_bits: bits }
  const z = (2 * ones - bits) / Math.sqrt(bits)
  return { status: 'ok', ones, n_bits: bits, z, p_value: normalTwoSided(z) }
}

function insufficient(n: number, reason: string): { status: 'insufficient'; reason: string; n: number } {
  return { status: 'insufficient', reason, n }
}
