import { randomUUID } from 'node:crypto'
import type { Queryable } from '../../db/pool.ts'

/** A user, and the ids of what is the user's. */
export interface Person {
  readonly user: string
  readonly device: string
  /** Shares a pair with `device`; there is no such device. */
  readonly partner: string
  readonly token: string
  readonly profile: string
  readonly chunk: string
  readonly job: string
}

/** A row of every table in which a row can be a user's, in the order in which they can be inserted. */
export function rowsOf({ user, device, partner, token, profile, chunk, job }: Person) {
  const day = { bucket_start: '2026-01-01 00:00Z', bucket_end: '2026-01-01 01:00Z' }
  const found = { sample_count: 1, byte_count: 1, method_version: '1' }
  return {
    devices: { id: device, user_id: user, name: device, device_token: token },
    sampling_profiles: { id: profile, device_id: device, label: 'p', sample_rate_hz: 1, sample_size_bytes: 1 },
    storj_chunks: {
      id: chunk,
      bucket: 'b',
      object_key: 'k',
      size_bytes: 1,
      byte_count: 1,
      sample_count: 1,
      min_timestamp: '2026-01-01Z',
      max_timestamp: '2026-01-02Z',
      device_ids: [device],
      status: 'uploaded',
    },
    entropy_samples: { device_id: device, profile_id: profile, sequence: 1, byte_length: 1, sample_data: '\\x00' },
    analysis_jobs: {
      id: job,
      user_id: user,
      time_range_start: '2026-01-01Z',
      time_range_end: '2026-01-02Z',
      test_names: ['frequency'],
    },
    analysis_results: { job_id: job, test_name: 'frequency', summary: {}, metrics: {} },
    chunk_analysis: { chunk_id: chunk, tests: {}, metrics: {} },
    device_timeslice_stats: { device_id: device, ...day, ...found },
    coherence_stats: { device_a_id: device, device_b_id: partner, ...day, correlation_metrics: {} },
    chunk_replicas: {
      chunk_id: chunk,
      backend: 'local',
      bucket: 'b',
      object_key: 'k',
      size: 1,
      sha256: 'a'.repeat(64),
    },
    device_trials: {
      device_id: device,
      bucket_start: day.bucket_start,
      profile: 'all_bits',
      trials: 1,
      failed: 0,
      sum_z: 1,
      sum_z2: 1,
      method_version: '1',
    },
    sample_exports: {
      user_id: user,
      device_id: device,
      time_range_start: '2026-01-01Z',
      time_range_end: '2026-01-02Z',
    },
    chunk_slices: { chunk_id: chunk, device_id: device, slice_start: day.bucket_start, partial: '\\x00' },
  }
}

/** A user with a row in every table of `rowsOf`. */
export async function addPerson(db: Queryable): Promise<Person> {
  const [user, device, partner, token, profile, chunk, job] = Array.from({ length: 7 }, () => randomUUID())
  const person = { user, device, partner, token, profile, chunk, job }
  await db.query('insert into auth.users (id, email) values ($1::uuid, $1::uuid::text)', [user])
  for (const [table, row] of Object.entries(rowsOf(person))) await insertRow(db, table, row)
  return person
}

/** Inserts these columns and leaves the others to their defaults. */
export async function insertRow(db: Queryable, table: string, row: Readonly<Record<string, unknown>>): Promise<void> {
  const names = Object.keys(row)
  const values = names.map((_, index) => `$${index + 1}`)
  const columns = names.map((name) => `"${name}"`)
  await db.query(`insert into public.${table} (${columns.join()}) values (${values.join()})`, Object.values(row))
}
