import { mkdirSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { insertSamples } from '../../db/samples.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { startOtlpReceiver, type OtlpReceiver } from '../harness/otlp-receiver.ts'
import { type Cli, createCli } from './run-cli.ts'

const TOKEN = 'otlp-token-0123456789'
/** Part of every path of the store, so that it gets into what is told of a missing object. */
const FOLDER = `store-${TOKEN}`

let database: TestDatabase
let db: Client
let cli: Cli
let receiver: OtlpReceiver
let password: string
let device: { deviceId: string; profileId: string }

beforeAll(async () => {
  database = await createDatabase()
  password = new URL(database.url).password
  db = new Client({ connectionString: database.adminUrl })
  await db.connect()
  const userId = await createLocalUser(db, 'someone@example.org')
  const pi = { name: 'pi', description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: 64 }
  device = await createDevice(db, { userId, ...pi })
})

afterAll(async () => {
  await db.end()
  await database.drop()
})

beforeEach(async () => {
  receiver = await startOtlpReceiver()
  cli = createCli({
    DATABASE_URL: database.url,
    LOCAL_STORAGE_DIR: FOLDER,
    CHUNK_MAX_AGE: '0.001',
    LOG_LEVEL: 'debug',
    OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
    OTEL_EXPORTER_OTLP_HEADERS: `authorization=Bearer%20${TOKEN},x-tenant=${TOKEN}`,
    OTEL_SERVICE_NAME: 'entropy',
    OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=test',
  })
  mkdirSync(join(cli.directory, FOLDER, 'entropy-chunks'), { recursive: true })
})

afterEach(() => {
  receiver.close()
  cli.remove()
})

let next = 0
async function insert(count: number): Promise<void> {
  const data = Buffer.alloc(64, 'x')
  const samples = Array.from({ length: count }, () => {
    return { ...device, timestamp: new Date(Date.now() - 60_000), sequence: BigInt(next++), data }
  })
  await insertSamples(db, samples)
}

test('probe', async () => {
  await insert(50)
  console.log((await cli.run(['tick', '--json'])).stderr)
  const done = await cli.run(['work', '--drain', '--json'])
  console.log(done)
  console.log(receiver.requests.map((r) => [r.path, r.headers, r.body.length]))
  for (const s of receiver.spans()) console.log(JSON.stringify(s))
  for (const s of receiver.points()) console.log(JSON.stringify(s))
  void rmSync; void createServer; void once; void expect; void password
})
