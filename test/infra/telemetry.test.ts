import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { insertSamples } from '../../db/samples.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import type { ReceivedSpan } from '../harness/otlp-decode.ts'
import {
  allPointsOf,
  spansOf,
  startOtlpReceiver,
  type OtlpReceiver,
  type OtlpRequest,
} from '../harness/otlp-receiver.ts'
import { type Cli, createCli, type Finished, refusing } from './run-cli.ts'

const TOKEN = 'otlp-token-0123456789'
/** The secret is part of every path of the store: it gets into what is told of an object that is not there. */
const FOLDER = `store-${TOKEN}`
const SAMPLES = 50
const BYTES = 64

let database: TestDatabase
let db: Client
let cli: Cli
let receiver: OtlpReceiver
let device: { deviceId: string; profileId: string }
/** What the first tick and the first drain of all sent. */
let ticked: OtlpRequest[]
let drained: OtlpRequest[]
let outcome: Finished

beforeAll(async () => {
  receiver = await startOtlpReceiver()
  database = await createDatabase()
  db = new Client({ connectionString: database.adminUrl })
  await db.connect()
  const userId = await createLocalUser(db, 'someone@example.org')
  const pi = { name: 'pi', description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: BYTES }
  device = await createDevice(db, { userId, ...pi })
  cli = createCli({
    DATABASE_URL: database.url,
    LOCAL_STORAGE_DIR: FOLDER,
    CHUNK_MAX_AGE: '0.001',
    LOG_LEVEL: 'debug',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${TOKEN},x-tenant=${TOKEN}`,
    OTEL_SERVICE_NAME: 'entropy',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test,service.name=other',
  })
  mkdirSync(join(cli.directory, FOLDER, 'entropy-chunks'), { recursive: true })
  await insert()
  await cli.run(['tick'])
  ticked = receiver.requests.splice(0)
  outcome = await drain()
  drained = receiver.requests.splice(0)
})

beforeEach(() => {
  receiver.requests.length = 0
})

afterAll(async () => {
  cli.remove()
  receiver.close()
  await db.end()
  await database.drop()
})

let sequence = 0n
async function insert(): Promise<void> {
  const data = Buffer.alloc(BYTES, 'x')
  const start = Date.now() - 60_000
  const samples = Array.from({ length: SAMPLES }, (_, i) => {
    return { ...device, timestamp: new Date(start + i), sequence: sequence++, data }
  })
  await insertSamples(db, samples)
}

/** Samples and jobs as new, though a tick may have sent its jobs of this half minute before. */
async function renew(): Promise<void> {
  await db.query('delete from pgboss.job')
  await insert()
  await cli.run(['tick'])
  receiver.requests.length = 0
}

/** The proof of one chunk, once. */
async function sendTest(): Promise<void> {
  await db.query(
    `insert into pgboss.job (name, retry_limit, data)
     select 'test-chunk', 0, json_build_object('chunk_id', id) from public.storj_chunks limit 1`,
  )
}

const drain = (env?: Record<string, string>) => cli.run(['work', '--drain', '--json'], { env })
const linesOf = ({ stderr }: Finished) =>
  stderr
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))

/** The one root span of this queue among what was received, and the steps under it in their order. */
function traceOf(requests: OtlpRequest[], queue: string): { root: ReceivedSpan; steps: string[] } {
  const spans = spansOf(requests)
  const [root, ...others] = spans.filter((span) => span.name === queue && span.parentSpanId === '')
  expect(others).toEqual([])
  const children = spans.filter((span) => span.parentSpanId === root.spanId)
  expect(children.every((span) => span.traceId === root.traceId)).toBe(true)
  // Starts are whole milliseconds of the wall clock, ends are starts and a duration: a child may seem to end 1 ms late.
  expect(children.every((span) => span.start >= root.start && span.end <= root.end + 2e6)).toBe(true)
  return { root, steps: children.toSorted((a, b) => a.start - b.start).map((span) => span.name) }
}

const pointsOf = (requests: OtlpRequest[], metric: string) =>
  allPointsOf(requests).filter((point) => point.metric === metric)
const valuesOf = (requests: OtlpRequest[], metric: string, label: string) =>
  Object.fromEntries(pointsOf(requests, metric).map(({ attributes, value }) => [attributes[label], value]))

const countBy = (names: readonly string[]) =>
  Object.fromEntries([...new Set(names)].map((name) => [name, names.filter((other) => other === name).length]))

test('the jobs of a pipeline run arrive as spans with their steps, and nothing else does', async () => {
  const { completed } = outcome.json()
  expect(drained.every(({ headers }) => headers.authorization === `Bearer ${TOKEN}`)).toBe(true)
  const roots = spansOf(drained).filter((span) => span.parentSpanId === '')
  expect(countBy(roots.map((span) => span.name))).toEqual(completed)
  expect(new Set(roots.map((span) => span.traceId)).size).toBe(roots.length)
  expect(roots[0].resource).toMatchObject({ 'service.name': 'entropy', 'deployment.environment.name': 'test' })

  const { rows } = await db.query('select id from public.storj_chunks')
  const told = { 'coherence.outcome': 'completed', 'coherence.samples': SAMPLES, 'coherence.bytes': SAMPLES * BYTES }
  const upload = traceOf(drained, 'upload-chunk')
  const identity = { 'coherence.queue': 'upload-chunk', 'coherence.attempt': 1, 'coherence.chunk_id': rows[0].id }
  expect(upload.root.attributes).toMatchObject({ ...told, ...identity })
  expect(upload.steps).toEqual(['read', 'encode', 'put', 'mark'])
  const proof = traceOf(drained, 'test-chunk')
  expect(proof.root.attributes).toMatchObject({ ...told, 'coherence.lag_seconds': expect.any(Number) })
  expect(proof.steps).toEqual(['read', 'test', 'put', 'mark'])
  const pack = traceOf(drained, 'pack')
  expect(pack.root.attributes).toMatchObject(told)
  // The second finds nothing left.
  expect(pack.steps).toEqual(['claim', 'claim'])
})

test('metrics add up to what was done, as deltas', async () => {
  const { completed } = outcome.json()
  expect(valuesOf(drained, 'coherence.jobs', 'queue')).toEqual(completed)
  const durations = pointsOf(drained, 'coherence.job.duration').map(({ attributes, count }) => [
    attributes.queue,
    count,
  ])
  expect(Object.fromEntries(durations)).toEqual(completed)
  expect(valuesOf(drained, 'coherence.samples', 'stage')).toEqual({ packed: SAMPLES, verified: SAMPLES })
  const bytes = SAMPLES * BYTES
  expect(valuesOf(drained, 'coherence.sample.bytes', 'stage')).toEqual({ packed: bytes, verified: bytes })
  const { rows } = await db.query(
    `select extract(epoch from max(c.verified_at) - min(s.created_at))::float8 as lag
     from public.storj_chunks c, public.entropy_samples s`,
  )
  const [lag] = pointsOf(drained, 'coherence.chunk.lag')
  expect(lag).toMatchObject({ count: 1, sum: expect.closeTo(rows[0].lag, 5), unit: 's' })
  const sums = allPointsOf(drained).filter((point) => point.kind !== 'gauge')
  expect(new Set(sums.map((point) => point.temporality))).toEqual(new Set([1]))
})

test('a tick tells of the state of the whole', async () => {
  const none = { pending: 0, uploading: 0, unverified: 0, verified: 0, failed: 0 }
  expect(valuesOf(ticked, 'coherence.chunks', 'state')).toEqual(none)
  expect(pointsOf(ticked, 'coherence.ticks')).toMatchObject([{ value: 1 }])
  expect(pointsOf(ticked, 'coherence.waiting.samples')).toMatchObject([{ value: SAMPLES }])
  expect(pointsOf(ticked, 'coherence.waiting.age')[0].value).toBeGreaterThan(0)
  const ready = pointsOf(ticked, 'coherence.queue.jobs').filter(({ attributes }) => attributes.state === 'ready')
  expect(Object.fromEntries(ready.map(({ attributes, value }) => [attributes.queue, value]))).toMatchObject({
    pack: 1,
    maintain: 1,
    'upload-chunk': 0,
  })
  expect(valuesOf(ticked, 'coherence.queue.age', 'queue')).toMatchObject({
    pack: expect.any(Number),
    sweep: expect.any(Number),
  })
  expect(pointsOf(ticked, 'coherence.dead_letters')).toMatchObject([{ value: 0 }])

  await db.query(
    `insert into pgboss.job (name, start_after) values ('dead-letter', now()), ('copy-object', now() - interval '100 s')`,
  )
  await cli.run(['tick'])
  const { requests } = receiver
  expect(pointsOf(requests, 'coherence.dead_letters')).toMatchObject([{ value: 1 }])
  expect(valuesOf(requests, 'coherence.queue.age', 'queue')['copy-object']).toBeGreaterThanOrEqual(100)
  expect(valuesOf(requests, 'coherence.chunks', 'state')).toEqual({ ...none, verified: 1 })
})

test('a chunk that is proved again is counted again, and has no lag', async () => {
  await sendTest()
  await drain()
  const { requests } = receiver
  expect(valuesOf(requests, 'coherence.samples', 'stage')).toEqual({ verified: SAMPLES })
  expect(pointsOf(requests, 'coherence.chunk.lag')).toEqual([])
})

test('every log line of a job carries the id of its trace', () => {
  const lines = linesOf(outcome).filter((line) => line.job !== undefined)
  const spans = new Map(spansOf(drained).map((span) => [span.attributes['coherence.job_id'], span]))
  expect(new Set(lines.map((line) => line.queue))).toEqual(new Set(Object.keys(outcome.json().completed)))
  for (const { job, trace_id, span_id } of lines) {
    expect({ trace_id, span_id }).toEqual({ trace_id: spans.get(job)?.traceId, span_id: spans.get(job)?.spanId })
  }
})

test('a worker that SIGTERM ends sends all it has', async () => {
  await renew()
  const { child, seen, finished } = cli.start(['work', '--watch', '--json'])
  await seen(/"msg":"verified"/)
  child.kill('SIGTERM')
  expect((await finished).code).toBe(0)
  expect(traceOf(receiver.requests, 'test-chunk').root.attributes['coherence.outcome']).toBe('completed')
  expect(valuesOf(receiver.requests, 'coherence.samples', 'stage')).toEqual({ packed: SAMPLES, verified: SAMPLES })
})

test('an endpoint that refuses, or never answers, or never ends its answer, costs no job', async () => {
  const gone = await startOtlpReceiver()
  gone.close()
  const silent = await startOtlpReceiver('silent')
  const dripping = await startOtlpReceiver('dripping')
  try {
    for (const { url } of [gone, silent, dripping]) {
      await renew()
      const finished = await drain({ OTEL_EXPORTER_OTLP_ENDPOINT: url })
      expect(finished.code).toBe(0)
      const jobs = { 'upload-chunk': 1, 'test-chunk': 1, maintain: 1, sweep: 1 }
      expect(finished.json()).toMatchObject({ failed: {}, stopped: 'idle', completed: jobs })
      const told = linesOf(finished).filter((line) => line.msg.startsWith('telemetry was not delivered'))
      // An answer that has begun is neither a failure nor a success.
      expect(told).toHaveLength(url === dripping.url ? 0 : 1)
    }
    for (const { requests } of [silent, dripping]) {
      expect(spansOf(requests).map((span) => span.name)).toContain('test-chunk')
    }
  } finally {
    silent.close()
    dripping.close()
  }
})

test('without an endpoint nothing of OpenTelemetry is loaded', async () => {
  const env = refusing(/^@opentelemetry/)
  expect((await cli.run(['tick'], { env: { ...env, OTEL_EXPORTER_OTLP_ENDPOINT: '' } })).code).toBe(0)
  expect((await cli.run(['tick'], { env })).code).toBe(1)
})

test('a failure is told of without any secret, on the wire and in the log', async () => {
  rmSync(join(cli.directory, FOLDER, 'entropy-chunks', 'v1'), { recursive: true })
  await db.query('delete from pgboss.job')
  await sendTest()
  const failure = await drain()
  expect(failure.json()).toMatchObject({ completed: {}, failed: { 'test-chunk': 1 } })
  const { requests } = receiver
  const { root, steps } = traceOf(requests, 'test-chunk')
  expect(root).toMatchObject({
    attributes: { 'coherence.outcome': 'failed', 'error.type': 'STORE_NOT_FOUND' },
    status: { code: 2, message: expect.stringContaining('store-[secret]') },
  })
  expect(steps).toEqual(['read'])
  expect(pointsOf(requests, 'coherence.jobs')).toMatchObject([
    { value: 1, attributes: { queue: 'test-chunk', outcome: 'failed' } },
  ])
  expect(pointsOf(requests, 'coherence.samples')).toEqual([])
  expect(failure.stderr).toContain('store-[secret]')
  const everything = failure.stderr + requests.map(({ body }) => body.toString('latin1')).join('')
  for (const secret of [TOKEN, new URL(database.url).password]) expect(everything).not.toContain(secret)
})
