import * as fc from 'fast-check'
import type { Client } from 'pg'
import { expect, test } from 'vitest'
import { packOnce, runPack } from '../../jobs/pack.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { runTick } from '../../jobs/tick.ts'
import { runWorker } from '../../jobs/work.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'
import { expectEverySampleOnce, keepLedger } from './invariant.ts'

const DAY = 86_400_000
const NEVER = new AbortController().signal
const job = { signal: NEVER }

/** Where a worker may die: every checkpoint but that of prune, which the crash test has. */
const STEPS = [
  'seal',
  'claim',
  'claim: before commit',
  'claim: after commit',
  'begin',
  'put',
  'put: done',
  'mark: before commit',
  'mark: after commit',
  'verify: read',
  'verify: sidecar put',
  'verify: before commit',
  'verify: after commit',
] as const
/** Where it may be paused while others go on: within a transaction it would only make them wait for its locks. */
const PAUSES = STEPS.filter((step) => !step.endsWith('before commit'))

const batch = fc.record({
  device: fc.nat(2),
  count: fc.integer({ min: 1, max: 30 }),
  bytes: fc.constantFrom(0, 1, 64, 200),
  /** Some of long ago, in a day that prune may drop, or in no day's partition at all. */
  daysAgo: fc.constantFrom(0, 0, 1, 39, 40, 400),
})
const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ type: fc.constant('insert' as const), batch }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('begin insert' as const), batch }) },
  {
    weight: 2,
    arbitrary: fc.record({ type: fc.constant('end insert' as const), which: fc.nat(), commit: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('pack' as const), packers: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('work' as const), workers: fc.integer({ min: 1, max: 2 }) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('vanish' as const),
      step: fc.constantFrom(...STEPS),
      after: fc.nat(2),
    }),
  },
  { weight: 4, arbitrary: fc.record({ type: fc.constant('zombie' as const), step: fc.constantFrom(...PAUSES) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('expire' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('tick' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('reconcile' as const) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('prune' as const) }) },
)
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never

/** The pipeline under attack, with what the commands have left open. */
interface World {
  readonly pipeline: TestPipeline
  readonly devices: TestDevice[]
  readonly open: Client[]
  readonly sequences: bigint[]
}

async function run(world: World, item: Command): Promise<void> {
  const { pipeline } = world
  const { context } = pipeline
  switch (item.type) {
    case 'insert':
      return await pipeline.insert(samplesOf(world, item.batch))
    case 'begin insert': {
      const client = await pipeline.connect()
      await client.query('begin')
      await pipeline.insert(samplesOf(world, item.batch), client)
      world.open.push(client)
      return
    }
    case 'end insert': {
      const [client] = world.open.splice(item.which % Math.max(world.open.length, 1), 1)
      if (client) await client.query(item.commit ? 'commit' : 'rollback')
      return
    }
    case 'pack':
      await Promise.all(Array.from({ length: item.packers }, () => runPack(context, job)))
      return
    case 'work':
      await Promise.all(Array.from({ length: item.workers }, () => runWorker(context, { mode: 'drain' })))
      return
    case 'vanish':
      return await vanishAt(pipeline, item.step, item.after)
    case 'zombie':
      return await overtakeAt(world, item.step)
    case 'expire':
      return await pipeline.expireJobs()
    case 'tick':
      await Promise.all([runTick(context), runTick(context)])
      return
    case 'reconcile':
      await runReconcile(context)
      return
    case 'prune':
      await runPrune(context, job)
  }
}

function samplesOf(world: World, { device, count, bytes, daysAgo }: (Command & { type: 'insert' })['batch']) {
  const sequence = world.sequences[device]
  world.sequences[device] += BigInt(count)
  const start = Date.now() - daysAgo * DAY - Number(sequence % 1000n)
  return makeSamples(world.devices[device], count, { start, stepMs: 7, sequence, bytes, seed: String(device) })
}

/** Packs and works until the checkpoint `step` comes the `after` + 1st time; there the worker is gone. */
async function vanishAt(pipeline: TestPipeline, step: string, after: number): Promise<void> {
  let left = after
  const worker = await pipeline.openWorker(async (reached) => {
    if (reached !== step || left-- > 0) return
    await worker.vanish()
    throw new Error('vanished')
  })
  await packAndWork(worker.context).catch(() => {})
  await worker.close()
}

/** A worker stops at `step`, its jobs expire and others take them over; then it goes on as if nothing had happened. */
async function overtakeAt({ pipeline, open }: World, step: string): Promise<void> {
  const paused = Promise.withResolvers<void>()
  const resumed = Promise.withResolvers<void>()
  const zombie = await pipeline.openWorker(async (reached) => {
    if (reached !== step) return
    paused.resolve()
    await resumed.promise
  })
  const work = packAndWork(zombie.context)
  await Promise.race([paused.promise, work])
  await pipeline.expireJobs()
  await pipeline.drain()
  // An open insert would only make it wait a second for the lock.
  if (open.length === 0) await runPrune(pipeline.context, job)
  resumed.resolve()
  await work
  await zombie.close()
}

async function packAndWork(context: TestPipeline['context']): Promise<void> {
  while ((await packOnce(context)) !== null);
  await runWorker(context, { mode: 'drain', concurrency: 1 })
}

/** What any deployment does sooner or later: abandoned jobs expire, queues and tables are reconciled, workers run. */
async function heal(world: World): Promise<void> {
  const { pipeline, open } = world
  for (const [index, client] of open.entries()) await client.query(index % 2 === 0 ? 'commit' : 'rollback')
  await pipeline.pack()
  await pipeline.expireJobs()
  await pipeline.drain()
  await runReconcile(pipeline.context)
  await pipeline.drain()
}

test('whatever workers do and wherever they die, every committed sample ends up in exactly one proved chunk', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 36, size: 'max' }), async (commands) => {
      const pipeline = await openPipeline({ chunkTargetBytes: 2000, retentionDays: 30 })
      try {
        await keepLedger(pipeline)
        await pipeline.db.query(`select app_private.ensure_partitions(current_date - 41, current_date - 38)`)
        const world: World = {
          pipeline,
          devices: await pipeline.addDevices(3),
          open: [],
          sequences: [0n, 0n, 0n],
        }
        for (const item of commands) await run(world, item)
        await heal(world)
        await expectEverySampleOnce(pipeline)
        expect(await listMiscounted(pipeline)).toEqual([])
        // Only what is proved may be pruned, and what is pruned is still there.
        await runPrune(pipeline.context, job)
        await expectEverySampleOnce(pipeline)
      } finally {
        await pipeline.close()
      }
    }),
    { seed: 20261120, numRuns: 10, endOnFailure: true },
  )
}, 120_000)

/** The devices whose hours together do not count each of their samples once. */
async function listMiscounted({ db }: TestPipeline): Promise<object[]> {
  const { rows } = await db.query(
    `select l.device_id, l.samples, s.samples as counted
     from (select device_id, count(*) as samples from public.ledger group by 1) l
     left join (select device_id, sum(sample_count) as samples from public.device_timeslice_stats
                where bucket_end - bucket_start = interval '1 hour' group by 1) s using (device_id)
     where l.samples is distinct from s.samples`,
  )
  return rows
}
