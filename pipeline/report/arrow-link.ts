import { Table, tableToIPC, TimestampMillisecond, type Vector, vectorFromArray } from 'apache-arrow'
import { formatBytes } from './format.ts'
import { type Html, html } from './html.ts'

/** A column of times (ISO 8601), or of numbers. */
export type ArrowColumn = readonly string[] | Float64Array

/** A download of columns of equal lengths as an Arrow file; the same columns give the same bytes. */
export function arrowLink(file: string, what: string, columns: Readonly<Record<string, ArrowColumn>>): Html {
  const vectors: Record<string, Vector> = {}
  for (const [name, values] of Object.entries(columns)) {
    vectors[name] =
      values instanceof Float64Array
        ? vectorFromArray(values)
        : vectorFromArray(values.map(Date.parse), new TimestampMillisecond('UTC'))
  }
  const bytes = tableToIPC(new Table(vectors), 'file')
  const url = `data:application/vnd.apache.arrow.file;base64,${Buffer.from(bytes).toString('base64')}`
  return html`<a class="download" download="${file}.arrow" href="${url}"
    >Download ${what} <span class="unit">(Arrow, ${formatBytes(bytes.length)})</span></a
  >`
}
