import { readdirSync, readFileSync } from 'node:fs'
import type { Pool } from 'pg'

/** What a server has done since it started. */
export interface ServerLoad {
  /** Statements that clients sent to the database, those of this measurement left out. */
  readonly queries: number
  /** Committed and rolled back. */
  readonly transactions: number
  /** All that the server wrote, checkpoints and its own work included. */
  readonly walBytes: number
  /** What those statements wrote. */
  readonly statementWalBytes: number
  /** Of all its processes; NaN where there is no /proc. */
  readonly cpuSeconds: number
}

/** Settings for `startServer` under which `readLoad` can count. */
export const LOAD_SETTINGS = { shared_preload_libraries: `'pg_stat_statements'` }

const TICKS_PER_SECOND = 100

/**
 * `admin`: a superuser's pool on another database of the same server (`postgres`), so that looking is not counted. Once before, run
 * `create extension if not exists pg_stat_statements` there.
 */
export async function readLoad(admin: Pool, database: string, postmaster: number): Promise<ServerLoad> {
  const { rows } = await admin.query<Omit<ServerLoad, 'cpuSeconds'>>(
    `select (select coalesce(sum(calls), 0)::float8 from pg_stat_statements s where s.dbid = d.datid) as queries,
       (select coalesce(sum(wal_bytes), 0)::float8 from pg_stat_statements s where s.dbid = d.datid) as "statementWalBytes",
       (xact_commit + xact_rollback)::float8 as transactions,
       pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as "walBytes"
     from pg_stat_database d where datname = $1`,
    [database],
  )
  return { ...rows[0], cpuSeconds: cpuSecondsOf(postmaster) }
}

export function difference(after: ServerLoad, before: ServerLoad): ServerLoad {
  return {
    queries: after.queries - before.queries,
    transactions: after.transactions - before.transactions,
    walBytes: after.walBytes - before.walBytes,
    statementWalBytes: after.statementWalBytes - before.statementWalBytes,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
  }
}

/** CPU time of a process, of its children that have ended and of those that live. */
export function cpuSecondsOf(pid: number): number {
  try {
    const living = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && statOf(name)?.[1] === String(pid))
    const own = statOf(String(pid)) ?? []
    // proc(5), counted after the name: 11 to 14 are utime, stime, cutime, cstime.
    const ticks = (fields: readonly string[], from: number, to: number) =>
      fields.slice(from, to).reduce((sum, value) => sum + Number(value), 0)
    return (
      living.reduce((sum, child) => sum + ticks(statOf(child) ?? [], 11, 13), ticks(own, 11, 15)) / TICKS_PER_SECOND
    )
  } catch {
    return Number.NaN
  }
}

/** CPU time of the children of this process that have ended: of workers, their start included. */
export function cpuOfEnded(): number {
  const [cutime, cstime] = (statOf(String(process.pid)) ?? []).slice(13, 15).map(Number)
  return (cutime + cstime) / TICKS_PER_SECOND
}

/** The fields of /proc/PID/stat after the name, which may hold spaces. */
function statOf(pid: string): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return text.slice(text.lastIndexOf(')') + 2).split(' ')
  } catch {
    return null
  }
}
