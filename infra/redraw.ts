import { stripVTControlCharacters } from 'node:util'

/**
 * What a terminal is sent so that `text` takes the place of what it was sent before, of `before` rows (0: nothing), and how many
 * rows that takes. What scrolled away begins again at the top.
 */
export function redraw(
  text: string,
  before: number,
  { columns, rows }: { columns: number; rows: number },
): { sent: string; rows: number } {
  const lines = text.split('\n')
  const taken = lines.reduce((sum, line) => {
    return sum + Math.max(1, Math.ceil(stripVTControlCharacters(line).length / columns))
  }, 0)
  const back = before === 0 ? '' : before < rows ? `\u001b[${before}A\r` : '\u001b[H'
  return { sent: `${back}${lines.map((line) => `${line}\u001b[K\n`).join('')}\u001b[J`, rows: taken }
}
