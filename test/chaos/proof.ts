import type { Pool } from 'pg'
import { countJobs, listDeadLetters } from '../../db/queues.ts'
import { decodeChunk } from '../../pipeline/chunk-format.ts'
import { sampleData, type SampleColumns, uuidAt } from '../../pipeline/samples.ts'
import { readReplica } from '../../jobs/read-object.ts'
import type { JobContext } from '../../jobs/context.ts'

import type { Replica } from '../../db/replicas.ts'
import { type Ledger, ledgerKey } from './devices.ts'
import type { Asked } from './requests.ts'

/** A chunk as its object in the store has it. */
export interface ProvedChunk {
  readonly id: string
  readonly samples: SampleColumns
  /** Milliseconds since 1970. */
  readonly verifiedAt: number
}

/**
 * Reads every object back. Each acknowledged sample must be in exactly one verified chunk, byte for byte; one without an
 * answer in at most one; and nothing else in any. What is not so is added to `problems`.
 */
export async function proveChunks(context: JobContext, ledger: Ledger, problems: string[]): Promise<ProvedChunk[]> {
  const { rows } = await context.pool.query<{
    id: string
    status: string
    verifiedAt: number | null
    samples: number
    sha256: string
    replicas: Replica[] | null
  }>(
    `select c.id, c.status::text, extract(epoch from c.verified_at)::float8 * 1000 as "verifiedAt", c.sample_count::int as samples, c.sha256,
       (select jsonb_agg(jsonb_build_object('chunkId', r.chunk_id, 'kind', r.kind, 'backend', r.backend, 'bucket', r.bucket,
          'objectKey', r.object_key, 'size', r.size, 'sha256', r.sha256) order by r.kind) from public.chunk_replicas r
        where r.chunk_id = c.id) as replicas
     from public.storj_chunks c order by c.created_at`,
  )
  const chunks: ProvedChunk[] = []
  const found = new Map<string, string>()
  for (const { id, status, verifiedAt, samples: claimed, sha256, replicas } of rows) {
    if (status !== 'uploaded' || verifiedAt === null) {
      problems.push(`chunk ${id} is ${status}, ${verifiedAt === null ? 'not ' : ''}verified`)
      continue
    }
    const kinds = [...new Set((replicas ?? []).map(({ kind }) => kind))].join()
    if (kinds !== 'chunk,slices') problems.push(`chunk ${id} has the objects ${kinds || 'none'}`)
    let read = false
    for (const replica of replicas ?? []) {
      const object = await readReplica(context, replica).catch((error: Error) => void problems.push(error.message))
      if (!object || replica.kind !== 'chunk') continue
      if (replica.sha256 !== sha256) problems.push(`chunk ${id} has an object that is another's`)
      // A chunk may be in two stores; these are the same bytes.
      if (read) continue
      read = true
      const { samples } = decodeChunk(object.bytes)
      if (samples.rows !== claimed) problems.push(`chunk ${id} says ${claimed} samples and holds ${samples.rows}`)
      checkSamples(samples, id, ledger, found, problems)
      chunks.push({ id, samples, verifiedAt })
    }
  }
  const lost = [...ledger].filter(([key, { acknowledgedAt }]) => acknowledgedAt !== null && !found.has(key))
  if (lost.length > 0) problems.push(`${lost.length} acknowledged samples are in no chunk, ${lost[0][0]} the first`)
  return chunks
}

function checkSamples(
  samples: SampleColumns,
  chunkId: string,
  ledger: Ledger,
  found: Map<string, string>,
  problems: string[],
): void {
  for (let row = 0; row < samples.rows; row++) {
    const [deviceId, profileId] = [uuidAt(samples.deviceId, row), uuidAt(samples.profileId, row)]
    const key = ledgerKey(deviceId, profileId, samples.timestamp[row], samples.sequence[row])
    const sent = ledger.get(key)
    const other = found.get(key)
    if (sent === undefined) problems.push(`chunk ${chunkId} holds a sample that was never sent: ${key}`)
    else if (Buffer.compare(sampleData(samples, row), sent.sample.data) !== 0) {
      problems.push(`chunk ${chunkId} holds other bytes of ${key}`)
    }
    if (other !== undefined) problems.push(`${key} is in chunk ${other} and in chunk ${chunkId}`)
    found.set(key, chunkId)
  }
}

