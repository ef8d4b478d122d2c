/** Tests of one pair of devices beyond its sums: shifted in time, in the joint distribution of their scores, by frequency. */
import { type DeviceSeries, isTrial, MIN_SECONDS, trialScores } from './trials.ts'
import { sidak } from './multiple-testing.ts'
import { chiSquareUpper, normalTwoSided } from './special.ts'

/** A device of a bucket, made ready for many pairs. Arrays are as long as the bucket. */
export interface PairDevice {
  readonly deviceId: string
  /** Bits of every trial; null if they are not the same in all. */
  readonly trialBits: number | null
  /** Scores; 0 where there is no trial. */
  readonly z: Float64Array
  /** 1 where there is a trial, else 0. */
  readonly present: Float64Array
  readonly isComplete: boolean
  readonly varies: boolean
  /** Class of each score by BIN_EDGES. */
  readonly bins: Uint8Array
  /** Of each minute without a gap, the Fourier coefficients at 1/60 … 29/60 Hz, real and imaginary in turn; else null. */
  readonly spectra: readonly (Float64Array | null)[]
}

export interface NotTested {
  status: 'insufficient' | 'not_applicable'
  reason: string
}

/** `best_lag` in seconds: positive if device b follows device a. */
export interface LagScan {
  /** z at `best_lag`. */
  stat: number
  p_sidak: number
  max_lag: number
  best_lag: number
  n_lags: number
}

export interface MutualInformation {
  bins: number
  bits: number
  G: number
  df: number
  p: number
}

export interface SpectralCoherence {
  /** The largest magnitude-squared coherence, at `freq_hz`. */
  stat: number
  p_sidak: number
  segments: number
  freq_hz: number
  n_freqs: number
}

/** The lag scan looks so many seconds ahead and back. */
export const MAX_LAG = 20
/** Scores are binned at these edges: four nearly equal classes of a standard normal. */
const BIN_EDGES = [-0.67, 0, 0.67] as const
const BINS = BIN_EDGES.length + 1
/** Seconds in common that the mutual information needs. */
export const MIN_BINNED_SECONDS = 600
/** Chi-square of a table holds while every class expects so many (Cochran 1954). */
const MIN_EXPECTED = 5
const SEGMENT_SECONDS = 60
/** Without 0 Hz, and without the highest, whose coefficients are real. */
const FREQUENCIES = SEGMENT_SECONDS / 2 - 1
const MIN_SEGMENTS = 8

export function pairDevice(series: DeviceSeries): PairDevice {
  const z = trialScores(series)
  const present = Float64Array.from(series.bits, (bits, t) => (isTrial(bits, series.ones[t]) ? 1 : 0))
  const kinds = new Set(series.bits.filter((_, t) => present[t] === 1))
  const trials = z.filter((_, t) => present[t] === 1)
  const bins = Uint8Array.from(z, (score) => BIN_EDGES.filter((edge) => score >= edge).length)
  return {
    deviceId: series.deviceId,
    trialBits: kinds.size === 1 ? [...kinds][0] : null,
    z,
    present,
    isComplete: trials.length === z.length,
    varies: trials.some((score) => score !== trials[0]),
    bins,
    spectra: minuteSpectra(z, present),
  }
}

/**
 * r_L = sum z_a(t) z_b(t + L) / sqrt(n_L) over the n_L >= 30 pairs of seconds L apart, standard normal, for |L| <= MAX_LAG;
 * the P-value of the largest |r_L| by Sidak, 1 - (1 - p)^lags. Finds devices whose clocks differ.
 */
export function lagScan(a: PairDevice, b: PairDevice): LagScan | NotTested {
  const length = a.z.length
  const best = { lag: 0, z: 0 }
  let lags = 0
  for (let lag = -MAX_LAG; lag <= MAX_LAG; lag++) {
    const from = Math.max(0, -lag)
    const to = Math.min(length, length - lag)
    const n = a.isComplete && b.isComplete ? to - from : dot(a.present, b.present, from, to, lag)
    if (n < MIN_SECONDS) continue
    lags++
    const z = dot(a.z, b.z, from, to, lag) / Math.sqrt(n)
    // Of equals the one nearest to 0 seconds.
    if (Math.abs(z) > Math.abs(best.z) || (Math.abs(z) === Math.abs(best.z) && Math.abs(lag) < Math.abs(best.lag))) {
      Object.assign(best, { lag, z })
    }
  }
  if (lags === 0) return { status: 'insufficient', reason: `${MIN_SECONDS} pairs of seconds needed` }
  const p = sidak(normalTwoSided(best.z), lags)
  return { stat: best.z, p_sidak: p, max_lag: MAX_LAG, best_lag: best.lag, n_lags: lags }
}

function dot(x: Float64Array, y: Float64Array, from: number, to: number, shift: number): number {
  let total = 0
  for (let t = from; t < to; t++) total += x[t] * y[t + shift]
  return total
}

/**
 * Mutual information of the binned scores, 4 by 4, and its G-test: G = 2 n ln 2 bits against chi-square of (rows - 1)
 * (columns - 1) degrees of freedom, rows and columns that occur (Sokal & Rohlf, Biometry). Sees dependence that is not linear.
 */
