import type { Pool } from 'pg'
import { runPack } from '../../jobs/pack.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runWorker } from '../../jobs/work.ts'
import { impatient, loadSamples, withBenchStack } from './bench-stack.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

/** Bytes of write-ahead log, by what wrote them, and what is left of the samples in the end. */
export interface Life {
  readonly insert: number
  readonly pack: number
  /** Verification, tests and rollups. */
  readonly verify: number
  readonly prune: number
  /** Bytes of all tables and indexes of samples once they are packed, and after the prune. */
  readonly stored: number
  readonly left: number
}

const DAY = 86_400_000

/**
 * A sample's life in write-ahead log: `rows` samples of `bytes` of a day 40 days ago are inserted, packed, verified, rolled up and
 * pruned, on a server on which nothing else happens.
 */
export async function measureLife(
  { bytes, rows }: { bytes: number; rows: number },
  signal: AbortSignal,
): Promise<Life> {
  return await withBenchStack(async (context) => {
    const { pool } = context
    const day = Math.floor(Date.now() / DAY) * DAY - 40 * DAY
    await pool.query('select app_private.ensure_partitions($1::date, $1::date)', [new Date(day)])
    const insert = await walOf(pool, () => loadSamples(pool, { bytes, rows, start: day }, signal))
    const pack = await walOf(pool, async () => {
      await runPack(impatient(context), { signal })
      await runWorker(context, { mode: 'drain', queues: ['upload-chunk'], signal })
    })
    const stored = await sizeOfSamples(pool)
    const verify = await walOf(pool, () => runWorker(context, { mode: 'drain', signal }))
    const prune = await walOf(pool, async () => {
      const { output } = await runPrune(context, { signal })
      const dropped = output.dropped.reduce((sum, partition) => sum + partition.rows, 0)
      if (dropped !== rows) throw new Error(`${dropped} of ${rows} rows were pruned: ${JSON.stringify(output.kept)}`)
    })
    return { insert, pack, verify, prune, stored, left: await sizeOfSamples(pool) }
  })
}

/** What a cycle leaves: bytes of tables and indexes. */
interface Left {
  readonly samples: number
  /** Of partials, which a prune takes too. */
  readonly slices: number
  readonly catalog: number
}

const CYCLE_ROWS = 1000

/**
 * Day after day 1,000 samples of 256 bytes are inserted, packed, verified, rolled up and pruned; what is left after each day. Tables are
 * vacuumed every tenth day.
 */
export async function measureCycles(cycles: number, signal: AbortSignal): Promise<Left[]> {
  return await withBenchStack(async (context) => {
    const { pool } = context
    const packer = impatient(context)
    const left: Left[] = []
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const day = Math.floor(Date.now() / DAY) * DAY - (cycles + 40 - cycle) * DAY
      await pool.query('select app_private.ensure_partitions($1::date, $1::date)', [new Date(day)])
      await loadSamples(pool, { bytes: 256, rows: CYCLE_ROWS, start: day, devices: 1 }, signal)
      await runPack(packer, { signal })
      await runWorker(context, { mode: 'drain', signal })
      const { output } = await runPrune(context, { signal })
      const dropped = output.dropped.reduce((sum, partition) => sum + partition.rows, 0)
      if (dropped !== CYCLE_ROWS) throw new Error(`not the day's rows were pruned: ${JSON.stringify(output)}`)
      if (cycle % 10 === 0) await pool.query('vacuum')
      const { rows } = await pool.query<Omit<Left, 'samples'>>(
        `select pg_total_relation_size('public.chunk_slices')::float8 as slices,
                sum(pg_total_relation_size(oid))::float8 as catalog
         from pg_class where relkind = 'r' and relnamespace = 'pg_catalog'::regnamespace`,
      )
      left.push({ samples: await sizeOfSamples(pool), ...rows[0] })
    }
    return left
  })
}

async function sizeOfSamples(pool: Pool): Promise<number> {
  const { rows } = await pool.query<{ bytes: number }>(
    `select sum(pg_total_relation_size(relid))::float8 as bytes from pg_partition_tree('public.entropy_samples')`,
  )
  return rows[0].bytes
}

async function walOf(pool: Pool, work: () => Promise<unknown>): Promise<number> {
  const place = async () => {
    const { rows } = await pool.query<{ at: number }>(
      `select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::float8 as at`,
    )
    return rows[0].at
  }
  const before = await place()
  await work()
  return (await place()) - before
}

const SIZES = [
  { bytes: 32, rows: 100_000, goal: null },
  { bytes: 256, rows: 100_000, goal: 1.6 },
  { bytes: 4096, rows: 10_000, goal: null },
]

/** WAL of a sample's whole life as a ratio to that of inserting it. Exact but for what autovacuum and checkpoints add. */
export async function benchLife({ quick, signal }: BenchOptions): Promise<Measured> {
  const lines: Line[] = []
  for (const { bytes, rows, goal } of SIZES) {
    showProgress(`life, ${bytes} B`)
    const life = await measureLife({ bytes, rows: quick ? rows / 4 : rows }, signal)
    const perRow = (name: string, wal: number) =>
      toLine(`${name}, ${bytes} B`, 'bytes', [wal / (quick ? rows / 4 : rows)])
    const whole = life.insert + life.pack + life.verify + life.prune
    lines.push(
      perRow('table and indexes', life.stored - life.left),
      perRow('WAL of insert', life.insert),
      perRow('WAL of pack', life.pack),
      perRow('WAL of verify and rollup', life.verify),
      perRow('WAL of prune', life.prune),
      toLine(`WAL of life to insert, ${bytes} B`, 'times', [whole / life.insert], {
        goal,
        ratio_to: `insert, ${bytes} B`,
      }),
    )
  }
  const cycles = quick ? 20 : 100
  showProgress(`life, ${cycles} days`)
  const left = await measureCycles(cycles, signal)
  const growth = (what: keyof Left, goal: number | null) =>
    toLine(
      `${what} after ${cycles} days, to half of them`,
      'times',
      [left[cycles - 1][what] / left[cycles / 2 - 1][what]],
      {
        goal,
      },
    )
  lines.push(growth('samples', 1), growth('slices', null), growth('catalog', null))
  return { lines }
}
