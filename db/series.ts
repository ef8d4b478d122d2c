import type { Queryable } from './pool.ts'

/** A chunk of the series that inserts stamp their rows with. */
export interface SeriesChunk {
  readonly number: number
  readonly chunkId: string
}

// As in app_private.open_chunk().
const SERIES_LOCK = 7_268_153

/** The chunk that inserts are stamped with now. */
export async function findOpenChunk(db: Queryable): Promise<SeriesChunk> {
  const { rows } = await db.query<SeriesChunk>(
    `select last_value::float8 as number, app_private.chunk_of(last_value) as "chunkId" from app_private.chunk_series`,
  )
  return rows[0]
}

/** Opens the next chunk, which seals the one that was open. Not undone by a rollback; two at once leave an empty chunk between. */
export async function openNextChunk(db: Queryable): Promise<void> {
  await db.query(`select nextval('app_private.chunk_series')`)
}

/** Sealed chunks that are not packed yet, the oldest first. */
export async function listSealedChunks(db: Queryable): Promise<SeriesChunk[]> {
  const { rows } = await db.query<SeriesChunk>(
    `select number::float8 as number, app_private.chunk_of(number) as "chunkId"
     from app_private.packing,
          generate_series(adopted_through + 1, (select last_value - 1 from app_private.chunk_series)) number
     where not exists (select from public.storj_chunks c where c.id = app_private.chunk_of(number))
     order by number limit 100`,
  )
  return rows
}

/**
 * Whether every transaction that stamped rows with a sealed chunk has ended; in the statements that follow in this transaction
 * its rows are all there, for good. False while one of them goes on; nobody waits.
 */
export async function lockSealedChunk(tx: Queryable, { number }: SeriesChunk): Promise<boolean> {
  const { rows } = await tx.query<{ locked: boolean }>('select pg_try_advisory_xact_lock($1, $2) as locked', [
    SERIES_LOCK,
    number,
  ])
  return rows[0].locked
}

/** The server processes whose transactions hold a sealed chunk up, with how long they have gone on in seconds. */
export async function listStampingSessions(
  db: Queryable,
  { number }: SeriesChunk,
): Promise<{ pid: number; seconds: number }[]> {
  const { rows } = await db.query<{ pid: number; seconds: number }>(
    `select l.pid, extract(epoch from now() - a.xact_start)::float8 as seconds
     from pg_locks l left join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and l.classid = $1 and l.objid = $2 and l.objsubid = 2 and l.granted
       and l.database = (select oid from pg_database where datname = current_database())
     order by 2 desc nulls first`,
    [SERIES_LOCK, number],
  )
  return rows
}

/** Notes, as the transaction's last statement, that a chunk is packed or empty. */
export async function noteAdopted(tx: Queryable, { number }: SeriesChunk): Promise<void> {
  await tx.query('select app_private.note_adopted($1)', [number])
}

/** Sets how many rows inserts stamp before they open the next chunk. */
export async function setRowsPerChunk(db: Queryable, rows: number): Promise<void> {
  await db.query(
    `select setval('app_private.chunk_rows', $1::bigint) from app_private.chunk_rows
     where last_value not between $1::bigint * 0.9 and $1::bigint * 1.1`,
    [rows],
  )
}

/** Lets samples that are stamped with chunks there are not be packed with those that have no stamp. Returns how many. */
export async function releaseStrays(db: Queryable): Promise<number> {
  const { rows } = await db.query<{ released: number }>('select app_private.release_strays()::float8 as released')
  return rows[0].released
}
