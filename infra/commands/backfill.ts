import type { Range } from '../../db/backfill.ts'
import { planBackfill, redriveDeadLetters, type BackfillKind } from '../../jobs/backfill.ts'
import { FORMAT_VERSION } from '../../pipeline/arrow-layout.ts'
import { NETWORK_METHOD_VERSION } from '../../pipeline/network.ts'
import { COHERENCE_METHOD_VERSION } from '../../pipeline/pair-coherence.ts'
import { uuidBytes } from '../../pipeline/samples.ts'
import { SLICE_METHOD_VERSION } from '../../pipeline/slice-stats.ts'
import { BATTERY_VERSION } from '../../pipeline/tests/registry.ts'
import { usage, type Register } from '../command.ts'
import { formatBytes } from '../output.ts'
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
  dryRun?: boolean
}

export const backfillCommand: Register = (program, bind) => {
  const backfill = program.command('backfill').description('do past work again: plan, then send low-priority jobs')
  for (const [kind, description] of Object.entries(KINDS) as [BackfillKind, string][]) {
    backfill
      .command(kind)
      .description(description)
      .requiredOption('--from <time>', 'from this sample time on, ISO 8601')
      .requiredOption('--to <time>', 'up to this sample time, not included')
      .option('--device <id>', 'only this device')
      .option('--version <name>', `only what this version made: ${VERSIONS[kind]}`)
      .option('--dry-run', 'only say what would be sent')
      .action(
        bind(async ({ output, signal }, flags: BackfillFlags) => {
          const range = parseRange(flags)
          return await withContext(async ({ context }) => {
            const { plan, send } = await planBackfill(context, kind, range)
            const size =
              (plan.bytes === null ? '' : ` of ${plan.samples} samples, ${formatBytes(plan.bytes)}`) +
              formatEstimate(plan.seconds)
            if (flags.dryRun) {
              output.result({ ...plan, sent: 0 }, () => `would send ${plan.jobs} jobs${size}`)
              return 0
            }
            const progress = output.progress(`backfill ${kind}`)
            const sent = await send({
              signal,
              onProgress: (done) => progress.update(`${done} of ${plan.jobs} jobs`, done, plan.jobs),
            })
            progress.end()
            output.result({ ...plan, sent }, () =>
              sent === plan.jobs
                ? `sent ${sent} jobs${size}; \`coherence work --drain\` does them`
                : `stopped after ${sent} of ${plan.jobs} jobs; run it again to go on`,
            )
            return sent === plan.jobs ? 0 : 130
          })
        }),
      )
  }
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

function formatEstimate(seconds: number | null): string {
  if (seconds === null) return ''
  return seconds < 90 ? `, about ${Math.ceil(seconds)} s of work` : `, about ${Math.ceil(seconds / 60)} min of work`
}

function parseRange(flags: BackfillFlags): Range {
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
    ...(flags.version === undefined ? {} : { version: flags.version }),
  }
}
