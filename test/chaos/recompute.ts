import { inTransaction } from '../../db/pool.ts'
import { replaceChunkSlices } from '../../db/slices.ts'
import type { JobContext } from '../../jobs/context.ts'
import { runRollupCoherence } from '../../jobs/rollup-coherence.ts'
import { runRollupSlice } from '../../jobs/rollup-slice.ts'
import { HOUR } from '../../jobs/test-chunk.ts'
import { encodePartial } from '../../pipeline/slice-codec.ts'
import { slicePartials } from '../../pipeline/slice.ts'
import type { ProvedChunk } from './proof.ts'

/** What rollups write, and what tells one row from another. */
const TABLES = {
  device_timeslice_stats: 'device_id, bucket_start, bucket_end',
  network_stats: 'bucket_start, bucket_end, profile, normalization',
  coherence_stats: 'device_a_id, device_b_id, bucket_start, bucket_end',
  device_trials: 'device_id, bucket_start, profile',
} as const
type Table = keyof typeof TABLES
/** Columns that say when or by which id a row was written. */
const INCIDENTAL = `'{id,created_at,updated_at,computed_at}'::text[]`

type Row = { key: string; row: string; minute: boolean; old: boolean }

/**
 * Forgets all partials and rollups, makes them anew from the objects of the store alone, each hour once, and compares: every row
 * must be there and the same. Minutes older than retention may have been dropped before. Returns the rows by table.
 */
export async function proveRollups(
  context: JobContext,
  chunks: readonly ProvedChunk[],
  problems: string[],
): Promise<Record<string, number>> {
  const { pool } = context
  const before = await readAll(context)
  await pool.query(`truncate public.chunk_slices, ${Object.keys(TABLES).join(', ')}`)
  await pool.query('update public.storj_chunks set slices_evicted_at = null')
  const hours = new Set<number>()
  const deviceHours = new Map<string, { device_id: string; hour: number }>()
  for (const { id, samples } of chunks) {
    const partials = slicePartials(samples)
    const slices = partials.map((partial) => ({
      deviceId: partial.deviceId,
      sliceStart: partial.sliceStart,
      partial: encodePartial(partial),
    }))
    await inTransaction(pool, (tx) => replaceChunkSlices(tx, id, slices))
    for (const { deviceId, sliceStart } of partials) {
      const hour = Math.floor(sliceStart / HOUR) * HOUR
      hours.add(hour)
      deviceHours.set(`${deviceId} ${hour}`, { device_id: deviceId, hour })
    }
  }
  const { signal } = new AbortController()
  for (const data of deviceHours.values()) await runRollupSlice(context, { data, signal })
  for (const hour of hours) await runRollupCoherence(context, { data: { hour }, signal })
  const after = await readAll(context)
  for (const table of Object.keys(TABLES) as Table[]) compare(table, before[table], after[table], problems)
  return Object.fromEntries(Object.entries(before).map(([table, rows]) => [table, rows.length]))
}

async function readAll({ pool, settings }: JobContext): Promise<Record<Table, Row[]>> {
  const all = {} as Record<Table, Row[]>
  for (const [table, columns] of Object.entries(TABLES) as [Table, string][]) {
    const ends = table === 'device_trials' ? `bucket_start + interval '1 hour'` : 'bucket_end'
    const { rows } = await pool.query<Row>(
      `select concat_ws(' ', ${columns}) as key, (to_jsonb(t) - ${INCIDENTAL})::text as row,
         ${ends} - bucket_start < interval '1 hour' as minute,
         ${ends} < now() - $1 * interval '1 day' as old
       from public.${table} t order by 1`,
      [settings.retentionDays],
    )
    all[table] = rows
  }
  return all
}

function compare(table: Table, before: readonly Row[], after: readonly Row[], problems: string[]): void {
  const were = new Map(before.map(({ key, row }) => [key, row]))
  const wrong: string[] = []
  for (const { key, row, minute, old } of after) {
    const was = were.get(key)
    were.delete(key)
    if (was === undefined ? !(minute && old) : was !== row) wrong.push(key)
  }
  if (wrong.length > 0)
    problems.push(`${wrong.length} rows of ${table} are missing or not what a recomputation gives: ${wrong[0]}`)
  if (were.size > 0) problems.push(`${were.size} rows of ${table} are of nothing: ${[...were.keys()][0]}`)
}
