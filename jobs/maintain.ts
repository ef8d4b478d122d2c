import { analyzeTable, countDeletedJobs, listTableStates, type TableState, vacuumTable } from '../db/maintain.ts'
import { logMaintenance } from '../db/prune.ts'
import type { ActiveJob, JobContext } from './context.ts'

/** Fewer dead rows than these are not worth a look at the whole table, in rows and as a part of those alive. */
const LEAST_DEAD = 10_000
const DEAD_PART = 0.1
/** As many changes since the last look, in parts of the table, make the planner's statistics old. */
const CHANGED_PART = 0.1
const LEAST_CHANGED = 10_000
const DAY_MS = 86_400_000
/** SQLSTATE of a statement that was cancelled: by statement_timeout, as hosted Supabase has one of two minutes, or by a person. */
const QUERY_CANCELED = '57014'

/**
 * What autovacuum leaves: the statistics of partitioned tables, which it never makes, and dead rows below its thresholds where they
 * are many. Each step is logged with what it has changed, and so is how many ended jobs pg-boss has deleted, which it does at each tick.
 * Nothing is locked against reads or writes; what is locked by others is skipped, what takes too long is left to autovacuum.
 */
export async function runMaintain(context: JobContext, job: Pick<ActiveJob<'maintain'>, 'signal'>) {
  const { pool } = context
  const output = { vacuumed: [] as string[], analyzed: [] as string[] }
  for (const table of await listTableStates(pool)) {
    if (job.signal.aborted) break
    if (needsVacuum(table)) {
      output.vacuumed.push(table.name)
      await logged(context, 'vacuum', table, () => vacuumTable(pool, table.name))
    } else if (needsAnalyze(table)) {
      output.analyzed.push(table.name)
      await logged(context, 'analyze', table, () => analyzeTable(pool, table.name))
    }
  }
  const { deleted, total } = await countDeletedJobs(pool)
  if (deleted > 0) {
    await logMaintenance(pool, {
      operation: 'queue_cleanup',
      table: 'pgboss.job',
      details: { total },
      rows: deleted,
      bytes: 0,
      durationMs: null,
    })
  }
  return { output: { ...output, deletedJobs: deleted } }
}

function needsVacuum({ isPartitioned, deadRows, liveRows }: TableState): boolean {
  return !isPartitioned && deadRows >= LEAST_DEAD && deadRows >= DEAD_PART * liveRows
}

function needsAnalyze({ isPartitioned, changedSinceAnalyze, liveRows, analyzedAt }: TableState): boolean {
  if (isPartitioned) return analyzedAt === null || analyzedAt.getTime() < Date.now() - DAY_MS / 2
  return changedSinceAnalyze >= LEAST_CHANGED && changedSinceAnalyze >= CHANGED_PART * liveRows
}

/** Does the work on one table, and logs the difference: dead rows that are gone, bytes of the files that were given back. */
async function logged(
  { pool, log }: JobContext,
  operation: 'vacuum' | 'analyze',
  before: TableState,
  work: () => Promise<void>,
) {
  const started = performance.now()
  const outcome = await work().then(
    () => null,
    (error: Error & { code?: string }) => {
      if (error.code !== QUERY_CANCELED) throw error
      log.warn({ table: before.name, error: error.message }, `${operation} was cancelled; autovacuum will do it`)
      return 'cancelled'
    },
  )
  const durationMs = performance.now() - started
  const [after] = await listTableStates(pool, before.name)
  const runs = operation === 'vacuum' ? 'vacuums' : 'analyzes'
  // Dropped meanwhile, or locked by somebody.
  const skipped = after === undefined || after[runs] === before[runs]
  const isVacuum = operation === 'vacuum' && after !== undefined
  await logMaintenance(pool, {
    operation,
    table: before.name,
    details: {
      live_rows: before.liveRows,
      dead_rows: before.deadRows,
      changed_rows: before.changedSinceAnalyze,
      outcome: outcome ?? (skipped ? 'skipped' : 'done'),
    },
    rows: isVacuum && !skipped ? Math.max(0, before.deadRows - after.deadRows) : 0,
    bytes: isVacuum ? Math.max(0, before.bytes - after.bytes) : 0,
    durationMs,
  })
}
