import type { Pool } from 'pg'
import { createDevice, createLocalUser } from '../../db/devices.ts'

const DAY = 86_400_000
const ROWS_A_STATEMENT = 100_000

/** Empties what a backlog fills, jobs included. */
export async function clearBacklog(pool: Pool): Promise<void> {
  await pool.query(
    `truncate public.entropy_samples, public.chunk_slices, public.device_timeslice_stats, public.network_stats,
       public.coherence_stats, public.device_trials, public.chunk_analysis, public.analysis_results, public.analysis_jobs`,
  )
  await pool.query('delete from public.chunk_replicas')
  await pool.query('delete from public.storj_chunks')
  await pool.query('delete from public.devices')
  await pool.query('delete from pgboss.job')
}

/** Samples of `bytes` (up to 32) hashed bytes, one a second and device, made by the server: from as many days ago as there are days of them, or `daysAgo`. */
export async function addBacklog(
  pool: Pool,
  { rows, devices: count, bytes, daysAgo }: { rows: number; devices: number; bytes: number; daysAgo?: number },
  signal: AbortSignal,
  onProgress: (rows: number) => void = () => {},
): Promise<void> {
  const userId = await createLocalUser(pool, 'bench@localhost')
  const kind = { userId, description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: bytes }
  const devices: Awaited<ReturnType<typeof createDevice>>[] = []
  for (let n = 0; n < count; n++) devices.push(await createDevice(pool, { ...kind, name: `bench ${n}` }))
  const days = daysAgo ?? Math.ceil(rows / count / 86_400)
  const start = new Date(Math.floor(Date.now() / DAY) * DAY - days * DAY)
  await pool.query('select app_private.ensure_partitions($1::date, current_date)', [start])
  for (let first = 0; first < rows; first += ROWS_A_STATEMENT) {
    signal.throwIfAborted()
    await pool.query(
      `insert into public.entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
       select ($1::uuid[])[1 + n % $3], ($2::uuid[])[1 + n % $3], $4::timestamptz + n / $3 * interval '1 second', n / $3, $5,
         substr(sha256(int8send(n)), 1, $5)
       from generate_series($6::bigint, $7::bigint) n`,
      [
        devices.map(({ deviceId }) => deviceId),
        devices.map(({ profileId }) => profileId),
        count,
        start,
        bytes,
        first,
        Math.min(first + ROWS_A_STATEMENT, rows) - 1,
      ],
    )
    onProgress(first)
  }
  // As autovacuum would have by then.
  await pool.query('vacuum analyze public.entropy_samples')
}
