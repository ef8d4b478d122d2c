import Table from 'cli-table3'
import ora from 'ora'

/** How a command speaks: results on stdout, everything else on stderr. */
export interface Output {
  /** With --json one document, otherwise what `human` says. */
  result(json: object, human: () => string): void
  /** A line for people; silent with --json. */
  say(line: string): void
  /** A line that moves while something takes long; nothing in a pipe or with --json. */
  progress(title: string): Progress
}

export interface Progress {
  /** `done` of `total`, if the end is known. */
  update(text: string, done?: number, total?: number): void
  end(text?: string): void
}

const BAR_WIDTH = 24

export function createOutput(json: boolean): Output {
  return {
    result(document, human) {
      process.stdout.write(json ? `${JSON.stringify(document)}\n` : `${human()}\n`)
    },
    say(line) {
      if (!json) process.stdout.write(`${line}\n`)
    },
    progress(title) {
      const spinner = ora({
        text: title,
        stream: process.stderr,
        isSilent: json || !process.stderr.isTTY,
        discardStdin: false,
      })
      spinner.start()
      const started = performance.now()
      return {
        update(text, done, total) {
          if (done === undefined || total === undefined || total === 0) spinner.text = `${title}  ${text}`
          else spinner.text = `${title}  ${bar(done / total)}  ${text}${remaining(started, done / total)}`
        },
        end(text) {
          if (text === undefined) spinner.stop()
          else spinner.succeed(`${title}  ${text}`)
        },
      }
    },
  }
}

function bar(fraction: number): string {
  const full = Math.round(Math.min(Math.max(fraction, 0), 1) * BAR_WIDTH)
  return `${'█'.repeat(full)}${'░'.repeat(BAR_WIDTH - full)}`
}

function remaining(started: number, fraction: number): string {
  const seconds = (performance.now() - started) / 1000
  if (fraction <= 0 || seconds < 2) return ''
  return `, ${Math.ceil((seconds / fraction) * (1 - fraction))} s left`
}

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

/** Bytes in the unit people read. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = -1
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

/** A P-value as people write it. */
export function formatP(p: number | null | undefined): string {
  if (p === null || p === undefined) return '–'
  return p >= 0.001 ? p.toFixed(3) : p === 0 ? '0' : p.toExponential(1)
}