export function mutualInformation(a: PairDevice, b: PairDevice): MutualInformation | NotTested {
  const table = new Float64Array(BINS * BINS)
  let n = 0
  for (let t = 0; t < a.bins.length; t++) {
    const both = a.present[t] * b.present[t]
    table[BINS * a.bins[t] + b.bins[t]] += both
    n += both
  }
  if (n < MIN_BINNED_SECONDS) {
    return { status: 'insufficient', reason: `${MIN_BINNED_SECONDS} seconds in common needed, ${n} found` }
  }
  const range = Array.from({ length: BINS }, (_, i) => i)
  const rows = range.map((i) => range.reduce((sum, j) => sum + table[BINS * i + j], 0))
  const columns = range.map((j) => range.reduce((sum, i) => sum + table[BINS * i + j], 0))
  const df = (rows.filter(Boolean).length - 1) * (columns.filter(Boolean).length - 1)
  if (df === 0) return { status: 'not_applicable', reason: 'the scores of a device are all in one class' }
  let g = 0
  for (const i of range) {
    for (const j of range) {
      const expected = (rows[i] * columns[j]) / n
      if (expected > 0 && expected < MIN_EXPECTED) {
        return { status: 'not_applicable', reason: `a class expects fewer than ${MIN_EXPECTED} of ${n} seconds` }
      }
      const found = table[BINS * i + j]
      if (found > 0) g += 2 * found * Math.log(found / expected)
    }
  }
  // Rounding may leave a shade below 0.
  g = Math.max(0, g)
  return { bins: BINS, bits: g / (2 * n * Math.LN2), G: g, df, p: chiSquareUpper(g, df) }
}

/**
 * Magnitude-squared coherence |sum X Y*|^2 / (sum |X|^2 sum |Y|^2) over the K >= 8 minutes, rectangular and not overlapping,
 * that neither device has a gap in; P(MSC > c) = (1 - c)^(K - 1) (Carter, Knapp & Nuttall 1973), Sidak over the frequencies.
 */
export function spectralCoherence(a: PairDevice, b: PairDevice): SpectralCoherence | NotTested {
  const cross = new Float64Array(2 * FREQUENCIES)
  const powerA = new Float64Array(FREQUENCIES)
  const powerB = new Float64Array(FREQUENCIES)
  let segments = 0
  for (let minute = 0; minute < a.spectra.length; minute++) {
    const [x, y] = [a.spectra[minute], b.spectra[minute]]
    if (!x || !y) continue
    segments++
    for (let f = 0; f < FREQUENCIES; f++) {
      const [xr, xi, yr, yi] = [x[2 * f], x[2 * f + 1], y[2 * f], y[2 * f + 1]]
      cross[2 * f] += xr * yr + xi * yi
      cross[2 * f + 1] += xi * yr - xr * yi
      powerA[f] += xr * xr + xi * xi
      powerB[f] += yr * yr + yi * yi
    }
  }
  if (segments < MIN_SEGMENTS) {
    const reason = `${MIN_SEGMENTS} minutes without a gap in either device needed, ${segments} found`
    return { status: 'insufficient', reason }
  }
  if (!a.varies || !b.varies) return { status: 'not_applicable', reason: 'a device did not vary' }
  const msc = powerA.map((power, f) => (cross[2 * f] ** 2 + cross[2 * f + 1] ** 2) / (power * powerB[f]))
  const max = Math.min(1, Math.max(...msc))
  const best = msc.findIndex((value) => Math.min(1, value) === max)
  const p = sidak((1 - max) ** (segments - 1), FREQUENCIES)
  return { stat: max, p_sidak: p, segments, freq_hz: (best + 1) / SEGMENT_SECONDS, n_freqs: FREQUENCIES }
}

/** cos and sin of 2 pi m / 60. */
const COS = Float64Array.from({ length: SEGMENT_SECONDS }, (_, m) => Math.cos((2 * Math.PI * m) / SEGMENT_SECONDS))
const SIN = Float64Array.from({ length: SEGMENT_SECONDS }, (_, m) => Math.sin((2 * Math.PI * m) / SEGMENT_SECONDS))

function minuteSpectra(z: Float64Array, present: Float64Array): (Float64Array | null)[] {
  return Array.from({ length: Math.floor(z.length / SEGMENT_SECONDS) }, (_, minute) => {
    const from = minute * SEGMENT_SECONDS
    if (present.subarray(from, from + SEGMENT_SECONDS).includes(0)) return null
    const spectrum = new Float64Array(2 * FREQUENCIES)
    for (let f = 1; f <= FREQUENCIES; f++) {
      let [re, im] = [0, 0]
      for (let t = 0; t < SEGMENT_SECONDS; t++) {
        const m = (f * t) % SEGMENT_SECONDS
        re += z[from + t] * COS[m]
        im -= z[from + t] * SIN[m]
      }
      spectrum[2 * f - 2] = re
      spectrum[2 * f - 1] = im
    }
    return spectrum
  })
}
