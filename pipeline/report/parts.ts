/** Pieces that the report's sections share. */
import { csvUrl, type CsvValue, toCsv } from './csv.ts'
import { formatBytes } from './format.ts'
import { type Html, html, type HtmlValue } from './html.ts'
import { STATISTICS, type StatisticName, termList } from './statistics.ts'

export interface Section {
  readonly id: string
  readonly title: string
  readonly body: Html
}

/** A download of the numbers behind something; `what` completes "Download …". */
export function csvLink(
  file: string,
  what: string,
  header: readonly string[],
  rows: readonly (readonly CsvValue[])[],
): Html {
  const csv = toCsv(header, rows)
  return html`<a class="download" download="${file}.csv" href="${csvUrl(csv)}"
    >Download ${what} <span class="unit">(CSV, ${formatBytes(csv.length)})</span></a
  >`
}

/** The same, of records whose names are the header. */
export function recordsLink(file: string, what: string, records: readonly Readonly<Record<string, CsvValue>>[]): Html {
  return csvLink(file, what, Object.keys(records[0] ?? {}), records.map(Object.values))
}

/** A figure drawn for wide and narrow screens, what it says, and its numbers. */
export function figure(drawn: { wide: Html; narrow?: Html }, caption: Html, download: Html): Html {
  const drawings = drawn.narrow
    ? html`<div class="wide">${drawn.wide}</div>
        <div class="narrow">${drawn.narrow}</div>`
    : drawn.wide
  return html`<figure>
    ${drawings}
    <figcaption>${caption} ${download}</figcaption>
  </figure>`
}

export interface Column {
  readonly head: HtmlValue
  /** Numbers stand to the right. */
  readonly numeric?: boolean
  readonly statistic?: StatisticName
}

/** A column of a statistic's numbers; the table says beneath it what they mean. */
export function column(statistic: StatisticName): Column {
  return { head: STATISTICS[statistic].term, numeric: true, statistic }
}

/** So many rows stay on one page of paper. */
const MOST_ROWS_TOGETHER = 8

export interface Table {
  readonly id: string
  readonly caption: HtmlValue
  readonly columns: readonly Column[]
  /** The first cell of a row is its heading. */
  readonly rows: readonly (readonly HtmlValue[])[]
  /** Its numbers. */
  readonly download: Html
  /** Statistics that have no column. */
  readonly statistics?: readonly StatisticName[]
}

/** A table that scrolls by itself where it is too wide, with what its statistics mean. */
export function table({ id, caption, columns, rows, download, statistics = [] }: Table): Html {
  const side = (i: number) => (columns[i].numeric ? html` class="number"` : null)
  const head = columns.map(({ head: title }, i) => html`<th scope="col" ${side(i)}>${title}</th>`)
  const body = rows.map(
    (row) =>
      html`<tr>
        ${row.map((value, i) => (i === 0 ? html`<th scope="row" ${side(i)}>${value}</th>` : html`<td${side(i)}>${value}</td>`))}
      </tr> `,
  )
  const terms = [...statistics, ...columns.flatMap(({ statistic }) => statistic ?? [])]
  return html`<div class="${rows.length <= MOST_ROWS_TOGETHER ? 'table together' : 'table'}">
    <p class="caption" id="${id}">${caption}</p>
    <div class="scroll" role="region" aria-labelledby="${id}" tabindex="0">
      <table aria-labelledby="${id}">
        <thead>
          <tr>
            ${head}
          </tr>
        </thead>
        <tbody>
          ${body}
        </tbody>
      </table>
    </div>
    <p class="save">${download}</p>
    ${termList(terms)}
  </div>`
}

/** A mark that is more than a colour, with what it means. */
export function flag(meaning: string): Html {
  return html`<span class="flag" role="img" aria-label="${meaning}" title="${meaning}">▲</span>`
}

/** A name of code, broken after underscores alone. */
export function codeName(name: string): Html {
  return html`<code class="word">${name.split('_').map((part, i) => html`${i > 0 && html`_<wbr />`}${part}`)}</code>`
}

/** A text in which dates and times are not broken. */
export function unbroken(text: string): Html {
  const parts = text.split(/(\d{4}-\d\d-\d\d(?:[T ][\d:.]+Z?)?)/)
  return html`${parts.map((part, i) => (i % 2 === 1 ? html`<span class="nowrap">${part}</span>` : part))}`
}
