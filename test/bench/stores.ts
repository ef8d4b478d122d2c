import { GetObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3'
import { spawn } from 'node:child_process'
import { randomFillSync, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, mkdtemp, open, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { openLocalStore } from '../../storage/local.ts'
import { hashBytes, type ObjectStore, sha256Hex } from '../../storage/object-store.ts'
import { openS3Store, type S3StoreOptions } from '../../storage/s3.ts'
import { openSupabaseStore, type SupabaseStoreOptions } from '../../storage/supabase.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

const OBJECT_BYTES = 32 * 1024 ** 2

/** The same bytes, without a driver. */
interface BareStore {
  put(key: string, bytes: Uint8Array): Promise<void>
  get(key: string): Promise<Uint8Array>
}

interface Subject {
  readonly name: string
  /** What the bare calls are. */
  readonly bareName: string
  readonly store: ObjectStore
  readonly bare: BareStore
}

type S3Place = Omit<S3StoreOptions, 'backend' | 'silenceMs' | 'retry'>
type SupabasePlace = Pick<SupabaseStoreOptions, 'url' | 'secretKey' | 'bucket'>

/** Put and get of one object at a time, driver and bare call in turns. A get by a driver includes the caller's sha256. */
export async function benchStores({ quick, signal }: BenchOptions): Promise<Measured> {
  const directory = await mkdtemp(join(tmpdir(), 'coherence-bench-stores-'))
  const servers = await startServers()
  try {
    const { env } = process
    const s3: S3Place = env.S3_TEST_ENDPOINT
      ? {
          endpoint: env.S3_TEST_ENDPOINT,
          region: env.S3_TEST_REGION ?? 'us-east-1',
          bucket: env.S3_TEST_BUCKET ?? '',
          accessKeyId: env.S3_TEST_ACCESS_KEY_ID ?? '',
          secretAccessKey: env.S3_TEST_SECRET_ACCESS_KEY ?? '',
        }
      : servers.s3
    const supabase: SupabasePlace = env.SUPABASE_TEST_URL
      ? {
          url: env.SUPABASE_TEST_URL,
          bucket: env.SUPABASE_TEST_BUCKET ?? '',
          secretKey: env.SUPABASE_TEST_SECRET_KEY ?? '',
        }
      : servers.supabase
    const subjects = [await localSubject(directory), s3Subject(s3), supabaseSubject(supabase)]
    const lines: Line[] = []
    for (const subject of subjects) lines.push(...(await measure(subject, quick ? 3 : 9, signal)))
    return { lines }
  } finally {
    servers.close()
    await rm(directory, { recursive: true, force: true })
  }
}

async function measure({ name, bareName, store, bare }: Subject, rounds: number, signal: AbortSignal): Promise<Line[]> {
  const bytes = randomFillSync(new Uint8Array(OBJECT_BYTES))
  const times: Record<'put' | 'barePut' | 'get' | 'bareGet', number[]> = { put: [], barePut: [], get: [], bareGet: [] }
  // The first round pays for connections and compilation.
  for (let round = -1; round < rounds; round++) {
    signal.throwIfAborted()
    showProgress(`${name}: round ${round + 1} of ${rounds}`)
    const key = `bench/${randomUUID()}`
    const bareKey = `${key}-bare`
    const object = hashBytes(bytes)
    const taken = {
      barePut: await timed(() => bare.put(bareKey, bytes)),
      put: await timed(() => store.put(key, object)),
      bareGet: await timed(async () => assertWhole(await bare.get(bareKey))),
      get: await timed(async () => {
        if (sha256Hex(await store.get(key)) !== object.sha256) throw new Error(`${name}: other bytes came back`)
      }),
    }
    await store.delete(key)
    await store.delete(bareKey)
    if (round < 0) continue
    for (const what of Object.keys(taken) as (keyof typeof taken)[]) times[what].push(taken[what])
  }
  const rates = (seconds: number[]) => seconds.map((one) => OBJECT_BYTES / one / 1e6)
  const ratios = (ours: number[], theirs: number[]) => ours.map((one, i) => theirs[i] / one)
  return [
    toLine(`${name} put`, 'MB/s', rates(times.put)),
    toLine(`${name} put to ${bareName}`, 'ratio', ratios(times.put, times.barePut), { ratio_to: bareName }),
    toLine(`${name} get, sha256`, 'MB/s', rates(times.get)),
    toLine(`${name} get, sha256 to ${bareName}`, 'ratio', ratios(times.get, times.bareGet), { ratio_to: bareName }),
  ]
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now()
  await work()
  return (performance.now() - started) / 1000
}

function assertWhole(bytes: Uint8Array): void {
  if (bytes.length !== OBJECT_BYTES) throw new Error(`${bytes.length} bytes came back`)
}

async function localSubject(directory: string): Promise<Subject> {
  const store = await openLocalStore(directory, 'bench-store', { create: true })
  await mkdir(join(store.root, 'bench'), { recursive: true })
  const bare: BareStore = {
    async put(key, bytes) {
      const file = await open(join(store.root, key), 'wx')
      try {
        await file.writeFile(bytes)
        await file.sync()
      } finally {
        await file.close()
      }
    },
    get: (key) => readFile(join(store.root, key)),
  }
  return { name: 'local', bareName: 'write and fsync', store, bare }
}

function s3Subject(place: S3Place): Subject {
  const { endpoint, region, bucket: Bucket, accessKeyId, secretAccessKey } = place
  const client = new S3Client({
    endpoint,
    region,
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  })
  const bare: BareStore = {
    async put(Key, Body) {
      await client.send(new PutObjectCommand({ Bucket, Key, Body }))
    },
    async get(Key) {
      const { Body } = await client.send(new GetObjectCommand({ Bucket, Key }))
      if (!Body) throw new Error('no body')
      return await Body.transformToByteArray()
    },
  }
  return { name: 's3', bareName: 'bare SDK', store: openS3Store({ backend: 'storj', ...place }), bare }
}

function supabaseSubject(place: SupabasePlace): Subject {
  const { url, bucket, secretKey } = place
  const headers = { apikey: secretKey, authorization: `Bearer ${secretKey}` }
  const bare: BareStore = {
    async put(key, bytes) {
      const sent = { ...headers, 'x-upsert': 'false', 'content-type': 'application/octet-stream' }
      const address = `${url}/storage/v1/object/${bucket}/${key}`
      const answer = await fetch(address, { method: 'POST', headers: sent, body: bytes as RequestInit['body'] })
      if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`)
      await answer.arrayBuffer()
    },
    async get(key) {
      const answer = await fetch(`${url}/storage/v1/object/authenticated/${bucket}/${key}`, { headers })
      if (!answer.ok) throw new Error(`${answer.status}: ${await answer.text()}`)
      return new Uint8Array(await answer.arrayBuffer())
    },
  }
  return { name: 'supabase', bareName: 'bare fetch', store: openSupabaseStore(place), bare }
}

async function startServers(): Promise<{ s3: S3Place; supabase: SupabasePlace; close: () => void }> {
  const script = join(import.meta.dirname, 'store-servers.ts')
  const child = spawn(process.execPath, [script], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  return { ...JSON.parse(line), close: () => child.kill() }
}
