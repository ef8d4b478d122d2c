import { formatList } from '../../infra/output.ts'
import { formatTable } from '../../infra/table.ts'
import type { Ledger } from './devices.ts'
import { ledgerKey } from './devices.ts'
import type { ProvedChunk } from './proof.ts'
import { uuidAt } from '../../pipeline/samples.ts'

/** Something that went wrong on purpose; times in milliseconds since 1970. */
export interface Event {
  readonly kind: string
  readonly began: number
  readonly ended: number
}

export interface Spread {
  readonly median: number
  readonly worst: number
}

export interface ChaosReport {
  readonly seed: string
  readonly seconds: number
  readonly drainSeconds: number
  readonly samples: { sent: number; acknowledged: number; unanswered: number; unansweredStored: number }
  readonly chunks: number
  readonly objectsWithoutRow: number
  readonly kills: Record<string, number>
  /** Processes that were told to stop, and seconds until they had. */
  readonly stops: { times: number; seconds: Spread }
  /** By status. */
  readonly analyses: Record<string, number>
  readonly backfilled: number
  /** By kind of fault: how often, and seconds from its end to the next chunk that was verified. */
  readonly faults: { kind: string; times: number; recovery: Spread }[]
  /** Seconds from a sample's acknowledgement to the proof of its chunk. */
  readonly lag: Spread
  readonly prunes: { prunes: number; rows: number; bytes: number }
  readonly rollups: Record<string, number>
  /** Jobs that were done more than once, and dead letters that had to be redriven. */
  readonly retriedJobs: number
  readonly redriven: Record<string, number>
  readonly ends: Record<string, number>
  readonly problems: readonly string[]
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  return { median: sorted[sorted.length >> 1] ?? 0, worst: sorted.at(-1) ?? 0 }
}

/** Seconds from the end of each event to the first chunk that was verified after it, by kind. */
export function recoveries(events: readonly Event[], chunks: readonly ProvedChunk[]): ChaosReport['faults'] {
  const verified = chunks.map(({ verifiedAt }) => verifiedAt).toSorted((a, b) => a - b)
  return [...Map.groupBy(events, ({ kind }) => kind)].map(([kind, all]) => ({
    kind,
    times: all.length,
    recovery: spreadOf(
      all.flatMap(({ ended }) => {
        const next = verified.find((at) => at > ended)
        return next === undefined ? [] : [(next - ended) / 1000]
      }),
    ),
  }))
}

/** What became of the samples: how many, and how long they took. */
export function countSamples(ledger: Ledger, chunks: readonly ProvedChunk[]): Pick<ChaosReport, 'samples' | 'lag'> {
  const lags: number[] = []
  let unansweredStored = 0
  for (const { samples, verifiedAt } of chunks) {
    for (let row = 0; row < samples.rows; row++) {
      const [deviceId, profileId] = [uuidAt(samples.deviceId, row), uuidAt(samples.profileId, row)]
      const sent = ledger.get(ledgerKey(deviceId, profileId, samples.timestamp[row], samples.sequence[row]))
      if (sent === undefined) continue
      if (sent.acknowledgedAt === null) unansweredStored++
      else lags.push((verifiedAt - sent.acknowledgedAt) / 1000)
    }
  }
  const unanswered = [...ledger.values()].filter(({ acknowledgedAt }) => acknowledgedAt === null).length
  const samples = { sent: ledger.size, acknowledged: ledger.size - unanswered, unanswered, unansweredStored }
  return { samples, lag: spreadOf(lags) }
}

/** The report for people. */
export function formatReport(report: ChaosReport): string {
  const { samples, prunes } = report
  const counts = (all: Record<string, number>) =>
    Object.entries(all)
      .map(([name, n]) => `${n} ${name}`)
      .join(', ') || 'none'
  const killed = Object.values(report.kills).reduce((sum, n) => sum + n, 0)
  return [
    formatList([
      ['seed', report.seed],
      ['time', `${report.seconds.toFixed(0)} s of faults, ${report.drainSeconds.toFixed(1)} s until all was done`],
      [
        'samples',
        `${samples.sent} sent, ${samples.acknowledged} acknowledged, ${samples.unanswered} without an answer ` +
          `(${samples.unansweredStored} of these were stored)`,
      ],
      ['chunks', `${report.chunks} verified; ${report.objectsWithoutRow} objects that no row names, for the sweep`],
      ['kills', `${killed}: ${counts(report.kills)}`],
      [
        'stops',
        `${report.stops.times} by SIGTERM: median ${report.stops.seconds.median.toFixed(1)} s, worst ${report.stops.seconds.worst.toFixed(1)} s`,
      ],
      ['analyses', `${counts(report.analyses)}; ${report.backfilled} jobs of backfills`],
      ['ended by itself', counts(report.ends)],
      ['prunes', `${prunes.prunes}: ${prunes.rows} rows, ${prunes.bytes} bytes`],
      ['rollups', counts(report.rollups)],
      ['retried', `${report.retriedJobs} jobs; dead letters redriven: ${counts(report.redriven)}`],
      ['lag', `worst ${report.lag.worst.toFixed(1)} s, median ${report.lag.median.toFixed(1)} s`],
    ]),
    '',
    formatTable(
      ['fault', 'times', 'recovery: median s', 'worst s'],
      report.faults.map(({ kind, times, recovery }) => [
        kind,
        times,
        recovery.median.toFixed(1),
        recovery.worst.toFixed(1),
      ]),
      'lrrr',
    ),
    '',
    ...(report.problems.length === 0 ? ['Nothing was lost, doubled or left over.'] : ['PROBLEMS', ...report.problems]),
  ].join('\n')
}
