import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hashBytes, sha256Hex } from '../../storage/object-store.ts'
import { openSupabaseStore, type SupabaseStore, type SupabaseStoreOptions } from '../../storage/supabase.ts'
import { describeObjectStore, listAll, putBytes } from './contract.ts'
import { type Breakage, describeStoreFaults, FAULT_TIMES, type StoreFaults } from './faults.ts'
import { startStrictSupabase, type StrictSupabase, type StrictSupabaseState } from './strict-supabase.ts'

const MIB = 1 << 20
const PART_BYTES = 6 * MIB

function storeOf({ url, state }: StrictSupabase, options: Partial<SupabaseStoreOptions> = {}): SupabaseStore {
  return openSupabaseStore({ url, secretKey: state.secretKey, bucket: state.bucketName, ...FAULT_TIMES, ...options })
}

async function openStrict(changes: Partial<StrictSupabaseState> = {}) {
  const server = await startStrictSupabase()
  Object.assign(server.state, changes)
  const broken: Record<Breakage, () => void> = {
    credentials: () => (server.state.secretKey = 'changed meanwhile'),
    permission: () => (server.state.denied = true),
    bucket: () => (server.state.bucketExists = false),
    quota: () => (server.state.diskBytes = 10_000),
    clock: () => expect.unreachable(),
  }
  const faults: StoreFaults = {
    add: (...fault) => server.faults.add(...fault),
    clear: () => server.faults.clear(),
    break: (what) => broken[what](),
    requests: () => server.requests.length,
    unfinished: () => server.bucket.unfinished(),
    secrets: [server.state.secretKey],
  }
  return { server, store: storeOf(server), faults, cleanup: () => server.close() }
}

/** A JWT of this role, signed by nobody. */
function jwtOf(role: string): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  return [part({ alg: 'HS256', typ: 'JWT' }), part({ iss: 'supabase', role, exp: 2_000_000_000 }), 'c2ln'].join('.')
}

const raised = { fileSizeLimit: 500 * MIB }
const older = { tellsCodes: false, keepsMetadata: false, secretKey: jwtOf('service_role'), hasGateway: false }
const NO_CLOCK = { without: { clock: 'requests are not signed with the time' } }

describeObjectStore('a strict Supabase', () => openStrict())
describeObjectStore('an older strict Supabase with a legacy key', () => openStrict(older))
describeStoreFaults('a strict Supabase', () => openStrict(raised), NO_CLOCK)

