import { execFileSync } from 'node:child_process'
import { finished } from 'node:stream/promises'
import type { Pool } from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { SAMPLE_COLUMNS } from '../../db/copy-binary.ts'
import { readChunkSamples } from '../../db/samples.ts'
import { formatTable } from '../../infra/table.ts'
import { libraryVersion } from '../../infra/version.ts'
import { sendJob } from '../../jobs/boss.ts'
import type { JobContext } from '../../jobs/context.ts'
import { NO_SPAN, NO_TELEMETRY, type Telemetry } from '../../jobs/telemetry.ts'
import { runWorker } from '../../jobs/work.ts'
import { decodeChunk, encodeChunk } from '../../pipeline/chunk-format.ts'
import { orderSamples } from '../../pipeline/merge-samples.ts'
import { impatient, loadSamples, withBenchStack } from './bench-stack.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

interface Size {
  readonly bytes: number
  /** Several chunks' worth: a worker reads one while it stores another. */
  readonly rows: number
  /** What the ratio to COPY should be. */
  readonly goal: number | null
}

const SIZES: readonly Size[] = [
  { bytes: 32, rows: 300_000, goal: null },
  { bytes: 256, rows: 450_000, goal: 0.3 },
  { bytes: 4096, rows: 60_000, goal: 0.5 },
]

/** `encode` sorts and hashes too. `rest`: looking for due rows, fetching and sending jobs, begin. */
const STEPS = ['claim', 'read', 'encode', 'put', 'mark', 'rest'] as const

/** Seconds of one round. */
interface Round {
  readonly copy: number
  readonly pack: number
}

/** Of one size: what each round took; what each step took of a round with one job at a time; a chunk in memory. */
interface Result {
  readonly size: Size
  readonly rounds: readonly Round[]
  readonly steps: Readonly<Record<(typeof STEPS)[number], number>>
  readonly codec: Codec
}

/**
 * How fast samples become chunks: seal → claim → begin → read → encode → hash and put → mark, by the jobs themselves and one worker,
 * on an embedded Postgres with fsync on and a store on disk; as a ratio to COPY … (FORMAT binary) of the same rows, read
 * and thrown away a moment before.
 */
export async function benchPack({ quick, signal }: BenchOptions): Promise<Measured> {
  const sizes = quick ? SIZES.map((size) => ({ ...size, rows: size.rows / 4 })) : SIZES
  const results = await measure(sizes, quick ? 2 : 3, signal)
  return { lines: results.flatMap(toLines), more: describeSteps(results) }
}

async function measure(sizes: readonly Size[], rounds: number, signal: AbortSignal): Promise<Result[]> {
  const clock = startClock()
  return await withBenchStack(
    async (context) => {
      const results: Result[] = []
      for (const size of sizes) {
        const measured: Round[] = []
        await load(context.pool, size, signal)
        for (let round = 0; round < rounds; round++) {
          showProgress(`pack, ${size.bytes} B: round ${round + 1} of ${rounds}`)
          await unpack(context)
          measured.push(await measureRound(context, signal))
        }
        const codec = await measureCodec(context.pool, rounds)
        // Two jobs overlap; which step takes how long shows with one at a time.
        await unpack(context)
        clock.seconds.clear()
        const { pack } = await measureRound(context, signal, 1)
        const [claim, read, encode, put, mark] = STEPS.map((step) => clock.seconds.get(step) ?? 0)
        const steps = { claim, read, encode, put, mark, rest: pack - claim - read - encode - put - mark }
        results.push({ size, rounds: measured, steps, codec })
      }
      return results
    },
    { telemetry: clock.telemetry },
  )
}

/** Adds up the seconds of the jobs' steps, by name. */
function startClock() {
  const seconds = new Map<string, number>()
  const span: typeof NO_SPAN = {
    ...NO_SPAN,
    step: async (name, work) => {
      const started = performance.now()
      const result = await work()
      seconds.set(name, (seconds.get(name) ?? 0) + (performance.now() - started) / 1000)
      return result
    },
  }
  const telemetry: Telemetry = { ...NO_TELEMETRY, startJob: () => span }
  return { seconds, telemetry }
}

/** Rows in an emptied table. */
async function load(pool: Pool, size: Size, signal: AbortSignal): Promise<void> {
  await pool.query('truncate public.entropy_samples')
  await pool.query('delete from public.devices')
  const midnight = Math.floor(Date.now() / 86_400_000) * 86_400_000
  await loadSamples(pool, { ...size, start: midnight }, signal)
  // As autovacuum would have by then; it also reads every page once, so that COPY need not be the first.
  await pool.query('vacuum analyze public.entropy_samples')
}

/** Lets chunks and objects be as if nothing had been packed. Packing changes no row of a sample: each round finds the same. */
async function unpack({ pool, store }: JobContext): Promise<void> {
  await pool.query('truncate public.storj_chunks cascade')
  await pool.query('update app_private.packing set adopted_through = 0')
  for await (const { key } of store.list('')) await store.delete(key)
  // What others have left for the disk to write would be written by the first fsync of a chunk.
  execFileSync('sync')
}

