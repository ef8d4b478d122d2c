import { existsSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ReportWindow } from '../../db/report.ts'
import { collectReport, DAY, defaultWindow } from '../../jobs/report-data.ts'
import { linkNewestReport } from '../../jobs/report-link.ts'
import { renderReport } from '../../jobs/report.ts'
import { CoherenceError } from '../../pipeline/errors.ts'
import { uuidAt, uuidBytes } from '../../pipeline/samples.ts'
import { formatMinute, formatP, formatWindow } from '../../pipeline/report/format.ts'
import { usage, type Register } from '../command.ts'
import type { Output } from '../output.ts'
import { parseSecond } from '../trial-second.ts'
import { withContext } from './with-context.ts'

const HOUR = 3600
const MOST_DAYS = 31

interface Flags {
  out?: string
  force?: true
  day?: string
  from?: string
  to?: string
  device?: string[]
  latest?: true
}

export const reportCommand: Register = (command, bind) => {
  command
    .option('--out <file>', 'where the page goes (default: coherence-report-<day>.html)')
    .option('--force', 'let it write over a file that is there')
    .option('--day <date>', 'a UTC day, as 2026-01-31')
    .option('--from <time>', 'begin of the window, a whole hour, as 2026-01-31T12:00:00Z')
    .option('--to <time>', `its end, not included; at most ${MOST_DAYS} days later`)
    .option('--device <id...>', 'only these devices')
    .option('--latest', 'make none: a new link to the newest that the scheduled job has written to the store')
    .action(
      bind(async ({ output, json, signal }, flags: Flags) => {
        if (flags.latest) return await showLatest(output, flags)
        const asked = parseWindow(flags)
        const deviceIds = flags.device === undefined ? null : parseDevices(flags.device)
        if (flags.out !== undefined) assertWritable(flags.out, flags.force === true)
        await withContext(async ({ context }) => {
          const progress = output.progress('reading the rollups')
          const now = new Date()
          const window: ReportWindow = { ...(asked ?? (await defaultWindow(context.pool, now))), deviceIds }
          const report = await collectReport(context, window, { now, signal })
          const unknown = deviceIds?.find((id) => !report.devices.some((device) => device.id === id))
          if (unknown !== undefined) {
            throw new CoherenceError(
              'DEVICE_UNKNOWN',
              `there is no device ${unknown}; leave --device out to see them all.`,
            )
          }
          // With --json a page is written only where one is asked for.
          const out = flags.out ?? (json ? undefined : `coherence-report-${report.from.slice(0, 10)}.html`)
          if (out !== undefined) {
            if (flags.out === undefined) assertWritable(out, flags.force === true)
            progress.update('drawing')
            writeFileSync(out, await renderReport(report))
          }
          progress.end()
          output.result({ file: out ?? null, ...report }, () => {
            const listed = report.findings.slice(0, 10).map(({ subject, finding, p_holm: p }) => {
              return `  ${subject}: ${finding}${p === null ? '' : ` (P = ${formatP(p)} by Holm)`}`
            })
            const more = report.findings.length - listed.length
            if (more > 0) listed.push(`  and ${more} more`)
            return [report.verdict, ...listed, pathToFileURL(resolve(out!)).href].join('\n')
          })
        })
      }),
    )
}

/** Who may read the database and the store may have a link: a signed one is good for a week. */
async function showLatest(output: Output, flags: Flags): Promise<void> {
  const others = Object.keys(flags).filter((flag) => flag !== 'latest' && flag !== 'json')
  if (others.length > 0) throw usage(`--latest makes no report; leave --${others[0]} out.`)
  await withContext(async ({ context }) => {
    const report = await linkNewestReport(context, new Date())
    if (report === null) {
      throw usage('no report has been written to the store yet: a worker does so an hour after a day (UTC) with data.')
    }
    output.result(report, () => {
      const expires = report.url.startsWith('file:') ? '' : `, until ${formatMinute(report.url_expires_at)} UTC`
      return [`${formatWindow(report.from, report.to)}${expires}`, report.verdict, report.url].join('\n')
    })
  })
}

function assertWritable(path: string, force: boolean): void {
  if (!force && existsSync(path)) throw usage(`${path} exists; name another file for --out, or say --force.`)
}

/** Null: whatever is the default. */
function parseWindow({ day, from, to }: Flags): Pick<ReportWindow, 'from' | 'to'> | null {
  if (day !== undefined) {
    if (from !== undefined || to !== undefined) throw usage('--day stands for --from and --to; give one or the others.')
    const start = /^\d{4}-\d\d-\d\d$/.test(day) ? Date.parse(`${day}T00:00:00Z`) / 1000 : Number.NaN
    // Dates that no month has are taken for days of the next.
    if (Number.isNaN(start) || new Date(start * 1000).toISOString().slice(0, 10) !== day) {
      throw usage(`--day takes a UTC day, as 2026-01-31, not ${JSON.stringify(day)}.`)
    }
    return { from: start, to: start + DAY }
  }
  if (from === undefined && to === undefined) return null
  if (from === undefined || to === undefined) throw usage('--from and --to belong together.')
  const window = { from: parseHour('--from', from), to: parseHour('--to', to) }
  if (window.from >= window.to) throw usage('--from must be before --to.')
  if (window.to - window.from > MOST_DAYS * DAY) throw usage(`--to must be at most ${MOST_DAYS} days after --from.`)
  return window
}

function parseHour(option: string, text: string): number {
  const second = /(Z|[+-]\d\d(:?\d\d)?)$/i.test(text) ? parseSecond(text) : null
  if (second !== null && text.includes(':') && second % HOUR === 0) return second
  throw usage(`${option} takes a whole hour with its zone, as 2026-01-31T12:00:00Z, not ${JSON.stringify(text)}.`)
}

function parseDevices(given: readonly string[]): string[] {
  const named = given.flatMap((text) => text.split(',')).map((id) => id.trim())
  const ids = named.map((id) => {
    try {
      return uuidAt(uuidBytes(id), 0)
    } catch {
      throw usage(`--device takes the uuids of devices, not ${JSON.stringify(id)}.`)
    }
  })
  return [...new Set(ids)]
}
