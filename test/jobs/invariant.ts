import { expect } from 'vitest'
import { decodeChunk } from '../../pipeline/chunk-format.ts'
import { sampleData, uuidAt } from '../../pipeline/samples.ts'
import { sha256Hex } from '../../storage/object-store.ts'
import type { TestPipeline } from '../harness/pipeline.ts'

/**
 * Makes the database remember every sample that is ever committed. The trigger writes in the insert's own transaction, so
 * a rolled-back sample is forgotten with it.
 */
export async function keepLedger({ db }: Pick<TestPipeline, 'db'>): Promise<void> {
  await db.query(`
    create table public.ledger as table public.entropy_samples with no data;
    create function public.write_ledger() returns trigger language plpgsql as $$
      begin insert into public.ledger values (new.*); return null; end $$;
    create trigger write_ledger after insert on public.entropy_samples
      for each row execute function public.write_ledger()`)
}

/** A sample as one line of text: every column that a chunk keeps. */
const SAMPLE_LINE = `concat_ws(' ', id, device_id, profile_id, (extract(epoch from "timestamp") * 1000000)::bigint,
  sequence, byte_length, coalesce(encode(sample_data, 'hex'), ''))`

interface ChunkFacts {
  readonly id: string
  readonly status: string
  readonly verified: boolean
  readonly samples: number
  readonly bytes: number
  readonly from: string
  readonly to: string
  readonly devices: string[]
  readonly size: number
  readonly sha256: string
  readonly key: string
}

/**
 * The promise of the whole pipeline: every sample that was committed (and whose device still exists) is in exactly one
 * uploaded and verified chunk, byte for byte; nothing else is in any; and what the tables say of chunks and objects is
 * so. Returns the keys of objects that no row names, which are the sweep's to find.
 */
export async function expectEverySampleOnce({ db, store }: TestPipeline): Promise<string[]> {
  const { rows: committed } = await db.query<{ line: string }>(
    `select ${SAMPLE_LINE} as line from public.ledger l
     where exists (select from public.devices d where d.id = l.device_id)
       and exists (select from public.sampling_profiles p where p.id = l.profile_id) order by 1`,
  )
  const { rows: chunks } = await db.query<ChunkFacts>(
    `select id, status::text, verified_at is not null as verified, sample_count::int as samples, byte_count::int as bytes,
       (extract(epoch from min_timestamp) * 1000000)::bigint::text as from,
       (extract(epoch from max_timestamp) * 1000000)::bigint::text as to,
       device_ids as devices, size_bytes::int as size, sha256, object_key as key
     from public.storj_chunks order by created_at`,
  )
  expect(chunks.filter((chunk) => chunk.status !== 'uploaded' || !chunk.verified)).toEqual([])
  const { rows: replicas } = await db.query<{ id: string; kind: string; key: string; size: number; sha256: string }>(
    `select chunk_id as id, kind, object_key as key, size::int, sha256 from public.chunk_replicas`,
  )
  const { rows: devices } = await db.query<{ id: string }>('select id from public.devices')
  const alive = new Set(devices.map(({ id }) => id))
  const named = new Set<string>()
  const stored: string[] = []
  const chunkOf = new Map<string, string>()
  for (const replica of replicas) {
    named.add(replica.key)
    const bytes = await store.get(replica.key)
    expect({ size: bytes.length, sha256: sha256Hex(bytes) }).toEqual({ size: replica.size, sha256: replica.sha256 })
    if (replica.kind !== 'chunk') continue
    const lines = linesOf(bytes)
    for (const line of lines) chunkOf.set(line.slice(0, 36), replica.id)
    stored.push(...lines)
    const chunk = chunks.find(({ id }) => id === replica.id)
    const facts = factsOf(bytes, replica)
    expect(chunk).toEqual(facts)
  }
  expect(
    replicas
      .filter((replica) => replica.kind === 'chunk')
      .map((replica) => replica.id)
      .toSorted(),
  ).toEqual(chunks.map((chunk) => chunk.id).toSorted())
  const kept = new Set(stored)
  expect(committed.filter(({ line }) => !kept.has(line))).toEqual([])
  expect(stored).toHaveLength(kept.size)
  const owned = stored.filter((line) => alive.has(line.split(' ')[1]))
  expect(owned.toSorted()).toEqual(committed.map((row) => row.line).toSorted())

  const { rows: inPostgres } = await db.query<{ id: string; chunk: string }>(
    'select id, storj_chunk_id as chunk from public.entropy_samples',
  )
  expect(inPostgres.filter((row) => chunkOf.get(row.id) !== row.chunk)).toEqual([])

  const orphans: string[] = []
  for await (const { key } of store.list('v1/')) if (!named.has(key)) orphans.push(key)
  return orphans
}

function linesOf(bytes: Uint8Array): string[] {
  const { samples } = decodeChunk(bytes)
  return Array.from({ length: samples.rows }, (_, row) =>
    [
      uuidAt(samples.id, row),
      uuidAt(samples.deviceId, row),
      uuidAt(samples.profileId, row),
      samples.timestamp[row],
      samples.sequence[row],
      samples.byteLength[row],
      Buffer.from(sampleData(samples, row)).toString('hex'),
    ].join(' '),
  )
}

/** What the row of a chunk must say, by its file alone. */
function factsOf(bytes: Uint8Array, replica: { id: string; key: string }): ChunkFacts {
  const { samples } = decodeChunk(bytes)
  const rows = Array.from({ length: samples.rows }, (_, row) => row)
  const times = [...samples.timestamp].toSorted((a, b) => Number(a - b))
  return {
    id: replica.id,
    status: 'uploaded',
    verified: true,
    samples: samples.rows,
    bytes: samples.data.length,
    from: String(times[0]),
    to: String(times.at(-1)),
    devices: [...new Set(rows.map((row) => uuidAt(samples.deviceId, row)))].toSorted(),
    size: bytes.length,
    sha256: sha256Hex(bytes),
    key: replica.key,
  }
}
