import type { Backend, StorePlace } from '../pipeline/store-place.ts'
import type { Queryable } from './pool.ts'

export type ReplicaKind = 'chunk' | 'slices'

/** Where one object is: a chunk's Arrow file, or the sidecar with its slice partials. */
export interface Replica {
  readonly chunkId: string
  readonly kind: ReplicaKind
  readonly backend: Backend
  readonly bucket: string
  readonly objectKey: string
  readonly size: number
  readonly sha256: string
}

const COLUMNS = `chunk_id as "chunkId", kind, backend, bucket, object_key as "objectKey", size::float8 as size, sha256`

/** Records where an object is, replacing what was known of that store. */
export async function recordReplica(tx: Queryable, replica: Replica, verified: boolean): Promise<void> {
  await tx.query(
    `insert into public.chunk_replicas (chunk_id, kind, backend, bucket, object_key, size, sha256, verified_at)
     values ($1, $2, $3, $4, $5, $6, $7, case when $8 then now() end)
     on conflict (chunk_id, kind, backend, bucket) do update
       set object_key = excluded.object_key, size = excluded.size, sha256 = excluded.sha256, stored_at = now(),
           verified_at = excluded.verified_at`,
    [
      replica.chunkId,
      replica.kind,
      replica.backend,
      replica.bucket,
      replica.objectKey,
      replica.size,
      replica.sha256,
      verified,
    ],
  )
}

/**
 * Records a proved copy of an object, unless the object it was made of is not the chunk's any more (the chunk was written
 * anew meanwhile): then false.
 */
export async function recordReplicaOf(tx: Queryable, copy: Replica): Promise<boolean> {
  const { rowCount } = await tx.query(
    `select from public.chunk_replicas where chunk_id = $1 and kind = $2 and sha256 = $3 and object_key = $4 for share`,
    [copy.chunkId, copy.kind, copy.sha256, copy.objectKey],
  )
  if (rowCount === 0) return false
  await recordReplica(tx, copy, true)
  return true
}

/** Locks the row of a replica that is known and not proved until the transaction ends; false if there is no such row. */
export async function lockUnproved(tx: Queryable, replica: Replica): Promise<boolean> {
  const { rowCount } = await tx.query(
    `select from public.chunk_replicas where chunk_id = $1 and kind = $2 and backend = $3 and bucket = $4
       and object_key = $5 and verified_at is null for update`,
    [replica.chunkId, replica.kind, replica.backend, replica.bucket, replica.objectKey],
  )
  return rowCount === 1
}

export interface MissingCopy {
  readonly chunkId: string
  readonly kind: ReplicaKind
  readonly size: number
}

/** Objects recorded in `from` of which `to` has no copy with the same hash, oldest chunk first. */
export async function listMissingCopies(db: Queryable, from: StorePlace, to: StorePlace): Promise<MissingCopy[]> {
  const { rows } = await db.query<MissingCopy>(
    `select r.chunk_id as "chunkId", r.kind, r.size::float8 as size
     from public.chunk_replicas r join public.storj_chunks c on c.id = r.chunk_id
     where r.backend = $1 and r.bucket = $2 and not exists (
       select from public.chunk_replicas t
       where t.chunk_id = r.chunk_id and t.kind = r.kind and t.backend = $3 and t.bucket = $4 and t.sha256 = r.sha256)
     order by c.created_at, r.chunk_id, r.kind`,
    [from.backend, from.bucket, to.backend, to.bucket],
  )
  return rows
}

/**
 * Forgets the objects of a place that are proved in `kept`: reads no longer go there, and what is there becomes an orphan. How
 * many, and how many of the place are left because `kept` has no proved copy of them.
 */
