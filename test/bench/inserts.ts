import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '../../db/pool.ts'
import type { JobContext } from '../../jobs/context.ts'
import { packOnce, runPack } from '../../jobs/pack.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runWorker } from '../../jobs/work.ts'
import { impatient, loadSamples, withBenchStack } from './bench-stack.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

const INSERTER = new URL('inserter.ts', import.meta.url).pathname
const DAY = 86_400_000

/**
 * Eight devices insert 4,000 samples a second from a process of their own: alone, and in turns with that while a chunk is sealed and
 * claimed ten times a second; while a worker packs and uploads a backlog as fast as it can to the disk that the database is on; and
 * while a day of proved samples is pruned.
 */
export async function benchInserts({ quick, signal }: BenchOptions): Promise<Measured> {
  const rounds = quick ? 2 : 5
  const ms = quick ? 1500 : 3000
  const rows = quick ? 150_000 : 300_000
  const claims: number[] = []
  const lines: Line[] = []
  await withBenchStack(async (context, config) => {
    const { pool } = context
    const packer = impatient(context)
    const latencies = await whileInserting(config.databaseUrl, async (during) => {
      for (let round = 0; round < rounds; round++) {
        showProgress(`inserts beside claims: round ${round + 1} of ${rounds}`)
        await during('idle', () => sleep(ms, undefined, { signal }))
        await during('claiming', async () => {
          for (let turn = 0; turn < ms / 100; turn++) {
            await packOnce(packer)
            await sleep(100, undefined, { signal })
          }
        })
      }
      for (let round = 0; round < (quick ? 1 : 2); round++) {
        showProgress(`inserts beside packing: round ${round + 1}`)
        await loadSamples(pool, { bytes: 256, rows, start: Date.now() - DAY }, signal)
        await during('idle before', () => sleep(ms, undefined, { signal }))
        await during('packing', async () => {
          for (;;) {
            const began = performance.now()
            if ((await packOnce(context)) === null) break
            claims.push(performance.now() - began)
          }
          await packOnce(packer)
          await runWorker(context, { mode: 'drain', queues: ['upload-chunk'], signal })
        })
      }
    })
    await runWorker(context, { mode: 'drain', signal })
    const p99 = (name: string) =>
      latencies[name].map((some) => some.toSorted((x, y) => x - y)[Math.floor(some.length * 0.99)])
    const ratios = (name: string, to: string) => p99(name).map((value, round) => value / p99(to)[round])
    lines.push(
      toLine('insert p99, nothing else', 'ms', p99('idle')),
      toLine('insert p99, while chunks are sealed and claimed', 'ms', p99('claiming')),
      toLine('… to nothing else', 'times', ratios('claiming', 'idle'), {
        goal: 1.5,
        ratio_to: 'insert p99, nothing else',
      }),
      toLine('claim of a whole chunk, 256 B, inserts meanwhile', 'ms', claims),
      toLine('insert p99, while a backlog goes to the same disk', 'ms', p99('packing')),
      toLine('… to nothing else', 'times', ratios('packing', 'idle before'), { ratio_to: 'insert p99, nothing else' }),
      ...(await benchPrune(packer, config.databaseUrl, quick, signal)),
    )
  })
  return { lines }
}

/** Prunes a day of few and one of many rows while inserts go on. */
async function benchPrune(context: JobContext, databaseUrl: string, quick: boolean, signal: AbortSignal) {
  const { pool } = context
  const lines: Line[] = []
  for (const rows of quick ? [20_000, 200_000] : [50_000, 500_000]) {
    showProgress(`prune of ${rows} rows`)
    const day = Math.floor(Date.now() / DAY) * DAY - 40 * DAY
    await pool.query('select app_private.ensure_partitions($1::date, $1::date)', [new Date(day)])
    await loadSamples(pool, { bytes: 32, rows, start: day, devices: Math.max(8, Math.ceil(rows / 86_400)) }, signal)
    await runPack(context, { signal })
    await runWorker(context, { mode: 'drain', signal })
    lines.push(...(await measurePrune(context, databaseUrl, rows, signal)))
  }
  return lines
}

/** Prunes what is due, one day, while inserts go on elsewhere: how long it takes, and how long it holds them up. */
export async function measurePrune(
  context: JobContext,
  databaseUrl: string,
  rows: number,
  signal: AbortSignal,
): Promise<Line[]> {
  let seconds = 0
  let tries = 0
  const latencies = await whileInserting(
    databaseUrl,
    async (during) =>
      await during('prune', async () => {
        await sleep(500)
        // It gives up rather than hold inserts up for long, and is then done an hour later: here at once.
        for (let dropped = 0; dropped === 0;) {
          signal.throwIfAborted()
          const started = performance.now()
          const { output } = await runPrune(context, { signal })
          seconds = (performance.now() - started) / 1000
          dropped = output.dropped.reduce((sum, partition) => sum + partition.rows, 0)
          tries++
          if (tries > 20 || (dropped > 0 && dropped !== rows))
            throw new Error(`not what was to be pruned: ${JSON.stringify(output)}`)
        }
        await sleep(500)
      }),
  )
  const of = `of ${rows.toLocaleString('en-US')} rows`
  return [
    toLine(`prune ${of}`, 's', [seconds]),
    toLine('… tries until nobody was in the way', 'times', [tries]),
    toLine(`longest insert meanwhile, prune ${of}`, 'ms', [Math.max(...latencies.prune.flat())], { goal: 200 }),
  ]
}

type During = (name: string, part: () => Promise<unknown>) => Promise<void>

/**
 * Does `work` while inserts go on. For each name that it gives a part of it, turn by turn: the latencies of the inserts that were due
 * during that part, in milliseconds.
 */
async function whileInserting(
  databaseUrl: string,
  work: (during: During) => Promise<unknown>,
): Promise<Record<string, number[][]>> {
  const inserter = spawn(process.execPath, [INSERTER, databaseUrl], { stdio: ['pipe', 'pipe', 'inherit'] })
  const said = text(inserter.stdout)
  // Until it has devices and is at work.
  const pool = openPool({ databaseUrl, max: 1 })
  const count = async () =>
    (await pool.query<{ n: number }>('select last_value::float8 as n from app_private.chunk_stamps')).rows[0].n
  for (const before = await count(); (await count()) < before + 200;) await sleep(20)
  await pool.end()
  const parts: { name: string; from: number; to: number }[] = []
  try {
    await work(async (name, part) => {
      const from = Date.now()
      await part()
      parts.push({ name, from, to: Date.now() })
    })
  } finally {
    inserter.stdin.end()
  }
  const inserts = JSON.parse(await said) as [due: number, latency: number][]
  const latencies: Record<string, number[][]> = {}
  for (const { name, from, to } of parts) {
    const some = inserts.filter(([due]) => due >= from && due < to).map(([, latency]) => latency)
    ;(latencies[name] ??= []).push(some)
  }
  return latencies
}