describe('a Supabase store', () => {
  let server: StrictSupabase
  let store: SupabaseStore
  let cleanup: () => Promise<void>
  beforeEach(async () => ({ server, store, cleanup } = await openStrict()))
  afterEach(() => cleanup())

  test('makes links that end, to what is there', async () => {
    await putBytes(store, 'a', randomBytes(10))
    const url = await store.signedUrl('a', { seconds: 60 })
    expect(url).not.toContain(server.state.secretKey)
    server.state.clockOffsetMs = 62_000
    expect(await (await fetch(url)).json()).toMatchObject({ code: 'InvalidJWT' })
    await expect(store.signedUrl('b', { seconds: 60 })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
  })

  const sent = (method: string): string[] => server.requests.filter((line) => line.startsWith(`${method} `))
  const lengths = (method: string): number[] =>
    server.requests.flatMap((line, i) => (line.startsWith(method) ? [Number(server.headers[i]['content-length'])] : []))
  const metadataOf = (key: string): unknown => server.bucket.find(key).metadata

  test('asks no more than a put and a look for a small object', async () => {
    const bytes = randomBytes(1000)
    await putBytes(store, 'v1/a', bytes)
    expect(server.requests).toEqual([
      'POST /storage/v1/object/entropy-chunks/v1/a',
      'GET /storage/v1/object/info/authenticated/entropy-chunks/v1/a',
    ])
    expect(metadataOf('v1/a')).toEqual({ sha256: sha256Hex(bytes), writer: expect.any(String) })
    expect(server.headers[0]).toMatchObject({ 'x-upsert': 'false', 'cache-control': 'max-age=0' })
  })

  test('takes keys with every character that Supabase takes, and refuses others', async () => {
    const keys = ['a b+c&d=e', `q?x/!'()*;:@$,-_`, 'v1/A..b', 'plain']
    for (const key of keys) {
      await putBytes(store, key, Buffer.from(key))
      expect(Buffer.from(await store.get(key)).toString()).toBe(key)
      expect(await store.head(key)).not.toBeNull()
    }
    expect((await listAll(store, '')).map(({ key }) => key)).toEqual(keys.toSorted())
    for (const key of ['é', 'a%', 'a#b', '[a]', 'a%2fb', '日本']) {
      const large = key === '日本' ? PART_BYTES + 1 : 1
      await expect(putBytes(store, key, Buffer.alloc(large)), key).rejects.toThrow(RangeError)
      await expect(store.get(key), key).rejects.toThrow(RangeError)
    }
    for (const key of keys) expect(await store.delete(key)).toBe(true)
    expect(server.bucket.objects.size).toBe(0)
  })

  test('puts in one request up to 6 MiB, and in parts of exactly 6 MiB above', async () => {
    for (const size of [0, PART_BYTES - 1, PART_BYTES]) {
      const bytes = randomBytes(size)
      expect(await putBytes(store, `v1/${size}`, bytes)).toEqual({ created: true })
      expect(Buffer.compare(await store.get(`v1/${size}`), bytes)).toBe(0)
    }
    expect(sent('PATCH')).toEqual([])
    for (const size of [PART_BYTES + 1, 2 * PART_BYTES, 3 * PART_BYTES - 1]) {
      const bytes = randomBytes(size)
      expect(await putBytes(store, `v1/${size}`, bytes)).toEqual({ created: true })
      expect(Buffer.compare(await store.get(`v1/${size}`), bytes)).toBe(0)
      expect(metadataOf(`v1/${size}`)).toMatchObject({ sha256: sha256Hex(bytes) })
    }
    const whole = PART_BYTES
    expect(lengths('PATCH')).toEqual([whole, 1, whole, whole, whole, whole, whole - 1])
    // As of the three parts: no more requests than parts, a beginning and a look.
    expect(sent('HEAD')).toEqual([])
  })

  test('guards an object in parts like any other', async () => {
    const bytes = randomBytes(PART_BYTES + 1)
    await putBytes(store, 'large', bytes)
    const before = sent('PATCH').length
    expect(await putBytes(store, 'large', Uint8Array.from(bytes))).toEqual({ created: false })
    const conflict = { code: 'STORE_CONFLICT', message: expect.stringContaining('nothing was overwritten') }
    await expect(putBytes(store, 'large', randomBytes(bytes.length))).rejects.toMatchObject(conflict)
    await expect(putBytes(store, 'large', Uint8Array.of(1))).rejects.toMatchObject(conflict)
    // Nothing is sent in vain.
    expect(sent('PATCH').length).toBe(before)
    const rivals = [randomBytes(PART_BYTES + 1), randomBytes(PART_BYTES + 1)]
    const results = await Promise.allSettled(rivals.map((rival) => putBytes(store, 'rivals', rival)))
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(results.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'STORE_CONFLICT' } })
    expect(server.bucket.unfinished()).toBe(0)
  })

  test('keeps 200 MB in parts once the limit is raised', async () => {
    server.state.fileSizeLimit = 200_000_000
    const bytes = randomBytes(200_000_000)
    expect(await putBytes(store, 'large', bytes)).toEqual({ created: true })
    expect(sent('PATCH')).toHaveLength(Math.ceil(bytes.length / PART_BYTES))
    expect(Buffer.compare(await store.get('large'), bytes)).toBe(0)
    const part = await store.get('large', { range: { start: 100_000_001, end: 100_000_004 } })
    expect([...part]).toEqual([...bytes.subarray(100_000_001, 100_000_004)])
  })

  test('goes on where an interrupted upload was, in the middle of a part', async () => {
    const bytes = randomBytes(4 * PART_BYTES)
    server.faults.add({ kind: 'stall', ms: 0 }, { on: 'write', times: 2 })
    server.faults.add({ kind: 'reset-request' }, { on: 'write' })
    expect(await putBytes(store, 'large', bytes)).toEqual({ created: true })
    expect(Buffer.compare(await store.get('large'), bytes)).toBe(0)
    expect(sent('HEAD')).toHaveLength(1)
    // Two whole parts, a half of one, and the rest in whole parts from there.
    const [first, second, third, ...rest] = lengths('PATCH')
    expect([first, second, third]).toEqual([PART_BYTES, PART_BYTES, PART_BYTES])
    expect(rest[0]).toBe(PART_BYTES)
    expect(rest.reduce((sum, length) => sum + length)).toBeLessThan(2 * PART_BYTES)
    expect(sent('POST')).toHaveLength(1)
  })

  test('each request of an upload in parts may lose its answer', async () => {
    const bytes = randomBytes(PART_BYTES + 1)
    // Begin, two parts, look: one at a time.
    for (let request = 0; request < 4; request++) {
      for (let before = 0; before < request; before++) server.faults.add({ kind: 'stall', ms: 0 })
      server.faults.add({ kind: 'lose-response' })
      expect(await putBytes(store, `v1/${request}`, bytes)).toEqual({ created: true })
      server.faults.clear()
      expect(Buffer.compare(await store.get(`v1/${request}`), bytes)).toBe(0)
    }
    // The one whose beginning was lost is known to nobody: the store forgets it in time.
    expect(server.bucket.unfinished()).toBe(1)
  })

  test('counts its tries anew for each part that arrives, and gives the parts up when they are used up', async () => {
    const bytes = randomBytes(3 * PART_BYTES)
    for (let part = 0; part < 3; part++) {
      server.faults.add({ kind: 'refuse', status: 544 }, { on: 'write', times: 3 })
      server.faults.add({ kind: 'stall', ms: 0 }, { on: 'write' })
    }
    expect(await putBytes(store, 'large', bytes)).toEqual({ created: true })
    server.faults.clear()
    server.faults.add({ kind: 'stall', ms: 0 }, { on: 'write' })
    server.faults.add({ kind: 'refuse', status: 423 }, { on: 'write', times: Infinity })
    await expect(putBytes(store, 'never', bytes)).rejects.toMatchObject({
      code: 'STORE_UNAVAILABLE',
      message: expect.stringMatching(/423.*tried 4 times/),
    })
    expect(server.bucket.unfinished()).toBe(0)
    expect(await store.head('never')).toBeNull()
  })

  test('begins anew an upload that the store has forgotten', async () => {
    server.state.uploadLifeMs = 0
    const bytes = randomBytes(2 * PART_BYTES)
    server.faults.add({ kind: 'stall', ms: 5 }, { on: 'any' })
    const put = putBytes(store, 'large', bytes)
    while (sent('PATCH').length === 0) await new Promise(setImmediate)
    server.state.uploadLifeMs = 60_000
    expect(await put).toEqual({ created: true })
    expect(Buffer.compare(await store.get('large'), bytes)).toBe(0)
    expect(sent('POST')).toHaveLength(2)
  })

  test('aborted between parts ends the upload', async () => {
    const bytes = randomBytes(4 * PART_BYTES)
    const controller = new AbortController()
    server.faults.add({ kind: 'stall', ms: 0 }, { on: 'write' })
    server.faults.add({ kind: 'stall', ms: 61_000 }, { on: 'write' })
    const put = store.put('aborted', hashBytes(bytes), { signal: controller.signal })
    const outcome = put.catch((error: unknown) => error)
    while (sent('PATCH').length < 2) await new Promise(setImmediate)
    controller.abort(new Error('preempted'))
    expect(await outcome).toMatchObject({ message: 'preempted' })
    expect(server.bucket.uploads.size).toBe(0)
    expect(server.bucket.objects.size).toBe(0)
  })

  test('an object above the limit is STORE_FULL before its bytes are sent, and says what to change', async () => {
    for (const [size, limit] of [
      [50 * MIB + 1, 50 * MIB],
      [1001, 1000],
    ]) {
      server.state.fileSizeLimit = limit
      await expect(putBytes(store, 'large', Buffer.alloc(size))).rejects.toMatchObject({
        code: 'STORE_FULL',
        message: expect.stringMatching(new RegExp(`${size} bytes.*50 MiB.*CHUNK_TARGET_BYTES`)),
      })
    }
    expect(server.requests).toHaveLength(2)
    await putBytes(store, 'small', Buffer.alloc(1000))
    expect(server.bucket.unfinished()).toBe(0)
  })

  test('finds out when another writer replaced its object before it looked', async () => {
    const bytes = randomBytes(1000)
    const replacedBy = async (key: string, body: Buffer, metadata: object): Promise<unknown> => {
      server.faults.add({ kind: 'stall', ms: 100 }, { on: 'write' })
      const put = putBytes(store, key, bytes)
      while (!server.bucket.objects.has(key)) await new Promise(setImmediate)
      const { createdAt } = server.bucket.find(key)
      server.bucket.objects.set(key, { body, createdAt, modifiedAt: new Date(), metadata })
      return await put.catch((error: unknown) => error)
    }
    const other = { writer: 'another', sha256: sha256Hex(bytes) }
    expect(await replacedBy('same', bytes, other)).toEqual({ created: false })
    const conflict = { code: 'STORE_CONFLICT', message: expect.stringContaining('another writer replaced it') }
    const otherBytes = randomBytes(1000)
    const told = { writer: 'another', sha256: sha256Hex(otherBytes) }
    expect(await replacedBy('other', otherBytes, told)).toMatchObject(conflict)
    expect(await replacedBy('longer', randomBytes(1001), told)).toMatchObject(conflict)
  })

  test('an object that the store cut is removed, so that the next put can succeed', async () => {
    const bytes = randomBytes(1000)
    server.faults.add({ kind: 'stall', ms: 100 }, { on: 'write' })
    const put = putBytes(store, 'a', bytes).catch((error: unknown) => error)
    while (!server.bucket.objects.has('a')) await new Promise(setImmediate)
    const kept = server.bucket.find('a')
    server.bucket.objects.set('a', { ...kept, body: bytes.subarray(0, 500) })
    expect(await put).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('kept 500 bytes') })
    expect(await putBytes(store, 'a', bytes)).toEqual({ created: true })
  })

  test('reads the bytes of an object whose hash was not kept, or told wrong, before it believes or denies', async () => {
    server.state.keepsMetadata = false
    const bytes = randomBytes(1000)
    expect(await putBytes(store, 'a', bytes)).toEqual({ created: true })
    expect(await putBytes(store, 'a', bytes)).toEqual({ created: false })
    await expect(putBytes(store, 'a', randomBytes(1000))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
    const kept = server.bucket.find('a')
    server.bucket.objects.set('a', { ...kept, metadata: { writer: 'another', sha256: 'f'.repeat(64) } })
    expect(await putBytes(store, 'a', bytes)).toEqual({ created: false })
  })

  test('lists many pages with storms between them and changes meanwhile, and passes over placeholders', async () => {
    const now = new Date('2026-01-01T00:00:00.123Z')
    const keep = (key: string): unknown =>
      server.bucket.objects.set(key, { body: Buffer.alloc(3), createdAt: now, modifiedAt: now, metadata: null })
    const keys = Array.from({ length: 25 }, (_, i) => `v1/${String(i).padStart(2, '0')}`)
    for (const key of [...keys, 'v1/a/.emptyFolderPlaceholder', 'v10/x']) keep(key)
    const listed: string[] = []
    for await (const { key, size, modifiedAt } of store.list('v1/')) {
      expect({ size, modifiedAt }).toEqual({ size: 3, modifiedAt: now })
      listed.push(key)
      server.faults.add({ kind: 'lose-response' })
      // What is read already goes, and something comes before it: the rest is neither missed nor seen twice.
      server.bucket.objects.delete(key)
      keep(`v1/0-${listed.length}`)
    }
    expect(listed).toEqual(keys)
  })

  test('tells whether there was an object to delete, also when the answer was lost', async () => {
    await putBytes(store, 'a', randomBytes(10))
    server.faults.add({ kind: 'lose-response' })
    expect(await store.delete('a')).toBe(true)
    server.faults.add({ kind: 'refuse', status: 503 })
    expect(await store.delete('a')).toBe(false)
  })

  test.each([409, 423, 544])('an answer of %i that may pass is asked again', async (status) => {
    await putBytes(store, 'there', randomBytes(10))
    server.faults.add({ kind: 'refuse', status }, { times: 3 })
    expect(await store.head('there')).toMatchObject({ size: 10 })
  })

  test('creates the bucket as a private one, once', async () => {
    server.state.bucketExists = false
    server.state.isPublic = true
    expect(await store.findBucket()).toBeNull()
    const made = await Promise.all([store.ensureBucket(), store.ensureBucket()])
    expect(made.filter(({ created }) => created)).toHaveLength(1)
    expect(made[0]).toMatchObject({ isPublic: false, fileSizeLimit: null })
    server.state.isPublic = true
    expect(await store.ensureBucket()).toEqual({ created: false, isPublic: true, fileSizeLimit: null })
    server.state.denied = true
    await expect(store.ensureBucket()).rejects.toMatchObject({ code: 'STORE_FORBIDDEN' })
  })

  test('a public bucket does not pass the probe', async () => {
    await store.probe()
    server.state.isPublic = true
    await expect(store.probe()).rejects.toMatchObject({ code: 'STORE_FORBIDDEN', message: /is public/ })
    expect(server.bucket.objects.size).toBe(0)
  })

  test('a key that only the gateway knows is told from a wrong one', async () => {
    server.state.hasGateway = false
    for (const call of [() => store.head('a'), () => putBytes(store, 'a', Buffer.alloc(PART_BYTES + 1))]) {
      await expect(call()).rejects.toMatchObject({
        code: 'STORE_FORBIDDEN',
        message: expect.stringMatching(/SUPABASE_URL.*sb_secret_ key.*gateway/),
      })
    }
    const wrong = storeOf(server, { secretKey: jwtOf('service_role') })
    await expect(wrong.head('a')).rejects.toMatchObject({
      code: 'STORE_FORBIDDEN',
      message: /check SUPABASE_SECRET_KEY/,
    })
  })

  test('does not open with a public key or a URL that is none, and does not repeat the key', () => {
    for (const secretKey of ['sb_publishable_abc', jwtOf('anon'), jwtOf('authenticated'), '', 'a\nb']) {
      const opening = (): unknown => storeOf(server, { secretKey })
      expect(opening).toThrow(RangeError)
      expect(opening).toThrow(/^the Supabase (secret )?key is (a public one \(\w+\)|empty)/)
    }
    for (const url of ['project.supabase.co', 'ftp://a', 'https://user:secret@a', 'https://a?b']) {
      expect(() => openSupabaseStore({ url, secretKey: 'sb_secret_a', bucket: 'b' })).toThrow(RangeError)
    }
  })
})

