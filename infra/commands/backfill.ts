import { type PastWork, readClock } from '../../db/backfill-jobs.ts'
import { type BackfillOptions, type BackfillPlan, planBackfill, redriveDeadLetters } from '../../jobs/backfill.ts'
import { awaitBackfills, type BackfillKind, stopBackfills } from '../../jobs/backfill-progress.ts'
import type { JobContext } from '../../jobs/context.ts'
import { FORMAT_VERSION } from '../../pipeline/arrow-layout.ts'
import { NETWORK_METHOD_VERSION } from '../../pipeline/network.ts'
import { COHERENCE_METHOD_VERSION } from '../../pipeline/pair-coherence.ts'
import { uuidBytes } from '../../pipeline/samples.ts'
import { SLICE_METHOD_VERSION } from '../../pipeline/slice-stats.ts'
import { BATTERY_VERSION } from '../../pipeline/tests/registry.ts'
import { usage, type Register } from '../command.ts'
import { formatAge, formatBytes, type Output } from '../output.ts'
import { withContext } from './with-context.ts'

const KINDS: Record<BackfillKind, string> = {
  chunks: 'upload failed and damaged chunks anew, while their samples are in Postgres',
  tests: 'verify and test uploaded chunks anew',
  slices: 'recompute the time slices of every touched device and hour',
  coherence: 'recompute the coherence of every touched hour',
}

/** How versions of what is recomputed are named, and this build's. */
const VERSIONS: Record<BackfillKind, string> = {
  chunks: `a format of chunks (this build’s: ${FORMAT_VERSION})`,
  tests: `a version of the battery (this build’s: ${BATTERY_VERSION})`,
  slices: `a method of slices (this build’s: ${SLICE_METHOD_VERSION})`,
  coherence: `a method of the network or of pairs (this build’s: ${NETWORK_METHOD_VERSION}, ${COHERENCE_METHOD_VERSION})`,
}

interface BackfillFlags {
  from: string
  to: string
  device?: string
  version?: string
  again?: boolean
  wait?: boolean
  dryRun?: boolean
}

export const backfillCommand: Register = (backfill, bind) => {
  for (const [kind, description] of Object.entries(KINDS) as [BackfillKind, string][]) {
    const command = backfill
      .command(kind)
      .description(description)
      .requiredOption('--from <time>', 'from this sample time on, ISO 8601')
      .requiredOption('--to <time>', 'up to this sample time, not included')
      .option('--device <id>', 'only this device')
      .option('--version <name>', `only what this version made: ${VERSIONS[kind]}`)
    if (kind !== 'chunks') command.option('--again', 'also what this build has made already')
    command
      .option('--wait', 'until workers have done the jobs, with how far they are')
      .option('--dry-run', 'only say what would be sent')
      .action(
        bind(async ({ output, signal }, flags: BackfillFlags) => {
          const options = parseOptions(flags)
          return await withContext(async ({ context, config }) => {
            const { plan, send } = await planBackfill(context, kind, options)
            const what = describePlan(plan, config.workConcurrency)
            if (flags.dryRun) {
              output.result({ ...plan, sent: 0 }, () => `would send ${what}`)
              return 0
            }
            const since = await readClock(context.pool)
            const progress = output.progress(`backfill ${kind}`)
            const sent = await send({
              signal,
              onProgress: (done) => progress.update(`${done} of ${plan.jobs} jobs sent`, done, plan.jobs, 'jobs'),
            })
            progress.end()
            if (sent < plan.jobs) {
              output.result(
                { ...plan, sent },
                () => `stopped after ${sent} of ${plan.jobs} jobs; run it again to go on`,
              )
              return 130
            }
            if (!flags.wait) {
              output.result({ ...plan, sent }, () => `sent ${what}\n\`coherence work --drain\` does them`)
              return 0
            }
            output.say(`sent ${what}`)
            const work = await waitFor(context, since, output, signal)
            output.result({ ...plan, sent, ...work }, () => describeWork(work))
            return work.left > 0 ? 130 : work.failed > 0 ? 1 : 0
          })
        }),
      )
  }
  backfill
    .command('stop')
    .description('take back what backfills have sent and no worker has begun')
    .option('--dry-run', 'only say how many jobs these are')
    .action(
      bind(async ({ output }, { dryRun = false }: { dryRun?: boolean }) => {
        await withContext(async ({ context }) => {
          const queues = await stopBackfills(context, { dryRun })
          const jobs = Object.values(queues).reduce((sum, count) => sum + count, 0)
          const of = Object.entries(queues).map(([queue, count]) => `${count} ${queue}`)
          output.result(
            { jobs, queues, dryRun },
            () => `${jobs} jobs ${dryRun ? 'would be taken' : 'taken'} back${jobs === 0 ? '' : `: ${of.join(', ')}`}`,
          )
        })
      }),
    )
  backfill
    .command('redrive')
    .description('put dead letters back into their queues')
    .option('--dry-run', 'only say how many there are')
    .action(
      bind(async ({ output }, flags: { dryRun?: boolean }) => {
        await withContext(async ({ context }) => {
          const jobs = await redriveDeadLetters(context, flags.dryRun === true)
          output.result(
            { jobs, dryRun: flags.dryRun === true },
            () => `${jobs} dead letters ${flags.dryRun ? 'would be put' : 'put'} back`,
          )
        })
      }),
    )
}

/** Waits until all past work is done; Ctrl-C leaves it to the workers. */
async function waitFor(context: JobContext, since: Date, output: Output, signal: AbortSignal): Promise<PastWork> {
  const progress = output.progress('past work')
  const work = await awaitBackfills(context, since, {
    signal,
    onProgress: ({ left, completed, failed }) => {
      const done = completed + failed
      progress.update(`${done} of ${done + left} jobs done`, done, done + left, 'jobs')
    },
  })
  progress.end()
  return work
}

function describeWork({ left, completed, failed }: PastWork): string {
  const done = `${completed} jobs done${failed === 0 ? '' : `, ${failed} failed for good: see \`coherence status\``}`
  if (left === 0) return done
  return `${done}; ${left} are left to the workers. \`coherence backfill stop\` takes back what none has begun`
}

function describePlan({ jobs, made, samples, bytes, seconds, measured }: BackfillPlan, concurrency: number): string {
  const what = `${jobs} jobs of ${samples} samples, ${formatBytes(bytes)}`
  const time =
    jobs === 0
      ? ''
      : `, about ${formatAge(Math.ceil(seconds / concurrency))} of one worker that does ${concurrency} at a time` +
        (measured ? '' : ' (none done yet: a guess)')
  return `${what}${time}${made === 0 ? '' : `\n${made} more are made by this build already; --again does them too`}`
}

function parseOptions(flags: BackfillFlags): BackfillOptions {
  const [from, to] = [flags.from, flags.to].map((text) => new Date(text))
  if (Number.isNaN(from.getTime()))
    throw usage(`--from is no time: ${JSON.stringify(flags.from)}; write 2026-01-31T00:00:00Z.`)
  if (Number.isNaN(to.getTime()))
    throw usage(`--to is no time: ${JSON.stringify(flags.to)}; write 2026-01-31T00:00:00Z.`)
  if (from >= to) throw usage('--from must be before --to.')
  if (flags.device !== undefined) {
    try {
      uuidBytes(flags.device)
    } catch {
      throw usage(`--device takes a uuid, not ${JSON.stringify(flags.device)}.`)
    }
  }
  return {
    from,
    to,
    deviceId: flags.device?.toLowerCase() ?? null,
    again: flags.again ?? false,
    ...(flags.version === undefined ? {} : { version: flags.version }),
  }
}
