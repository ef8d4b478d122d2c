import { type EventResult, HYPOTHESES, type Hypothesis, type Tail } from '../pipeline/event.ts'
import { formatList, formatP, wrap } from './output.ts'
import { formatTable } from './table.ts'

/** A row of coherence_events in the words of its table. */
export interface EventDocument {
  readonly id: string
  readonly name: string
  readonly hypothesis: Hypothesis
  readonly tail: Tail
  readonly profile: string
  readonly event_start: Date
  readonly event_end: Date
  readonly device_ids: readonly string[] | null
  readonly description: string | null
  readonly control_seed: string
  readonly declared_at: Date
  readonly declared_by: string | null
  readonly declared_before_start: boolean
  readonly withdrawn_at: Date | null
  readonly status: 'declared' | 'computed'
  readonly computed_at: Date | null
  readonly method_version: string | null
  readonly result: EventResult | null
  /** Null if it is computed or withdrawn. */
  readonly waits_for?: readonly string[] | null
  /** p by Holm among all computed events. */
  readonly holm?: number | null
}

export function describeDeclaration(event: EventDocument, grace: string): string {
  const late = event.declared_before_start ? '' : ' It had begun when it was declared, and its row says so.'
  return wrap(
    `${event.name} is declared: ${question(event)}, from ${time(event.event_start)} to ${time(event.event_end)}.${late} It is ` +
      `computed once, ${grace} after its end or later, when all its data are verified. \`coherence event list\` shows it.`,
  )
}

export function describeEvents(events: readonly EventDocument[]): string {
  if (events.length === 0) return 'No events; `coherence event add` declares one.'
  const rows = events.map((event) => [
    event.name,
    time(event.event_start),
    time(event.event_end),
    `${event.hypothesis} ${event.tail}`,
    event.declared_before_start ? 'before' : 'during',
    event.withdrawn_at ? 'withdrawn' : formatP(event.result?.p),
    formatP(event.holm),
    formatP(event.result?.control.p),
  ])
  const lines = [
    formatTable(['event', 'from', 'to', 'hypothesis', 'declared', 'P', 'Holm', 'control P'], rows, 'lllllrrr'),
  ]
  const waiting = events.filter(({ waits_for: waits }) => waits)
  if (waiting.length > 0) {
    lines.push('', 'Not computed yet:')
    for (const { name, waits_for: waits } of waiting) lines.push(wrap(`${name} waits for ${waits!.join('; ')}`, 2))
  }
  return lines.join('\n')
}

export function describeEvent(event: EventDocument): string {
  const { result } = event
  const entries: [string, string][] = [
    ['event', `${event.name} (${event.id})`],
    ['window', `${time(event.event_start)} to ${time(event.event_end)}`],
    ['hypothesis', question(event)],
    ...(event.description === null ? [] : [['description', event.description] as [string, string]]),
    ['declared', `${time(event.declared_at)}, ${event.declared_before_start ? 'before it began' : 'while it ran'}`],
  ]
  if (event.withdrawn_at) entries.push(['withdrawn', time(event.withdrawn_at)])
  if (event.waits_for) entries.push(['waits for', event.waits_for.join('\n')])
  if (result === null) return formatList(entries)
  const others = HYPOTHESES.filter((name) => name !== event.hypothesis).map((name) => {
    const test = result.tests[name]
    return `${name} ${test.status === 'ok' ? `z ${test.z.toFixed(3)}` : test.status}`
  })
  const { sums, control } = result
  entries.push(
    ['computed', `${time(event.computed_at!)}, ${event.method_version}`],
    ['P', `${said(event, result)}; by Holm among all computed events ${formatP(event.holm)}`],
    ['control', `${said(event, control)}; pseudo-random, seed ${control.seed}`],
    ['others', `${others.join(', ')}: for information only`],
    [
      'data',
      `${sums.devices} devices, ${sums.seconds} seconds, ${sums.missing} trials missing, ${sums.failed} failed; ${result.chunks} chunks`,
    ],
  )
  return formatList(entries)
}

function question({ hypothesis, tail, profile, device_ids: devices }: EventDocument): string {
  const of = devices === null ? 'every device that sends' : `${devices.length} devices`
  return `${hypothesis}, ${tail === 'upper' ? 'upper tail' : 'two-sided'}, profile ${profile}, ${of}`
}

function said({ hypothesis }: EventDocument, test: Pick<EventResult, 'p' | 'statistic' | 'reason'>): string {
  if (test.p === null) return `none: ${test.reason}`
  return `${formatP(test.p)} (${hypothesis === 'netvar' ? 'chi-square' : 'z'} ${test.statistic!.toFixed(3)})`
}

function time(date: Date): string {
  return date.toISOString().replace('.000', '')
}
