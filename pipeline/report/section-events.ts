import { formatFixed, formatP, formatTime } from './format.ts'
import { type Html, html, nameHtml } from './html.ts'
import { recordsLink, type Section, table } from './parts.ts'
import type { EventPart, ReportData } from './report-data.ts'

const MOST_ROWS = 100

export function eventsSection(report: ReportData): Section {
  return { id: 'events', title: 'Declared events', body: eventsBody(report.events) }
}

function eventsBody(events: readonly EventPart[]): Html {
  if (events.length === 0) {
    return html`<p>
      No declared event falls into this window. <code>coherence event add</code> declares one, before its window is
      over.
    </p>`
  }
  return html`<p>
      Each has one hypothesis, written down beforehand and tested once. P is the probability of such a result, or a
      rarer one in the declared tail, if the devices are independent and fair. Holm’s P is corrected for all events ever
      computed. The control is the same test of pseudo-random trials in the same seconds.
    </p>
    ${table(
      'event-table',
      html`${events.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${events.length} events` : 'Events'} whose windows
      overlap this one, or that were computed in it.`,
      [
        { head: 'Event' },
        { head: 'Window, UTC' },
        { head: 'Hypothesis' },
        { head: 'Statistic', numeric: true },
        { head: 'P', numeric: true },
        { head: 'Holm', numeric: true },
        { head: 'Control P', numeric: true },
        { head: 'State' },
      ],
      events
        .slice(0, MOST_ROWS)
        .map((event) => [
          html`<span class="name">${nameHtml(event.name)}</span
            >${event.description !== null && html`<span class="unit">${nameHtml(event.description)}</span>`}`,
          html`${formatTime(event.start)} to ${formatTime(event.end)}`,
          html`${event.hypothesis}, ${event.tail === 'upper' ? 'upper tail' : 'two-sided'},
            <code>${event.profile}</code>${event.devices !== null && `, ${event.devices} devices`}`,
          formatFixed(event.statistic, 2),
          formatP(event.p),
          formatP(event.holm),
          formatP(event.control_p),
          stateOf(event),
        ]),
    )}
    <p>
      ${recordsLink(
        'events',
        'the events',
        events.map(({ description: _description, devices: _devices, reason: _reason, ...event }) => event),
      )}
    </p>`
}

function stateOf(event: EventPart): string {
  const declared = event.declared_before_start ? 'declared before it began' : 'declared while it ran'
  if (event.status === 'withdrawn') return 'withdrawn'
  if (event.status === 'declared') return `${declared}; not computed yet`
  return event.p === null ? `${declared}; ${event.reason ?? 'no result'}` : declared
}
