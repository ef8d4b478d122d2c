import { rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { countUnprovedObjects, listMissingCopies } from '../../db/replicas.ts'
import { openStoreAt } from '../../infra/stores.ts'
import { sendCopies } from '../../jobs/copy-object.ts'
import { copyStore } from '../../jobs/copy-store.ts'
import { verifyStorage } from '../../jobs/verify-storage.ts'
import type { StorePlace } from '../../pipeline/store-place.ts'
import type { LocalStore } from '../../storage/local.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const HERE: StorePlace = { backend: 'local', bucket: 'entropy-chunks' }
const THERE: StorePlace = { backend: 'local', bucket: 'second-copies' }

let pipeline: TestPipeline
let there: LocalStore
async function open(options: Parameters<typeof openPipeline>[0] = {}): Promise<void> {
  pipeline = await openPipeline(options)
  there = (await openStoreAt(pipeline.config, THERE, { create: true })) as LocalStore
}
afterEach(() => pipeline.close())

async function store(count: number, sequence = 0n): Promise<void> {
  const [device] = await pipeline.addDevices(1)
  await pipeline.insert(makeSamples(device, count, { sequence }))
  await pipeline.pack()
}

async function replicas(): Promise<{ bucket: string; kind: string; verified: boolean; key: string }[]> {
  const { rows } = await pipeline.db.query(
    `select bucket, kind, verified_at is not null as verified, object_key as key from public.chunk_replicas order by 1, 2, 4`,
  )
  return rows
}

async function keysOf(target: LocalStore): Promise<string[]> {
  const keys: string[] = []
  for await (const { key } of target.list('')) keys.push(key)
  return keys.toSorted()
}

describe('a mirror', () => {
  beforeEach(() => open({ mirror: THERE }))

  it('gets every new object, chunk and sidecar, proved', async () => {
    await store(5)
    await pipeline.drain()
    expect((await replicas()).map(({ bucket, kind, verified }) => [bucket, kind, verified])).toEqual([
      ['entropy-chunks', 'chunk', true],
      ['entropy-chunks', 'slices', true],
      ['second-copies', 'chunk', true],
      ['second-copies', 'slices', true],
    ])
    expect(await keysOf(there)).toEqual(await keysOf(pipeline.store))
  })

  it('that fails blocks nothing, is not forgotten, and catches up', async () => {
    await rm(there.root, { recursive: true })
    await store(5)
    await pipeline.drain(['upload-chunk', 'test-chunk'])
    const { rows } = await pipeline.db.query(
      'select status, verified_at is not null as verified from public.storj_chunks',
    )
    expect(rows).toEqual([{ status: 'uploaded', verified: true }])
    await pipeline.drain(['copy-object'])
    const dead = await pipeline.db.query(`select source_name from pgboss.job where name = 'dead-letter'`)
    expect(dead.rows).toEqual([{ source_name: 'copy-object' }, { source_name: 'copy-object' }])
    expect(await countUnprovedObjects(pipeline.db, THERE)).toBe(2)

    await openStoreAt(pipeline.config, THERE, { create: true })
    await pipeline.context.boss.redrive('dead-letter')
    await pipeline.drain()
    expect(await countUnprovedObjects(pipeline.db, THERE)).toBe(0)
  })
})

describe('copying', () => {
  beforeEach(() => open())

  it('moves what is missing while a packer goes on and copiers die, until every object is proved in both', async () => {
    for (let n = 0; n < 6; n++) await store(5)
    await pipeline.drain()
    const send = async () => {
      const missing = await listMissingCopies(pipeline.db, HERE, THERE)
      await sendCopies(pipeline.context, pipeline.db, missing, THERE)
      return missing.length
    }
    expect(await send()).toBe(12)
    for (let deaths = 0; deaths < 4; deaths++) {
      const worker = await pipeline.openWorker(async (step) => {
        if (step !== 'copy: put') return
        await worker.vanish()
        throw new Error('vanished')
      })
      const [job] = await worker.context.boss.fetch('copy-object')
      const { runCopyObject } = await import('../../jobs/copy-object.ts')
      const signal = new AbortController().signal
      await expect(runCopyObject(worker.context, { ...job, name: 'copy-object', signal } as never)).rejects.toThrow(
        'vanished',
      )
      await store(5)
    }
    await pipeline.drain()
    await pipeline.expireJobs()
    await pipeline.drain()
    await send()
    await pipeline.drain()
    expect(await send()).toBe(0)
    expect(await countUnprovedObjects(pipeline.db, THERE)).toBe(0)
    expect(await keysOf(there)).toEqual(await keysOf(pipeline.store))
    expect((await verifyStorage(pipeline.context, {})).bad).toEqual([])
  })

  it('keeps to a rate on average, also where one object is more than a second of it', async () => {
    for (let n = 0; n < 3; n++) await store(5)
    await pipeline.drain()
    const sizes = (await listMissingCopies(pipeline.db, HERE, THERE)).map(({ size }) => size)
    const bytesPerSecond = 4 * Math.max(...sizes)
    const started = performance.now()
    const options = { from: HERE, to: THERE, concurrency: 2, bytesPerSecond }
    expect(await copyStore(pipeline.context, options)).toMatchObject({ objects: 6, copied: 6, left: 0 })
    // The last one may be sent when all before it have had their time.
    const before = sizes.slice(0, -1).reduce((sum, size) => sum + size, 0)
    expect((performance.now() - started) / 1000).toBeGreaterThan(before / bytesPerSecond)
  })

  it('that is stopped leaves what is queued to others, and goes on when called again', async () => {
    for (let n = 0; n < 3; n++) await store(5)
    await pipeline.drain()
    const stop = new AbortController()
    const options = { from: HERE, to: THERE, concurrency: 1 }
    const first = await copyStore(pipeline.context, { ...options, signal: stop.signal, onProgress: () => stop.abort() })
    expect(first.left).toBeGreaterThan(0)
    expect(first.copied).toBe(6 - first.left)
    expect(await copyStore(pipeline.context, options)).toMatchObject({ objects: first.left, left: 0 })
  })

  it('never overwrites: other bytes under the key stop the copy and stay', async () => {
    await store(5)
    await pipeline.drain()
    const [missing] = (await listMissingCopies(pipeline.db, HERE, THERE)).filter(({ kind }) => kind === 'chunk')
    const key = (await replicas()).find(({ kind }) => kind === 'chunk')?.key ?? ''
    const bytes = new Uint8Array([1, 2, 3])
    const { hashBytes } = await import('../../storage/object-store.ts')
    await there.put(key, hashBytes(bytes))
    await sendCopies(pipeline.context, pipeline.db, [missing], THERE)
    const { failed } = await pipeline.drain(['copy-object'])
    expect(failed['copy-object']).toBeGreaterThan(0)
    expect(await there.get(key)).toEqual(bytes)
    expect(await listMissingCopies(pipeline.db, HERE, THERE)).toContainEqual(missing)
  })
})

describe('verifying the stores', () => {
  beforeEach(() => open({ mirror: THERE }))

  it('heals a damaged object from a copy that is proved', async () => {
    await store(5)
    await pipeline.drain()
    const [chunk] = (await replicas()).filter(({ kind }) => kind === 'chunk')
    const whole = await pipeline.store.get(chunk.key)
    await truncate(join(pipeline.store.root, chunk.key), 10)
    expect((await verifyStorage(pipeline.context, {})).bad).toHaveLength(1)
    await pipeline.drain()
    expect(await pipeline.store.get(chunk.key)).toEqual(whole)
    expect((await verifyStorage(pipeline.context, {})).bad).toEqual([])
    expect((await replicas()).every(({ verified }) => verified)).toBe(true)
  })

  it('that a test job found damaged is healed as well', async () => {
    await store(5)
    await pipeline.drain(['upload-chunk', 'copy-object'])
    const [chunk] = (await replicas()).filter(({ kind }) => kind === 'chunk')
    const whole = await pipeline.store.get(chunk.key)
    await truncate(join(pipeline.store.root, chunk.key), 10)
    await pipeline.drain()
    expect(await pipeline.store.get(chunk.key)).toEqual(whole)
    expect((await replicas()).every(({ verified }) => verified)).toBe(true)
  })

  it('takes the proof of a damaged object, and that of its chunk only when no other copy is proved', async () => {
    await store(5)
    await pipeline.drain()
    const [chunk] = (await replicas()).filter(({ kind }) => kind === 'chunk')
    const proved = async () =>
      (await pipeline.db.query('select verified_at is not null as verified from public.storj_chunks')).rows[0].verified

    await truncate(join(pipeline.store.root, chunk.key), 10)
    const first = await verifyStorage(pipeline.context, {})
    expect(first.bad).toMatchObject([{ place: 'local:entropy-chunks', objectKey: chunk.key }])
    expect(first.checked).toBe(4)
    expect(await proved()).toBe(true)

    await writeFile(join(there.root, chunk.key), 'not a chunk')
    expect((await verifyStorage(pipeline.context, { place: THERE })).bad).toHaveLength(1)
    expect(await proved()).toBe(false)
  })
})
