import { listDueEvents, listEventBlockers } from '../db/events.ts'
import { ensurePartitions } from '../db/partitions.ts'
import { logMaintenance } from '../db/prune.ts'
import { countReadyJobs } from '../db/queues.ts'
import { sendJob, sendJobs } from './boss.ts'
import type { JobContext } from './context.ts'
import { DUE } from './due.ts'
import { DEAD_LETTER, QUEUES, QUEUE_NAMES, type QueueName } from './queues.ts'

export interface TickOutcome {
  /** Queues that got a job now; the others had one already, or one in this slot of their schedule. */
  readonly sent: QueueName[]
  readonly partitionsCreated: number
  /** Jobs that a worker could take now, by queue. */
  readonly ready: Record<string, number>
  readonly readyTotal: number
  readonly deadLetters: number
}

/**
 * The pipeline's pulse, every few minutes, safe to run twice at once: expires and retries the jobs of workers that
 * vanished, makes the partitions of the coming days, sends what is due by the schedule, and counts what is ready, so that
 * the caller knows how many workers to wake.
 */
export async function runTick(context: JobContext): Promise<TickOutcome> {
  const { pool, boss } = context
  await boss.supervise()
  const partitionsCreated = await createPartitions(context)
  const sent: QueueName[] = []
  for (const name of QUEUE_NAMES) {
    const { everySeconds } = QUEUES[name]
    // A slot of the clock gets one job, whoever ticks first; a tick that comes late finds its slot still free.
    if (everySeconds === undefined || !((await DUE[name]?.(context)) ?? true)) continue
    if (await sendJob(boss, pool, name, {}, { everySeconds })) sent.push(name)
  }
  if ((await sendDueEvents(context)) > 0) sent.push('compute-event')
  const counts = await countReady(context)
  return { sent, partitionsCreated, ...counts }
}

/** The partitions of the coming days; how many are new. */
async function createPartitions({ pool }: JobContext): Promise<number> {
  const started = performance.now()
  const created = await ensurePartitions(pool)
  if (created > 0) {
    await logMaintenance(pool, {
      operation: 'create_partitions',
      table: 'entropy_samples',
      details: { partitions: created },
      rows: 0,
      bytes: 0,
      durationMs: performance.now() - started,
    })
  }
  return created
}

/** A job for each event whose data are complete; an event that waits wakes nobody. Returns how many. */
async function sendDueEvents({ pool, boss }: JobContext): Promise<number> {
  const complete: string[] = []
  for (const id of await listDueEvents(pool)) {
    if ((await listEventBlockers(pool, id)).length === 0) complete.push(id)
  }
  await sendJobs(
    boss,
    pool,
    'compute-event',
    complete.map((id) => ({ data: { event_id: id }, key: id })),
  )
  return complete.length
}

/** Jobs that could run now, by queue, and how many dead letters wait for a person. */
export async function countReady(
  context: Pick<JobContext, 'pool'>,
): Promise<Pick<TickOutcome, 'ready' | 'readyTotal' | 'deadLetters'>> {
  const { [DEAD_LETTER]: deadLetters = 0, ...all } = await countReadyJobs(context.pool)
  const ready = Object.fromEntries(Object.entries(all).filter(([name]) => name in QUEUES))
  return { ready, readyTotal: Object.values(ready).reduce((sum, count) => sum + count, 0), deadLetters }
}
