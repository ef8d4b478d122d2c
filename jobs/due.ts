import { hasExpiredStray, hasUnfinished } from '../db/due.ts'
import { listExpiredPartitions } from '../db/prune.ts'
import type { JobContext } from './context.ts'
import { findDueReport } from './due-report.ts'
import { isPackDue } from './pack.ts'
import type { QueueName } from './queues.ts'

/**
 * Scheduled jobs that are not sent if they would find nothing to do: a job wakes a worker, which may be a container. Those that are
 * missing here are sent in each slot of their schedule.
 */
export const DUE: Partial<Record<QueueName, (context: JobContext) => Promise<boolean>>> = {
  pack: isPackDue,
  // Whatever waits may have lost its job.
  reconcile: ({ pool }) => hasUnfinished(pool),
  prune: isPruneDue,
  report: async (context) => 'chunks' in (await findDueReport(context.pool, new Date())),
}

/**
 * True if a day or a stray is older than retention. There is such a day every day, also one without samples, and its prune lets go
 * of partials and minutes too.
 */
async function isPruneDue({ pool, settings: { retentionDays } }: JobContext): Promise<boolean> {
  return (await listExpiredPartitions(pool, retentionDays)).length > 0 || (await hasExpiredStray(pool, retentionDays))
}
