import type { Queryable } from './pool.ts'

export type ReplicaKind = 'chunk' | 'slices'

/** Where one object is: a chunk's Arrow file, or the sidecar with its slice partials. */
export interface Replica {
  readonly chunkId: string
  readonly kind: ReplicaKind
  readonly backend: 'local' | 'supabase' | 'storj'
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
 * its next attempt may find an object that an earlier one left, however old, and name it.
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
     where c.status <> 'uploaded' or c.verified_at is null`,
    [backend, bucket, keys],
  )
  return new Set(rows.map((row) => row.object_key))
}
