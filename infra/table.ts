import Table from 'cli-table3'

/** Aligned columns without lines. `align` is by column: l or r. */
export function formatTable(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
  align = '',
): string {
  const table = new Table({
    head: [...head],
    colAligns: head.map((_, column) => (align[column] === 'r' ? 'right' : 'left')),
    chars: {
      top: '',
      'top-mid': '',
      'top-left': '',
      'top-right': '',
      bottom: '',
      'bottom-mid': '',
      'bottom-left': '',
      'bottom-right': '',
      left: '',
      'left-mid': '',
      mid: '',
      'mid-mid': '',
      right: '',
      'right-mid': '',
      middle: '  ',
    },
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
  })
  for (const row of rows) table.push(row.map(String))
  return table
    .toString()
    .split('\n')
    .map((line) => `  ${line}`.trimEnd())
    .join('\n')
}
