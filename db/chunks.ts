import { randomUUID } from 'node:crypto'
import type { Queryable } from './pool.ts'

/** Rows a claim takes at most: bounds the transaction's length and the worker's memory when samples are tiny. */
export const CHUNK_MAX_ROWS = 250_000

export interface ClaimOptions {
  /** Cut when this many payload bytes wait. */
  readonly targetBytes: number
  /** … or when the oldest waiting row came in longer ago than this. */
  readonly maxAgeSeconds: number
  /** The bucket that the chunk's object will go to. */
  readonly bucket: string
  readonly maxRows?: number
}

export interface ClaimedChunk {
  readonly id: string
  readonly rows: number
  readonly bytes: number
}

/** What `begin` hands to the attempt that now owns the chunk. Times are texts of full precision. */
export interface ChunkAttempt {
  readonly id: string
  readonly attempt: number
  readonly createdAt: Date
  readonly from: string
  readonly to: string
  readonly rows: number
  readonly bytes: number
  /** Rows by `device/profile` as they were claimed; null for chunks that this pipeline did not make. */
  readonly claimed: Record<string, number> | null
}

export interface StoredChunk {
  readonly id: string
  readonly createdAt: Date
  readonly rows: number
  readonly sha256: string
  /** Proved before: this proof is one of a backfill. */
  readonly verified: boolean
}

/**
 * How many rows a chunk would take, and whether it is time: enough bytes wait, or something waits too long. Selected by state,
 * never by a watermark: a row that commits late is simply there the next time. Of rows without a stamp, or of those stamped
 * with `chunkId`.
 */
export async function measureWaiting(
  db: Queryable,
  chunkId: string | null,
  options: ClaimOptions,
): Promise<{ take: number; due: boolean }> {
  const { rows } = await db.query<{ take: number; due: boolean }>(
    `select count(*) filter (where before < $1)::int as take,
            coalesce(sum(length) >= $1 or count(*) >= $3 or min(created_at) < now() - $2 * interval '1 second', false) as due
     from (
       select length, created_at,
              coalesce(sum(length) over (rows between unbounded preceding and 1 preceding), 0) as before
       from (select octet_length(sample_data) as length, created_at
             from public.entropy_samples where ${stampedWith(chunkId)} limit $3) waiting
     ) running`,
    [options.targetBytes, options.maxAgeSeconds, options.maxRows ?? CHUNK_MAX_ROWS],
  )
  return rows[0]
}

const NEW_CHUNK = `insert into public.storj_chunks
    (id, bucket, object_key, size_bytes, byte_count, sample_count, min_timestamp, max_timestamp, device_ids,
     status, format_version)
  select $1::uuid, $2, 'pending/' || $1::uuid, 0, sum(bytes), sum(rows), min(first), max(last),
         array_agg(distinct device_id::text order by device_id::text), 'pending', 1
  from members`
/** Frozen with a new chunk by `claim` and by `adopt`: how many rows of which device and profile. Users read storj_chunks, but not this. */
const NEW_CLAIM = `insert into app_private.chunk_claims (chunk_id, members)
  select $1::uuid, (select jsonb_object_agg(device_id || '/' || profile_id, rows) from members) from chunk`
const MEMBERS = `select device_id, profile_id, count(*) as rows, sum(length) as bytes, min("timestamp") as first, max("timestamp") as last`
const MEMBER_COLUMNS = 'device_id, profile_id, "timestamp", octet_length(sample_data) as length'

/** What a row adds to a file beside its payload. */
const ROW_BYTES = 72

/**
 * Makes a sealed chunk, whose rows inserts have stamped, a `pending` one, in the caller's transaction and after
 * `lockSealedChunk`. `adopted` is false if it has no rows, or is more than half as large again as a chunk should be.
 */
export async function adoptChunk(
  tx: Queryable,
  id: string,
  options: ClaimOptions,
): Promise<ClaimedChunk & { adopted: boolean }> {
  const { rows } = await tx.query<{ rows: number; bytes: number; adopted: boolean }>(
    `with members as materialized (
       ${MEMBERS}
       from (select ${MEMBER_COLUMNS} from public.entropy_samples where storj_chunk_id = $1) stamped
       group by device_id, profile_id
     ), chunk as (
       ${NEW_CHUNK} having sum(rows) <= $4 and sum(bytes) + ${ROW_BYTES} * sum(rows) <= 1.5 * $3
       returning id
     ), claim as (
       ${NEW_CLAIM}
     )
     select coalesce(sum(rows), 0)::int as rows, coalesce(sum(bytes), 0)::float8 as bytes,
            exists (select from chunk) as adopted from members`,
    [id, options.bucket, options.targetBytes, options.maxRows ?? CHUNK_MAX_ROWS],
  )
  return { id, ...rows[0] }
}

