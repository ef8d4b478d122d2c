/** The sums of all pairs of devices over the seconds that both have a trial in, in one pass over blocks of seconds. */
import { dotProducts, type DotProducts, ROWS_AT, TILE_LEFT, TILE_RIGHT, VECTOR_BYTES } from './dot-products.ts'
import { type DeviceSeries, isTrial, trialScores } from './trials.ts'

/**
 * Of the pairs (0, 1), (0, 2) … (0, N - 1), (1, 2) … in this order, x the scores z of the first device and y of the second:
 * seconds in common, and sums over them.
 */
export interface PairSums {
  readonly n: Uint32Array
  readonly sumXY: Float64Array
  readonly sumX: Float64Array
  readonly sumY: Float64Array
  readonly sumX2: Float64Array
  readonly sumY2: Float64Array
}

/**
 * The sums of all pairs of series of equal lengths. Those of a pair depend on its two series alone, to the last digit, and
 * are the same with and without WebAssembly. Where both devices have trials of one size each, they are exact before they are
 * scaled: sums of products of the integers 2 k - n.
 */
export function pairSums(series: readonly DeviceSeries[], products: DotProducts = dotProducts()): PairSums {
  const rows = series.map(prepare)
  const count = (rows.length * (rows.length - 1)) / 2
  const sums: PairSums = {
    n: new Uint32Array(count),
    sumXY: new Float64Array(count),
    sumX: new Float64Array(count),
    sumY: new Float64Array(count),
    sumX2: new Float64Array(count),
    sumY2: new Float64Array(count),
  }
  const exact = rows.filter((row) => row.steps !== null)
  const rough = rows.filter((row) => row.steps === null)
  const length = series[0]?.bits.length ?? 0
  multiply(exact, [], { kind: 'words', length, products, total: rows.length, into: sums.sumXY })
  if (rough.length > 0)
    multiply(rough, exact, { kind: 'doubles', length, products, total: rows.length, into: sums.sumXY })
  for (let i = 0, k = 0; i < rows.length; i++) {
    for (let j = i + 1; j < rows.length; j++, k++) addMarginals(sums, k, rows[i], rows[j])
  }
  return sums
}

interface Row {
  readonly index: number
  readonly series: DeviceSeries
  /** 2 k - n of every trial, 0 without one, where n is the same in all and no step is too long; else null. */
  readonly steps: Int16Array | null
  readonly longestStep: number
  /** Scores, in units of `scale`: steps and 1 / sqrt(n), or z and 1. */
  readonly values: Int16Array | Float64Array
  readonly scale: number
  readonly present: Uint8Array
  readonly trials: number
  readonly sum: number
  readonly sumOfSquares: number
  /** The shorter list of seconds: those without a trial, or those with one. */
  readonly few: Uint32Array
  readonly fewAreAbsent: boolean
}

/** With steps no longer than this, sums over 512 seconds stay below 2^31. */
const LONGEST_STEP = 2047
const MOST_WORD_SECONDS = 2048
const DOUBLE_SECONDS = 512
/** Rows that stay in a cache of 128 KB while all others pass. */
const PANEL = 32

/** Seconds of a block: of integers so many that no sum leaves 32 bits. Their sums are exact, whatever the blocks. */
function blockSeconds(kind: 'words' | 'doubles', rows: readonly Row[]): number {
  if (kind === 'doubles') return DOUBLE_SECONDS
  const longest = rows.reduce((most, { longestStep }) => Math.max(most, longestStep), 1)
  return Math.min(MOST_WORD_SECONDS, Math.floor((2 ** 31 - 1) / longest ** 2 / 8) * 8)
}

function prepare(series: DeviceSeries, index: number): Row {
  const { bits, ones } = series
  const present = new Uint8Array(bits.length)
  let [trials, size, longestStep, isSteady] = [0, 0, 0, true]
  for (let t = 0; t < bits.length; t++) {
    const n = bits[t]
    const k = ones[t]
    if (!isTrial(n, k)) continue
    present[t] = 1
    if (trials++ === 0) size = n
    if (n !== size) isSteady = false
    longestStep = Math.max(longestStep, Math.abs(2 * k - n))
  }
  const isExact = isSteady && longestStep <= LONGEST_STEP && series.reference === undefined
  const steps = isExact ? stepsOf(series) : null
  const values = steps ?? trialScores(series)
  let [sum, sumOfSquares] = [0, 0]
  for (let t = 0; t < values.length; t++) {
    sum += values[t]
    sumOfSquares += values[t] * values[t]
  }
  const fewAreAbsent = 2 * trials >= bits.length
  const few = new Uint32Array(fewAreAbsent ? bits.length - trials : trials)
  for (let t = 0, at = 0; t < bits.length; t++) if (present[t] === (fewAreAbsent ? 0 : 1)) few[at++] = t
  const scale = steps && trials > 0 ? 1 / Math.sqrt(size) : 1
  return { index, series, steps, longestStep, values, scale, present, trials, sum, sumOfSquares, few, fewAreAbsent }
}

