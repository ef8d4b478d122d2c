import { spawn } from 'node:child_process'
import { once } from 'node:events'

/** What a command leaves on a terminal, and a page that shows it. */

export const COLUMNS = 80
/** More than any command fills: what scrolls away is lost to a picture. */
const ROWS = 200

interface Cell {
  readonly char: string
  readonly style: string
}

/** Runs a shell's command line on a terminal of its own, by `script` of util-linux; what it wrote, whatever its exit code. */
export async function recordTerminal(line: string, options: { cwd: string; env: NodeJS.ProcessEnv }): Promise<string> {
  const command = `stty cols ${COLUMNS} rows ${ROWS}; ${line}`
  const child = spawn('script', ['-qec', command, '/dev/null'], { ...options, stdio: ['ignore', 'pipe', 'inherit'] })
  let written = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => (written += text))
  await once(child, 'close')
  return written
}

/** The rows that are left when all is written; knows what ora and our own commands send. */
function readScreen(written: string): Cell[][] {
  const rows: Cell[][] = [[]]
  let [row, column, style] = [0, 0, '']
  // oxlint-disable-next-line no-control-regex -- these are what it is about
  for (const [char, given, code] of written.matchAll(/\u001b\[([?\d;]*)([A-Za-z])|[^]/gu)) {
    const count = Number(given || 1)
    if (code === 'm') style = styleOf(given, style)
    else if (code === 'A') row = Math.max(0, row - count)
    else if (code === 'G') column = count - 1
    else if (code === 'K') rows[row].length = given === '2' ? 0 : Math.min(rows[row].length, column)
    else if (code === 'J') {
      rows.length = row + 1
      rows[row].length = Math.min(rows[row].length, column)
    } else if (code !== undefined) continue
    else if (char === '\r') column = 0
    else if (char === '\n') rows[++row] ??= []
    else {
      if (column === COLUMNS) {
        column = 0
        rows[++row] ??= []
      }
      while (rows[row].length < column) rows[row].push({ char: ' ', style: '' })
      rows[row][column++] = { char, style }
    }
  }
  return rows
}

const COLOURS: Readonly<Record<string, string>> = {
  31: 'red',
  32: 'green',
  33: 'yellow',
  36: 'cyan',
  90: 'dim',
  2: 'dim',
  1: 'bold',
}

function styleOf(given: string, before: string): string {
  return given.split(';').reduce((style, code) => COLOURS[code] ?? (/^(0?|22|39)$/.test(code) ? '' : style), before)
}

/** A page with a prompt, the command, and the screen that it left. */
export function terminalPage(typed: string, written: string): string {
  const lines = readScreen(written).map((cells) =>
    cells.map(({ char, style }) => (style === '' ? escape(char) : `<i class="${style}">${escape(char)}</i>`)).join(''),
  )
  return `<!doctype html><meta charset="utf-8"><style>
    body { margin: 0; background: #14171c; }
    pre { margin: 0; padding: 20px 24px; width: ${COLUMNS}ch; color: #e8eaed;
      font: 13px/1.4 "DejaVu Sans Mono", ui-monospace, Menlo, Consolas, monospace; }
    i { font-style: normal; } .green { color: #7ee2a8; } .red { color: #ff8f86; } .yellow { color: #ffd479; }
    .cyan { color: #74d0ff; } .dim { color: #a0a9b5; } .bold { font-weight: 700; }
  </style><pre><i class="dim">$</i> ${escape(typed)}\n${lines.join('\n').trimEnd()}</pre>`
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
}
