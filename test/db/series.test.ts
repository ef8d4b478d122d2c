/** Inserts stamp their rows with the open chunk; nothing comes into a chunk that was sealed and whose lock was had. */
import { setTimeout as sleep } from 'node:timers/promises'
import { randomUUID } from 'node:crypto'
import type { Client } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { inTransaction } from '../../db/pool.ts'
import {
  findOpenChunk,
  listSealedChunks,
  listStampingSessions,
  lockSealedChunk,
  openNextChunk,
  type SeriesChunk,
} from '../../db/series.ts'
import { runSweep } from '../../jobs/sweep.ts'
import { runAsUser } from '../harness/database.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

let pipeline: TestPipeline
let device: TestDevice
let sequence = 0n
beforeEach(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 1024 ** 2 })
  ;[device] = await pipeline.addDevices(1)
})
afterEach(() => pipeline.close())

async function insert(client: Client, count = 1): Promise<void> {
  await pipeline.insert(makeSamples(device, count, { sequence }), client)
  sequence += BigInt(count)
}

async function begin(isolation = 'read committed'): Promise<Client> {
  const client = await pipeline.connect()
  await client.query(`begin isolation level ${isolation}`)
  return client
}

/** Rows by chunk, of what is committed. */
async function countStamps(): Promise<Record<string, number>> {
  const { rows } = await pipeline.db.query<{ id: string; rows: number }>(
    'select storj_chunk_id as id, count(*)::int as rows from entropy_samples group by 1',
  )
  return Object.fromEntries(rows.map(({ id, rows: count }) => [id, count]))
}

const open = () => findOpenChunk(pipeline.db)
const isSealed = (chunk: SeriesChunk) => inTransaction(pipeline.context.pool, (tx) => lockSealedChunk(tx, chunk))

describe('a sealed chunk', () => {
  it('is locked once the transactions that stamped it have ended, and no sooner', async () => {
    const first = await open()
    const [one, two] = [await begin(), await begin()]
    await insert(one)
    await insert(two)
    await openNextChunk(pipeline.db)
    expect(await isSealed(first)).toBe(false)
    expect(await listStampingSessions(pipeline.db, first)).toHaveLength(2)
    await one.query('commit')
    expect(await isSealed(first)).toBe(false)
    await two.query('rollback')
    expect(await isSealed(first)).toBe(true)
    expect(await countStamps()).toEqual({ [first.chunkId]: 1 })
  })

  it.each(['read committed', 'repeatable read', 'serializable'])(
    'gets nothing from a %s transaction that began before',
    async (isolation) => {
      const first = await open()
      const client = await begin(isolation)
      // Its snapshot is of before the seal.
      await client.query('select count(*) from entropy_samples')
      await openNextChunk(pipeline.db)
      const second = await open()
      expect(await isSealed(first)).toBe(true)
      await insert(client)
      await client.query('commit')
      expect(await countStamps()).toEqual({ [second.chunkId]: 1 })
    },
  )

  it('gets nothing more from a transaction that has stamped rows with it', async () => {
    const first = await open()
    const client = await begin()
    await insert(client, 2)
    await openNextChunk(pipeline.db)
    const second = await open()
    await insert(client, 3)
    expect(await isSealed(first)).toBe(false)
    await client.query('commit')
    expect(await countStamps()).toEqual({ [first.chunkId]: 2, [second.chunkId]: 3 })
  })

  it('is let go by a savepoint that is rolled back, whose transaction goes on with the open one', async () => {
    const first = await open()
    const client = await begin()
    await client.query('savepoint here')
    await insert(client)
    await client.query('rollback to savepoint here')
    await openNextChunk(pipeline.db)
    expect(await isSealed(first)).toBe(true)
    await insert(client)
    await client.query('commit')
    expect(await countStamps()).toEqual({ [(await open()).chunkId]: 1 })
  })

  it.each([
    ['', ''],
    [
      ', also while one hesitates between look and lock',
      'if random() < 0.02 then perform pg_sleep(0.05); end if; if pg_try_advisory',
    ],
  ])('never grows, whatever inserts and seals do at once%s', async (_, hesitation) => {
    if (hesitation !== '') {
      const [{ source }] = (
        await pipeline.db.query<{ source: string }>(
          `select pg_get_functiondef('app_private.open_chunk'::regproc) as source`,
        )
      ).rows
      if (source.split('if pg_try_advisory').length !== 2) throw new Error('the function is another one')
      await pipeline.db.query(
        source
          .replace('if pg_try_advisory', hesitation)
          .replace(`SET search_path TO ''`, `SET search_path TO 'pg_catalog'`),
      )
    }
    // Of this they would update the one row, and serializable ones would have to begin again.
    await pipeline.db.query(`update devices set last_seen_at = now() + interval '1 hour'`)
    const writers = await Promise.all(Array.from({ length: 12 }, () => pipeline.connect()))
    const levels = ['read committed', 'repeatable read', 'serializable']
    const stop = new AbortController()
    const committed = { rows: 0 }
    const write = async (client: Client, index: number) => {
      for (let turn = 0; !stop.signal.aborted; turn++) {
        await client.query(`begin isolation level ${levels[index % 3]}`)
        await client.query('select 1')
        await insert(client, 1 + (turn % 4))
        if (turn % 3 === 0) await client.query('savepoint here')
        await insert(client, 2)
        if (turn % 3 === 0) await client.query('rollback to savepoint here')
        const commits = turn % 5 !== 0
        await client.query(commits ? 'commit' : 'rollback')
        if (commits) committed.rows += 1 + (turn % 4) + (turn % 3 === 0 ? 0 : 2)
      }
    }
    const work = writers.map(write)
    const frozen: Record<string, number> = {}
    const freeze = async () => {
      for (const chunk of await listSealedChunks(pipeline.db)) {
        if (chunk.chunkId in frozen) continue
        await inTransaction(pipeline.context.pool, async (tx) => {
          if (!(await lockSealedChunk(tx, chunk))) return
          const { rows } = await tx.query<{ rows: number }>(
            'select count(*)::int as rows from entropy_samples where storj_chunk_id = $1',
            [chunk.chunkId],
          )
          frozen[chunk.chunkId] = rows[0].rows
        })
      }
    }
    for (let seal = 0; seal < 60; seal++) {
      await openNextChunk(pipeline.db)
      await freeze()
    }
    stop.abort()
    await Promise.all(work)
    await openNextChunk(pipeline.db)
    await freeze()
    const stamps = await countStamps()
    expect(Object.keys(frozen)).toHaveLength(61)
    expect(Object.fromEntries(Object.entries(frozen).filter(([, rows]) => rows > 0))).toEqual(stamps)
    expect(Object.values(stamps).reduce((sum, rows) => sum + rows, 0)).toBe(committed.rows)
    expect(committed.rows).toBeGreaterThan(200)
  })
})