function stepsOf({ bits, ones }: DeviceSeries): Int16Array {
  const steps = new Int16Array(bits.length)
  for (let t = 0; t < steps.length; t++) if (isTrial(bits[t], ones[t])) steps[t] = 2 * ones[t] - bits[t]
  return steps
}

/** What falls on the seconds in common: all of x less what y lacks, or what y has. */
function addMarginals(sums: PairSums, k: number, x: Row, y: Row): void {
  const [n, sumX, sumX2] = overlap(x, y)
  const [, sumY, sumY2] = overlap(y, x)
  sums.n[k] = n
  sums.sumX[k] = x.scale * sumX
  sums.sumY[k] = y.scale * sumY
  sums.sumX2[k] = x.scale * x.scale * sumX2
  sums.sumY2[k] = y.scale * y.scale * sumY2
  if (x.steps && y.steps) sums.sumXY[k] *= x.scale * y.scale
}

function overlap({ values, present, trials, sum, sumOfSquares }: Row, other: Row): [number, number, number] {
  let [n, s1, s2] = [0, 0, 0]
  const { few } = other
  for (let at = 0; at < few.length; at++) {
    const t = few[at]
    n += present[t]
    s1 += values[t]
    s2 += values[t] * values[t]
  }
  return other.fewAreAbsent ? [trials - n, sum - s1, sumOfSquares - s2] : [n, s1, s2]
}

interface Multiplication {
  readonly kind: 'words' | 'doubles'
  readonly length: number
  readonly products: DotProducts
  /** Rows in all, by which pairs are numbered. */
  readonly total: number
  readonly into: Float64Array
}

/** Adds the products of all pairs among `rows`, and of each of them with each of `others`. */
function multiply(rows: readonly Row[], others: readonly Row[], how: Multiplication): void {
  const { kind, length, products, total, into } = how
  const seconds = blockSeconds(kind, rows)
  const bytesOf = kind === 'words' ? 2 : 8
  const stride = Math.ceil((Math.min(seconds, length) * bytesOf) / VECTOR_BYTES) * VECTOR_BYTES
  const all = [...rows, ...others]
  const padded = Math.ceil(all.length / TILE_LEFT) * TILE_LEFT
  const buffer = products.reserve(ROWS_AT + padded * stride)
  const results = kind === 'words' ? new Int32Array(buffer, 0, 8) : new Float64Array(buffer, 0, 8)
  const matrix = kind === 'words' ? new Int16Array(buffer, ROWS_AT) : new Float64Array(buffer, ROWS_AT)
  matrix.fill(0, 0, (padded * stride) / bytesOf)
  const indexes = Uint32Array.from(all, ({ index }) => index)
  // The pair (i, j), i < j, is number before[i] + j.
  const before = Float64Array.from({ length: total }, (_, i) => i * total - (i * (i + 1)) / 2 - i - 1)
  const at = (row: number) => ROWS_AT + row * stride
  for (let from = 0; from < length; from += seconds) {
    const width = Math.min(seconds, length - from)
    const bytes = Math.ceil((width * bytesOf) / VECTOR_BYTES) * VECTOR_BYTES
    for (const [row, { steps, series, values }] of all.entries()) {
      const scores = kind === 'words' ? steps! : steps ? scoresOf(series) : values
      matrix.set(scores.subarray(from, from + width), (row * stride) / bytesOf)
      matrix.fill(0, (row * stride) / bytesOf + width, (row * stride + bytes) / bytesOf)
    }
    for (let panel = 0; panel < rows.length; panel += PANEL) {
      const panelEnd = Math.min(panel + PANEL, rows.length)
      for (let right = panel; right < all.length; right += TILE_RIGHT) {
        for (let left = panel; left < panelEnd && left < right + TILE_RIGHT; left += TILE_LEFT) {
          products[kind](at(left), at(right), stride, bytes)
          const lastLeft = Math.min(left + TILE_LEFT, panelEnd)
          const lastRight = Math.min(right + TILE_RIGHT, all.length)
          for (let i = left; i < lastLeft; i++) {
            for (let j = Math.max(right, i + 1); j < lastRight; j++) {
              const [first, second] = [indexes[i], indexes[j]]
              const k = first < second ? before[first] + second : before[second] + first
              into[k] += results[TILE_RIGHT * (i - left) + j - right]
            }
          }
        }
      }
    }
  }
}

/** Scores of devices that are exact among themselves, for pairs with those that are not. */
const scoresOf = (() => {
  const known = new WeakMap<DeviceSeries, Float64Array>()
  return (series: DeviceSeries) => {
    let z = known.get(series)
    if (!z) known.set(series, (z = trialScores(series)))
    return z
  }
})()
