import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'
import { expectEverySampleOnce, keepLedger } from '../jobs/invariant.ts'
import { startStrictS3, type StrictS3 } from '../storage/strict-s3.ts'
import { type Cli, createCli } from './run-cli.ts'

const CHUNKS = 500
const DEATHS = 20
const SAMPLE_BYTES = 32
const START = Date.UTC(2026, 5, 1, 12)

let pipeline: TestPipeline
let server: StrictS3
let cli: Cli
let device: TestDevice
let sequence = 0n

beforeAll(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 4 * SAMPLE_BYTES })
  server = await startStrictS3()
  const { accessKeyId, secretAccessKey, region } = server.state
  cli = createCli({
    DATABASE_URL: pipeline.config.databaseUrl,
    LOCAL_STORAGE_DIR: pipeline.config.localStorageDir,
    STORJ_ENDPOINT: server.endpoint,
    STORJ_REGION: region,
    STORJ_ACCESS_KEY_ID: accessKeyId,
    STORJ_SECRET_ACCESS_KEY: secretAccessKey,
  })
  await keepLedger(pipeline)
  ;[device] = await pipeline.addDevices(1)
  await store(4 * CHUNKS)
}, 120_000)
afterAll(async () => {
  cli.remove()
  await server.close()
  await pipeline.close()
})

/** Inserts samples, and packs, stores and tests their chunks. */
async function store(samples: number): Promise<void> {
  const start = START + Number(sequence) * 1000
  await pipeline.insert(makeSamples(device, samples, { start, sequence, bytes: SAMPLE_BYTES }))
  sequence += BigInt(samples)
  await pipeline.pack()
  await pipeline.drain(['upload-chunk', 'test-chunk'])
}

async function count(sql: string): Promise<number> {
  const { rows } = await pipeline.db.query<{ n: number }>(`select count(*)::int as n ${sql}`)
  return rows[0].n
}

test('500 chunks move to an S3 service while packing goes on and the mover is killed 20 times', async () => {
  expect(await count(`from public.storj_chunks where verified_at is not null`)).toBeGreaterThanOrEqual(CHUNKS)
  const place = `storj:${server.state.bucket}`
  const copy = ['storage', 'copy', '--from', 'local', '--to', place, '--json']
  for (let death = 0; death < DEATHS; death++) {
    const before = server.bucket.objects.size
    const { child, finished } = cli.start(copy)
    const packing = store(4)
    // In the middle of its copies, each time at another place.
    while (server.bucket.objects.size < before + 1 + ((7 * death) % 40)) await new Promise(setImmediate)
    child.kill('SIGKILL')
    expect((await finished).code).toBeNull()
    await packing
    await pipeline.expireJobs()
  }
  // Those that were lost wait before their next try.
  await pipeline.db.query(`update pgboss.job set start_after = now() where state = 'retry'`)
  expect(await count(`from public.chunk_replicas where backend = 'storj'`)).toBeGreaterThan(DEATHS)
  const last = await cli.run(copy)
  expect(last.json()).toMatchObject({ left: 0 })

  const objects = await count(`from public.chunk_replicas where backend = 'local'`)
  expect(objects).toBeGreaterThan(2 * CHUNKS)
  expect(await count(`from public.chunk_replicas where backend = 'storj' and verified_at is not null`)).toBe(objects)
  // A mover may die in its probe of the store as well.
  expect([...server.bucket.objects.keys()].filter((key) => !key.startsWith('health/'))).toHaveLength(objects)
  const verified = await cli.run(['storage', 'verify', '--json'])
  expect(verified.json()).toMatchObject({ checked: 2 * objects, bad: [] })
  expect((await cli.run(['storage', 'cutover', '--to', place, '--json'])).json()).toEqual({ ready: true, missing: 0 })
  // The invariant reads one store; the other has just been read back whole.
  await pipeline.db.query(`delete from public.chunk_replicas where backend = 'storj'`)
  expect(await expectEverySampleOnce(pipeline)).toEqual([])
}, 240_000)
