import { rm } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startStrictS3, type StrictS3 } from '../storage/strict-s3.ts'
import { startStrictSupabase } from '../storage/strict-supabase.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'
import { type Cli, createCli } from './run-cli.ts'

/** One story: the tests follow each other. A system on the local disk moves to an S3 service while it runs, then to Supabase. */
const START = Date.UTC(2026, 5, 1, 12)
let pipeline: TestPipeline
let server: StrictS3
let cli: Cli
let device: TestDevice
let storj: Record<string, string>

beforeAll(async () => {
  pipeline = await openPipeline()
  server = await startStrictS3()
  cli = createCli({ DATABASE_URL: pipeline.config.databaseUrl, LOCAL_STORAGE_DIR: pipeline.config.localStorageDir })
  const { accessKeyId, secretAccessKey, region } = server.state
  storj = {
    STORJ_ENDPOINT: server.endpoint,
    STORJ_REGION: region,
    STORJ_ACCESS_KEY_ID: accessKeyId,
    STORJ_SECRET_ACCESS_KEY: secretAccessKey,
  }
  ;[device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 20, { start: START }))
  await pipeline.pack()
  await pipeline.drain()
})
afterAll(async () => {
  cli.remove()
  await server.close()
  await pipeline.close()
})

const switched = () => ({ ...storj, STORAGE_DRIVER: 'storj', STORAGE_BUCKET: server.state.bucket })

async function analyze(env: Record<string, string> = switched()): Promise<{ status: string; samples: number }> {
  const { rows } = await pipeline.db.query<{ id: string }>(
    `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names)
     values ($1, '2026-06-01', '2026-06-02', '{frequency}') returning id`,
    [pipeline.userId],
  )
  await cli.run(['work', '--drain', '--json'], { env })
  const answer = await pipeline.db.query(
    `select j.status, (r.metrics #>> '{data,samples}')::int as samples
     from public.analysis_jobs j left join public.analysis_results r on r.job_id = j.id where j.id = $1`,
    [rows[0].id],
  )
  return answer.rows[0]
}

test('the switch is a matter of the environment: new objects go to the new store, old ones are read where they are', async () => {
  await pipeline.insert(makeSamples(device, 20, { start: START + 20_000, sequence: 20n }))
  await pipeline.pack()
  const outcome = await cli.run(['work', '--drain', '--json'], { env: switched() })
  expect(outcome.json().failed).toEqual({})
  const { rows } = await pipeline.db.query(
    `select distinct backend, bucket from public.chunk_replicas order by backend`,
  )
  expect(rows).toEqual([
    { backend: 'local', bucket: 'entropy-chunks' },
    { backend: 'storj', bucket: server.state.bucket },
  ])
  expect(await analyze()).toEqual({ status: 'completed', samples: 40 })
})

test('cutover says what is missing; copy brings it, proved; verify reads all of it back', async () => {
  const place = `storj:${server.state.bucket}`
  const env = switched()
  expect((await cli.run(['storage', 'cutover', '--to', place, '--json'], { env })).json()).toMatchObject({
    ready: false,
  })

  const copy = ['storage', 'copy', '--from', 'local:entropy-chunks', '--to', place, '--json']
  const dry = await cli.run([...copy, '--dry-run'], { env })
  expect(dry.json()).toMatchObject({ copied: 0 })
  expect(dry.json().objects).toBeGreaterThan(1)
  const copied = await cli.run(copy, { env })
  expect(copied.json()).toMatchObject({ left: 0, copied: dry.json().objects })
  expect(copied.code).toBe(0)

  const ready = await cli.run(['storage', 'cutover', '--to', place, '--json'], { env })
  expect(ready.json()).toEqual({ ready: true, missing: 0 })
  const verified = await cli.run(['storage', 'verify', '--backend', place, '--json'], { env })
  expect(verified.json()).toMatchObject({ bad: [] })
  expect(verified.json().checked).toBeGreaterThan(dry.json().objects)
})

test('after the move the old store is not needed', async () => {
  await rm(pipeline.config.localStorageDir, { recursive: true })
  expect(await analyze()).toEqual({ status: 'completed', samples: 40 })
})

test('doctor makes a round trip, and names what is wrong with the keys', async () => {
  const good = await cli.run(['doctor'], { env: switched() })
  expect(good.stdout).toMatch(/ok +object store +storj:/)
  const bad = await cli.run(['doctor'], { env: { ...switched(), STORJ_SECRET_ACCESS_KEY: 'not-the-secret' } })
  expect(bad.code).toBe(1)
  expect(bad.stdout).toMatch(/FAIL +object store/)
  expect(bad.stdout + bad.stderr).not.toContain('not-the-secret')
  const missing = await cli.run(['doctor'], { env: { STORAGE_DRIVER: 'storj' } })
  expect(missing.code).toBe(2)
  expect(missing.stderr).toContain('STORJ_ACCESS_KEY_ID is missing')
  expect(missing.stderr).toContain('STORJ_SECRET_ACCESS_KEY is missing')
})

test('on to Supabase, whose private bucket migrate makes; the old stores are forgotten and swept', async () => {
  const supabase = await startStrictSupabase()
  try {
    supabase.state.bucketExists = false
    supabase.state.isPublic = true
    const there = { SUPABASE_URL: supabase.url, SUPABASE_SERVICE_KEY: supabase.state.secretKey }
    const only = { ...there, STORAGE_DRIVER: 'supabase' }
    const env = { ...storj, ...only }
    const s3 = `storj:${server.state.bucket}`
    expect((await cli.run(['migrate'], { env })).code).toBe(0)
    expect(supabase.state).toMatchObject({ bucketExists: true, isPublic: false })
    expect((await cli.run(['doctor'], { env })).stdout).toMatch(/ok +object store +supabase:entropy-chunks/)

    const copied = await cli.run(['storage', 'copy', '--from', s3, '--to', 'supabase', '--max-rate', '50', '--json'], {
      env,
    })
    expect(copied.json()).toMatchObject({ left: 0 })
    const refused = await cli.run(['storage', 'forget', '--from', 'supabase'], { env })
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('is the STORAGE_DRIVER') })
    const objects = server.bucket.objects.size
    const dry = await cli.run(['storage', 'forget', '--from', s3, '--dry-run', '--json'], { env })
    expect(dry.json()).toMatchObject({ objects, left: 0 })
    for (const from of [s3, 'local']) {
      const forgot = await cli.run(['storage', 'forget', '--from', from, '--json'], { env })
      expect(forgot.json()).toMatchObject({ left: 0 })
    }
    expect(await analyze(only)).toEqual({ status: 'completed', samples: 40 })

    const sweep = ['storage', 'sweep', '--backend', s3, '--delete', '--json']
    expect((await cli.run(sweep, { env })).json().places).toMatchObject([{ objects, deleted: 0 }])
    const aged = new Date(Date.now() - 73 * 3_600_000)
    for (const [key, object] of server.bucket.objects) server.bucket.objects.set(key, { ...object, modifiedAt: aged })
    const swept = await cli.run(sweep, { env })
    expect(swept.json().places).toMatchObject([{ objects, deleted: objects }])
    expect(server.bucket.objects.size).toBe(0)
    expect(await analyze(only)).toEqual({ status: 'completed', samples: 40 })

    const wrong = { ...only, SUPABASE_SERVICE_KEY: 'sb_publishable_abc' }
    const refusedKey = await cli.run(['tick'], { env: wrong })
    expect(refusedKey).toMatchObject({ code: 2, stderr: expect.stringMatching(/CONFIG_INVALID.*public one/) })
  } finally {
    await supabase.close()
  }
})
