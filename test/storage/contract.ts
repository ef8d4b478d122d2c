import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { hashBytes, type ObjectInfo, type ObjectStore } from '../../storage/object-store.ts'

/** Puts with the hash a caller would have. */
export function putBytes(store: ObjectStore, key: string, bytes: Uint8Array): Promise<{ created: boolean }> {
  return store.put(key, hashBytes(bytes))
}

/** All objects under a prefix, by key. */
export async function listAll(store: ObjectStore, prefix: string): Promise<ObjectInfo[]> {
  const objects: ObjectInfo[] = []
  for await (const object of store.list(prefix)) objects.push(object)
  return objects.toSorted((a, b) => (a.key < b.key ? -1 : 1))
}

export const HOSTILE_KEYS = [
  '',
  '/etc/passwd',
  '..',
  '../outside',
  'a/../../outside',
  'a/..',
  './a',
  'a//b',
  'a/',
  'a\\..\\b',
  'a\0b',
  'a\nb',
  'a\u0085b',
  '.tmp/x',
  'a/.hidden',
  '\ud800',
  'x'.repeat(256),
  'x/'.repeat(256) + 'x',
]

async function followLink(url: string): Promise<{ ok: boolean; bytes: Buffer }> {
  if (url.startsWith('file:')) return { ok: true, bytes: await readFile(new URL(url)) }
  const response = await fetch(url)
  const isNamed = /^attachment; filename="?roof-1\.arrow/.test(response.headers.get('content-disposition') ?? '')
  return { ok: response.ok && isNamed, bytes: Buffer.from(await response.arrayBuffer()) }
}

