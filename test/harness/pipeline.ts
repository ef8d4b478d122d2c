import { createHash, randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { pino } from 'pino'
import type { Queryable } from '../../db/pool.ts'
import { insertSamples, type NewSample } from '../../db/samples.ts'
import { parseConfig, type Config } from '../../infra/config.ts'
import { openContext } from '../../infra/context.ts'
import { openStore } from '../../infra/stores.ts'
import type { JobContext } from '../../jobs/context.ts'
import { runPack } from '../../jobs/pack.ts'
import type { QueueName } from '../../jobs/queues.ts'
import { runWorker, type WorkOutcome } from '../../jobs/work.ts'
import type { StorePlace } from '../../pipeline/store-place.ts'
import type { LocalStore } from '../../storage/local.ts'
import { createDatabase, type TestDatabase } from './database.ts'

/** A device with its sampling profile. */
export interface TestDevice {
  readonly deviceId: string
  readonly profileId: string
}

/** One worker: connections, queues and checkpoint of its own, as another process would have. */
export interface TestWorker {
  readonly context: JobContext
  /**
   * Ends it as a power cut would: the server drops its connections, and no later query of it reaches the database. Its
   * objects stay. Resolves when the server has rolled back what it had open.
   */
  readonly vanish: () => Promise<void>
  readonly close: () => Promise<void>
}

/** The whole pipeline on a fresh database and a store in a temporary folder. */
export interface TestPipeline extends TestWorker {
  readonly config: Config
  readonly store: LocalStore
  /** A connection outside all pools, for arranging and looking. */
  readonly db: Client
  readonly userId: string
  readonly openWorker: (checkpoint?: JobContext['checkpoint']) => Promise<TestWorker>
  readonly connect: () => Promise<Client>
  readonly addDevices: (count: number) => Promise<TestDevice[]>
  readonly insert: (samples: readonly NewSample[], db?: Queryable) => Promise<void>
  /** Claims all that waits. Returns how many samples. */
  readonly pack: () => Promise<number>
  /** Works until idle; retries that are due later are made due at once. */
  readonly drain: (queues?: readonly QueueName[]) => Promise<WorkOutcome>
  /** All active jobs look abandoned, and the supervisor finds them. */
  readonly expireJobs: () => Promise<void>
}

export interface PipelineOptions {
  /** A migrated database; a new one on the test's server if it is left out. */
  readonly database?: Pick<TestDatabase, 'url' | 'drop'>
  readonly chunkTargetBytes?: number
  readonly chunkMaxAgeSeconds?: number
  readonly retentionDays?: number
  readonly sweepDeletes?: boolean
  readonly pairsMaxDevices?: number
  readonly referenceDays?: number
  readonly mirror?: StorePlace
  readonly checkpoint?: JobContext['checkpoint']
}

const NEVER = new AbortController().signal
const log = pino({ level: 'silent' })

/** Opens a pipeline whose chunks are due at once. `close` drops its database and removes its folder. */
export async function openPipeline(options: PipelineOptions = {}): Promise<TestPipeline> {
  const database = options.database ?? (await createDatabase())
  const directory = await mkdtemp(join(tmpdir(), 'coherence-pipeline-'))
  const config: Config = {
    ...parseConfig({ DATABASE_URL: database.url, LOCAL_STORAGE_DIR: directory }),
    // Not through the environment, which refuses numbers as small as tests want them.
    chunkTargetBytes: options.chunkTargetBytes ?? 4096,
    chunkMaxAgeSeconds: options.chunkMaxAgeSeconds ?? 0,
    retentionDays: options.retentionDays ?? 30,
    sweepDeletes: options.sweepDeletes ?? false,
    pairsMaxDevices: options.pairsMaxDevices ?? 32,
    referenceDays: options.referenceDays ?? 0,
    mirror: options.mirror ?? null,
  }
  const store = (await openStore(config, { create: true })) as LocalStore
  const clients: Client[] = []
  const workers: TestWorker[] = []
  const connect = async () => {
    const client = new Client({ connectionString: database.url, application_name: 'test' })
    client.on('error', () => {})
    await client.connect()
    clients.push(client)
    return client
  }
  const db = await connect()
  const openWorker = async (checkpoint?: JobContext['checkpoint']) => {
    const worker = await openTestWorker(config, db, checkpoint)
    workers.push(worker)
    return worker
  }
  const { context, vanish } = await openWorker(options.checkpoint)
  const userId = await addUser(db)
  return {
    config,
    store,
    db,
    context,
    userId,
    vanish,
    openWorker,
    connect,
    addDevices: (count) => addDevices(db, userId, count),
    insert: (samples, client = db) => insertSamples(client, samples),
    pack: async () => (await runPack(context, { signal: NEVER })).output.samples,
    drain: (queues) => drain(context, queues),
    expireJobs: () => expireJobs(context),
    close: async () => {
      await Promise.all(workers.map((worker) => worker.close()))
      await Promise.all(clients.map((client) => client.end()))
      await database.drop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function openTestWorker(config: Config, db: Client, checkpoint?: JobContext['checkpoint']): Promise<TestWorker> {
  const name = `worker ${randomUUID()}`
  const url = new URL(config.databaseUrl)
  url.searchParams.set('application_name', name)
  const opened = await openContext({ ...config, databaseUrl: url.href }, log, { poolSize: 8, checkpoint })
  let open = true
  const close = async () => {
    if (open) await opened.close()
    open = false
  }
  const vanish = async () => {
    const refuse = () => Promise.reject(new Error('this worker has vanished'))
    Object.assign(opened.context.pool, { connect: refuse, query: refuse })
    await db.query('select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = $1', [name])
  }
  return { context: opened.context, vanish, close }
}

async function addUser(db: Queryable): Promise<string> {
  const id = randomUUID()
  await db.query('insert into auth.users (id, email) values ($1, $2)', [id, `${id}@example.test`])
  return id
}

async function addDevices(db: Queryable, userId: string, count: number): Promise<TestDevice[]> {
  const { rows } = await db.query<TestDevice>(
    `with device as (
       insert into public.devices (user_id, name, device_token)
       select $1, 'device ' || n, gen_random_uuid() from generate_series(1, $2) n returning id
     )
     insert into public.sampling_profiles (device_id, label, sample_rate_hz, sample_size_bytes)
     select id, 'default', 1, 64 from device returning device_id as "deviceId", id as "profileId"`,
    [userId, count],
  )
  return rows
}

export interface SampleOptions {
  /** Milliseconds since 1970 of the first sample; now if it is left out. */
  readonly start?: number
  readonly stepMs?: number
  readonly sequence?: bigint
  readonly bytes?: number | ((index: number) => number)
  /** Other seeds, other bytes. */
  readonly seed?: string
}

/** `count` samples of one device, one a second, of 64 random-looking bytes that are the same in every run. */
export function makeSamples(device: TestDevice, count: number, options: SampleOptions = {}): NewSample[] {
  const { start = Date.now(), stepMs = 1000, sequence = 0n, bytes = 64, seed = '' } = options
  return Array.from({ length: count }, (_, index) => ({
    ...device,
    timestamp: new Date(start + index * stepMs),
    sequence: sequence + BigInt(index),
    data: makeBytes(`${seed}:${sequence}:${index}`, typeof bytes === 'number' ? bytes : bytes(index)),
  }))
}

function makeBytes(seed: string, length: number): Uint8Array {
  return createHash('shake256', { outputLength: Math.max(length, 1) })
    .update(seed)
    .digest()
    .subarray(0, length)
}

/** As `drain` of a pipeline, for any worker. */
export async function drain(context: JobContext, queues?: readonly QueueName[]): Promise<WorkOutcome> {
  for (;;) {
    const outcome = await runWorker(context, { mode: 'drain', queues })
    const { rowCount } = await context.pool.query(
      `update pgboss.job set start_after = now()
       where state < 'active' and start_after > now() and name <> 'dead-letter' and ($1::text[] is null or name = any ($1))`,
      [queues ?? null],
    )
    if (rowCount === 0) return outcome
  }
}

/** As `expireJobs` of a pipeline, for any worker. */
export async function expireJobs(context: JobContext): Promise<void> {
  const { pool, boss } = context
  await pool.query(`update pgboss.job set started_on = started_on - interval '1 day' where state = 'active'`)
  // The supervisor looks at a queue once a minute; it has not looked yet.
  await pool.query('update pgboss.queue set monitor_claim_on = null, monitor_on = null')
  await boss.supervise()
}
