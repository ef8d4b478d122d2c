/** Past work by the command line, as a maintainer does it. */
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { type Cli, createCli } from './run-cli.ts'

const RANGE = ['--from', '2026-03-01', '--to', '2026-03-02']
let pipeline: TestPipeline
let cli: Cli
beforeEach(async () => {
  pipeline = await openPipeline()
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, 20, { start: Date.UTC(2026, 2, 1, 12) }))
  await pipeline.pack()
  cli = createCli({ DATABASE_URL: pipeline.config.databaseUrl, LOCAL_STORAGE_DIR: pipeline.config.localStorageDir })
})
afterEach(async () => {
  cli.remove()
  await pipeline.close()
})

test('the plan says what is made already, and --again does it too', async () => {
  await pipeline.drain()
  const plain = await cli.run(['backfill', 'tests', ...RANGE, '--dry-run'])
  expect(plain.stdout).toBe(
    'would send 0 jobs of 0 samples, 0 B\n1 more are made by this build already; --again does them too\n',
  )
  const again = await cli.run(['backfill', 'tests', ...RANGE, '--again'])
  expect(again.stdout).toMatch(
    /^sent 1 jobs of 20 samples, 1\.25 KiB, about \d+ s of one worker that does 2 at a time\n.*work --drain/,
  )
  const stop = await cli.run(['backfill', 'stop', '--json'])
  expect(stop.json()).toEqual({ jobs: 1, queues: { 'test-chunk': 1 }, dryRun: false })
  expect((await cli.run(['backfill', 'stop'])).stdout).toBe('0 jobs taken back\n')
})

test('--wait ends when workers have done the jobs; Ctrl-C leaves them to the workers and says so', async () => {
  await pipeline.drain()
  const left = cli.start(['backfill', 'slices', ...RANGE, '--again', '--wait'])
  await left.seen(/^sent 1 jobs/)
  left.child.kill('SIGINT')
  const { code, stdout } = await left.finished
  expect({ code, stdout }).toEqual({
    code: 130,
    stdout: expect.stringMatching(/; 1 are left to the workers\. .*backfill stop/),
  })
  const waiting = cli.run(['backfill', 'tests', ...RANGE, '--again', '--wait', '--json'])
  const { rows } = await pipeline.db.query(`select count(*)::int as jobs from pgboss.job where state < 'completed'`)
  expect(rows[0].jobs).toBeGreaterThan(0)
  const working = cli.start(['work', '--watch'])
  const outcome = await waiting
  working.child.kill('SIGTERM')
  await working.finished
  expect(outcome.code).toBe(0)
  expect(outcome.json()).toMatchObject({ jobs: 1, sent: 1, left: 0, failed: 0 })
})

test('redrive puts what failed for good back into its queue, and it is done once its cause is gone', async () => {
  await pipeline.drain(['upload-chunk'])
  const keys: string[] = []
  for await (const { key } of pipeline.store.list('v1/')) keys.push(key)
  const object = join(pipeline.store.root, keys[0])
  await rename(object, `${object}.away`)
  await pipeline.drain()
  const letters = async () => (await cli.run(['status', '--json'])).json().deadLetters
  expect(await letters()).toMatchObject([{ queue: 'test-chunk', error: expect.stringMatching(/there is no object/) }])
  expect((await cli.run(['backfill', 'redrive', '--dry-run', '--json'])).json()).toEqual({ jobs: 1, dryRun: true })
  await rename(`${object}.away`, object)
  expect(await cli.run(['backfill', 'redrive'])).toMatchObject({ code: 0, stdout: '1 dead letters put back\n' })
  expect(await letters()).toEqual([])
  expect((await cli.run(['work', '--drain', '--json'])).json()).toMatchObject({
    completed: { 'test-chunk': 1, 'rollup-slice': 1, 'rollup-coherence': 1 },
    failed: {},
  })
  const { rows } = await pipeline.db.query('select verified_at is not null as verified from public.storj_chunks')
  expect(rows).toEqual([{ verified: true }])
})
