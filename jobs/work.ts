import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { lookForWork } from '../db/queues.ts'
import type { JobContext } from './context.ts'
import { QUEUES, QUEUE_NAMES, type QueueName } from './queues.ts'
import { HAND_BACK_MS, runBatch } from './run-job.ts'

/**
 * From a look that found nothing to do to the next: a part of the time since something was found, within bounds. A drain looks again
 * only while a sibling is at work, whose job may yet send others; whoever finds one wakes those who rest.
 */
const PAUSES = {
  drain: { least: 100, part: 1 / 5, most: 2_000 },
  watch: { least: 2_000, part: 1 / 10, most: 10_000 },
} as const
/** After a stop is asked for: how long running jobs may take before they are handed back, whether they have ended or not. */
export const GRACE_MS = 20_000

export interface WorkOptions {
  /** `drain` ends when nothing is ready; `watch` goes on until stopped. */
  readonly mode: 'drain' | 'watch'
  readonly queues?: readonly QueueName[]
  /** Takes no new job after this long. */
  readonly maxSeconds?: number
  /** Jobs at a time. The work is bound by this process's one thread and by the database; more than 2 seldom helps. */
  readonly concurrency?: number
  /** Takes no new job while the process holds more than this, and ends when those in hand are done. */
  readonly memoryBytes?: number
  /** Aborted: stop fetching, finish what runs within `graceMs`, hand the rest back. */
  readonly signal?: AbortSignal
  /** GRACE_MS if it is left out. */
  readonly graceMs?: number
  /** Called at each look at the queues, and at each heartbeat of a job: for who wants to know that this worker does not hang. */
  readonly onAlive?: () => void
  readonly onJob?: (event: { queue: QueueName; ok: boolean }) => void
}

export interface WorkOutcome {
  readonly completed: Record<string, number>
  readonly failed: Record<string, number>
  /** Ready for other workers again, no attempt spent. Their handlers may still be running: end the process, or its pool. */
  readonly handedBack: Record<string, number>
  readonly seconds: number
  readonly stopped: 'idle' | 'deadline' | 'memory' | 'signal' | 'other-build'
}

