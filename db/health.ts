import type { Pool, PoolClient } from 'pg'
import type { Queryable } from './pool.ts'

export interface PipelineHealth {
  readonly waitingSamples: number
  readonly oldestWaitingSeconds: number | null
  /** Since the oldest chunk that is neither verified nor failed was made; null if there is none. */
  readonly oldestUnverifiedSeconds: number | null
  readonly chunks: { pending: number; uploading: number; unverified: number; verified: number; failed: number }
  readonly analyses: { queued: number; running: number }
  readonly lastPrune: Date | null
  /** When a tick last looked at the queues; null if none has. */
  readonly lastTick: Date | null
  readonly secondsSinceTick: number | null
}

/** The one row of the view pipeline_health, and what only the service may see. */
export async function readPipelineHealth(db: Queryable): Promise<PipelineHealth> {
  const { rows } = await db.query(
    `select waiting_samples::float8 as "waitingSamples",
       extract(epoch from now() - oldest_waiting)::float8 as "oldestWaitingSeconds",
       json_build_object('pending', pending_chunks, 'uploading', uploading_chunks, 'unverified', unverified_chunks,
         'verified', verified_chunks, 'failed', failed_chunks) as chunks,
       json_build_object('queued', queued_analyses, 'running', running_analyses) as analyses,
       last_prune as "lastPrune", last_tick as "lastTick",
       extract(epoch from now() - last_tick)::float8 as "secondsSinceTick",
       extract(epoch from now() - oldest_unverified)::float8 as "oldestUnverifiedSeconds"
     from public.pipeline_health,
       (select max(monitor_claim_on) as last_tick from pgboss.queue) as queues,
       (select min(created_at) as oldest_unverified from public.storj_chunks
        -- One without a hash was stored before this pipeline, which cannot prove it.
        where verified_at is null and status <> 'failed' and (status <> 'uploaded' or sha256 is not null)) as unverified`,
  )
  return rows[0]
}

/**
 * The longest from a chunk's making to its proof, in seconds, of the chunks proved in each half hour of the last 12, oldest first;
 * null where none was.
 */
export async function listProofLags(db: Queryable): Promise<(number | null)[]> {
  const { rows } = await db.query<{ lag: number | null }>(
    `select max(extract(epoch from c.verified_at - c.created_at))::float8 as lag
     from generate_series(23, 0, -1) as back
     left join public.storj_chunks c on c.verified_at > now() - (back + 1) * interval '30 minutes'
       and c.verified_at <= now() - back * interval '30 minutes' and c.created_at > now() - interval '2 days'
     group by back order by back desc`,
  )
  return rows.map((row) => row.lag)
}

/** Chunks that need a person, with why. */
export async function listTroubledChunks(
  db: Queryable,
  limit: number,
): Promise<{ id: string; status: string; error: string | null; updatedAt: Date }[]> {
  const { rows } = await db.query(
    `select id, status::text, last_error as error, updated_at as "updatedAt" from public.storj_chunks
     where status = 'failed' or (last_error is not null and (status <> 'uploaded' or verified_at is null))
     order by updated_at desc limit $1`,
    [limit],
  )
  return rows
}

export interface RoleFacts {
  readonly version: string
  readonly user: string
  readonly bypassRls: boolean
  readonly missingRoles: string[]
  readonly partitionsAhead: number
  readonly defaultPartitionRows: number
}

/** What `doctor` wants to know of the database it is connected to. */
export async function readRoleFacts(db: Queryable): Promise<RoleFacts> {
  const { rows } = await db.query(
    `select current_setting('server_version') as version, current_user as user,
       (select rolbypassrls or rolsuper from pg_roles where rolname = current_user) as "bypassRls",
       array(select name from unnest(array['anon', 'authenticated', 'service_role']) as wanted (name)
             where not exists (select from pg_roles where rolname = wanted.name)) as "missingRoles",
       (select count(*)::int from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'entropy_partitions' and c.relname ~ '^entropy_samples_\\d{8}$'
          and c.relname > 'entropy_samples_' || to_char(now() at time zone 'utc', 'YYYYMMDD')) as "partitionsAhead",
       (select count(*)::float8 from (select from entropy_partitions.entropy_samples_default limit 100000) d) as "defaultPartitionRows"`,
  )
  return rows[0]
}

/** Behind PgBouncer with 2 to 20 busy server connections a round misses 3 to 37 times in 100: all 24 miss once in 10^10. */
const ROUNDS = 24

/**
 * True on a direct connection or a session pooler, false behind a transaction pooler: there a client that is idle between
 * statements holds no server process. A second client's transaction takes the one that it had, and if others who use the
 * pooler have taken it before, then the first has another for its next statement. One round shows this when the pooler is
 * idle; under load chance can hide it, many times in a row it cannot.
 */
export async function keepsSession(pool: Pool): Promise<boolean> {
  const first = await pool.connect()
  try {
    const second = await pool.connect()
    try {
      const pid = await readPid(first)
      const rounds = isDirect(first, pid) ? 1 : ROUNDS
      for (let round = 0; round < rounds; round++) if (await changesProcess(first, second, pid)) return false
      return true
    } finally {
      second.release()
    }
  } finally {
    first.release()
  }
}

/** One round: true if the first client is shown not to have the server process `pid` to itself. */
async function changesProcess(first: PoolClient, second: PoolClient, pid: number): Promise<boolean> {
  if ((await readPid(first)) !== pid) return true
  await second.query('begin')
  try {
    return (await readPid(second)) === pid || (await readPid(first)) !== pid
  } finally {
    await second.query('rollback')
  }
}

/** A server tells each connection its process at the start; poolers tell a number of their own. */
function isDirect({ processID }: PoolClient & { processID?: number | null }, pid: number): boolean {
  return processID === pid
}

async function readPid(client: PoolClient): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
  return rows[0].pid
}
