import type { Ora } from 'ora'

/** How a command speaks: results on stdout, everything else on stderr. */
export interface Output {
  /** With --json one document, otherwise what `human` says. */
  result(json: object, human: () => string): void
  /** A line for people; silent with --json. */
  say(line: string): void
  /** A line that moves while something takes long; nothing in a pipe or with --json. */
  progress(title: string): Progress
  /** Ends progress that an error or a signal has cut short; without it the process would not end. */
  close(): void
}

/** Names are other people's: none of their control characters reaches the terminal. */
export function printable(text: string): string {
  // oxlint-disable-next-line no-control-regex -- these are what it is about
  return text.replaceAll(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g, '\ufffd')
}

export interface Progress {
  /** Whether there is a terminal that shows it: what it costs to know more need not be spent otherwise. */
  readonly isSeen: boolean
  /**
   * `done` of `total`, if the end is known: a bar, and how long the rest will take. With what they are counted in, `bytes` or
   * another plural, how many a second.
   */
  update(text: string, done?: number, total?: number, unit?: string): void
  end(text?: string): void
}

const BAR_WIDTH = 24
const LEAST_BAR = 8

/** Lines are broken here where words allow it. */
const WIDTH = 80

export async function createOutput(json: boolean): Promise<Output> {
  // A terminal may have no columns (containers, CI): then a spinner would clear infinitely many lines.
  const ora = json || !process.stderr.isTTY || process.stderr.columns === 0 ? null : (await import('ora')).default
  const spinning = new Set<Ora>()
  return {
    result(document, human) {
      process.stdout.write(json ? `${JSON.stringify(document)}\n` : `${printable(human())}\n`)
    },
    say(line) {
      if (!json) process.stdout.write(`${printable(line)}\n`)
    },
    progress(given) {
      if (ora === null) return { isSeen: false, update: () => {}, end: () => {} }
      const title = printable(given)
      // Node knows of NO_COLOR and of terminals without colours; ora does not.
      const colours = process.stderr.isTTY && process.stderr.hasColors()
      const spinner = ora({
        text: title,
        color: colours ? 'cyan' : false,
        stream: process.stderr,
        discardStdin: false,
      })
      spinner.start()
      spinning.add(spinner)
      const started = performance.now()
      return {
        isSeen: true,
        update(text, done, total, unit) {
          const said = `${text}${formatPace((performance.now() - started) / 1000, { done, total, unit })}`
          // Where there is little room the bar is what can be done without.
          const room = process.stderr.columns - '⠋ '.length - title.length - said.length - 2 * '  '.length
          const fraction = total && done !== undefined && room >= LEAST_BAR ? done / total : undefined
          spinner.text = `${title}  ${fraction === undefined ? '' : `${bar(fraction, Math.min(room, BAR_WIDTH))}  `}${said}`
        },
        end(text) {
          if (text === undefined) spinner.stop()
          else if (colours) spinner.succeed(`${title}  ${text}`)
          else spinner.stopAndPersist({ symbol: '✔', text: `${title}  ${text}` })
          spinning.delete(spinner)
        },
      }
    },
    close() {
      for (const spinner of spinning) spinner.stop()
    },
  }
}

function bar(fraction: number, width: number): string {
  const full = Math.round(Math.min(Math.max(fraction, 0), 1) * width)
  return `${'█'.repeat(full)}${'░'.repeat(width - full)}`
}

/** Less says nothing of the rest. */
const PACE_SECONDS = 2

/** `, 3.1 MiB/s, 4 min left`, as far as it is known after so many seconds; with nothing to say, nothing. */
export function formatPace(
  seconds: number,
  { done = 0, total, unit }: { done?: number; total?: number; unit?: string },
): string {
  if (seconds < PACE_SECONDS || done <= 0) return ''
  const rate = done / seconds
  const said = unit === undefined ? [] : [unit === 'bytes' ? `${formatBytes(rate)}/s` : formatRate(rate, unit)]
  if (total !== undefined && done < total) said.push(`${formatAge(Math.ceil((total - done) / rate))} left`)
  return said.map((one) => `, ${one}`).join('')
}

/** 1,250 samples/s, 3.1 objects/s, 12 jobs/min. */
function formatRate(rate: number, unit: string): string {
  const [count, time] = rate < 0.5 ? [60 * rate, 'min'] : [rate, 's']
  const digits = count < 10 ? 1 : 0
  return `${count.toLocaleString('en-US', { maximumFractionDigits: digits, minimumFractionDigits: digits })} ${unit}/${time}`
}

/** A label and its text on each line; the texts aligned, and broken between words where they are long. */
export function formatList(entries: readonly (readonly [label: string, text: string])[]): string {
  const indent = Math.max(...entries.map(([label]) => label.length)) + 2
  return entries.map(([label, text]) => label.padEnd(indent) + wrap(text, indent).trimStart()).join('\n')
}

/** `text` in lines of WIDTH, each indented; a word longer than a line has one of its own. */
export function wrap(text: string, indent = 0, width = WIDTH): string {
  const lines: string[] = []
  for (const paragraph of text.split('\n')) {
    let line = ''
    for (const word of paragraph.trim().split(/ +/)) {
      if (line !== '' && indent + line.length + 1 + word.length > width) {
        lines.push(line)
        line = word
      } else line += line === '' ? word : ` ${word}`
    }
    lines.push(line)
  }
  return lines.map((line) => `${' '.repeat(indent)}${line}`).join('\n')
}

/** Bytes in the unit people read. */
export function formatBytes(bytes: number): string {
  if (bytes < 1024) return `${Math.round(bytes)} B`
  const units = ['KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = -1
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`
}

/** A length of time in the unit people read. */
export function formatAge(seconds: number): string {
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`
}

/** A P-value as people write it. */
export function formatP(p: number | null | undefined): string {
  if (p === null || p === undefined) return '–'
  // Below the smallest double it is 0 here, and is not 0.
  return p >= 0.001 ? p.toFixed(3) : p === 0 ? '<1e-300' : p.toExponential(1)
}
