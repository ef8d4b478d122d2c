import { formatCount, formatInteger, formatTime } from './format.ts'
import { type Html, html } from './html.ts'
import { csvLink, type Section, table, unbroken } from './parts.ts'
import type { ReportData } from './report-data.ts'

const MOST_ROWS = 12
const MOST_DOWNLOADED = 10_000

export function provenanceSection(report: ReportData): Section {
  return { id: 'provenance', title: 'Where the numbers come from', body: provenanceBody(report) }
}

function provenanceBody({ provenance, from, to, made_at: madeAt, device_ids: deviceIds }: ReportData): Html {
  const { chunks } = provenance
  const entries: [string, Html | string][] = [
    ['Window', html`<code class="nowrap">${from}</code> to <code class="nowrap">${to}</code>, UTC, end not included`],
    ['Devices', deviceIds === null ? 'all' : html`${formatInteger(deviceIds.length)} chosen`],
    ['Made', html`${unbroken(formatTime(madeAt))} UTC`],
    ['Software', html`coherence-pipeline ${provenance.library_version}, <code>${provenance.report_version}</code>`],
    ...Object.entries(provenance.method_versions).map(([name, versions]): [string, Html] => [
      `Method of ${name}`,
      html`<code>${versions.length === 0 ? 'no rows' : versions.join(', ')}</code>`,
    ]),
    [
      'Parameters',
      html`${Object.entries(provenance.parameters).map(
        ([name, value], i) => html`${i > 0 && ' '}<code class="nowrap">${name}=${value}</code>`,
      )}`,
    ],
    ['Chunk set', html`<code>${provenance.chunk_set_hash}</code>`],
  ]
  const listed = chunks.slice(0, MOST_DOWNLOADED)
  return html` <p>
      Every number on this page is recomputed from the rows that the pipeline keeps, and those from chunks that were
      read back and proved. The hash of the chunk set is the SHA-256 of the lines <code>id sha256</code> of the
      ${formatInteger(chunks.length)} verified chunks that overlap the window, in order of id: two reports with the same
      hash, parameters and versions have the same
      statistics.${provenance.unverified_chunks > 0 && html` <strong>${formatInteger(provenance.unverified_chunks)} more ${provenance.unverified_chunks === 1 ? 'chunk is' : 'chunks are'} not verified yet; the numbers will change.</strong>`}
    </p>
    <dl>
      ${entries.map(
        ([term, text]) =>
          html`<div>
            <dt>${term}</dt>
            <dd>${text}</dd>
          </div>`,
      )}
    </dl>
    ${
      chunks.length > 0 &&
      table({
        id: 'chunk-table',
        caption: html`${chunks.length > MOST_ROWS ? `The first ${MOST_ROWS} of ${formatInteger(chunks.length)} chunks; the download has ${listed.length < chunks.length ? formatInteger(listed.length) : 'all'}.` : 'The chunks.'}`,
        columns: [
          { head: 'Chunk' },
          { head: 'Samples', numeric: true },
          { head: 'Bytes', numeric: true },
          { head: 'From' },
          { head: 'SHA-256' },
        ],
        rows: chunks
          .slice(0, MOST_ROWS)
          .map((chunk) => [
            html`<code class="hash">${chunk.id}</code>`,
            formatInteger(chunk.rows),
            formatCount(chunk.bytes),
            unbroken(formatTime(chunk.from)),
            html`<code class="hash">${chunk.sha256}</code>`,
          ]),
        download: csvLink(
          'chunks',
          'the list of chunks',
          ['id', 'sha256', 'samples', 'bytes', 'from', 'to', 'verified_at'],
          listed.map((chunk) => [
            chunk.id,
            chunk.sha256,
            chunk.rows,
            chunk.bytes,
            chunk.from,
            chunk.to,
            chunk.verified_at,
          ]),
        ),
      })
    }`
}
