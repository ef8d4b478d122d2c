import { spawn } from 'node:child_process'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '../../db/pool.ts'
import type { JobContext } from '../../jobs/context.ts'
import { runPack } from '../../jobs/pack.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runWorker } from '../../jobs/work.ts'
import { loadSamples, withBenchStack } from './bench-stack.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

const INSERTER = new URL('inserter.ts', import.meta.url).pathname
const DAY = 86_400_000

/**
 * Eight devices insert 4,000 samples a second from a process of their own: alone, while chunks are sealed and claimed ten times a
 * second, while a worker packs and uploads a backlog as fast as it can to the disk that the database is on, and while a day
 * of proved samples is pruned.
 */
export async function benchInserts({ quick, signal }: BenchOptions): Promise<Measured> {
  const rounds = quick ? 1 : 2
  const seconds = quick ? 1.5 : 4
  const rows = quick ? 100_000 : 200_000
  const idle: number[][] = []
  const claiming: number[][] = []
  const packing: number[][] = []
  const lines: Line[] = []
  await withBenchStack(async (context, config) => {
    const { pool } = context
    const packer = { ...context, settings: { ...context.settings, chunkMaxAgeSeconds: 0 } }
    for (let round = 0; round < rounds; round++) {
      showProgress(`inserts beside packing: round ${round + 1} of ${rounds}`)
      idle.push(await whileInserting(config.databaseUrl, () => sleep(1000 * seconds, undefined, { signal })))
      claiming.push(
        await whileInserting(config.databaseUrl, async () => {
          for (let turn = 0; turn < 10 * seconds; turn++) {
            await runPack(packer, { signal })
            await sleep(100, undefined, { signal })
          }
        }),
      )
      await loadSamples(pool, { bytes: 256, rows, start: Date.now() - DAY }, signal)
      packing.push(
        await whileInserting(config.databaseUrl, async () => {
          await runPack(packer, { signal })
          await runWorker(context, { mode: 'drain', queues: ['upload-chunk'], signal })
        }),
      )
    }
    await runWorker(context, { mode: 'drain', signal })
    lines.push(...(await benchPrune(packer, config.databaseUrl, quick, signal)))
  })
  const p99 = (latencies: readonly number[]) => latencies.toSorted((a, b) => a - b)[Math.floor(latencies.length * 0.99)]
  const ratios = (measured: readonly number[][]) =>
    measured.map((latencies, round) => p99(latencies) / p99(idle[round]))
  return {
    lines: [
      toLine('insert p99, nothing else', 'ms', idle.map(p99)),
      toLine('insert p99, while chunks are sealed and claimed', 'ms', claiming.map(p99)),
      toLine('… to nothing else', 'times', ratios(claiming), { goal: 1.5, ratio_to: 'insert p99, nothing else' }),
      toLine('insert p99, while a backlog goes to the same disk', 'ms', packing.map(p99)),
      toLine('… to nothing else', 'times', ratios(packing), { ratio_to: 'insert p99, nothing else' }),
      ...lines,
    ],
  }
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
  const latencies = await whileInserting(databaseUrl, async () => {
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
  })
  const of = `of ${rows.toLocaleString('en-US')} rows`
  return [
    toLine(`prune ${of}`, 's', [seconds]),
    toLine('… tries until nobody was in the way', 'times', [tries]),
    toLine(`longest insert meanwhile, prune ${of}`, 'ms', [Math.max(...latencies)], { goal: 200 }),
  ]
}

/** The latencies of the inserts that were made while `work` was done, in milliseconds. */
async function whileInserting(databaseUrl: string, work: () => Promise<unknown>): Promise<number[]> {
  const inserter = spawn(process.execPath, [INSERTER, databaseUrl], { stdio: ['pipe', 'pipe', 'inherit'] })
  const said = text(inserter.stdout)
  // Until it has devices and is at work.
  const pool = openPool({ databaseUrl, max: 1 })
  const count = async () =>
    (await pool.query<{ n: number }>('select last_value::float8 as n from app_private.chunk_stamps')).rows[0].n
  for (const before = await count(); (await count()) < before + 200;) await sleep(20)
  await pool.end()
  try {
    await work()
  } finally {
    inserter.stdin.end()
  }
  return JSON.parse(await said) as number[]
}