/**
 * Claims up to `take` rows without a stamp, or of those stamped with `chunkId`, for a new `pending` chunk, in the caller's
 * transaction. Rows that another packer holds are skipped, so any number may claim at once and every row goes to one.
 * Membership is frozen when it commits. Null if nothing was left to claim.
 */
export async function claimChunk(
  tx: Queryable,
  chunkId: string | null,
  take: number,
  options: ClaimOptions,
): Promise<ClaimedChunk | null> {
  const id = randomUUID()
  // Left to itself the planner hashes every retained row to find 100,000 of them: beside a million packed rows a claim takes
  // 1.35 times as long, beside three million 1.4 to 2 times. Joined by ctid instead, a row that someone else has just
  // updated would be counted but not claimed.
  await tx.query('set local enable_hashjoin = off; set local enable_mergejoin = off')
  const { rows } = await tx.query<{ rows: number; bytes: number }>(
    `with locked as materialized (
       select id, ${MEMBER_COLUMNS}
       from public.entropy_samples where ${stampedWith(chunkId)} limit $3
       for update skip locked
     ), members as (
       ${MEMBERS} from locked group by device_id, profile_id
     ), chunk as (
       ${NEW_CHUNK} having count(*) > 0
       returning byte_count, sample_count
     ), claim as (
       ${NEW_CLAIM}
     ), claimed as (
       update public.entropy_samples s set storj_chunk_id = $1::uuid
       from locked l where s.id = l.id and s."timestamp" = l."timestamp"
     )
     select sample_count::int as rows, byte_count::float8 as bytes from chunk`,
    [id, options.bucket, take],
  )
  return rows.length === 0 ? null : { id, ...rows[0] }
}

function stampedWith(chunkId: string | null): string {
  return chunkId === null ? 'storj_chunk_id is null' : `storj_chunk_id = '${uuid(chunkId)}'`
}

function uuid(text: string): string {
  if (!/^[0-9a-f-]{36}$/.test(text)) throw new RangeError(`not a uuid: ${JSON.stringify(text)}`)
  return text
}

/**
 * Takes the chunk over for a new attempt; whoever held it before can no longer mark it. Null if it is uploaded already
 * or gone.
 */
export async function beginChunk(db: Queryable, chunkId: string): Promise<ChunkAttempt | null> {
  const { rows } = await db.query<ChunkAttempt>(
    `update public.storj_chunks c set status = 'uploading', attempt = attempt + 1
     where id = $1 and status <> 'uploaded'
     returning id, attempt, created_at as "createdAt", to_jsonb(min_timestamp) #>> '{}' as "from", to_jsonb(max_timestamp) #>> '{}' as "to",
       sample_count::int as rows, byte_count::float8 as bytes,
       (select members from app_private.chunk_claims where chunk_id = c.id) as claimed`,
    [chunkId],
  )
  return rows[0] ?? null
}

/**
 * Marks the chunk uploaded if `attempt` is still the newest; false if another attempt has taken over. Counts and
 * extents are those of the file, which differ from the claim's only when a device or profile was deleted meanwhile.
 */
