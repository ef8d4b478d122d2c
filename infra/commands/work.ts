import { writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Queryable } from '../../db/pool.ts'
import { lookForWork } from '../../db/queues.ts'
import { QUEUE_NAMES, type QueueName } from '../../jobs/queues.ts'
import { CoherenceError } from '../../pipeline/errors.ts'
import { unlessAborted } from '../../jobs/unless-aborted.ts'
import { GRACE_MS, runWorker, type WorkOutcome } from '../../jobs/work.ts'
import { usage, type Register } from '../command.ts'
import { exitCodeOf } from '../exit-codes.ts'
import { followDrain } from '../drain-progress.ts'
import { memoryCeiling, memoryLimit } from '../memory.ts'
import { formatList, type Output } from '../output.ts'
import { addOtherBuildOption, leaveToOtherBuild, type OtherBuildFlags, withTelemetryIf } from './with-context.ts'

const ENDS = {
  idle: 'nothing is ready',
  deadline: 'the time given by --max-seconds is over',
  memory: 'the memory it may use is nearly full; start another',
  signal: 'on request',
  'other-build': 'the database is another build’s by now',
} as const

/** Forty workers that one cron starts do not reach for the database at the same moment. A drain is paid for by its time. */
const START_SPREAD_MS = { drain: 40, watch: 1000 } as const
/** All is said and closed by then. */
const LINGER_MS = 200

interface WorkFlags extends OtherBuildFlags {
  drain?: boolean
  watch?: boolean
  queues?: string
  except?: string
  maxSeconds?: string
  graceSeconds: string
  aliveFile?: string
}

export const workCommand: Register = (command, bind) => {
  command
    .option('--drain', 'end when nothing is ready: for containers, cron, Modal')
    .option('--watch', 'go on until SIGTERM or Ctrl-C: for a long-lived service')
    .option('--queues <names>', `only these, separated by commas: ${QUEUE_NAMES.join(', ')}`)
    .option('--except <names>', 'all but these')
    .option('--max-seconds <n>', 'take no new job after this long')
    .option('--grace-seconds <n>', 'once stopped, hand back what has not ended within', String(GRACE_MS / 1000))
    .option('--alive-file <path>', 'write this file while all goes on: for a liveness probe that looks at its age')
  addOtherBuildOption(command).action(
    bind(async ({ output, signal }, flags: WorkFlags) => {
      if (Boolean(flags.drain) === Boolean(flags.watch)) throw usage('say either --drain or --watch.')
      if (flags.queues !== undefined && flags.except !== undefined) throw usage('say --queues or --except, not both.')
      const except = parseQueues(flags.except)
      const queues = except ? QUEUE_NAMES.filter((name) => !except.includes(name)) : parseQueues(flags.queues)
      const maxSeconds = parseSeconds('--max-seconds', flags.maxSeconds)
      const graceMs = 1000 * parseSeconds('--grace-seconds', flags.graceSeconds)!
      const mode = flags.drain ? 'drain' : 'watch'
      const { aliveFile } = flags
      const onAlive = aliveFile === undefined ? undefined : () => writeAlive(aliveFile)
      onAlive?.()
      await sleep(Math.random() * START_SPREAD_MS[mode], undefined, { signal }).catch(() => {})
      // Most drains of a quiet system end with this look: pg-boss, the store and the rest are not loaded for them.
      const isNeeded = async (db: Queryable) =>
        mode === 'watch' || signal.aborted || !(await isNothingReady(db, queues ?? QUEUE_NAMES))
      const exitCode = await leaveToOtherBuild(output, flags, async () => {
        const outcome = await withTelemetryIf(isNeeded, async ({ context, config }) => {
          // Without its store a worker would only turn jobs into failures. A missing bucket throws; a missing object is fine.
          await unlessAborted(signal, () => context.store.head('health/worker')).catch((error: unknown) => {
            if (!signal.aborted) throw error
          })
          const progress = output.progress(mode === 'drain' ? 'draining' : 'watching')
          const done = await runWorker(context, {
            mode,
            queues,
            maxSeconds,
            concurrency: config.workConcurrency,
            memoryBytes: memoryCeiling(memoryLimit(config)),
            signal,
            graceMs,
            onAlive,
            onJob: followDrain(context.pool, progress, queues ?? QUEUE_NAMES),
          })
          progress.end()
          return done
        })
        return tell(output, outcome ?? NOTHING_READY, flags)
      })
      // Handlers that were left behind do not keep the process.
      if (signal.aborted) setTimeout(() => process.exit(), LINGER_MS).unref()
      return exitCode
    }),
  )
}

const NOTHING_READY: WorkOutcome = { completed: {}, failed: {}, handedBack: {}, seconds: 0, stopped: 'idle' }

/** False too where the database is not as this build has it: what is wrong is for what comes next to say. */
async function isNothingReady(db: Queryable, queues: readonly QueueName[]): Promise<boolean> {
  try {
    const { ready, isOtherBuilds } = await lookForWork(db, queues)
    return ready.length === 0 && !isOtherBuilds
  } catch {
    return false
  }
}

/** Says how it went; the exit code. */
function tell(output: Output, outcome: WorkOutcome, flags: WorkFlags): number {
  output.result(outcome, () => {
    const list = (counts: Record<string, number>) =>
      Object.entries(counts)
        .map(([queue, jobs]) => `${queue} ${jobs}`)
        .join(', ') || 'none'
    return formatList([
      ['completed', list(outcome.completed)],
      ['failed', list(outcome.failed)],
      ...(Object.keys(outcome.handedBack).length > 0 ? [['handed back', list(outcome.handedBack)] as const] : []),
      ['ended', `${ENDS[outcome.stopped]}, after ${outcome.seconds.toFixed(1)} s`],
    ])
  })
  // A failed job is the queue's to retry; stopping on request is a clean end.
  return outcome.stopped !== 'other-build' || flags.otherBuildOk ? 0 : exitCodeOf('QUEUE_VERSION')
}

function writeAlive(path: string): void {
  try {
    writeFileSync(path, '')
  } catch (cause) {
    throw new CoherenceError('USAGE', `--alive-file: ${(cause as Error).message}`, { cause })
  }
}

function parseSeconds(name: string, text: string | undefined): number | undefined {
  const seconds = text === undefined ? undefined : Number(text)
  if (seconds !== undefined && !(seconds > 0))
    throw usage(`${name} takes a number above 0, not ${JSON.stringify(text)}.`)
  return seconds
}

function parseQueues(list: string | undefined): QueueName[] | undefined {
  if (list === undefined) return undefined
  const names = list.split(',').map((name) => name.trim())
  const unknown = names.filter((name) => !QUEUE_NAMES.includes(name as QueueName))
  if (unknown.length > 0)
    throw usage(`no queue is named ${unknown.join(', ')}; the queues are ${QUEUE_NAMES.join(', ')}.`)
  return QUEUE_NAMES.filter((name) => names.includes(name))
}
