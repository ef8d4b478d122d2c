import { execFileSync } from 'node:child_process'
import { finished } from 'node:stream/promises'
import type { Pool } from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { SAMPLE_COLUMNS } from '../../db/copy-binary.ts'
import { readChunkSamples } from '../../db/samples.ts'
import { formatTable } from '../../infra/output.ts'
import { libraryVersion } from '../../infra/version.ts'
import type { JobContext } from '../../jobs/context.ts'
import { packOnce } from '../../jobs/pack.ts'
import { runWorker } from '../../jobs/work.ts'
import { encodeChunk } from '../../pipeline/chunk-format.ts'
import { sha256Hex } from '../../storage/object-store.ts'
import { loadSamples, withBenchStack } from './bench-stack.ts'
import { type BenchOptions, type Line, type Measured, median, showProgress, toLine } from './figures.ts'

interface Size {
  readonly bytes: number
  readonly rows: number
  /** What the ratio to COPY should be. */
  readonly goal: number | null
}

const SIZES: readonly Size[] = [
  { bytes: 32, rows: 200_000, goal: null },
  { bytes: 256, rows: 200_000, goal: 0.3 },
  { bytes: 4096, rows: 20_000, goal: 0.5 },
]

/** `rest`: looking for due rows, fetching and sending jobs, begin. */
const STEPS = ['claim', 'read', 'encode', 'hash and put', 'mark', 'rest'] as const

/** Seconds of one round. */
interface Round {
  readonly copy: number
  readonly pack: number
  readonly steps: Record<(typeof STEPS)[number], number>
}

type Result = readonly [Size, readonly Round[]]

/**
 * How fast samples become chunks: seal → claim → begin → read → encode → hash and put → mark, by the jobs themselves and one worker,
 * on an embedded Postgres with fsync on and a store on disk; as a ratio to COPY … (FORMAT binary) of the same rows, read
 * and thrown away a moment before. Every round loads fresh rows into an emptied table.
 */
export async function benchPack({ quick, signal }: BenchOptions): Promise<Measured> {
  const sizes = quick ? SIZES.map((size) => ({ ...size, rows: size.rows / 4 })) : SIZES
  const results = await measure(sizes, quick ? 2 : 3, signal)
  return { lines: results.flatMap(toLines), more: describeSteps(results) }
}

async function measure(sizes: readonly Size[], rounds: number, signal: AbortSignal): Promise<Result[]> {
  const marks: Mark[] = []
  return await withBenchStack(
    async (context) => {
      const results: Result[] = []
      for (const size of sizes) {
        const measured: Round[] = []
        for (let round = 0; round < rounds; round++) {
          showProgress(`pack, ${size.bytes} B: round ${round + 1} of ${rounds}`)
          await load(context.pool, size, signal)
          const { copy, pack } = await measureRound(context, marks, signal)
          // Two jobs overlap; which step takes how long shows with one at a time.
          await load(context.pool, size, signal)
          const { steps } = await measureRound(context, marks, signal, 1)
          measured.push({ copy, pack, steps })
        }
        results.push([size, measured])
      }
      return results
    },
    { checkpoint: (step) => void marks.push([step, performance.now()]) },
  )
}

/** Fresh rows in an emptied table. Rows that were claimed and released would leave their dead versions to be read past. */
async function load(pool: Pool, size: Size, signal: AbortSignal): Promise<void> {
  await pool.query('truncate public.entropy_samples')
  await pool.query('delete from public.storj_chunks')
  await pool.query('delete from public.devices')
  const midnight = Math.floor(Date.now() / 86_400_000) * 86_400_000
  await loadSamples(pool, { ...size, start: midnight }, signal)
  // As autovacuum would have by then; it also reads every page once, so that COPY need not be the first.
  await pool.query('vacuum analyze public.entropy_samples')
  // What the load has left for the disk to write would be written by the first fsync of a chunk.
  execFileSync('sync')
}