/** What every driver must do. `open` gives an empty store; `cleanup` removes it. */
export function describeObjectStore(
  name: string,
  open: () => Promise<{ store: ObjectStore; cleanup: () => Promise<void> }>,
): void {
  describe(`${name} as an object store`, () => {
    let store: ObjectStore
    let cleanup: () => Promise<void>
    beforeEach(async () => ({ store, cleanup } = await open()))
    afterEach(() => cleanup())

    test('gives back the bytes that were put', async () => {
      const bytes = randomBytes(100_000)
      expect(await putBytes(store, 'v1/2026/11/20/a.arrow', bytes)).toEqual({ created: true })
      const back = await store.get('v1/2026/11/20/a.arrow')
      expect(back).toBeInstanceOf(Uint8Array)
      expect(Buffer.compare(back, bytes)).toBe(0)
    })

    test('keeps an empty object', async () => {
      await putBytes(store, 'empty', new Uint8Array(0))
      expect(await store.get('empty')).toHaveLength(0)
      expect(await store.head('empty')).toMatchObject({ size: 0 })
      expect(await putBytes(store, 'empty', new Uint8Array(0))).toEqual({ created: false })
    })

    test('puts a view of a larger buffer as the view', async () => {
      const view = new Uint8Array([9, 1, 2, 3, 9]).subarray(1, 4)
      await putBytes(store, 'view', view)
      expect([...(await store.get('view'))]).toEqual([1, 2, 3])
    })

    test('takes the same bytes again as done', async () => {
      const bytes = randomBytes(1000)
      await putBytes(store, 'a/b', bytes)
      expect(await putBytes(store, 'a/b', Uint8Array.from(bytes))).toEqual({ created: false })
    })

    test('never overwrites: other bytes are STORE_CONFLICT, of the same length or not', async () => {
      const bytes = randomBytes(1000)
      await putBytes(store, 'a/b', bytes)
      for (const other of [randomBytes(1000), randomBytes(999), new Uint8Array(0)]) {
        await expect(putBytes(store, 'a/b', other)).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
      }
      expect(Buffer.compare(await store.get('a/b'), bytes)).toBe(0)
    })

    test('lets one of two writers of a key win', async () => {
      const bytes = randomBytes(200_000)
      const same = await Promise.all([putBytes(store, 'same', bytes), putBytes(store, 'same', bytes)])
      expect(same.filter((result) => result.created)).toHaveLength(1)

      const rivals = [randomBytes(200_000), randomBytes(200_000)]
      const results = await Promise.allSettled(rivals.map((rival) => putBytes(store, 'rivals', rival)))
      const failed = results.filter((result) => result.status === 'rejected')
      expect(failed).toHaveLength(1)
      expect(failed[0].reason).toMatchObject({ code: 'STORE_CONFLICT' })
      const winner = rivals[results.findIndex((result) => result.status === 'fulfilled')]
      expect(Buffer.compare(await store.get('rivals'), winner)).toBe(0)
    })

    test('reads ranges, cut off at the end of the object', async () => {
      await putBytes(store, 'a', Uint8Array.of(0, 1, 2, 3, 4))
      const read = async (start: number, end: number): Promise<number[]> => [
        ...(await store.get('a', { range: { start, end } })),
      ]
      expect(await read(1, 3)).toEqual([1, 2])
      expect(await read(0, 5)).toEqual([0, 1, 2, 3, 4])
      expect(await read(3, 100)).toEqual([3, 4])
      expect(await read(2, 2)).toEqual([])
      expect(await read(5, 9)).toEqual([])
      expect(await read(7, 9)).toEqual([])
      for (const [start, end] of [
        [-1, 2],
        [3, 2],
        [0.5, 2],
        [0, Number.NaN],
      ])
        await expect(read(start, end)).rejects.toThrow(RangeError)
      await expect(store.get('b', { range: { start: 0, end: 1 } })).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
    })

    test('knows what is not there', async () => {
      await expect(store.get('no/such')).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
      expect(await store.head('no/such')).toBeNull()
      expect(await store.delete('no/such')).toBe(false)
      expect(await listAll(store, 'no/')).toEqual([])
      expect(await listAll(store, '')).toEqual([])
      // The folder of an object is not an object.
      await putBytes(store, 'a/b', Uint8Array.of(1))
      await expect(store.get('a')).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
      expect(await store.head('a')).toBeNull()
      expect(await store.delete('a')).toBe(false)
    })

    test('tells size and time', async () => {
      const before = Date.now()
      await putBytes(store, 'a', randomBytes(123))
      const info = await store.head('a')
      expect(info?.size).toBe(123)
      // The store has its own clock.
      expect(Math.abs(Number(info?.modifiedAt) - before)).toBeLessThan(60_000)
    })

    test('lists by any prefix, with sizes', async () => {
      for (const key of ['v1/2026/01/a', 'v1/2026/01/b', 'v1/2026/02/a', 'v1/2027/01/a', 'other']) {
        await putBytes(store, key, Buffer.from(key))
      }
      const keys = async (prefix: string): Promise<string[]> => (await listAll(store, prefix)).map(({ key }) => key)
      expect(await keys('')).toEqual(['other', 'v1/2026/01/a', 'v1/2026/01/b', 'v1/2026/02/a', 'v1/2027/01/a'])
      expect(await keys('v1/2026/')).toEqual(['v1/2026/01/a', 'v1/2026/01/b', 'v1/2026/02/a'])
      expect(await keys('v1/2026/0')).toEqual(['v1/2026/01/a', 'v1/2026/01/b', 'v1/2026/02/a'])
      expect(await keys('v1/2026/01/b')).toEqual(['v1/2026/01/b'])
      expect(await keys('v1/2028/')).toEqual([])
      const [first] = await listAll(store, 'other')
      expect(first.size).toBe(5)
      expect(first.modifiedAt).toBeInstanceOf(Date)
    })

    test('deletes, and takes the key again afterwards', async () => {
      await putBytes(store, 'a/b', Uint8Array.of(1))
      expect(await store.delete('a/b')).toBe(true)
      expect(await store.delete('a/b')).toBe(false)
      expect(await store.head('a/b')).toBeNull()
      expect(await putBytes(store, 'a/b', Uint8Array.of(2))).toEqual({ created: true })
    })

    test('makes a link that gives the object to anybody, and to nobody if it is changed', async () => {
      const bytes = randomBytes(1000)
      await putBytes(store, 'exports/a.arrow', bytes)
      await putBytes(store, 'exports/b.arrow', randomBytes(10))
      const url = await store.signedUrl('exports/a.arrow', { seconds: 3600, fileName: 'roof-1.arrow' })
      expect(await followLink(url)).toEqual({ ok: true, bytes })
      const wronglySigned = url.replace(/(Signature=|token=[^&]*\.)[^&]{8}/, '$1abcdefab')
      // The path of a file is all there is to its link.
      const forged = url.startsWith('file:')
        ? []
        : [url.replace('/a.arrow', '/b.arrow'), wronglySigned, url.split('?')[0]]
      for (const other of forged) expect(await followLink(other), other).toMatchObject({ ok: false })
      for (const seconds of [0, 1.5, 7 * 86_400 + 1, Number.NaN]) {
        await expect(store.signedUrl('exports/a.arrow', { seconds })).rejects.toThrow(RangeError)
      }
      for (const fileName of ['', '../a', 'a"; x', 'a\r\nb', '.a', 'ä'.repeat(2)]) {
        await expect(store.signedUrl('exports/a.arrow', { seconds: 1, fileName })).rejects.toThrow(RangeError)
      }
    })

    test('refuses keys that mean different things in different stores', async () => {
      for (const key of HOSTILE_KEYS) {
        await expect(putBytes(store, key, Uint8Array.of(1))).rejects.toThrow(RangeError)
        await expect(store.get(key)).rejects.toThrow(RangeError)
        await expect(store.head(key)).rejects.toThrow(RangeError)
        await expect(store.delete(key)).rejects.toThrow(RangeError)
        await expect(store.signedUrl(key, { seconds: 1 })).rejects.toThrow(RangeError)
      }
      await expect(listAll(store, '../')).rejects.toThrow(RangeError)
      expect(await listAll(store, '')).toEqual([])
    })

    test('stops when told to, and leaves nothing behind', async () => {
      const bytes = randomBytes(1000)
      const signal = AbortSignal.abort(new Error('the worker is going'))
      const put = store.put('a', hashBytes(bytes), { signal })
      await expect(put).rejects.toThrow('the worker is going')
      expect(await store.head('a')).toBeNull()
      await putBytes(store, 'a', bytes)
      await expect(store.get('a', { signal })).rejects.toThrow('the worker is going')
      await expect(store.list('', { signal })[Symbol.asyncIterator]().next()).rejects.toThrow('the worker is going')
    })

    test('proves itself and tidies up', async () => {
      await store.probe()
      expect(await listAll(store, '')).toEqual([])
    })
  })
}
