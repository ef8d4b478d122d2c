import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type LocalStore, openLocalStore } from '../../storage/local.ts'
import { hashBytes, sha256Hex } from '../../storage/object-store.ts'
import { describeObjectStore, HOSTILE_KEYS, listAll, putBytes } from './contract.ts'

function openContract(hardLinks: boolean) {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), 'local-store-'))
    const store = await openLocalStore(directory, 'bucket', { create: true, hardLinks })
    return { store, cleanup: async () => rmSync(directory, { recursive: true, force: true }) }
  }
}

describeObjectStore('a local folder', openContract(true))
describeObjectStore('a local folder without hard links', openContract(false))

/** Names of what is in `.tmp`. */
function temporaries(store: LocalStore): string[] {
  return readdirSync(join(store.root, '.tmp'))
}

describe('a local folder', () => {
  let directory = ''
  let store: LocalStore
  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'local-store-'))
    store = await openLocalStore(directory, 'bucket', { create: true })
  })
  afterEach(() => rmSync(directory, { recursive: true, force: true }))

  test('holds each object in the file of its name and nothing else', async () => {
    await putBytes(store, 'v1/a.arrow', Buffer.from('abc'))
    await putBytes(store, 'v1/a.arrow', Buffer.from('abc'))
    await expect(putBytes(store, 'v1/a.arrow', Buffer.from('abd'))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
    expect(new Set(readdirSync(directory, { recursive: true, encoding: 'utf8' }))).toEqual(
      new Set(['bucket', 'bucket/.tmp', 'bucket/v1', 'bucket/v1/a.arrow']),
    )
    expect(statSync(join(directory, 'bucket/v1/a.arrow')).nlink).toBe(1)
  })

  test('does not let a key out of its folder', async () => {
    for (const key of HOSTILE_KEYS) await expect(putBytes(store, key, Uint8Array.of(1))).rejects.toThrow(RangeError)
    expect(readdirSync(directory, { recursive: true })).toEqual(['bucket'])
    await expect(openLocalStore(directory, '../x', { create: true })).rejects.toThrow(RangeError)
    await expect(openLocalStore(directory, 'a/b', { create: true })).rejects.toThrow(RangeError)
  })

  test('cannot hold an object under the name of another', async () => {
    await putBytes(store, 'a', Uint8Array.of(1))
    await putBytes(store, 'b/c', Uint8Array.of(1))
    await expect(putBytes(store, 'a/b', Uint8Array.of(1))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
    await expect(putBytes(store, 'b', Uint8Array.of(1))).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
  })

  test('whose folder is missing says so at every call, and makes none', async () => {
    const missing = await openLocalStore(directory, 'unmounted', { create: false })
    const said = { code: 'STORE_NOT_FOUND', message: /unmounted does not exist: mount its disk/ }
    const calls = [
      () => putBytes(missing, 'a/b', Uint8Array.of(1)),
      () => missing.get('a/b'),
      () => missing.head('a/b'),
      () => missing.delete('a/b'),
      () => listAll(missing, 'a/'),
      () => missing.probe(),
      () => missing.removeTemporary(new Date()),
    ]
    for (const call of calls) {
      await expect(call()).rejects.toMatchObject({ code: said.code, message: expect.stringMatching(said.message) })
    }
    expect(readdirSync(directory)).toEqual(['bucket'])
  })

  test('keeps a large object, and reads a part of it without the rest', async () => {
    const bytes = randomBytes(64 << 20)
    await putBytes(store, 'large', bytes)
    expect(sha256Hex(await store.get('large'))).toBe(sha256Hex(bytes))
    const part = await store.get('large', { range: { start: 50_000_001, end: 60_000_003 } })
    expect(Buffer.compare(part, bytes.subarray(50_000_001, 60_000_003))).toBe(0)
    expect(part.buffer.byteLength).toBe(10_000_002)
  })

  test('aborted while it writes leaves nothing behind', async () => {
    const bytes = randomBytes(32 << 20)
    const controller = new AbortController()
    const put = store.put('a', hashBytes(bytes), { signal: controller.signal })
    // The temporary file shows that the writing has begun.
    while (temporariesOrNone(store).length === 0) await delay(1)
    controller.abort(new Error('preempted'))
    await expect(put).rejects.toThrow('preempted')
    expect(temporaries(store)).toEqual([])
    expect(await store.head('a')).toBeNull()
  })

  test('many writers of one key make one object', async () => {
    const bytes = randomBytes(300_000)
    const results = await Promise.all(Array.from({ length: 20 }, () => putBytes(store, 'v1/deep/er/key', bytes)))
    expect(results.filter((result) => result.created)).toHaveLength(1)
    expect(temporaries(store)).toEqual([])
  })

  test('passes over links, dot files and folders when listing', async () => {
    await putBytes(store, 'a/b', Uint8Array.of(1))
    writeFileSync(join(store.root, 'a', '.DS_Store'), '')
    execFileSync('ln', ['-s', '/etc', join(store.root, 'etc')])
    expect((await listAll(store, '')).map(({ key }) => key)).toEqual(['a/b'])
  })

  test('sweeps temporary files older than a date and no younger ones', async () => {
    await putBytes(store, 'a', Uint8Array.of(1))
    for (const name of ['old', 'young']) writeFileSync(join(store.root, '.tmp', name), 'partial')
    utimesSync(join(store.root, '.tmp', 'old'), new Date('2026-01-01'), new Date('2026-01-01'))
    expect(await store.removeTemporary(new Date('2026-02-01'))).toBe(1)
    expect(temporaries(store)).toEqual(['young'])
    expect(await store.head('a')).not.toBeNull()
  })

  test.each([true, false])(
    'killed at any moment shows whole objects only (hard links: %s)',
    async (hardLinks) => {
      const script = fileURLToPath(new URL('put-until-killed.ts', import.meta.url))
      // On a fast disk a kill rarely meets the file half written: go on until one has, or the test shows nothing.
      for (let round = 0; round < 15 || (round < 200 && temporaries(store).length === 0); round++) {
        const child = spawn(process.execPath, [script, directory, 'bucket', String(hardLinks)])
        await once(child.stdout, 'data')
        await delay(Math.random() * 40)
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      expect(temporaries(store).length).toBeGreaterThan(0)
      for (const { key, size } of await listAll(store, '')) {
        expect(size).toBe(2_000_000)
        expect(`v1/killed/${sha256Hex(await store.get(key))}`).toBe(key)
      }
      expect(await store.removeTemporary(new Date(Date.now() + 1000))).toBeGreaterThan(0)
      expect(temporaries(store)).toEqual([])
    },
    60_000,
  )
})

function temporariesOrNone(store: LocalStore): string[] {
  return readdirSync(store.root).includes('.tmp') ? temporaries(store) : []
}

describe('a disk without room', () => {
  let mount = ''
  let refused = ''
  beforeEach(() => {
    mount = mkdtempSync(join(tmpdir(), 'full-disk-'))
    try {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mount], { stdio: 'pipe' })
    } catch (error) {
      refused = `mounting a tmpfs of 1 MiB is not permitted here: ${String(error)}`
    }
  })
  afterEach(() => {
    if (refused === '') execFileSync('umount', [mount])
    rmSync(mount, { recursive: true })
  })

  test('is STORE_FULL, names the folder and the bytes needed, and is left as it was', async (context) => {
    context.skip(refused !== '', refused)
    const store = await openLocalStore(mount, 'bucket', { create: true })
    await putBytes(store, 'fits', randomBytes(500_000))
    const big = randomBytes(3_000_000)
    await expect(putBytes(store, 'v1/big', big)).rejects.toMatchObject({
      code: 'STORE_FULL',
      message: expect.stringMatching(new RegExp(`${store.root}.* 3000000 bytes`)),
    })
    expect(temporaries(store)).toEqual([])
    expect((await listAll(store, '')).map(({ key }) => key)).toEqual(['fits'])
    // The room is there again for what fits.
    expect(await putBytes(store, 'also', randomBytes(300_000))).toEqual({ created: true })
  })
})

