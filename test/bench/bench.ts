import { randomBytes, randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Pool } from 'pg'
import { to as copyTo } from 'pg-copy-streams'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { SAMPLE_COLUMNS } from '../../db/copy-binary.ts'
import { insertSamples, type NewSample } from '../../db/samples.ts'
import { openContext } from '../../infra/context.ts'
import { createLogger } from '../../infra/logger.ts'
import { formatTable } from '../../infra/output.ts'
import { startStack } from '../../infra/stack.ts'
import type { JobContext } from '../../jobs/context.ts'
import { packOnce } from '../../jobs/pack.ts'
import { runWorker } from '../../jobs/work.ts'

/** Samples of each size, enough for at least one full chunk where a chunk is cut by bytes. */
const CASES = [
  { bytes: 32, rows: 200_000, goal: null },
  { bytes: 256, rows: 131_072, goal: 0.3 },
  { bytes: 4096, rows: 16_384, goal: 0.5 },
] as const
const DEVICES = 8
const BATCH = 4096

interface Line {
  name: string
  figure: number
  unit: string
  goal: number | null
  goal_met: boolean | null
  ratio_to: string | null
  spread: [number, number]
}

/** The steps between the checkpoints of a chunk's life, in milliseconds. */
type Steps = Record<'claim' | 'read and encode' | 'put' | 'mark', number>

