import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { formatCount, formatInteger } from '../../../pipeline/report/format.ts'
import type { ChunkListRow, PipelineView } from '../model.ts'
import { Report } from './report.ts'
import type { ConsoleSource } from './source.ts'
import { ago, Command, facts, flag, formatAge, table } from './parts.ts'

/** Workers pack what is five minutes old, unless they are told otherwise; this long it should never wait. */
const LATE_SECONDS = 1800

const DASHBOARD = 'https://www.npmjs.com/package/@pg-boss/dashboard'

interface Failure {
  readonly key: string
  readonly what: string
  readonly error: string
  readonly at: string | null
  /** The command, and its arguments, that a maintainer runs; null where only its user can do something. */
  readonly command: string | null
}

/** One sentence on how the pipeline is. */
export function pipelineVerdict(view: PipelineView, now: Date): string {
  const failures = listFailures(view).length
  if (failures > 0) return failures === 1 ? 'One thing failed.' : `${formatInteger(failures)} things failed.`
  const { oldest_waiting: oldest, waiting_samples: waiting, verified_chunks: verified } = view.health
  const late = oldest === null ? 0 : (now.getTime() - Date.parse(oldest)) / 1000
  if (late > LATE_SECONDS) return `Samples have waited for ${formatAge(late)}: is a worker running?`
  if (!waiting && !verified && !inFlight(view)) return 'No sample has arrived yet.'
  return 'All is well.'
}

export function pipelineView(view: PipelineView, now: Date, source: ConsoleSource): VNode {
  const { health, queues, report } = view
  const failures = listFailures(view)
  return html`
    ${facts([
      ['Waiting to be packed', formatCount(health.waiting_samples ?? 0), oldestOf(health.oldest_waiting, now)],
      [
        'Chunks on their way',
        formatInteger(inFlight(view)),
        `${formatInteger(health.unverified_chunks ?? 0)} to verify`,
      ],
      [
        'Chunks verified',
        formatCount(health.verified_chunks ?? 0),
        lastOf(health.last_verification, now, 'the last', 'none yet'),
      ],
      [
        'Chunks failed',
        formatInteger(health.failed_chunks ?? 0),
        lastOf(health.last_upload, now, 'last upload', 'no upload yet'),
      ],
      [
        'Analyses',
        formatInteger(health.queued_analyses ?? 0),
        `queued, ${formatInteger(health.running_analyses ?? 0)} running`,
      ],
    ])}
    ${report !== null && html`<${Report} report=${report} now=${now} read=${source.readReport} />`}
    <section aria-labelledby="failures">
      <h2 id="failures">Failures</h2>
      ${
        failures.length === 0
          ? html`<p>None.</p>`
          : html`<p>
                What a maintainer runs to have it done again is below each. The newest twenty of each kind are listed.
              </p>
              <ul class="failures">
                ${failures.map(
                  (failure) =>
                    html`<li key=${failure.key}>
                      <h3>${flag('Failed')} ${failure.what} <span class="unit">${ago(failure.at, now, '')}</span></h3>
                      <pre tabindex="0">${failure.error}</pre>
                      ${failure.command !== null && html`<${Command} text=${`${source.command} ${failure.command}`} />`}
                    </li>`,
                )}
              </ul>`
      }
    </section>
    ${
      queues !== null &&
      html`<section aria-labelledby="queues">
        <h2 id="queues">Queues</h2>
        ${
          queues.length === 0
            ? html`<p>No job waits or runs.</p>`
            : table({
                id: 'queues-table',
                caption: 'Jobs that did not end yet.',
                columns: [
                  { head: 'Queue' },
                  { head: 'Ready', numeric: true },
                  { head: 'Active', numeric: true },
                  { head: 'Later', numeric: true },
                  { head: 'Oldest ready', numeric: true },
                ],
                rows: queues.map((row) => ({
                  key: row.queue,
                  cells: [
                    html`<code>${row.queue}</code>`,
                    formatInteger(row.ready),
                    formatInteger(row.active),
                    formatInteger(row.later),
                    ago(row.oldest_ready, now, '–'),
                  ],
                })),
              })
        }
        <p>
          Single jobs, their data and schedules: <a href=${DASHBOARD} rel="noreferrer">@pg-boss/dashboard</a>, the
          queue’s own, which another terminal starts:
        </p>
        <${Command} text="npx --package @pg-boss/dashboard pg-boss-dashboard" />
      </section>`
    }
  `
}

function inFlight({ health }: PipelineView): number {
  return (health.pending_chunks ?? 0) + (health.uploading_chunks ?? 0) + (health.unverified_chunks ?? 0)
}

function lastOf(iso: string | null, now: Date, what: string, none: string): VNode | string {
  return iso === null ? none : html`${what} ${ago(iso, now)}`
}

function oldestOf(iso: string | null, now: Date): VNode | string {
  return iso === null ? 'nothing waits' : html`the oldest came ${ago(iso, now)}`
}

function listFailures(view: PipelineView): Failure[] {
  return [
    ...view.deadLetters.map((letter) => ({
      key: letter.id,
      what: `Job of ${letter.queue}`,
      error: letter.error ?? 'It gave no reason.',
      at: letter.failed_at,
      command: 'backfill redrive',
    })),
    ...view.troubledChunks.map((chunk) => ({
      key: chunk.id,
      what: chunk.status === 'failed' ? `Chunk ${chunk.id}` : `Chunk ${chunk.id}, still tried`,
      error: chunk.last_error ?? 'It gave no reason.',
      at: chunk.updated_at,
      command: `backfill ${chunk.status === 'uploaded' ? 'tests' : 'chunks'} ${rangeOf(chunk)}`,
    })),
    ...view.failedAnalyses.map((row) => ({ ...row, what: `Analysis ${row.id}` })),
    ...view.failedExports.map((row) => ({ ...row, what: `Export ${row.id}` })),
  ].map((failure) =>
    'what' in failure && 'command' in failure
      ? failure
      : {
          key: failure.id,
          what: failure.what,
          error: failure.error_message ?? 'It gave no reason.',
          at: failure.completed_at,
          command: null,
        },
  )
}

/** The whole seconds that hold the chunk. */
function rangeOf(chunk: ChunkListRow): string {
  const second = (iso: string, more: number) =>
    new Date((Math.floor(Date.parse(iso) / 1000) + more) * 1000).toISOString().replace('.000Z', 'Z')
  return `--from ${second(chunk.min_timestamp, 0)} --to ${second(chunk.max_timestamp, 1)}`
}