/** `concurrency`: jobs at a time, as many as a worker does unless told. */
async function measureRound(context: JobContext, signal: AbortSignal, concurrency?: number): Promise<Round> {
  const copy = Math.min(await timeCopy(context.pool, signal), await timeCopy(context.pool, signal))
  signal.throwIfAborted()
  const worker = impatient(context)
  await sendJob(context.boss, context.pool, 'pack', {})
  const started = performance.now()
  await runWorker(worker, { mode: 'drain', queues: ['pack', 'upload-chunk'], concurrency, signal })
  const pack = (performance.now() - started) / 1000
  signal.throwIfAborted()
  await assertPacked(context.pool)
  await context.pool.query(`delete from pgboss.job where name = 'test-chunk'`)
  return { copy, pack }
}

/** Seconds of a binary COPY of all rows, read and thrown away: what the database can give at best. */
async function timeCopy(pool: Pool, signal: AbortSignal): Promise<number> {
  signal.throwIfAborted()
  const client = await pool.connect()
  try {
    const started = performance.now()
    const query = `copy (select ${SAMPLE_COLUMNS} from public.entropy_samples) to stdout (format binary)`
    await finished(client.query(copyTo(query)).resume())
    return (performance.now() - started) / 1000
  } finally {
    client.release()
  }
}

/** A round that left something out would look fast. */
async function assertPacked(pool: Pool): Promise<void> {
  const { rows } = await pool.query<{ open: number }>(
    `select count(*)::int as open from public.entropy_samples s left join public.storj_chunks c on c.id = s.storj_chunk_id
     where c.status is distinct from 'uploaded'`,
  )
  if (rows[0].open > 0) throw new Error(`${rows[0].open} rows were not packed`)
}

/** Seconds for one chunk in memory, of each round, and its bytes. */
interface Codec {
  readonly payload: number
  readonly file: number
  readonly copy: readonly number[]
  readonly encode: readonly number[]
  readonly decode: readonly number[]
}

/** A chunk's way into an Arrow file, its rows in the order of their inserts, and out of it, beside a copy of the file. */
async function measureCodec(pool: Pool, rounds: number): Promise<Codec> {
  const { rows } = await pool.query<{ id: string; from: string; to: string; rows: number; bytes: number }>(
    `select id, to_jsonb(min_timestamp) #>> '{}' as "from", to_jsonb(max_timestamp) #>> '{}' as "to",
            sample_count as rows, byte_count::float8 as bytes from public.storj_chunks order by sample_count desc limit 1`,
  )
  const samples = await readChunkSamples(pool, rows[0].id, rows[0])
  const meta = { chunkId: rows[0].id, libraryVersion: libraryVersion() }
  let memory = new Uint8Array(0)
  const allocate = (bytes: number) => (memory.length === bytes ? memory : (memory = new Uint8Array(bytes)))
  const file = encodeChunk(samples, meta, { order: orderSamples(samples), allocate }).slice()
  const target = file.slice()
  const codec = { payload: samples.data.length, file: file.length, copy: [], encode: [], decode: [] }
  const time = (to: number[], work: () => unknown) => {
    const started = performance.now()
    work()
    to.push((performance.now() - started) / 1000)
  }
  for (let round = 0; round < 3 * rounds; round++) {
    time(codec.copy, () => target.set(file))
    time(codec.encode, () => encodeChunk(samples, meta, { order: orderSamples(samples), allocate }))
    time(codec.decode, () => decodeChunk(file))
  }
  return codec
}

function toLines({ size: { bytes, rows, goal }, rounds, codec }: Result): Line[] {
  const line = (what: string, unit: string, of: (round: Round) => number, extra: Parameters<typeof toLine>[3] = {}) =>
    toLine(`${what}, ${bytes} B`, unit, rounds.map(of), extra)
  const rates = (seconds: readonly number[]) => seconds.map((one) => codec.file / one / 1e6)
  const toCopy = (seconds: readonly number[]) => seconds.map((one, round) => codec.copy[round] / one)
  const copyOfMemory = `memory copy, ${bytes} B`
  return [
    line('COPY', 'rows/s', ({ copy }) => rows / copy),
    line('pack', 'rows/s', ({ pack }) => rows / pack),
    line('pack payload', 'MB/s', ({ pack }) => (rows * bytes) / pack / 1e6),
    line('pack to COPY', 'ratio', ({ copy, pack }) => copy / pack, { goal, ratio_to: `COPY, ${bytes} B` }),
    toLine(copyOfMemory, 'MB/s', rates(codec.copy)),
    toLine(`encode, ${bytes} B`, 'MB/s', rates(codec.encode)),
    toLine('… to memory copy', 'ratio', toCopy(codec.encode), { ratio_to: copyOfMemory }),
    toLine(`decode, ${bytes} B`, 'MB/s', rates(codec.decode)),
    toLine('… to memory copy', 'ratio', toCopy(codec.decode), { ratio_to: copyOfMemory }),
    toLine(`Arrow file to payload, ${bytes} B`, 'times', [codec.file / codec.payload]),
  ]
}

function describeSteps(results: readonly Result[]): string {
  const rows = results.map(({ size, steps }) => {
    const perRow = STEPS.map((step) => (1e6 * steps[step]) / size.rows)
    const total = perRow.reduce((sum, one) => sum + one, 0)
    return [`${size.bytes} B`, ...perRow.map((one) => `${one.toFixed(2)}  ${Math.round((100 * one) / total)} %`)]
  })
  const table = formatTable(['samples', ...STEPS], rows, `l${'r'.repeat(STEPS.length)}`)
  return `Microseconds a row and share of the time, one job at a time:\n${table}`
}