export async function forgetReplicas(
  db: Queryable,
  place: StorePlace,
  kept: StorePlace,
  options: { dryRun: boolean },
): Promise<{ objects: number; bytes: number; left: number }> {
  const { rows } = await db.query<{ objects: number; bytes: number; left: number }>(
    `with kept as materialized (
       select chunk_id, kind, sha256 from public.chunk_replicas
       where backend = $3 and bucket = $4 and verified_at is not null for share
     ), there as (
       select r.chunk_id, r.kind, r.size, k.chunk_id is not null as proved
       from public.chunk_replicas r left join kept k using (chunk_id, kind, sha256) where r.backend = $1 and r.bucket = $2
     ), gone as (
       delete from public.chunk_replicas r using there t
       where not $5 and t.proved and r.backend = $1 and r.bucket = $2 and r.chunk_id = t.chunk_id and r.kind = t.kind
     )
     select (count(*) filter (where proved))::int as objects, coalesce(sum(size) filter (where proved), 0)::float8 as bytes,
            (count(*) filter (where not proved))::int as left
     from there`,
    [place.backend, place.bucket, kept.backend, kept.bucket, options.dryRun],
  )
  return rows[0]
}

/** Sets or clears a replica's proof. */
export async function markReplica(tx: Queryable, replica: Replica, verified: boolean): Promise<void> {
  await tx.query(
    `update public.chunk_replicas set verified_at = case when $5 then now() end
     where chunk_id = $1 and kind = $2 and backend = $3 and bucket = $4`,
    [replica.chunkId, replica.kind, replica.backend, replica.bucket, verified],
  )
}

/** The replicas of a chunk, those of `preferred` first. */
export async function listReplicas(
  db: Queryable,
  chunkId: string,
  kind: ReplicaKind,
  preferred: string,
): Promise<Replica[]> {
  const { rows } = await db.query<Replica>(
    `select ${COLUMNS} from public.chunk_replicas where chunk_id = $1 and kind = $2
     order by backend <> $3, stored_at`,
    [chunkId, kind, preferred],
  )
  return rows
}

/**
 * Which of these keys of a store are named by a replica row, or belong to a chunk that is still on its way to its proof:
 * its next attempt may find an object that an earlier one left, however old, and name it. So may a copy that is under way.
 */
export async function listKnownKeys(
  db: Queryable,
  backend: string,
  bucket: string,
  keys: readonly string[],
): Promise<Set<string>> {
  const { rows } = await db.query<{ object_key: string }>(
    `select object_key from public.chunk_replicas where backend = $1 and bucket = $2 and object_key = any ($3)
     union
     select key from unnest($3::text[]) as key
     join public.storj_chunks c on c.id = substring(key from '/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[^/]*$')::uuid
     where c.status <> 'uploaded' or c.verified_at is null
     union
     select r.object_key from pgboss.job j join public.chunk_replicas r on r.chunk_id = (j.data ->> 'chunk_id')::uuid
     where j.name = 'copy-object' and j.state < 'completed' and j.data ->> 'backend' = $1 and j.data ->> 'bucket' = $2
       and r.object_key = any ($3)`,
    [backend, bucket, keys],
  )
  return new Set(rows.map((row) => row.object_key))
}

/** Replicas with whether they are proved: of one place or of all (null), of all chunks or of one object. */
export async function listAllReplicas(
  db: Queryable,
  place: StorePlace | null,
  chunkId?: string,
  kind?: ReplicaKind,
): Promise<(Replica & { verified: boolean })[]> {
  const { rows } = await db.query<Replica & { verified: boolean }>(
    `select ${COLUMNS}, verified_at is not null as verified from public.chunk_replicas
     where ($1::text is null or (backend = $1 and bucket = $2))
       and ($3::uuid is null or (chunk_id = $3 and kind = $4))
     order by stored_at, chunk_id, kind`,
    [place?.backend ?? null, place?.bucket ?? null, chunkId ?? null, kind ?? null],
  )
  return rows
}

/** Objects that a place should have. */
export async function countReplicas(db: Queryable, { backend, bucket }: StorePlace): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    'select count(*)::int as count from public.chunk_replicas where backend = $1 and bucket = $2',
    [backend, bucket],
  )
  return rows[0].count
}

/** Objects of our chunks that have no proved copy in a place: what a cut-over to it still waits for. */
export async function countUnprovedObjects(db: Queryable, place: StorePlace): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `select count(*)::int as count from (
       select distinct chunk_id, kind from public.chunk_replicas r
       where not exists (
         select from public.chunk_replicas t
         where t.chunk_id = r.chunk_id and t.kind = r.kind and t.backend = $1 and t.bucket = $2
           and t.sha256 = r.sha256 and t.verified_at is not null)) missing`,
    [place.backend, place.bucket],
  )
  return rows[0].count
}