/** What left Postgres must be what maintenance_log says; what is left there, what the chunks hold. */
export async function provePrunes(
  pool: Pool,
  chunks: readonly ProvedChunk[],
  problems: string[],
): Promise<{ prunes: number; rows: number; bytes: number }> {
  const { rows } = await pool.query<Record<'prunes' | 'rows' | 'bytes' | 'left' | 'foreign' | 'standing', number>>(
    `select count(*)::int as prunes, coalesce(sum(rows_affected), 0)::float8 as rows,
       coalesce(sum(bytes_freed), 0)::float8 as bytes,
       (select count(*)::int from public.entropy_samples) as left,
       (select count(*)::int from public.entropy_samples s where not exists (
          select from public.storj_chunks c where c.id = s.storj_chunk_id and c.verified_at is not null)) as foreign,
       (select count(*)::int from public.maintenance_log l
        where to_regclass('entropy_partitions.' || quote_ident(l.details ->> 'partition')) is not null
          and l.details ->> 'partition' <> 'entropy_samples_default') as standing
     from public.maintenance_log where operation_type = 'prune'`,
  )
  const [{ left, foreign, standing, ...log }] = rows
  const stored = chunks.reduce((sum, { samples }) => sum + samples.rows, 0)
  if (stored - left !== log.rows) {
    problems.push(
      `${stored} samples are stored and ${left} left in Postgres; maintenance_log says ${log.rows} were pruned`,
    )
  }
  if (foreign > 0) problems.push(`${foreign} rows in Postgres are in no verified chunk`)
  if (standing > 0) problems.push(`${standing} partitions are still there that maintenance_log calls dropped`)
  return log
}

/**
 * Each analysis must be answered: completed with one result of each test and device, or failed with a sentence and without results; what
 * its user may not see, always so. Returns how many by status.
 */
export async function proveAnalyses(pool: Pool, asked: Asked, problems: string[]): Promise<Record<string, number>> {
  const { rows } = await pool.query<{
    id: string
    status: string
    error: string | null
    tests: string[]
    results: number
  }>(
    `select a.id, a.status::text, a.error_message as error,
       array(select distinct test_name from public.analysis_results r where r.job_id = a.id) as tests,
       (select count(*)::int from public.analysis_results r where r.job_id = a.id) as results
     from public.analysis_jobs a`,
  )
  const found = new Map(rows.map((row) => [row.id, row]))
  for (const id of asked.keys()) if (!found.has(id)) problems.push(`analysis ${id} is lost`)
  const counts: Record<string, number> = {}
  for (const { id, status, error, tests, results } of rows) {
    const request = asked.get(id)
    counts[status] = (counts[status] ?? 0) + 1
    const missing = request?.names.filter((name) => !tests.includes(name)) ?? []
    if (request === undefined) problems.push(`analysis ${id} was never asked for`)
    else if (status === 'failed') {
      if (!error?.endsWith('.')) problems.push(`analysis ${id} failed without a sentence: ${error}`)
      if (results > 0) problems.push(`analysis ${id} failed and has ${results} results`)
    } else if (status !== 'completed') problems.push(`analysis ${id} is ${status}`)
    else if (request.refused) problems.push(`analysis ${id} of another's device was answered`)
    else if (missing.length > 0) problems.push(`analysis ${id} has no result of ${missing.join(', ')}`)
  }
  const { rowCount } = await pool.query(
    `select from public.analysis_results group by job_id, test_name, device_id having count(*) > 1`,
  )
  if (rowCount) problems.push(`${rowCount} results of analyses are there more than once`)
  const twice = await pool.query('select from public.chunk_analysis group by chunk_id having count(*) > 1')
  if (twice.rowCount) problems.push(`${twice.rowCount} chunks have more than one analysis`)
  return counts
}

/** No job may be left, and no dead letter. */
export async function proveQueues(pool: Pool, problems: string[]): Promise<void> {
  for (const { queue, state, jobs } of await countJobs(pool)) {
    if (queue !== 'dead-letter') problems.push(`${jobs} jobs of ${queue} are ${state}`)
  }
  for (const { queue, error } of await listDeadLetters(pool, 100)) problems.push(`dead letter of ${queue}: ${error}`)
}

/** Objects that no row names: what killed workers leave, for the sweep to find. */
export async function countOrphans({ pool, storeOf }: JobContext): Promise<number> {
  const { rows } = await pool.query<Pick<Replica, 'backend' | 'bucket'> & { keys: string[] }>(
    'select backend, bucket, array_agg(object_key) as keys from public.chunk_replicas group by 1, 2',
  )
  let orphans = 0
  for (const { backend, bucket, keys } of rows) {
    const named = new Set(keys)
    const store = await storeOf({ backend, bucket })
    for await (const { key } of store.list('v1/')) if (!named.has(key)) orphans++
  }
  return orphans
}
