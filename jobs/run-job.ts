import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from 'pg-boss'
import { handBackJobs } from '../db/queues.ts'
import { isCoherenceError } from '../pipeline/errors.ts'
import { affected, completeJob } from './boss.ts'
import type { ActiveJob, JobContext, JobHandler } from './context.ts'
import { HANDLERS } from './handlers.ts'
import type { QueueName } from './queues.ts'
import type { JobOutcome } from './telemetry.ts'
import { unlessAborted } from './unless-aborted.ts'

/** How often a running job says that it is alive; its queue's heartbeat limit is three times this. */
const HEARTBEAT_MS = 20_000
/** A worker that must stop waits this long for its jobs to be back. Where no answer comes they are found by their heartbeats. */
export const HAND_BACK_MS = 2_000

/** A job in hand, and what tells that it is not any more. */
interface InHand {
  readonly job: Job
  /** Aborted when another attempt has the job. */
  readonly lost: AbortController
}

/**
 * Runs fetched jobs one after the other, all of them kept alive meanwhile; how each ended. When `handBack` aborts, those that have
 * not ended are put back for other workers at once. A handler that does not heed the signal is left behind: it can complete nothing, as its
 * job has another attempt's number from then on, and its transactions end with the pool.
 */
export async function runBatch(
  context: JobContext,
  queue: QueueName,
  jobs: readonly Job[],
  { handBack, onAlive }: { handBack: AbortSignal; onAlive?: () => void },
): Promise<JobOutcome[]> {
  const waiting = new Map(jobs.map((job): [string, InHand] => [job.id, { job, lost: new AbortController() }]))
  const beat = async () => {
    for (const { job, lost } of waiting.values()) {
      if (lost.signal.aborted) continue
      try {
        const response = await context.boss.touch(queue, { id: job.id, retryCount: job.retryCount })
        if (affected(response) === 0) lost.abort()
        else onAlive?.()
      } catch (error) {
        context.log.warn({ queue, job: job.id, error: (error as Error).message }, 'heartbeat failed')
      }
    }
  }
  const heartbeat = setInterval(() => void beat(), HEARTBEAT_MS)
  let back: Promise<Set<string>> | undefined
  const giveBack = async (id: string): Promise<JobOutcome> => {
    back ??= putBack(context, queue, [...waiting.values()])
    return (await back).has(id) ? 'handed_back' : 'overtaken'
  }
  const outcomes: JobOutcome[] = []
  try {
    for (const { job, lost } of waiting.values()) {
      const ends = { lost: lost.signal, handBack, giveBack: () => giveBack(job.id) }
      outcomes.push(handBack.aborted ? await ends.giveBack() : await runJob(context, queue, job, ends))
      waiting.delete(job.id)
    }
  } finally {
    clearInterval(heartbeat)
  }
  return outcomes
}

interface Ends {
  readonly lost: AbortSignal
  readonly handBack: AbortSignal
  readonly giveBack: () => Promise<JobOutcome>
}

async function runJob(context: JobContext, queue: QueueName, job: Job, ends: Ends): Promise<JobOutcome> {
  const { data, id, retryCount } = job
  const span = context.telemetry.startJob({ queue, id, attempt: retryCount + 1, data })
  const log = context.log.child({ queue, job: id, ...span.logFields })
  const started = performance.now()
  // Which data goes with which queue is the queue table's word; the compiler cannot follow it through a union.
  const load = HANDLERS[queue] as () => Promise<JobHandler<QueueName>>
  const signal = AbortSignal.any([ends.handBack, ends.lost])
  const active = { ...job, name: queue, signal } as unknown as ActiveJob
  try {
    const done = await unlessAborted(ends.handBack, async () => {
      const { output, completed } = await (await load())({ ...context, log, span }, active)
      return completed || (await completeJob(context.boss, context.pool, { ...job, name: queue }, output))
    })
    if (!done) log.warn('the job had expired and is another worker’s by now')
    span.end(done ? 'completed' : 'expired')
    log.debug({ ms: Math.round(performance.now() - started) }, 'done')
    return done ? 'completed' : 'expired'
  } catch (error) {
    const outcome = ends.handBack.aborted ? await ends.giveBack() : howItFailed(error, ends.lost)
    span.end(outcome, error)
    if (outcome === 'handed_back') log.info('handed back')
    else log[outcome === 'failed' ? 'error' : 'info']({ err: error }, outcome)
    if (!ends.handBack.aborted && !ends.lost.aborted) await reportFailure(context, queue, job, error as Error)
    return outcome
  }
}

/** Overtaken: the attempt that overtook does the work. */
function howItFailed(error: unknown, lost: AbortSignal): JobOutcome {
  return lost.aborted || isCoherenceError(error, 'CHUNK_STALE_ATTEMPT') ? 'overtaken' : 'failed'
}

/** To be tried again, if tries are left. An attempt that is not the newest changes nothing. */
async function reportFailure({ boss, log }: JobContext, queue: QueueName, job: Job, error: Error): Promise<void> {
  const { message, code, stack } = error as Error & { code?: string }
  await boss
    .fail(queue, { id: job.id, retryCount: job.retryCount }, { message, code, stack })
    .catch((failure: Error) =>
      log.error({ queue, job: job.id, err: failure }, 'could not report the failure; the job will expire'),
    )
}

/** The ids of those that were still ours. */
async function putBack(context: JobContext, queue: QueueName, inHand: readonly InHand[]): Promise<Set<string>> {
  const jobs = inHand.filter(({ lost }) => !lost.signal.aborted).map(({ job }) => job)
  const tooLong = sleep(HAND_BACK_MS, null, { ref: false })
  try {
    const ids = await Promise.race([handBackJobs(context.pool, queue, jobs), tooLong])
    if (ids === null) throw new Error('the database does not answer')
    return new Set(ids)
  } catch (error) {
    context.log.error({ queue, jobs: jobs.length, err: error }, 'could not hand jobs back; they will expire')
    return new Set(jobs.map(({ id }) => id))
  }
}
