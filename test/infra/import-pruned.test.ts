/** Archives whose days leave Postgres before, between and while they are imported: each sample is stored once all the same. */
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import type { NewSample } from '../../db/samples.ts'
import { openImport } from '../../jobs/import-samples.ts'
import { runPrune } from '../../jobs/prune.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'
import { type Cli, createCli } from './run-cli.ts'

const { signal } = new AbortController()
const START = Date.UTC(2019, 5, 1, 12)
let pipeline: TestPipeline
let cli: Cli
let devices: TestDevice[]
beforeEach(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 1024 ** 2 })
  devices = await pipeline.addDevices(2)
  cli = createCli({ DATABASE_URL: pipeline.config.databaseUrl, LOCAL_STORAGE_DIR: pipeline.config.localStorageDir })
})
afterEach(async () => {
  cli.remove()
  await pipeline.close()
})

const made = (count: number, device = devices[0]) => makeSamples(device, count, { start: START })

async function write(samples: readonly NewSample[]): Promise<string> {
  const path = join(cli.directory, 'archive.jsonl')
  const lines = samples.map(({ deviceId, profileId, timestamp, sequence, data }) =>
    JSON.stringify({
      device_id: deviceId,
      profile_id: profileId,
      timestamp: (timestamp as Date).toISOString(),
      sequence: String(sequence),
      sample_data: Buffer.from(data).toString('base64'),
    }),
  )
  await writeFile(path, lines.join('\n'))
  return path
}

async function packAndPrune() {
  await pipeline.pack()
  await pipeline.drain()
  return (await runPrune(pipeline.context, { signal })).output
}

/** Samples of verified chunks, rows left in Postgres, and what the hours of all devices count. */
async function countAll() {
  const { rows } = await pipeline.db.query(
    `select (select coalesce(sum(sample_count), 0)::int from public.storj_chunks where verified_at is not null) as packed,
       (select count(*)::int from public.entropy_samples) as rows,
       (select sum(sample_count)::int from public.device_timeslice_stats
        where bucket_end - bucket_start = interval '1 hour') as sliced`,
  )
  return rows[0]
}

it('an archive that was packed and pruned is known when it is imported again', async () => {
  const path = await write(made(50))
  expect((await cli.run(['import', path])).stdout).toBe('50 samples stored, 0 known already, 0 rejected.\n')
  // The day has a partition of its own, and leaves as a whole.
  expect((await packAndPrune()).dropped).toMatchObject([{ partition: 'entropy_samples_20190601', rows: 50 }])
  expect(await countAll()).toEqual({ packed: 50, rows: 0, sliced: 50 })
  expect((await cli.run(['import', path])).stdout).toBe('0 samples stored, 50 known already, 0 rejected.\n')
  await packAndPrune()
  expect(await countAll()).toEqual({ packed: 50, rows: 0, sliced: 50 })
})

it('an import that was interrupted goes on after its beginning was pruned, of several devices', async () => {
  const all = devices.flatMap((device) => made(50, device))
  await cli.run(['import', await write(all.filter((_, index) => index % 50 < 20))])
  await packAndPrune()
  expect((await cli.run(['import', await write(all)])).stdout).toBe(
    '60 samples stored, 40 known already, 0 rejected.\n',
  )
  await packAndPrune()
  expect(await countAll()).toEqual({ packed: 100, rows: 0, sliced: 100 })
})

it.each(['still in Postgres', 'pruned'])(
  'other bytes under the name of a sample that is %s are refused',
  async (where) => {
    const samples = made(3)
    await cli.run(['import', await write(samples)])
    if (where === 'pruned') await packAndPrune()
    const others = [samples[0], { ...samples[1], data: new Uint8Array(64) }, samples[2]]
    const outcome = await cli.run(['import', await write(others), '--json'])
    expect(outcome.code).toBe(1)
    expect(outcome.json()).toMatchObject({
      accepted: 0,
      duplicate: 2,
      rejections: [{ reason: expect.stringMatching(/^other bytes/), places: [expect.stringMatching(/line 2$/)] }],
    })
  },
)

it('nothing is stored while it cannot be known what a pruned chunk holds', async () => {
  const path = await write(made(50))
  await cli.run(['import', path])
  await packAndPrune()
  await rm(join(pipeline.config.localStorageDir, pipeline.config.storageBucket, 'v1'), { recursive: true })
  const outcome = await cli.run(['import', path])
  expect({ code: outcome.code, stderr: outcome.stderr }).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/STORE_NOT_FOUND/),
  })
  expect(await countAll()).toMatchObject({ rows: 0 })
})

it('a day that is pruned while its samples are compared is not stored anew', async () => {
  const samples = made(50)
  await openImport(pipeline.context)(devices[0].deviceId, samples)
  await pipeline.pack()
  await pipeline.drain()
  // Between the look at the chunks and the insert.
  const { pool } = pipeline.context
  let pruned: object | undefined
  const connect = async () => {
    pruned ??= (await runPrune(pipeline.context, { signal })).output.dropped
    return await pool.connect()
  }
  const racing = Object.assign(Object.create(pool) as typeof pool, { connect, query: pool.query.bind(pool) })
  const again = await openImport({ ...pipeline.context, pool: racing })(devices[0].deviceId, samples)
  expect(pruned).toMatchObject([{ rows: 50 }])
  expect(again.map(({ status }) => status)).toEqual(samples.map(() => 'duplicate'))
  expect(await countAll()).toMatchObject({ packed: 50, rows: 0 })
})
