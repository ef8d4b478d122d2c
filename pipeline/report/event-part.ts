import type { EventResult, Hypothesis, Tail } from '../event.ts'
import { adjustPValues } from '../second-level.ts'
import { isoTime } from './network-trace.ts'
import type { EventPart } from './report-data.ts'

/** A row of coherence_events, times in seconds since 1970. */
export interface DeclaredEvent {
  readonly name: string
  readonly hypothesis: Hypothesis
  readonly tail: Tail
  readonly profile: string
  readonly start: number
  readonly end: number
  readonly deviceIds: readonly string[] | null
  readonly description: string | null
  readonly declaredBeforeStart: boolean
  readonly withdrawnAt: Date | null
  readonly status: 'declared' | 'computed'
  readonly computedAt: Date | null
  readonly result: EventResult | null
}

/** The events that overlap [from, to) or were computed in it. Holm's P is among all events that were ever computed. */
export function eventParts(events: readonly DeclaredEvent[], from: number, to: number): EventPart[] {
  const { holm } = adjustPValues(events.map(({ result }) => result?.p ?? null))
  return events.flatMap((event, i) => {
    const computed = event.computedAt === null ? -Infinity : event.computedAt.getTime() / 1000
    if (!((event.start < to && event.end > from) || (computed >= from && computed < to))) return []
    const { result } = event
    return [
      {
        name: event.name,
        hypothesis: event.hypothesis,
        tail: event.tail,
        profile: event.profile,
        start: isoTime(event.start),
        end: isoTime(event.end),
        devices: event.deviceIds?.length ?? null,
        description: event.description,
        declared_before_start: event.declaredBeforeStart,
        status: event.withdrawnAt === null ? event.status : 'withdrawn',
        p: result?.p ?? null,
        statistic: result?.statistic ?? null,
        reason: result?.reason ?? null,
        holm: holm[i],
        control_p: result?.control.p ?? null,
        chunk_set_hash: result?.chunk_set_hash ?? null,
      },
    ]
  })
}
