import { formatFixed, formatP, formatTime } from './format.ts'
import { type Html, html, nameHtml } from './html.ts'
import { codeName, column, recordsLink, type Section, table, unbroken } from './parts.ts'
import type { EventPart, ReportData } from './report-data.ts'

const MOST_ROWS = 100
const LONGEST_DESCRIPTION = 120

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
      Each has one hypothesis, written down beforehand and tested once: its null is that the devices are independent and
      fair.
    </p>
    ${table({
      id: 'event-table',
      caption: html`${events.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${events.length} events` : 'Events'} whose
      windows overlap this one, or that were computed in it.`,
      columns: [
        { head: 'Event' },
        { head: 'Window, UTC' },
        { head: 'Hypothesis' },
        column('event_statistic'),
        column('event_p'),
        column('event_holm'),
        column('event_control'),
        { head: 'State' },
      ],
      rows: events
        .slice(0, MOST_ROWS)
        .map((event) => [
          html`<span class="name">${nameHtml(event.name)}</span
            >${event.description !== null && html`<span class="unit name">${nameHtml(event.description, LONGEST_DESCRIPTION)}</span>`}`,
          html`${unbroken(formatTime(event.start))} to ${unbroken(formatTime(event.end))}`,
          html`${event.hypothesis}, ${event.tail === 'upper' ? 'upper tail' : 'two-sided'},
          ${codeName(event.profile)}${event.devices !== null && `, ${event.devices} devices`}`,
          formatFixed(event.statistic, 2),
          formatP(event.p),
          formatP(event.holm),
          formatP(event.control_p),
          stateOf(event),
        ]),
      download: recordsLink(
        'events',
        'the events',
        events.map(({ description: _description, devices: _devices, reason: _reason, ...event }) => event),
      ),
    })}`
}

function stateOf(event: EventPart): string {
  const declared = event.declared_before_start ? 'declared before it began' : 'declared while it ran'
  if (event.status === 'withdrawn') return 'withdrawn'
  if (event.status === 'declared') return `${declared}; not computed yet`
  return event.p === null ? `${declared}; ${event.reason ?? 'no result'}` : declared
}