const { values: flags } = parseArgs({
  options: { json: { type: 'boolean' }, quick: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
})
if (flags.help) {
  process.stdout.write(
    'npm run bench -- [--json] [--quick]\n\n' +
      'claim → read → encode → put → mark of fresh samples by one worker, on an embedded Postgres with fsync on and a store on\n' +
      'disk, as a ratio to COPY … (FORMAT binary) of the same rows a moment before. Median, lowest and highest of the rounds.\n',
  )
} else {
  await bench(flags.quick ? 2 : 5, flags.json ?? false)
}

async function bench(rounds: number, json: boolean): Promise<void> {
  const directory = join(tmpdir(), `coherence-bench-${randomUUID()}`)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  // Kept data means a durable server: fsync, full pages, synchronous commit.
  const stack = await startStack({
    databaseDirectory: directory,
    storageDirectory: `${directory}-storage`,
    persistent: true,
    environment: { LOG_LEVEL: 'error' },
  })
  try {
    const marks: [string, number][] = []
    const { context, close } = await openContext(stack.config, createLogger('error'), {
      checkpoint: (step) => void marks.push([step, performance.now()]),
    })
    try {
      const lines: Line[] = []
      const steps: string[][] = []
      for (const one of CASES) {
        const results: { ratio: number; rowsPerSecond: number; steps: Steps }[] = []
        for (let round = 0; round < rounds && !stop.signal.aborted; round++) {
          await load(context.pool, one.bytes, one.rows)
          const copied = await timeCopy(context.pool)
          marks.length = 0
          const packed = await timePack(context)
          results.push({ ratio: copied / packed, rowsPerSecond: one.rows / packed, steps: stepsOf(marks) })
          if (!json) process.stderr.write('.')
        }
        if (stop.signal.aborted) break
        lines.push(...describe(one, results))
        const typical = median(results.map((result) => Object.values(result.steps).reduce((sum, ms) => sum + ms, 0)))
        const names = Object.keys(results[0].steps) as (keyof Steps)[]
        steps.push([
          `${one.bytes} B`,
          ...names.map(
            (name) => `${Math.round((100 * median(results.map((result) => result.steps[name]))) / typical)} %`,
          ),
        ])
      }
      if (!json) process.stderr.write('\n')
      print(lines, steps, json)
    } finally {
      await close()
    }
  } finally {
    await stack.stop()
    await rm(directory, { recursive: true, force: true })
    await rm(`${directory}-storage`, { recursive: true, force: true })
  }
}

/** Fresh rows in an empty table: rows that were claimed and released again would carry their dead versions along. */
async function load(pool: Pool, bytes: number, rows: number): Promise<void> {
  await pool.query('truncate public.entropy_samples')
  const userId = await createLocalUser(pool, 'bench@localhost')
  const devices = await Promise.all(
    Array.from({ length: DEVICES }, () =>
      createDevice(pool, {
        userId,
        name: 'bench',
        description: '',
        clientType: 'linux',
        sampleRateHz: 1,
        sampleSizeBytes: bytes,
      }),
    ),
  )
  const start = Math.floor(Date.now() / 86_400_000) * 86_400_000
  for (let done = 0; done < rows; done += BATCH) {
    const batch = Array.from({ length: Math.min(BATCH, rows - done) }, (_, i): NewSample => {
      const n = done + i
      const device = devices[n % DEVICES]
      const second = Math.floor(n / DEVICES)
      return {
        ...device,
        timestamp: new Date(start + second * 1000),
        sequence: BigInt(second),
        data: randomBytes(bytes),
      }
    })
    await insertSamples(pool, batch)
  }
  await pool.query('analyze public.entropy_samples')
}

/** Seconds of a binary COPY of all rows, read and thrown away: what the database can give at best. */
async function timeCopy(pool: Pool): Promise<number> {
  const client = await pool.connect()
  try {
    const started = performance.now()
    const stream = client.query(
      copyTo(`copy (select ${SAMPLE_COLUMNS} from public.entropy_samples) to stdout (format binary)`),
    )
    stream.resume()
    await new Promise((settle, reject) => stream.once('end', settle).once('error', reject))
    return (performance.now() - started) / 1000
  } finally {
    client.release()
  }
}

/** Seconds from the first claim to the last mark, by the jobs themselves, one worker. */
async function timePack(context: JobContext): Promise<number> {
  const started = performance.now()
  while (await packOnce(context, true));
  await runWorker(context, { mode: 'drain', queues: ['upload-chunk'], concurrency: 1 })
  const seconds = (performance.now() - started) / 1000
  const { rows } = await context.pool.query(
    `select count(*)::int as open from public.entropy_samples s left join public.storj_chunks c on c.id = s.storj_chunk_id
     where c.status is distinct from 'uploaded'`,
  )
  if (rows[0].open !== 0) throw new Error(`${rows[0].open} rows were not packed`)
  await context.pool.query(`delete from pgboss.job where name = 'test-chunk'`)
  return seconds
}

function stepsOf(marks: readonly [string, number][]): Steps {
  const steps: Steps = { claim: 0, 'read and encode': 0, put: 0, mark: 0 }
  const spans: [keyof Steps, string, string][] = [
    ['claim', 'claim', 'claim: after commit'],
    ['read and encode', 'begin', 'put'],
    ['put', 'put', 'put: done'],
    ['mark', 'put: done', 'mark: after commit'],
  ]
  for (const [name, from, to] of spans) {
    const begun = marks.filter(([step]) => step === from)
    const ended = marks.filter(([step]) => step === to)
    ended.forEach(([, at], i) => (steps[name] += at - begun[i][1]))
  }
  return steps
}

function describe(one: (typeof CASES)[number], results: readonly { ratio: number; rowsPerSecond: number }[]): Line[] {
  const line = (name: string, unit: string, values: number[], goal: number | null, ratioTo: string | null): Line => {
    const figure = median(values)
    const spread: [number, number] = [Math.min(...values), Math.max(...values)]
    return {
      name: `${name}, ${one.bytes} B`,
      figure,
      unit,
      goal,
      goal_met: goal === null ? null : figure >= goal,
      ratio_to: ratioTo,
      spread,
    }
  }
  const rates = results.map((result) => result.rowsPerSecond)
  return [
    line('pack', 'rows/s', rates, null, null),
    line(
      'pack',
      'MB/s',
      rates.map((rate) => (rate * one.bytes) / 1e6),
      null,
      null,
    ),
    line(
      'pack',
      'ratio',
      results.map((result) => result.ratio),
      one.goal,
      'COPY … (FORMAT binary) of the same rows',
    ),
  ]
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2
}

function print(lines: readonly Line[], steps: readonly string[][], json: boolean): void {
  if (json) {
    process.stdout.write(`${JSON.stringify(lines)}\n`)
    return
  }
  const number = (value: number) =>
    value >= 100 ? Math.round(value).toLocaleString('en-US') : value.toFixed(value < 10 ? 3 : 1)
  const rows = lines.map((line) => [
    line.name,
    number(line.figure),
    line.unit,
    line.goal === null ? '' : `>= ${line.goal} ${line.goal_met ? 'met' : 'missed'}`,
    line.spread.map(number).join(' … '),
  ])
  process.stdout.write(`${formatTable(['figure', 'median', 'unit', 'goal', 'lowest … highest'], rows, 'lrllr')}\n\n`)
  process.stdout.write(`${formatTable(['share of time', 'claim', 'read, encode', 'put', 'mark'], steps, 'lrrrr')}\n`)
}