describe('a Supabase store at the wrong place', () => {
  /** A store at a server that answers everything so. */
  async function storeAt(listener: RequestListener): Promise<{ store: SupabaseStore; close: () => void; url: string }> {
    const server = createServer(listener).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const store = openSupabaseStore({ url, secretKey: 'sb_secret_a', bucket: 'b', ...FAULT_TIMES })
    return { store, url, close: () => server.close().closeAllConnections() }
  }

  test.each([
    [404, {}, '{"message":"no Route matched with those values"}', /check SUPABASE_URL/],
    [404, {}, '<html>not here</html>', /check SUPABASE_URL/],
    [200, {}, '<html>welcome</html>', /check SUPABASE_URL/],
    [201, {}, '{"data":1}', /SUPABASE_URL|neither size nor time/],
    [302, { location: 'http://127.0.0.1:9/' }, '', /check SUPABASE_URL/],
    [540, {}, '{"message":"Project paused"}', /restore it/],
    [402, {}, '{"message":"Service for this project is restricted"}', /quota/],
    [401, {}, '{"message":"no API key sb_secret_a"}', /SUPABASE_SECRET_KEY.*no API key \[the key\]/],
  ])('an answer of %i is no missing object, and says what to check', async (status, headers, body, message) => {
    const { store, close } = await storeAt((request, response) => {
      request.resume()
      response.writeHead(status, headers).end(body)
    })
    const calls = [
      () => store.head('a'),
      () => listAll(store, ''),
      () => putBytes(store, 'a', Buffer.alloc(PART_BYTES + 1)),
    ]
    for (const call of calls) await expect(call()).rejects.toMatchObject({ name: 'CoherenceError', message })
    close()
  })

  test('is told when nobody listens', async () => {
    const { store, close } = await storeAt(() => {})
    close()
    await expect(store.head('a')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', message: /tried 4 times/ })
  })

  test('a cache that ignores ranges does no harm', async () => {
    const { store, close } = await storeAt((_request, response) => {
      response.writeHead(200, { 'content-length': 5 }).end('01234')
    })
    expect(Buffer.from(await store.get('a', { range: { start: 1, end: 3 } })).toString()).toBe('12')
    close()
  })
})
