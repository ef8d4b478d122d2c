import { CoherenceError } from '../pipeline/errors.ts'
import type { DeviceSeries } from '../pipeline/trials.ts'

/** Rows of trials in the order of their seconds, one row a second; seconds without a row take no room. */
export interface TrialRows {
  /** Of each row, ascending. */
  readonly seconds: Float64Array
  /** Rows that said again what another had said of their second, and were left out. */
  readonly duplicates: number
  /** The trials of rows `from` to `to` (not included), a series for each device. */
  series(from: number, to: number): DeviceSeries[]
}

export interface TrialRowsBuilder {
  /** `cells` of a row, from `at` on one for each device. Throws INPUT_INVALID, naming line and column, on one that is no trial. */
  add(row: { second: number; line: number; cells: readonly string[]; at: number }): void
  readonly length: number
  /** Throws INPUT_INVALID, naming both lines, if two rows differ about one second. */
  finish(): TrialRows
}

/** Cells that mean "no data", in lower case: empty, R's, JSON's and Python's names, and the mark of GCP exports. */
const MISSING = new Set(['', 'na', 'null', 'nan', 'none', '-999'])
/** pandas writes whole numbers as 100.0 in a column where one is missing. */
const WHOLE = /^\d+(?:\.0*)?$/
/** Cells that are kept in one array. */
const BLOCK_CELLS = 2 ** 21

/** Collects the rows of `deviceIds`, each cell the ones among `bits` bits. Blocks are added as rows come; none is copied to grow. */
export function openTrialRows(name: string, deviceIds: readonly string[], bits: number): TrialRowsBuilder {
  const devices = deviceIds.length
  const rowsOfBlock = Math.ceil(BLOCK_CELLS / devices)
  // A cell is ones + 1; 0 if missing.
  const Cells = bits + 1 < 2 ** 16 ? Uint16Array : Uint32Array
  const blocks: (Uint16Array | Uint32Array)[] = []
  const seconds: number[] = []
  const lines: number[] = []
  const blockOf = (row: number) => blocks[Math.floor(row / rowsOfBlock)]
  const startOf = (row: number) => (row % rowsOfBlock) * devices

  const areEqual = (a: number, b: number) => {
    const [x, y] = [blockOf(a), blockOf(b)]
    for (let d = 0, i = startOf(a), j = startOf(b); d < devices; d++) if (x[i + d] !== y[j + d]) return false
    return true
  }

  return {
    get length() {
      return seconds.length
    },
    add({ second, line, cells, at }) {
      const row = seconds.length
      if (row % rowsOfBlock === 0) blocks.push(new Cells(rowsOfBlock * devices))
      const block = blockOf(row)
      const start = startOf(row)
      for (let d = 0; d < devices; d++) {
        const cell = cells[at + d].trim()
        if (MISSING.has(cell.toLowerCase())) continue
        const ones = WHOLE.test(cell) ? Number(cell) : Number.NaN
        if (!(ones <= bits)) {
          throw new CoherenceError(
            'INPUT_INVALID',
            `${name}, line ${line}: ${JSON.stringify(cell)} of device ${JSON.stringify(deviceIds[d])} is not a number of ` +
              `ones from 0 to ${bits}. Leave a missing trial empty; --bits says how many bits a trial has.`,
          )
        }
        block[start + d] = ones + 1
      }
      seconds.push(second)
      lines.push(line)
    },
    finish() {
      const sorted = Uint32Array.from(seconds.keys())
      if (seconds.some((second, row) => row > 0 && second < seconds[row - 1])) {
        sorted.sort((a, b) => seconds[a] - seconds[b] || a - b)
      }
      const kept = sorted.filter((row, i) => {
        const previous = sorted[i - 1]
        if (i === 0 || seconds[previous] !== seconds[row]) return true
        if (areEqual(previous, row)) return false
        throw new CoherenceError(
          'INPUT_INVALID',
          `${name}: lines ${lines[previous]} and ${lines[row]} are both of second ${seconds[row]} and differ. ` +
            'A file has one row a second; take out the one that is wrong.',
        )
      })
      return {
        seconds: Float64Array.from(kept, (row) => seconds[row]),
        duplicates: sorted.length - kept.length,
        series(from, to) {
          const series = deviceIds.map((deviceId) => {
            return { deviceId, bits: new Uint32Array(to - from), ones: new Uint32Array(to - from) }
          })
          for (let t = 0; t < to - from; t++) {
            const block = blockOf(kept[from + t])
            const start = startOf(kept[from + t])
            for (let d = 0; d < devices; d++) {
              const cell = block[start + d]
              if (cell === 0) continue
              series[d].bits[t] = bits
              series[d].ones[t] = cell - 1
            }
          }
          return series
        },
      }
    },
  }
}