export async function markChunkUploaded(
  tx: Queryable,
  chunk: {
    id: string
    attempt: number
    bucket: string
    objectKey: string
    size: number
    sha256: string
    rows: number
    bytes: number
    from: string
    to: string
    deviceIds: readonly string[]
  },
): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update public.storj_chunks
     set status = 'uploaded', bucket = $3, object_key = $4, size_bytes = $5, sha256 = $6, sample_count = $7,
         byte_count = $8, min_timestamp = $9, max_timestamp = $10, device_ids = $11, uploaded_at = now(), verified_at = null, last_error = null
     where id = $1 and attempt = $2 and status = 'uploading'`,
    [
      chunk.id,
      chunk.attempt,
      chunk.bucket,
      chunk.objectKey,
      chunk.size,
      chunk.sha256,
      chunk.rows,
      chunk.bytes,
      chunk.from,
      chunk.to,
      chunk.deviceIds,
    ],
  )
  return rowCount === 1
}

/** Keeps other attempts from beginning or marking until the transaction ends; false if one has begun since `attempt`. */
export async function lockAttempt(tx: Queryable, chunkId: string, attempt: number): Promise<boolean> {
  const { rowCount } = await tx.query(
    `select from public.storj_chunks where id = $1 and attempt = $2 and status = 'uploading' for update`,
    [chunkId, attempt],
  )
  return rowCount === 1
}

/**
 * Ends a chunk whose samples were all deleted with their devices: the row goes, or, if an object of it is recorded, becomes
 * `failed`, so that nobody tries again.
 */
export async function discardEmptyChunk(db: Queryable, chunkId: string, attempt: number): Promise<void> {
  const { rowCount } = await db.query(
    `delete from public.storj_chunks c where id = $1 and attempt = $2 and status = 'uploading'
       and not exists (select from public.entropy_samples s where s.storj_chunk_id = c.id)
       and not exists (select from public.chunk_replicas r where r.chunk_id = c.id)`,
    [chunkId, attempt],
  )
  if (rowCount === 1) return
  await db.query(
    `update public.storj_chunks set status = 'failed',
       last_error = 'its object is damaged, and its samples were deleted with their devices'
     where id = $1 and attempt = $2 and status = 'uploading'`,
    [chunkId, attempt],
  )
}

/** Which of these `device/profile` members exist no more: the device, or its profile, was deleted and took its samples along. */
export async function listDeletedMembers(db: Queryable, members: readonly string[]): Promise<string[]> {
  const { rows } = await db.query<{ member: string }>(
    `select member from unnest($1::text[]) as wanted (member)
     where not exists (select from public.devices d where d.id::text = split_part(member, '/', 1))
        or not exists (select from public.sampling_profiles p where p.id::text = split_part(member, '/', 2))`,
    [members],
  )
  return rows.map((row) => row.member)
}

/** The uploaded chunk to verify, or null if it is not uploaded. */
export async function findUploadedChunk(db: Queryable, chunkId: string): Promise<StoredChunk | null> {
  const { rows } = await db.query<StoredChunk>(
    `select id, created_at as "createdAt", sample_count::int as rows, sha256, verified_at is not null as verified
     from public.storj_chunks where id = $1 and status = 'uploaded' and sha256 is not null`,
    [chunkId],
  )
  return rows[0] ?? null
}

/** Records that the object of this hash was proved good. False if the chunk has other contents by now, or is gone. */
export async function markChunkVerified(tx: Queryable, chunkId: string, sha256: string): Promise<boolean> {
  const { rowCount } = await tx.query(
    `update public.storj_chunks set verified_at = now(), last_error = null, slices_evicted_at = null
     where id = $1 and sha256 = $2 and status = 'uploaded'`,
    [chunkId, sha256],
  )
  return rowCount === 1
}

/** Seconds from the insert of a verified chunk's oldest sample to its proof; null if its rows have left Postgres. */
export async function readChunkLag(db: Queryable, chunkId: string): Promise<number | null> {
  const { rows } = await db.query<{ lag: number | null }>(
    `select extract(epoch from c.verified_at - min(s.created_at))::float8 as lag
     from public.storj_chunks c join public.entropy_samples s
       on s.storj_chunk_id = c.id and s."timestamp" between c.min_timestamp and c.max_timestamp
     where c.id = $1 group by c.id`,
    [chunkId],
  )
  return rows[0]?.lag ?? null
}

/** Notes why the last attempt failed. An uploaded chunk that fails its proof loses `verified_at`: it must not be pruned. */
export async function noteChunkError(db: Queryable, chunkId: string, message: string, unverify = false): Promise<void> {
  await db.query(
    `update public.storj_chunks set last_error = $2, verified_at = case when $3 then null else verified_at end
     where id = $1`,
    [chunkId, message.slice(0, 2000), unverify],
  )
}

/** Writes the results of a chunk's tests; one row a chunk, replaced as a whole. */
export async function replaceChunkAnalysis(
  tx: Queryable,
  chunkId: string,
  tests: object,
  metrics: object,
): Promise<void> {
  await tx.query('delete from public.chunk_analysis where chunk_id = $1', [chunkId])
  await tx.query('insert into public.chunk_analysis (chunk_id, tests, metrics) values ($1, $2, $3)', [
    chunkId,
    JSON.stringify(tests),
    JSON.stringify(metrics),
  ])
}
