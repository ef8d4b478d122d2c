import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openS3Store, type S3Store, type S3StoreOptions } from '../../storage/s3.ts'
import { hashBytes, sha256Hex } from '../../storage/object-store.ts'
import { describeObjectStore, listAll, putBytes } from './contract.ts'
import { type Breakage, describeStoreFaults, FAULT_TIMES, type StoreFaults } from './faults.ts'
import { startStrictS3, type StrictS3 } from './strict-s3.ts'

const MIN_PART_BYTES = 5 << 20

function storeOf({ endpoint, state }: StrictS3, options: Partial<S3StoreOptions> = {}): S3Store {
  const { accessKeyId, secretAccessKey, region, bucket } = state
  const keys = { accessKeyId, secretAccessKey }
  return openS3Store({ backend: 'storj', endpoint, region, bucket, ...keys, ...FAULT_TIMES, ...options })
}

async function openStrict(options: Partial<S3StoreOptions> = {}) {
  const server = await startStrictS3()
  const broken: Record<Breakage, () => void> = {
    credentials: () => (server.state.secretAccessKey = 'changed meanwhile'),
    permission: () => (server.state.denied = true),
    bucket: () => (server.state.bucketExists = false),
    quota: () => (server.state.quotaBytes = 10_000),
    clock: () => (server.state.clockOffsetMs = 25 * 60_000),
  }
  const faults: StoreFaults = {
    add: (...fault) => server.faults.add(...fault),
    clear: () => server.faults.clear(),
    break: (what) => broken[what](),
    requests: () => server.requests.length,
    unfinished: () => server.bucket.uploads.size,
    secrets: [server.state.secretAccessKey],
  }
  return { server, store: storeOf(server, options), faults, cleanup: () => server.close() }
}

describeObjectStore('a strict S3 server', () => openStrict())
describeStoreFaults('a strict S3 server', () => openStrict())

