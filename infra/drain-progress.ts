import { countReadyJobs } from '../db/queues.ts'
import type { Queryable } from '../db/pool.ts'
import type { QueueName } from '../jobs/queues.ts'
import type { Progress } from './output.ts'

/** Where somebody looks, the queues are counted no more often than this. */
const COUNT_MS = 2_000

/**
 * For a worker's `onJob`: shows the jobs done, of those and the ones that are ready in these queues. Jobs make others, so the whole
 * may grow.
 */
export function followDrain(
  db: Queryable,
  progress: Progress,
  queues: readonly QueueName[],
): (event: { queue: QueueName }) => void {
  let done = 0
  let total: number | undefined
  let countedAt = -Infinity
  return ({ queue }) => {
    done++
    progress.update(`${done} jobs, last ${queue}`, done, total, 'jobs')
    if (!progress.isSeen || performance.now() - countedAt < COUNT_MS) return
    countedAt = performance.now()
    void countReadyJobs(db).then(
      (ready) => (total = done + queues.reduce((sum, name) => sum + (ready[name] ?? 0), 0)),
      // It is the worker that says so if the database is gone.
      () => {},
    )
  }
}
