import { styleText } from 'node:util'
import type { PipelineHealth } from '../db/health.ts'
import type { HealthProblem } from './health-problems.ts'
import { formatAge, printable, wrap } from './output.ts'
import { formatTable } from './table.ts'

/** What `coherence status` says, as its `--json` has it. */
export interface StatusDocument extends PipelineHealth {
  readonly problems: readonly HealthProblem[]
  readonly unmirrored: number | null
  /** The longest from a chunk's making to its proof, in seconds, of each half hour of the last 12, oldest first; null: no chunk. */
  readonly lag: readonly (number | null)[]
  readonly jobs: readonly { queue: string; state: string; jobs: number }[]
  readonly deadLetters: readonly { queue: string; error: string | null; failedAt: Date }[]
  readonly troubledChunks: readonly { id: string; status: string; error: string | null }[]
}

type Colour = 'green' | 'yellow' | 'red' | 'dim' | 'bold'
/** Lines that fit a terminal of 80 columns. */
const WIDTH = 78
const BARS = '▁▂▃▄▅▆▇█'

/** A page for a person; `colours` as the terminal has them. What others have written is printable in it. */
export function describeStatus(status: StatusDocument, { colours }: { colours: boolean }): string {
  const paint = (colour: Colour, text: string) => (colours ? styleText(colour, text, { validateStream: false }) : text)
  const { chunks, analyses, jobs, problems, unmirrored } = status
  const counts = (entries: Readonly<Record<string, number>>) =>
    Object.entries(entries)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => paint(name === 'failed' ? 'red' : 'dim', `${formatCount(count)} ${name}`))
      .join(paint('dim', ', ')) || paint('dim', 'none')
  const oldest =
    status.oldestWaitingSeconds === null ? '' : `, the oldest for ${formatAge(status.oldestWaitingSeconds)}`
  const lines = [
    row('waiting', `${formatCount(status.waitingSamples)} samples${oldest}`),
    row('chunks', counts({ ...chunks })),
    row('proof takes', describeLag(status.lag, paint)),
    ...(unmirrored === null
      ? []
      : [
          row(
            'mirror',
            unmirrored === 0 ? paint('green', 'complete') : paint('yellow', `${unmirrored} objects not there yet`),
          ),
        ]),
    row('analyses', counts({ ...analyses })),
    row(
      'last tick',
      status.secondsSinceTick === null ? paint('red', 'never') : `${formatAge(status.secondsSinceTick)} ago`,
    ),
    row(
      'last prune',
      status.lastPrune === null ? paint('dim', 'never') : status.lastPrune.toISOString().slice(0, 19) + 'Z',
    ),
  ]
  if (jobs.length > 0)
    lines.push(
      '',
      formatTable(
        ['queue', 'state', 'jobs'],
        jobs.map(({ queue, state, jobs: count }) => [queue, state, count]),
        'llr',
      ),
    )
  if (status.deadLetters.length > 0) {
    lines.push('', paint('bold', 'Dead letters'))
    for (const { queue, failedAt, error } of status.deadLetters) {
      lines.push(`  ${queue}  ${failedAt.toISOString()}`, wrap(printable(error ?? 'no reason'), 4, WIDTH))
    }
  }
  if (status.troubledChunks.length > 0) {
    lines.push('', paint('bold', 'Chunks that need a look'))
    for (const { id, status: state, error } of status.troubledChunks) {
      lines.push(
        `  ${id}  ${paint(state === 'failed' ? 'red' : 'yellow', state)}`,
        wrap(printable(error ?? 'no reason'), 4, WIDTH),
      )
    }
  }
  lines.push('')
  if (problems.length === 0) lines.push(paint('green', 'Nothing needs a person.'))
  else lines.push(paint('red', 'What needs a person:'), ...problems.map(({ message }) => wrap(message, 2, WIDTH)))
  return lines.join('\n')
}

/** When what is shown was read, and when it will be again. */
export function describeReading(now: Date, everySeconds: number, colours: boolean): string {
  const text = `${now.toISOString().slice(0, 19).replace('T', ' ')} UTC, every ${everySeconds} s until Ctrl-C`
  return colours ? styleText('dim', text, { validateStream: false }) : text
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(12)}${text}`
}

/** A bar for each half hour: its height by the logarithm of the seconds, from 1 s to a day. */
function describeLag(lag: StatusDocument['lag'], paint: (colour: Colour, text: string) => string): string {
  const known = lag.filter((seconds) => seconds !== null)
  if (known.length === 0) return paint('dim', 'no chunk in 12 hours')
  const bars = lag.map((seconds) => {
    if (seconds === null) return ' '
    const height = Math.log(Math.max(seconds, 1)) / Math.log(86_400)
    return BARS[Math.min(BARS.length - 1, Math.floor(height * BARS.length))]
  })
  return `${bars.join('')} ${paint('dim', `12 h; at most ${formatAge(Math.max(...known))}`)}`
}

function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}
