/** The sums of all pairs of devices over the seconds that both have a trial in, in one pass over blocks of seconds. */
import { dotProducts, type DotProducts, ROWS_AT, TILE_LEFT, TILE_RIGHT, VECTOR_BYTES } from './dot-products.ts'
import { type OverlapSummer, overlapSummer } from './overlap-kernel.ts'
import { addOverlaps, type OverlapTotals, pairsBefore, type ScoreRow } from './overlap-sums.ts'
import { type DeviceSeries, isTrial, trialScores } from './trials.ts'

/** x: the scores z of a pair's first device, y: those of its second. */
export interface PairSums extends OverlapTotals {
  readonly sumXY: Float64Array
}

/**
 * The sums of all pairs of series of equal lengths. Those of a pair depend on its two series alone, to the last digit, and
 * are the same with and without WebAssembly. Where both devices have trials of one size each, they are exact before they are
 * scaled: sums of products of the integers 2 k - n.
 */
export function pairSums(
  series: readonly DeviceSeries[],
  products: DotProducts = dotProducts(),
  summer: OverlapSummer = overlapSummer(),
): PairSums {
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
  addOverlaps(rows, sums, summer)
  for (let i = 0, k = 0; i < rows.length; i++) {
    for (let j = i + 1; j < rows.length; j++, k++) scale(sums, k, rows[i], rows[j])
  }
  return sums
}

interface Row extends ScoreRow {
  readonly index: number
  readonly series: DeviceSeries
  /** 2 k - n of every trial, 0 without one, where n is the same in all and no step is too long; else null. */
  readonly steps: Int16Array | null
  readonly longestStep: number
  /** What a unit of `values` is worth: they are steps and 1 / sqrt(n), or scores and 1. */
  readonly scale: number
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
  const { bits, ones, reference } = series
  const present = new Uint8Array(bits.length)
  const steps = new Int16Array(bits.length)
  let [size, longestStep, isSteady] = [0, 0, reference === undefined]
  for (let t = 0; t < bits.length; t++) {
    const n = bits[t]
    const k = ones[t]
    if (!isTrial(n, k)) continue
    const step = 2 * k - n
    present[t] = 1
    steps[t] = step
    if (size === 0) size = n
    else if (n !== size) isSteady = false
    longestStep = Math.max(longestStep, Math.abs(step))
  }
  const row = { index, series, longestStep, present }
  if (!isSteady || longestStep > LONGEST_STEP) return { ...row, steps: null, values: trialScores(series), scale: 1 }
  return { ...row, steps, values: steps, scale: size > 0 ? 1 / Math.sqrt(size) : 1 }
}

function scale(sums: PairSums, k: number, x: Row, y: Row): void {
  if (x.steps && y.steps) sums.sumXY[k] *= x.scale * y.scale
  sums.sumX[k] *= x.scale
  sums.sumY[k] *= y.scale
  sums.sumX2[k] *= x.scale * x.scale
  sums.sumY2[k] *= y.scale * y.scale
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
  const before = pairsBefore(total)
  const at = (row: number) => ROWS_AT + row * stride
  for (let from = 0; from < length; from += seconds) {
    const width = Math.min(seconds, length - from)
    const bytes = Math.ceil((width * bytesOf) / VECTOR_BYTES) * VECTOR_BYTES
    for (const [row, ofRow] of all.entries()) {
      const isWords = kind === 'words'
      const scores = isWords ? ofRow.values.subarray(from, from + width) : scoresBetween(ofRow, from, from + width)
      matrix.set(scores, (row * stride) / bytesOf)
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
              const first = indexes[i]
              const second = indexes[j]
              const k = first < second ? before[first] + second : before[second] + first
              into[k] += results[TILE_RIGHT * (i - left) + j - right]
            }
          }
        }
      }
    }
  }
}

/** Scores of a row's seconds [from, to): of devices that are exact among themselves too, for pairs with those that are not. */
function scoresBetween({ series, steps, values }: Row, from: number, to: number): ArrayLike<number> {
  if (!steps) return values.subarray(from, to)
  return trialScores({ ...series, bits: series.bits.subarray(from, to), ones: series.ones.subarray(from, to) })
}