/** `concurrency`: jobs at a time, as many as a worker does unless told. */
async function measureRound(
  context: JobContext,
  marks: Mark[],
  signal: AbortSignal,
  concurrency?: number,
): Promise<Round> {
  const copy = Math.min(await timeCopy(context.pool, signal), await timeCopy(context.pool, signal))
  signal.throwIfAborted()
  marks.length = 0
  const started = performance.now()
  while (await packOnce(context, true)) signal.throwIfAborted()
  await runWorker(context, { mode: 'drain', queues: ['upload-chunk'], concurrency, signal })
  const pack = (performance.now() - started) / 1000
  signal.throwIfAborted()
  await assertPacked(context.pool)
  await context.pool.query(`delete from pgboss.job where name = 'test-chunk'`)

  // No checkpoint divides read, encode and hash: the latter two are done once more and their time taken off.
  const { encode, hash } = await timeEncode(context.pool)
  const claim = between(marks, 'claim', 'claim: after commit')
  const read = between(marks, 'begin', 'put') - encode - hash
  const put = between(marks, 'put', 'put: done')
  const mark = between(marks, 'put: done', 'mark: after commit')
  const rest = pack - claim - read - encode - hash - put - mark
  return { copy, pack, steps: { claim, read, encode, 'hash and put': hash + put, mark, rest } }
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

/** Seconds of encoding and of hashing all chunks, one after the other as the jobs do it. */
async function timeEncode(pool: Pool): Promise<{ encode: number; hash: number }> {
  const { rows: chunks } = await pool.query<{ id: string; from: string; to: string; rows: number; bytes: number }>(
    `select id, to_jsonb(min_timestamp) #>> '{}' as "from", to_jsonb(max_timestamp) #>> '{}' as "to",
            sample_count as rows, byte_count::float8 as bytes from public.storj_chunks`,
  )
  let encode = 0
  let hash = 0
  for (const chunk of chunks) {
    const samples = await readChunkSamples(pool, chunk.id, chunk)
    const started = performance.now()
    const file = encodeChunk(samples, { chunkId: chunk.id, libraryVersion: libraryVersion() })
    const encoded = performance.now()
    sha256Hex(file)
    encode += (encoded - started) / 1000
    hash += (performance.now() - encoded) / 1000
  }
  return { encode, hash }
}

/** A checkpoint of a chunk's life, and when it was passed. */
type Mark = readonly [step: string, at: number]

/** Seconds from one checkpoint to the other, over all chunks that passed both. */
function between(marks: readonly Mark[], from: string, to: string): number {
  let sum = 0
  let since = 0
  for (const [step, at] of marks) {
    if (step === from) since = at
    if (step === to) sum += at - since
  }
  return sum / 1000
}

function toLines([{ bytes, rows, goal }, rounds]: Result): Line[] {
  const line = (what: string, unit: string, of: (round: Round) => number, extra: Parameters<typeof toLine>[3] = {}) =>
    toLine(`${what}, ${bytes} B`, unit, rounds.map(of), extra)
  return [
    line('COPY', 'rows/s', ({ copy }) => rows / copy),
    line('pack', 'rows/s', ({ pack }) => rows / pack),
    line('pack payload', 'MB/s', ({ pack }) => (rows * bytes) / pack / 1e6),
    line('pack to COPY', 'ratio', ({ copy, pack }) => copy / pack, { goal, ratio_to: `COPY, ${bytes} B` }),
  ]
}

function describeSteps(results: readonly Result[]): string {
  const steps = results.map(([size, rounds]) => {
    const perRow = STEPS.map((step) => median(rounds.map((round) => (1e6 * round.steps[step]) / size.rows)))
    const total = perRow.reduce((sum, one) => sum + one, 0)
    return [`${size.bytes} B`, ...perRow.map((one) => `${one.toFixed(2)}  ${Math.round((100 * one) / total)} %`)]
  })
  const table = formatTable(['samples', ...STEPS], steps, `l${'r'.repeat(STEPS.length)}`)
  return `Microseconds a row and share of the time:\n${table}`
}