/** Fetches and does jobs. Safe to run any number of times at once: every job is one worker's, by its fetched attempt. */
export async function runWorker(context: JobContext, options: WorkOptions): Promise<WorkOutcome> {
  const started = performance.now()
  const queues = options.queues ?? QUEUE_NAMES
  const deadline = options.maxSeconds === undefined ? Infinity : started + options.maxSeconds * 1000
  const completed: Record<string, number> = {}
  const failed: Record<string, number> = {}
  const handedBack: Record<string, number> = {}
  const handBack = new AbortController()
  let busy = 0
  let lastFound = started
  let looking: Promise<string[]> | undefined
  let resting: Promise<void> | undefined
  let awake = new AbortController()
  let broken: { error: unknown } | undefined
  let stopped: WorkOutcome['stopped'] = 'idle'

  const halted = (): boolean => {
    if (broken) return true
    if (options.signal?.aborted) stopped = 'signal'
    else if (stopped === 'other-build') return true
    else if (performance.now() >= deadline) stopped = 'deadline'
    else if (process.memoryUsage.rss() > (options.memoryBytes ?? Infinity)) stopped = 'memory'
    else return false
    return true
  }
  let graceTimer: NodeJS.Timeout | undefined
  const onStop = () => (graceTimer ??= setTimeout(() => handBack.abort(), options.graceMs ?? GRACE_MS))
  options.signal?.addEventListener('abort', onStop, { once: true })
  if (options.signal?.aborted) onStop()

  /** One look at all queues instead of an empty fetch from each. Loops that watch share it: an idle worker costs one query. */
  const look = async (): Promise<string[]> => {
    // A drain ends on what it sees: a look that began before a sibling's last commit would not do.
    if (options.mode === 'drain') return await lookOnce()
    return await (looking ??= lookOnce().finally(() => (looking = undefined)))
  }
  /** Sees with it whether a newer build has come to the database meanwhile: then the work is that build's. */
  const lookOnce = async (): Promise<string[]> => {
    options.onAlive?.()
    const { ready, isOtherBuilds } = await lookForWork(context.pool, queues)
    if (!isOtherBuilds) return ready
    stopped = 'other-build'
    wake()
    return []
  }
  const wake = () => {
    awake.abort()
    awake = new AbortController()
  }
  /** Of queues that have a limit: how many jobs are in hand, or about to be. */
  const inHand = new Map<QueueName, number>()
  /** Fetches from a queue and does what comes; how many jobs there were. */
  const workOn = async (queue: QueueName): Promise<number> => {
    const jobs = await context.boss.fetch<object>(queue, { batchSize: QUEUES[queue].batch })
    if (jobs.length > 0) {
      lastFound = performance.now()
      // Where one job is, there may be more.
      wake()
    }
    const outcomes = await runBatch(context, queue, jobs, { handBack: handBack.signal, onAlive: options.onAlive })
    for (const outcome of outcomes) {
      const ok = outcome === 'completed' || outcome === 'expired'
      const counts = outcome === 'handed_back' ? handedBack : ok ? completed : failed
      counts[queue] = (counts[queue] ?? 0) + 1
      if (outcome !== 'handed_back') options.onJob?.({ queue, ok })
    }
    return jobs.length
  }
  /** Does the jobs of the most urgent queue that has any; how many there were. */
  const workOnce = async (): Promise<number> => {
    for (const queue of (await look()) as QueueName[]) {
      const taken = inHand.get(queue) ?? 0
      if (taken >= (QUEUES[queue].most ?? Infinity)) continue
      inHand.set(queue, taken + 1)
      try {
        const found = await workOn(queue)
        if (found > 0) return found
      } finally {
        inHand.set(queue, inHand.get(queue)! - 1)
      }
    }
    return 0
  }
  /** Until the next look: not the same for all who were started, or last found something, at the same moment. */
  const rest = async (): Promise<void> => {
    const ms = pauseMs(options.mode, performance.now() - lastFound) * (0.75 + Math.random() / 2)
    const ended = [awake.signal, ...(options.signal ? [options.signal] : [])]
    await pause(Math.min(ms, deadline - performance.now()), AbortSignal.any(ended))
  }
  const loop = async (): Promise<void> => {
    while (!halted()) {
      let found = 0
      busy++
      try {
        found = await workOnce()
      } catch (error) {
        // A drain that cannot reach the database ends and says so; a service waits for it to come back.
        if (options.mode === 'drain') throw error
        context.log.error({ err: error }, 'cannot fetch jobs; trying again')
      } finally {
        busy--
      }
      if (found > 0) continue
      // A sibling that is still at work may yet send jobs that are ready at once.
      if (options.mode === 'drain' && busy === 0) {
        // Those who rest have nothing to wait for any more.
        wake()
        return
      }
      await (resting ??= rest().finally(() => (resting = undefined)))
    }
  }
  try {
    const loops = Array.from({ length: options.concurrency ?? 2 }, async () => {
      await loop().catch((error: unknown) => {
        // The siblings finish what they have in hand, and take nothing more.
        broken ??= { error }
      })
    })
    // A fetch that the database does not answer is not waited for either.
    const letGo = once(handBack.signal, 'abort').then(() => sleep(2 * HAND_BACK_MS, undefined, { ref: false }))
    await Promise.race([Promise.all(loops), letGo])
    if (broken) throw broken.error
  } finally {
    clearTimeout(graceTimer)
    options.signal?.removeEventListener('abort', onStop)
  }
  return { completed, failed, handedBack, seconds: (performance.now() - started) / 1000, stopped }
}

/** Milliseconds until the next look, where nothing has happened for `quietMs`. */
export function pauseMs(mode: WorkOptions['mode'], quietMs: number): number {
  const { least, part, most } = PAUSES[mode]
  return Math.min(Math.max(part * quietMs, least), most)
}

async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await sleep(Math.max(ms, 0), undefined, { signal }).catch(() => {})
}
