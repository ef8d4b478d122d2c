import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hashBytes, type ObjectStore, sha256Hex } from '../../storage/object-store.ts'
import { listAll, putBytes } from './contract.ts'
import type { Fault, FaultTarget } from './socket-faults.ts'

/** A lasting fault of the store, not of the way to it. */
export type Breakage = 'credentials' | 'bucket' | 'permission' | 'quota' | 'clock'

/** What the server of a remote store can be told to do wrong. */
export interface StoreFaults {
  /** Lets the next requests (one of any kind, unless told) meet a fault on the wire. */
  add(fault: Fault, options?: { times?: number; on?: FaultTarget }): void
  /** Forgets the faults that have met no request. */
  clear(): void
  /** From now on the credentials are wrong, the bucket is gone and so on. */
  break(what: Breakage): void
  /** Requests received so far. */
  requests(): number
  /** Uploads begun and neither finished nor given up. */
  unfinished(): number
  /** What no error may show. */
  readonly secrets: readonly string[]
}

/** The times that a store under `describeStoreFaults` is to be opened with. */
export const FAULT_TIMES = {
  silenceMs: 1_000,
  retry: { attempts: 4, baseMs: 5, maxMs: 20, deadlineMs: 15_000 },
} as const

const FOREVER = { times: Infinity }
const LARGE_BYTES = 200_000_000

const FORBIDDEN: Readonly<Record<Breakage, { code: string; message: RegExp }>> = {
  credentials: { code: 'STORE_FORBIDDEN', message: /key/i },
  permission: { code: 'STORE_FORBIDDEN', message: /bucket/ },
  bucket: { code: 'STORE_NOT_FOUND', message: /create the bucket/ },
  clock: { code: 'STORE_FORBIDDEN', message: /clock is wrong by 2\d minutes/ },
  quota: { code: 'STORE_FULL', message: /quota|room/ },
}

/**
 * What every remote driver must do when the way to its store, or the store, fails. `open` gives an empty store with the times of
 * FAULT_TIMES; `without` names breakages that this kind of store does not have, with the reason.
 */