describe('a folder without permission', () => {
  let directory = ''
  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'forbidden-'))))
  afterEach(() => rmSync(directory, { recursive: true }))

  test('is STORE_FORBIDDEN to write, and can still be read', async (context) => {
    // Root may write everywhere: be nobody for a while.
    const root = process.getuid?.() === 0
    context.skip(root && process.seteuid === undefined, 'root ignores permissions, and cannot be left in this thread')
    const store = await openLocalStore(directory, 'bucket', { create: true })
    await putBytes(store, 'a', Uint8Array.of(1))
    chmodSync(directory, 0o755)
    for (const folder of [join(store.root, '.tmp'), store.root]) chmodSync(folder, 0o555)
    if (root) process.seteuid?.(65534)
    try {
      const forbidden = { code: 'STORE_FORBIDDEN', message: expect.stringContaining(store.root) }
      await expect(putBytes(store, 'b', Uint8Array.of(1))).rejects.toMatchObject(forbidden)
      await expect(store.delete('a')).rejects.toMatchObject(forbidden)
      expect([...(await store.get('a'))]).toEqual([1])
    } finally {
      if (root) process.seteuid?.(0)
      for (const folder of [join(store.root, '.tmp'), store.root]) chmodSync(folder, 0o755)
    }
    expect((await listAll(store, '')).map(({ key }) => key)).toEqual(['a'])
  })
})