describe('the open chunk', () => {
  it('is as many rows as it should be', async () => {
    await pipeline.db.query(`select setval('app_private.chunk_rows', 100)`)
    await insert(pipeline.db, 250)
    // The row that would be the hundredth is the first of the next.
    expect(Object.values(await countStamps()).toSorted((a, b) => a - b)).toEqual([51, 99, 100])
  })

  it('is followed by the next after so many rows, whoever inserts and however many at once', async () => {
    await pipeline.db.query(`select setval('app_private.chunk_rows', 100)`)
    const { number } = await open()
    const clients = await Promise.all(Array.from({ length: 4 }, () => pipeline.connect()))
    await Promise.all(clients.map((client) => insert(client, 250)))
    expect((await open()).number).toBe(number + 10)
    expect(Object.values(await countStamps()).reduce((sum, rows) => sum + rows, 0)).toBe(1000)
  })

  it('is fitted to the size of samples by what was packed', async () => {
    const rowsPerChunk = async () =>
      (await pipeline.db.query('select last_value::int as rows from app_private.chunk_rows')).rows[0].rows
    expect(await rowsPerChunk()).toBe(8192)
    await insert(pipeline.db, 10)
    await pipeline.pack()
    expect(await rowsPerChunk()).toBe(1024 ** 2 / 64)
  })

  it('is not waited for when another program holds its lock: the insert says so', async () => {
    const { number } = await open()
    await pipeline.db.query('select pg_advisory_lock(7268153, $1)', [number])
    await expect(insert(await pipeline.connect())).rejects.toThrow(/no open chunk: somebody holds advisory locks/)
    await pipeline.db.query('select pg_advisory_unlock_all()')
    await insert(pipeline.db)
  })

  it('is not for users to stamp, see or open', async () => {
    for (const sql of [
      'select app_private.open_chunk()',
      `select nextval('app_private.chunk_series')`,
      `select setval('app_private.chunk_series', 1)`,
      'select app_private.note_adopted(1)',
      'select app_private.release_strays()',
      'select * from app_private.packing',
    ]) {
      const attempt = runAsUser(pipeline.db, pipeline.userId, () => pipeline.db.query(sql))
      await expect(attempt, sql).rejects.toMatchObject({ code: '42501' })
    }
  })
})

describe('samples of a chunk that is gone', () => {
  it('because its row was deleted, are packed anew', async () => {
    await insert(pipeline.db, 5)
    await pipeline.pack()
    const [before] = Object.keys(await countStamps())
    await pipeline.db.query('delete from storj_chunks')
    expect(await countStamps()).toEqual({ null: 5 })
    expect(await pipeline.pack()).toBe(5)
    expect(Object.keys(await countStamps())).not.toEqual([before])
  })

  it('because it never was, are packed after a sweep; those that wait in the series stay as they are', async () => {
    await insert(pipeline.db, 5)
    await pipeline.db.query('update entropy_samples set storj_chunk_id = $1', [randomUUID()])
    await insert(pipeline.db, 3)
    const waiting = await open()
    await openNextChunk(pipeline.db)
    await insert(pipeline.db, 2)
    expect((await pipeline.db.query('select sum(samples)::int as n from chunk_backlog')).rows).toEqual([{ n: 5 }])

    const { output } = await runSweep(pipeline.context, { signal: new AbortController().signal })
    expect(output.strays).toBe(5)
    expect(await countStamps()).toEqual({ null: 5, [waiting.chunkId]: 3, [(await open()).chunkId]: 2 })
    await sleep(1)
    expect(await pipeline.pack()).toBe(10)
    expect(await countStamps()).not.toHaveProperty('null')
  })
})
