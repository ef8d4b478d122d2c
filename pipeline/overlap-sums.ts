/** Sums of every device's scores over the seconds that another has a trial in too. */
import {
  COUNTS_AT,
  type OverlapSummer,
  PANEL_AT,
  PANEL_DEVICES,
  PANEL_ROW_BYTES,
  SQUARES_AT,
  SUMS_AT,
  TRIALS_AT,
} from './overlap-kernel.ts'

/** A device's scores, in units of its own, 0 without a trial, and 1 in `present` with one. */
export interface ScoreRow {
  readonly values: Int16Array | Float64Array
  readonly present: Uint8Array
}

/** Of the pairs (0, 1), (0, 2) … (0, N - 1), (1, 2) … in this order: seconds in common, and sums over them. */
export interface OverlapTotals {
  readonly n: Uint32Array
  readonly sumX: Float64Array
  readonly sumY: Float64Array
  readonly sumX2: Float64Array
  readonly sumY2: Float64Array
}

/** Seconds of a block: a panel of them stays in a cache of 256 KB. */
const BLOCK_SECONDS = 4096

/** Pair (i, j), i < j, of N devices is number pairsBefore(N)[i] + j. */
export function pairsBefore(devices: number): Float64Array {
  return Float64Array.from({ length: devices }, (_, i) => i * devices - (i * (i + 1)) / 2 - i - 1)
}

/**
 * Adds the overlaps of all pairs of rows of equal lengths. What falls on the seconds in common is what falls on the other's seconds
 * with a trial, or all of a block less what falls on those without: whichever are fewer, which depends on the other alone.
 */
export function addOverlaps(rows: readonly ScoreRow[], into: OverlapTotals, summer: OverlapSummer): void {
  const length = rows[0]?.values.length ?? 0
  for (let from = 0; from < length; from += BLOCK_SECONDS) {
    addBlock(rows, from, Math.min(length, from + BLOCK_SECONDS), into, summer)
  }
}

function addBlock(
  rows: readonly ScoreRow[],
  from: number,
  to: number,
  into: OverlapTotals,
  summer: OverlapSummer,
): void {
  const count = rows.length
  const [trials, sums, squares] = Array.from({ length: 3 }, () => new Float64Array(count))
  for (const [x, row] of rows.entries()) addTotals(row, from, to, x, trials, sums, squares)
  const areAbsent = Array.from(trials, (present) => 2 * present >= to - from)
  const starts = new Uint32Array(count + 1).fill(PANEL_AT + (to - from) * PANEL_ROW_BYTES)
  for (let y = 0; y < count; y++) starts[y + 1] = starts[y] + 4 * (areAbsent[y] ? to - from - trials[y] : trials[y])
  const hasLists = starts[count] > starts[0]
  const buffer = summer.reserve(starts[count])
  const [words, doubles] = [new Uint32Array(buffer), new Float64Array(buffer, 0, starts[0] / 8)]
  words.fill(0, 0, starts[0] / 4)
  for (const [y, { present }] of rows.entries()) {
    const listed = areAbsent[y] ? 0 : 1
    for (let t = from, at = starts[y] / 4; t < to; t++)
      if (present[t] === listed) words[at++] = (t - from) * PANEL_ROW_BYTES
  }
  const before = pairsBefore(count)
  const { n, sumX, sumY, sumX2, sumY2 } = into
  for (let panel = 0; panel < count; panel += PANEL_DEVICES) {
    const panelEnd = Math.min(panel + PANEL_DEVICES, count)
    if (hasLists) fillPanel(words, doubles, rows.slice(panel, panelEnd), from, to)
    for (let y = 0; y < count; y++) {
      const isListed = starts[y] < starts[y + 1]
      if (isListed) summer.overlap(starts[y], starts[y + 1])
      for (let x = panel; x < panelEnd; x++) {
        const lane = x - panel
        let seconds = isListed ? words[COUNTS_AT / 4 + lane] : 0
        let sum = isListed ? doubles[SUMS_AT / 8 + lane] : 0
        let square = isListed ? doubles[SQUARES_AT / 8 + lane] : 0
        if (areAbsent[y]) {
          seconds = trials[x] - seconds
          sum = sums[x] - sum
          square = squares[x] - square
        }
        if (x < y) {
          const k = before[x] + y
          n[k] += seconds
          sumX[k] += sum
          sumX2[k] += square
        } else if (x > y) {
          const k = before[y] + x
          sumY[k] += sum
          sumY2[k] += square
        }
      }
    }
  }
}

function addTotals(
  { values, present }: ScoreRow,
  from: number,
  to: number,
  x: number,
  trials: Float64Array,
  sums: Float64Array,
  squares: Float64Array,
): void {
  for (let t = from; t < to; t++) {
    const z = values[t]
    trials[x] += present[t]
    sums[x] += z
    squares[x] += z * z
  }
}

function fillPanel(
  words: Uint32Array,
  doubles: Float64Array,
  rows: readonly ScoreRow[],
  from: number,
  to: number,
): void {
  for (const [lane, { values, present }] of rows.entries()) {
    for (let t = from, at = PANEL_AT; t < to; t++, at += PANEL_ROW_BYTES) {
      doubles[at / 8 + lane] = values[t]
      words[(at + TRIALS_AT) / 4 + lane] = present[t]
    }
  }
}
