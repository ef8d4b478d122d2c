/** One figure of a benchmark, as `--json` gives it. */
export interface Line {
  readonly name: string
  /** Median of the rounds. */
  readonly figure: number
  readonly unit: string
  readonly goal: number | null
  readonly goal_met: boolean | null
  readonly ratio_to: string | null
  /** Lowest and highest of the rounds. */
  readonly spread: readonly [number, number]
}

/** What a group of benchmarks measured: its figures, and what people are shown beside their table. */
export interface Measured {
  readonly lines: readonly Line[]
  readonly more?: string
}

export interface BenchOptions {
  /** Fewer rounds, smaller data. */
  readonly quick: boolean
  readonly signal: AbortSignal
}

/** Units of which less is better. */
const COSTS = new Set(['ms', 's', 'bytes', 'times'])

function meets(figure: number, unit: string, goal: number): boolean {
  return COSTS.has(unit) ? figure <= goal : figure >= goal
}

/** A figure of several rounds. With a goal, it is one to reach or pass; of a cost, one to stay within. */
export function toLine(
  name: string,
  unit: string,
  values: readonly number[],
  extra: { goal?: number | null; ratio_to?: string } = {},
): Line {
  const figure = median(values)
  const { goal = null, ratio_to = null } = extra
  const spread = [Math.min(...values), Math.max(...values)] as const
  return { name, figure, unit, goal, goal_met: goal === null ? null : meets(figure, unit, goal), ratio_to, spread }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2
}

/** A line that the next one replaces; nothing in a pipe. */
export function showProgress(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r${line.padEnd(40)}\r`)
}

const WIDTHS = [56, 7, 10, 10, 10, 16] as const

/** One line of the table, the same columns for all groups. */
function formatRow(cells: readonly string[]): string {
  return cells
    .map((cell, column) =>
      column > 1 && column < 5 ? cell.padStart(WIDTHS[column]) : cell.padEnd(WIDTHS[column] ?? 0),
    )
    .join(' ')
    .trimEnd()
}

/** The head of the table. */
export function formatHead(): string {
  return formatRow(['', 'unit', 'lowest', 'median', 'highest', 'goal', 'ratio to'])
}

/** The figures as lines of that table. */
export function formatLines(lines: readonly Line[]): string {
  const goal = (line: Line) => {
    if (line.goal === null) return ''
    return `${COSTS.has(line.unit) ? '<=' : '>='} ${line.goal} ${line.goal_met ? 'met' : 'missed'}`
  }
  return lines
    .map((line) => {
      const figures = [line.spread[0], line.figure, line.spread[1]].map(formatFigure)
      return formatRow([line.name, line.unit, ...figures, goal(line), line.ratio_to ?? ''])
    })
    .join('\n')
}

function formatFigure(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toPrecision(3)
}
