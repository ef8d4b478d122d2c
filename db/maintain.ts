import type { Queryable } from './pool.ts'

/** A table of the pipeline or of its queues, by the server's own statistics. */
export interface TableState {
  /** Quoted, with its schema. */
  readonly name: string
  /** A partitioned table: its statistics of the whole are made by nobody but us, autovacuum sees partitions only. */
  readonly isPartitioned: boolean
  readonly liveRows: number
  readonly deadRows: number
  readonly changedSinceAnalyze: number
  readonly bytes: number
  readonly analyzedAt: Date | null
  /** How often the server has done either when told to: a run that was skipped counts as none. */
  readonly vacuums: number
  readonly analyzes: number
}

/** Tables of public, the partitions of samples, and pg-boss's; or the one of this name. */
export async function listTableStates(db: Queryable, name: string | null = null): Promise<TableState[]> {
  const { rows } = await db.query<TableState>(
    `select format('%I.%I', n.nspname, c.relname) as name, c.relkind = 'p' as "isPartitioned",
       coalesce(s.n_live_tup, 0)::float8 as "liveRows", coalesce(s.n_dead_tup, 0)::float8 as "deadRows",
       coalesce(s.n_mod_since_analyze, 0)::float8 as "changedSinceAnalyze", pg_total_relation_size(c.oid)::float8 as bytes,
       greatest(s.last_analyze, s.last_autoanalyze) as "analyzedAt",
       coalesce(s.vacuum_count, 0)::float8 as vacuums, coalesce(s.analyze_count, 0)::float8 as analyzes
     from pg_class c join pg_namespace n on n.oid = c.relnamespace left join pg_stat_all_tables s on s.relid = c.oid
     where n.nspname in ('public', 'entropy_partitions', 'pgboss') and c.relkind in ('r', 'p')
       and pg_has_role(c.relowner, 'USAGE') and ($1::text is null or c.oid = to_regclass($1))
     order by 1`,
    [name],
  )
  return rows
}

/** Gives the room of dead rows to new ones, and refreshes the planner's statistics; both beside other work. Not in a transaction. */
export async function vacuumTable(db: Queryable, name: string): Promise<void> {
  await db.query(`vacuum (analyze, skip_locked) ${name}`)
}

/** Refreshes the planner's statistics. */
export async function analyzeTable(db: Queryable, name: string): Promise<void> {
  await db.query(`analyze (skip_locked) ${name}`)
}

/** Jobs that pg-boss has deleted since the last row of maintenance_log that says how many, and in all, by the server's count. */
export async function countDeletedJobs(db: Queryable): Promise<{ deleted: number; total: number }> {
  const { rows } = await db.query<{ deleted: number; total: number }>(
    `select total::float8 as total,
       -- The server's counts begin anew when they are reset, or lost in a crash.
       case when total >= before then total - before else total end::float8 as deleted
     from (select coalesce(sum(n_tup_del), 0) as total from pg_stat_all_tables
           where relid in (select relid from pg_partition_tree('pgboss.job'))) now_deleted,
          (select coalesce((select (details ->> 'total')::bigint from public.maintenance_log
            where operation_type = 'queue_cleanup' order by executed_at desc limit 1), 0) as before) logged`,
  )
  return rows[0]
}
