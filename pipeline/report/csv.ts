export type CsvValue = string | number | boolean | null

/** RFC 4180, with LF; null is empty, numbers have all their digits. */
export function toCsv(header: readonly string[], rows: readonly (readonly CsvValue[])[]): string {
  return [header, ...rows].map((row) => `${row.map(cell).join(',')}\n`).join('')
}

/** Texts that a spreadsheet would take for a formula get an apostrophe in front (OWASP, CSV injection). */
function cell(value: CsvValue): string {
  if (value === null) return ''
  if (typeof value !== 'string') return String(value)
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text
}

/** A link's target that holds the file itself. */
export function csvUrl(csv: string): string {
  return `data:text/csv;charset=utf-8,${encodeURI(csv.toWellFormed()).replaceAll('#', '%23')}`
}