export function describeStoreFaults(
  name: string,
  open: () => Promise<{ store: ObjectStore; faults: StoreFaults; cleanup: () => Promise<void> }>,
  { without = {} }: { without?: Partial<Record<Breakage, string>> } = {},
): void {
  describe(`${name} over a bad line`, () => {
    let store: ObjectStore
    let faults: StoreFaults
    let cleanup: () => Promise<void>
    beforeEach(async () => ({ store, faults, cleanup } = await open()))
    afterEach(() => cleanup())

    /** Every call of the interface, on an object `there` that exists. */
    const calls = (there: string): Record<string, () => Promise<unknown>> => ({
      put: () => putBytes(store, 'calls/new', Uint8Array.of(1)),
      get: () => store.get(there),
      'get a range': () => store.get(there, { range: { start: 0, end: 1 } }),
      head: () => store.head(there),
      list: () => listAll(store, ''),
      delete: () => store.delete(there),
    })

    /** Only whole objects may be there, under their own names. */
    const expectOnly = async (objects: Record<string, Uint8Array>): Promise<void> => {
      faults.clear()
      expect((await listAll(store, '')).map(({ key }) => key)).toEqual(Object.keys(objects).toSorted())
      for (const [key, bytes] of Object.entries(objects)) {
        expect(sha256Hex(await store.get(key))).toBe(sha256Hex(bytes))
      }
      expect(faults.unfinished()).toBe(0)
    }

    test.each([429, 500, 502, 503, 504])('a short storm of %i passes unnoticed by every call', async (status) => {
      await putBytes(store, 'there', randomBytes(1000))
      for (const [call, run] of Object.entries(calls('there'))) {
        faults.add({ kind: 'refuse', status }, { times: 3 })
        await expect(run(), call).resolves.not.toThrow()
      }
    })

    test.each([429, 503])('an endless storm of %i is STORE_UNAVAILABLE after few requests', async (status) => {
      await putBytes(store, 'there', randomBytes(1000))
      for (const [call, run] of Object.entries(calls('there'))) {
        const before = faults.requests()
        faults.add({ kind: 'refuse', status }, FOREVER)
        await expect(run(), call).rejects.toMatchObject({
          code: 'STORE_UNAVAILABLE',
          message: expect.stringContaining(String(status)),
        })
        expect(faults.requests() - before, call).toBe(FAULT_TIMES.retry.attempts)
        faults.clear()
      }
    })

    test('waits as long as Retry-After says, and gives up at once when that is too long', async () => {
      faults.add({ kind: 'refuse', status: 429, retryAfter: '1' })
      const started = performance.now()
      await putBytes(store, 'a', Uint8Array.of(1))
      expect(performance.now() - started).toBeGreaterThan(950)
      faults.add({ kind: 'refuse', status: 503, retryAfter: '3600' })
      const again = performance.now()
      await expect(store.head('a')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - again).toBeLessThan(900)
    })

    test('a put cut off on its way is sent again', async () => {
      const bytes = randomBytes(3_000_000)
      faults.add({ kind: 'reset-request' }, { times: 3, on: 'write' })
      expect(await putBytes(store, 'a', bytes)).toEqual({ created: true })
      faults.add({ kind: 'reset-request' }, { ...FOREVER, on: 'write' })
      await expect(putBytes(store, 'b', bytes)).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      await expectOnly({ a: bytes })
    })

    test('a put whose answer was lost has succeeded, and is guarded like any other', async () => {
      const bytes = randomBytes(100_000)
      faults.add({ kind: 'lose-response' }, { on: 'write' })
      await putBytes(store, 'a', bytes)
      expect(await putBytes(store, 'a', bytes)).toEqual({ created: false })
      faults.add({ kind: 'lose-response' }, { on: 'write' })
      await expect(putBytes(store, 'a', randomBytes(100_000))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
      await expectOnly({ a: bytes })
    })

    test('calls whose answers are lost are asked again', async () => {
      await putBytes(store, 'there', Uint8Array.of(1))
      for (const [call, run] of Object.entries(calls('there'))) {
        faults.add({ kind: 'lose-response' }, { times: 2 })
        await expect(run(), call).resolves.not.toThrow()
      }
      expect(await store.head('there')).toBeNull()
    })

    test.each(['reset-response', 'truncate'] as const)('a read broken by %s is read again, never cut', async (kind) => {
      const bytes = randomBytes(3_000_000)
      await putBytes(store, 'a', bytes)
      faults.add({ kind }, { times: 3, on: 'read' })
      expect(Buffer.compare(await store.get('a'), bytes)).toBe(0)
      faults.add({ kind }, { times: 3, on: 'read' })
      const part = await store.get('a', { range: { start: 1_000_000, end: 2_000_001 } })
      expect(Buffer.compare(part, bytes.subarray(1_000_000, 2_000_001))).toBe(0)
      faults.add({ kind }, { ...FOREVER, on: 'read' })
      await expect(store.get('a')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
    })

    test('a corrupted read is told by its hash, and harms nothing', async () => {
      const bytes = randomBytes(100_000)
      await putBytes(store, 'a', bytes)
      faults.add({ kind: 'corrupt' }, { on: 'read' })
      const read = await store.get('a').catch((error: { code?: string }) => error.code)
      // Either the driver noticed, or its caller can: nothing else.
      const told = read instanceof Uint8Array ? read.length : read
      expect([bytes.length, 'STORE_UNAVAILABLE']).toContain(told)
      await expectOnly({ a: bytes })
    })

    test('silence is ended and asked again', async () => {
      const bytes = randomBytes(100_000)
      await putBytes(store, 'a', bytes)
      faults.add({ kind: 'stall', ms: 61_000 }, { on: 'write' })
      faults.add({ kind: 'stall-response', ms: 61_000 }, { on: 'read' })
      const started = performance.now()
      await putBytes(store, 'b', bytes)
      expect(Buffer.compare(await store.get('a'), bytes)).toBe(0)
      expect(performance.now() - started).toBeLessThan(8_000)
      await expectOnly({ a: bytes, b: bytes })
    })

    test('endless silence is STORE_UNAVAILABLE in bounded time', async () => {
      faults.add({ kind: 'stall', ms: 61_000 }, FOREVER)
      const started = performance.now()
      await expect(store.head('a')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
      expect(performance.now() - started).toBeLessThan(8_000)
    })

    test('an abort ends silence, storms and transfers at once, with its reason', async () => {
      const bytes = randomBytes(1_000_000)
      await putBytes(store, 'there', bytes)
      const aborting = async (fault: Fault, run: (signal: AbortSignal) => Promise<unknown>): Promise<void> => {
        faults.add(fault, FOREVER)
        const before = faults.requests()
        const controller = new AbortController()
        const call = run(controller.signal).catch((error: unknown) => error)
        // The request shows that the call has begun.
        while (faults.requests() === before) await delay(1)
        const started = performance.now()
        controller.abort(new Error('the worker is going'))
        expect(await call).toMatchObject({ message: 'the worker is going' })
        expect(performance.now() - started).toBeLessThan(500)
        faults.clear()
      }
      const put = (signal: AbortSignal) => store.put('new', hashBytes(bytes), { signal })
      await aborting({ kind: 'stall', ms: 61_000 }, (signal) => store.get('there', { signal }))
      await aborting({ kind: 'stall-response', ms: 61_000 }, (signal) => store.get('there', { signal }))
      await aborting({ kind: 'refuse', status: 503, retryAfter: '5' }, (signal) => store.get('there', { signal }))
      await aborting({ kind: 'refuse', status: 503, retryAfter: '5' }, put)
      await aborting({ kind: 'stall', ms: 61_000 }, (signal) =>
        store.list('', { signal })[Symbol.asyncIterator]().next(),
      )
      await expectOnly({ there: bytes })
      await aborting({ kind: 'stall', ms: 61_000 }, put)
      // The store may have kept the whole object by then, and a part of it never.
      const left = await store.head('new')
      await expectOnly(left === null ? { there: bytes } : { there: bytes, new: bytes })
    })

    for (const what of ['credentials', 'permission', 'bucket', 'clock'] as const) {
      test(`a wrong ${what} is said at every call, with what to do, and not tried again`, async (context) => {
        context.skip(without[what] !== undefined, without[what])
        await putBytes(store, 'there', Uint8Array.of(1))
        faults.break(what)
        const { code, message } = FORBIDDEN[what]
        for (const [call, run] of Object.entries({ ...calls('there'), probe: () => store.probe() })) {
          const before = faults.requests()
          const error = await run().catch((thrown: unknown) => thrown)
          expect(error, call).toMatchObject({ code, message: expect.stringMatching(message) })
          expect(faults.requests() - before, call).toBeLessThanOrEqual(2)
          const shown = `${String(error)} ${JSON.stringify(error, errorFields)}`
          for (const secret of faults.secrets) expect(shown).not.toContain(secret)
        }
      })
    }

    test('a store without room is STORE_FULL, and can still be read', async (context) => {
      context.skip(without.quota !== undefined, without.quota)
      const bytes = randomBytes(1000)
      await putBytes(store, 'there', bytes)
      faults.break('quota')
      const { code, message } = FORBIDDEN.quota
      const put = putBytes(store, 'more', randomBytes(1_000_000))
      await expect(put).rejects.toMatchObject({ code, message: expect.stringMatching(message) })
      await expectOnly({ there: bytes })
    })

    test('an object of 0 bytes survives what others do', async () => {
      const nothing = new Uint8Array(0)
      faults.add({ kind: 'refuse', status: 503 }, { on: 'write' })
      faults.add({ kind: 'lose-response' }, { on: 'write' })
      await putBytes(store, 'empty', nothing)
      faults.add({ kind: 'lose-response' }, { on: 'read' })
      await expectOnly({ empty: nothing })
      await expect(putBytes(store, 'empty', Uint8Array.of(1))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
    })

    test('an object of 200 MB arrives whole through resets and storms, both ways', async () => {
      const bytes = randomBytes(LARGE_BYTES)
      faults.add({ kind: 'refuse', status: 503 }, { on: 'write' })
      faults.add({ kind: 'reset-request' }, { on: 'write' })
      faults.add({ kind: 'lose-response' }, { on: 'write' })
      await putBytes(store, 'large', bytes)
      faults.add({ kind: 'reset-response' }, { on: 'read' })
      const back = await store.get('large')
      expect(back.buffer.byteLength).toBe(LARGE_BYTES)
      expect(Buffer.compare(back, bytes)).toBe(0)
      expect(await putBytes(store, 'large', bytes)).toEqual({ created: false })
      expect(faults.unfinished()).toBe(0)
    }, 60_000)
  })
}

/** Also the fields of errors and their causes, which JSON leaves out. */
function errorFields(_key: string, value: unknown): unknown {
  if (!(value instanceof Error)) return value
  return Object.fromEntries(Object.getOwnPropertyNames(value).map((name) => [name, Reflect.get(value, name)]))
}