describe('an S3 store', () => {
  let server: StrictS3
  let store: S3Store
  let cleanup: () => Promise<void>
  beforeEach(async () => ({ server, store, cleanup } = await openStrict({ partBytes: MIN_PART_BYTES })))
  afterEach(() => cleanup())

  const objectRequests = () => server.requests.map((line) => line.replace(/\?.*/, ''))

  test('asks no more than a put and a look for a small object', async () => {
    await putBytes(store, 'v1/a', randomBytes(1000))
    expect(objectRequests()).toEqual(['PUT /chunks/v1/a', 'HEAD /chunks/v1/a'])
    expect(server.bucket.find('v1/a').metadata).toEqual({ sha256: sha256Hex(server.bucket.find('v1/a').body) })
  })

  test('guards each put and part by its MD5 and a condition, and sends nothing that other services misread', async () => {
    await putBytes(store, 'one', randomBytes(1000))
    await putBytes(store, 'two', randomBytes(MIN_PART_BYTES + 1))
    const sent = server.requests.map((line, i) => ({ line, headers: server.headers[i] }))
    const puts = sent.filter(({ line }) => line.startsWith('PUT'))
    expect(puts).toHaveLength(3)
    for (const { headers } of puts) expect(headers['content-md5']).toMatch(/^.{22}==$/)
    const creating = sent.filter(({ line }) => /^PUT .*one|^POST .*uploadId=/.test(line))
    expect(creating.map(({ headers }) => headers['if-none-match'])).toEqual(['*', '*'])
    for (const name of sent.flatMap(({ headers }) => Object.keys(headers))) {
      expect(name).not.toMatch(/^x-amz-(checksum|sdk-checksum|trailer)|^content-encoding|^transfer-encoding/)
    }
  })

  test('takes keys with every odd character, and lists them as they are', async () => {
    const keys = ['a b+c&d=e', 'é/ü/日本語/🎲', `q?x#y%20z/~!'()*;:@$,[]{}"<>|^\``, '%2e%2e/%2F', 'a%', 'plain']
    for (const key of keys) {
      await putBytes(store, key, Buffer.from(key))
      expect(Buffer.from(await store.get(key)).toString()).toBe(key)
      expect(await store.head(key)).not.toBeNull()
    }
    expect((await listAll(store, '')).map(({ key }) => key)).toEqual(keys.toSorted())
    expect((await listAll(store, 'a b+')).map(({ key }) => key)).toEqual(['a b+c&d=e'])
    for (const key of keys) expect(await store.delete(key)).toBe(true)
  })

  test('makes links that end, and that have no secret in them', async () => {
    await putBytes(store, 'a', randomBytes(10))
    const url = await store.signedUrl('a', { seconds: 60 })
    expect(decodeURIComponent(url)).not.toContain(server.state.secretAccessKey)
    expect((await fetch(url)).status).toBe(200)
    server.state.clockOffsetMs = 62_000
    expect(await (await fetch(url)).text()).toContain('Request has expired')
  })

  test('passes over what no driver could have put', async () => {
    const now = new Date()
    for (const key of ['folder/', 'a//b', 'a\u0001b', '.hidden', 'good']) {
      server.bucket.put(key, Buffer.alloc(0), { metadata: {}, now })
    }
    expect((await listAll(store, '')).map(({ key }) => key)).toEqual(['good'])
  })

  test('lists many pages in any order, with storms between them', async () => {
    const keys = Array.from({ length: 25 }, (_, i) => `v1/${i}`)
    for (const key of keys) server.bucket.put(key, Buffer.alloc(3), { metadata: {}, now: new Date() })
    const listed: string[] = []
    for await (const { key } of store.list('v1/')) {
      listed.push(key)
      server.faults.add({ kind: 'lose-response' })
    }
    expect(listed.toSorted()).toEqual(keys.toSorted())
    expect(listed).not.toEqual(keys.toSorted())
  })

  test('reads the bytes of an object whose hash was not kept before it believes or denies', async () => {
    server.state.keepsMetadata = false
    const bytes = randomBytes(1000)
    await putBytes(store, 'a', bytes)
    expect(await putBytes(store, 'a', bytes)).toEqual({ created: false })
    await expect(putBytes(store, 'a', randomBytes(1000))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
    // A hash that its writer got wrong is not believed either.
    server.bucket.put('b', bytes, { metadata: { sha256: 'f'.repeat(64) }, now: new Date() })
    expect(await putBytes(store, 'b', bytes)).toEqual({ created: false })
  })

  test('puts in parts above the size of one, and not at it', async () => {
    const two = randomBytes(2 * MIN_PART_BYTES + 1)
    await putBytes(store, 'one', two.subarray(0, MIN_PART_BYTES))
    expect(server.requests.some((line) => line.includes('uploads'))).toBe(false)
    expect(await putBytes(store, 'three', two)).toEqual({ created: true })
    expect(server.bucket.find('three').etag).toMatch(/-3$/)
    expect(Buffer.compare(await store.get('three'), two)).toBe(0)
    expect(await putBytes(store, 'three', two)).toEqual({ created: false })
    await expect(putBytes(store, 'three', randomBytes(two.length))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
  })

  test('lets one of two writers in parts win, and leaves no parts', async () => {
    const rivals = [randomBytes(2 * MIN_PART_BYTES), randomBytes(2 * MIN_PART_BYTES)]
    const results = await Promise.allSettled(rivals.map((rival) => putBytes(store, 'rivals', rival)))
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'STORE_CONFLICT' } })
    const winner = rivals[results.findIndex(({ status }) => status === 'fulfilled')]
    expect(Buffer.compare(await store.get('rivals'), winner)).toBe(0)
    expect(server.bucket.uploads.size).toBe(0)
  })

  test('each request of an upload in parts may lose its answer', async () => {
    const bytes = randomBytes(2 * MIN_PART_BYTES)
    // Look, begin, two parts, complete, look again: one at a time.
    for (let request = 0; request < 6; request++) {
      for (let before = 0; before < request; before++) server.faults.add({ kind: 'stall', ms: 0 })
      server.faults.add({ kind: 'lose-response' })
      await putBytes(store, `v1/${request}`, bytes)
      server.faults.clear()
      expect(Buffer.compare(await store.get(`v1/${request}`), bytes)).toBe(0)
    }
    // The upload whose beginning was lost is known to nobody: the sweep finds it.
    expect(server.bucket.uploads.size).toBe(1)
    expect(await store.removeTemporary(new Date(Date.now() - 3_600_000))).toBe(0)
    expect(await store.removeTemporary(new Date(Date.now() + 1000))).toBe(1)
    expect(server.bucket.uploads.size).toBe(0)
  })

  test('gives up the parts of an upload that fails or is aborted', async () => {
    const bytes = randomBytes(3 * MIN_PART_BYTES)
    server.state.quotaBytes = 2 * MIN_PART_BYTES
    server.bucket.put('big', randomBytes(MIN_PART_BYTES + 1), { metadata: {}, now: new Date() })
    await expect(putBytes(store, 'full', bytes)).rejects.toMatchObject({ code: 'STORE_FULL' })
    server.state.quotaBytes = Infinity
    const controller = new AbortController()
    server.faults.add({ kind: 'stall', ms: 61_000 }, { on: 'write' })
    const put = store.put('aborted', hashBytes(bytes), { signal: controller.signal })
    const outcome = put.catch((error: unknown) => error)
    while (!server.requests.some((line) => line.includes('aborted?partNumber'))) await new Promise(setImmediate)
    controller.abort(new Error('preempted'))
    expect(await outcome).toMatchObject({ message: 'preempted' })
    expect(server.bucket.uploads.size).toBe(0)
    expect([...server.bucket.objects.keys()]).toEqual(['big'])
  })

  test("sweeps unfinished uploads of many pages, by the store's clock", async () => {
    for (let i = 0; i < 10; i++) {
      server.bucket.beginUpload(`v1/${i}`, {}, new Date(i < 7 ? '2026-01-01' : '2026-03-01'))
    }
    expect(await store.removeTemporary(new Date('2026-02-01'))).toBe(7)
    expect([...server.bucket.uploads.values()].map(({ key }) => key).toSorted()).toEqual(['v1/7', 'v1/8', 'v1/9'])
  })

  test('probe refuses a service that overwrites', async () => {
    await store.probe()
    server.state.honoursIfNoneMatch = false
    await expect(store.probe()).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringContaining('If-None-Match'),
    })
    expect(server.bucket.objects.size).toBe(0)
  })

  test('needs no more memory than the object, and a part for the connection', async () => {
    const { endpoint, state } = server
    const script = fileURLToPath(new URL('measure-s3-memory.ts', import.meta.url))
    const options = { backend: 'storj', endpoint, ...state, partBytes: undefined }
    const { stdout } = await promisify(execFile)(process.execPath, [script, JSON.stringify(options)])
    const { idle, put, get } = JSON.parse(stdout)
    // 200 MB were there before, and come once more when read.
    expect(put - idle).toBeLessThan(100_000_000)
    expect(get - idle).toBeLessThan(320_000_000)
  }, 60_000)

  test('wrong endpoints are told from failing ones', async () => {
    expect(() => storeOf(server, { endpoint: 'gateway.example' })).toThrow(RangeError)
    expect(() => storeOf(server, { endpoint: 'https://user:secret@gateway.example' })).toThrow(/holds a password/)
    const unknown = storeOf(server, { accessKeyId: 'UNKNOWN' })
    await expect(unknown.get('a')).rejects.toMatchObject({ code: 'STORE_FORBIDDEN' })
    const elsewhere = storeOf(server, { region: 'mars-1' })
    await expect(elsewhere.get('a')).rejects.toMatchObject({ code: 'STORE_FORBIDDEN', message: /another region/ })
    await server.close()
    await expect(store.get('a')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', message: /ECONNREFUSED/ })
    cleanup = async () => {}
  })
})
