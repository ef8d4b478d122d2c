import { randomUUID } from 'node:crypto'
import { readFile, utimes } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type ExportFile, startExport } from '../../db/exports.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { runSweep } from '../../jobs/sweep.ts'
import { decodeChunk } from '../../pipeline/chunk-format.ts'
import { sampleData, uuidAt } from '../../pipeline/samples.ts'
import { sha256Hex } from '../../storage/object-store.ts'
import { asUser, runAsUser } from '../harness/database.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'
import { listAll } from '../storage/contract.ts'

const START = Date.UTC(2026, 5, 1, 12)
const SIGNAL = new AbortController().signal

interface Row {
  readonly status: string
  readonly error_message: string | null
  readonly sample_count: string | null
  readonly files: ExportFile[]
  readonly hours: number | null
}

let pipeline: TestPipeline
let mine: TestDevice
let foreign: TestDevice
beforeEach(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 1024 })
  ;[mine, foreign] = await pipeline.addDevices(2)
  const other = randomUUID()
  await pipeline.db.query(`insert into auth.users (id, email) values ($1, 'other@example.org')`, [other])
  await pipeline.db.query('update devices set user_id = $2 where id = $1', [foreign.deviceId, other])
})
afterEach(() => pipeline.close())

/** As a user asks. */
async function ask(deviceId: string, [from, to]: [number, number] = [START, START + 3_600_000]): Promise<string> {
  const insert = () =>
    pipeline.db.query(
      `insert into sample_exports (user_id, device_id, time_range_start, time_range_end) values ($1, $2, $3, $4) returning id`,
      [pipeline.userId, deviceId, new Date(from), new Date(to)],
    )
  return (await runAsUser(pipeline.db, pipeline.userId, insert)).rows[0].id
}

/** What the user reads. */
async function answerTo(id: string): Promise<Row> {
  const select = () =>
    pipeline.db.query<Row>(
      `select status, error_message, sample_count, files,
         round(extract(epoch from links_expire_at - completed_at) / 3600)::int as hours from sample_exports where id = $1`,
      [id],
    )
  return (await runAsUser(pipeline.db, pipeline.userId, select)).rows[0]
}

/** The samples of all files, as text. */
async function readFiles(files: readonly ExportFile[]): Promise<string[]> {
  const rows: string[] = []
  for (const file of files) {
    const bytes = await readFile(new URL(file.url))
    expect({ bytes: bytes.length, sha256: sha256Hex(bytes) }).toEqual({ bytes: file.bytes, sha256: file.sha256 })
    const { samples } = decodeChunk(bytes)
    expect(samples.rows).toBe(file.samples)
    for (let row = 0; row < samples.rows; row++) {
      const data = Buffer.from(sampleData(samples, row)).toString('hex')
      rows.push(`${uuidAt(samples.deviceId, row)} ${samples.timestamp[row]} ${samples.sequence[row]} ${data}`)
    }
  }
  return rows
}

const asText = (samples: ReturnType<typeof makeSamples>) =>
  samples.map(({ deviceId, timestamp, sequence, data }) => {
    return `${deviceId} ${BigInt(Number(timestamp)) * 1000n} ${sequence} ${Buffer.from(data).toString('hex')}`
  })

describe('an export', () => {
  it('has every sample of the device in the range once, packed, pruned or waiting, and none of another device', async () => {
    const samples = makeSamples(mine, 50, { start: START, seed: 'mine' })
    await pipeline.insert([...samples.slice(0, 30), ...makeSamples(foreign, 50, { start: START, seed: 'foreign' })])
    await pipeline.pack()
    await pipeline.drain()
    await pipeline.db.query('truncate entropy_samples')
    await pipeline.insert(samples.slice(30))
    const id = await ask(mine.deviceId, [START + 5_000, START + 45_000])
    await pipeline.drain(['export-samples'])

    const answer = await answerTo(id)
    expect(answer).toMatchObject({ status: 'completed', error_message: null, sample_count: '40', hours: 24 })
    // 64 bytes each, at most 1024 a file.
    expect(answer.files.map((file) => file.samples)).toEqual([16, 16, 8])
    expect(await readFiles(answer.files)).toEqual(asText(samples.slice(5, 45)))
  })

  it('of somebody else’s device is refused at the door, and by the worker when the device has moved since', async () => {
    await pipeline.insert(makeSamples(foreign, 5, { start: START }))
    await expect(ask(foreign.deviceId)).rejects.toMatchObject({ code: '42501' })
    await pipeline.insert(makeSamples(mine, 5, { start: START }))
    const id = await ask(mine.deviceId)
    await pipeline.db.query(`update devices d set user_id = f.user_id from devices f where d.id = $1 and f.id = $2`, [
      mine.deviceId,
      foreign.deviceId,
    ])
    await pipeline.drain(['export-samples'])
    expect(await answerTo(id)).toMatchObject({
      status: 'failed',
      error_message: `${mine.deviceId} is not a device of yours.`,
      files: [],
    })
    expect(await listAll(pipeline.store, '')).toEqual([])
  })

  it('without samples, or without time, says so', async () => {
    const id = await ask(mine.deviceId)
    await pipeline.drain(['export-samples'])
    expect((await answerTo(id)).error_message).toBe(`Device ${mine.deviceId} has no samples in this time range.`)
    await expect(ask(mine.deviceId, [START, START])).rejects.toMatchObject({ code: '23514' })
  })

  it('cannot be answered, changed or deleted by its user', async () => {
    const id = await ask(mine.deviceId)
    for (const sql of [
      `update sample_exports set status = 'completed' where id = $1`,
      'delete from sample_exports where id = $1',
      `insert into sample_exports (id, device_id, time_range_start, time_range_end, files)
       select $1::uuid, device_id, now(), now() + interval '1 s', '[1]' from sample_exports`,
    ]) {
      const change = runAsUser(pipeline.db, pipeline.userId, () => pipeline.db.query(sql, [id]))
      await expect(change).rejects.toMatchObject({ code: '42501' })
    }
  })

  it('may be asked for so often, and then says when again', async () => {
    await pipeline.db.query('update app_private.user_limits set exports_a_day = 2')
    await ask(mine.deviceId)
    await ask(mine.deviceId)
    await expect(ask(mine.deviceId)).rejects.toMatchObject({ code: 'PT429', message: /2 exports in 24 hours/ })
    await pipeline.db.query(`update sample_exports set created_at = created_at - interval '25 hours'`)
    await ask(mine.deviceId)
  })

  it('is counted with those that come by other connections at once', async () => {
    await pipeline.db.query('update app_private.user_limits set exports_a_day = 3')
    const [first, second] = [await pipeline.connect(), await pipeline.connect()]
    const sql = `insert into sample_exports (user_id, device_id, time_range_start, time_range_end)
       select $1, $2, '2026-06-01', '2026-06-02' from generate_series(1, 3)`
    const values = [pipeline.userId, mine.deviceId]
    await asUser(first, pipeline.userId)
    await first.query(sql, values)
    const late = runAsUser(second, pipeline.userId, () => second.query(sql, values)).then(
      () => 'stored',
      ({ code }) => code as string,
    )
    const waits = `select from pg_locks where locktype = 'advisory' and not granted`
    await vi.waitUntil(async () => (await pipeline.db.query(waits)).rowCount === 1, { timeout: 10_000 })
    await first.query('commit')
    expect(await late).toBe('PT429')
    expect((await pipeline.db.query('select from sample_exports')).rowCount).toBe(3)
  })

  it('comes in turn: many of one user delay another’s by none but what runs', async () => {
    const askAsService = async (device: TestDevice, count: number) =>
      await pipeline.db.query(
        `insert into sample_exports (user_id, device_id, time_range_start, time_range_end)
         select user_id, id, '2026-06-01', '2026-06-02' from devices, generate_series(1, $2) where id = $1`,
        [device.deviceId, count],
      )
    /** Whose device the next one is that a worker begins. */
    const begin = async () => {
      const [job] = await pipeline.context.boss.fetch<{ export_id: string }>('export-samples')
      return (await startExport(pipeline.db, job.data.export_id))!.deviceId
    }
    await askAsService(mine, 20)
    expect([await begin(), await begin()]).toEqual([mine.deviceId, mine.deviceId])
    await askAsService(foreign, 2)
    expect([await begin(), await begin()]).toEqual([foreign.deviceId, mine.deviceId])
    await pipeline.db.query(`delete from pgboss.job where state = 'created'`)
    await runReconcile(pipeline.context)
    expect([await begin(), await begin(), await begin()]).toEqual([foreign.deviceId, mine.deviceId, mine.deviceId])
  })

  it('whose worker vanished before the end is made again, of the same bytes', async () => {
    await pipeline.insert(makeSamples(mine, 20, { start: START }))
    const id = await ask(mine.deviceId)
    const doomed = await pipeline.openWorker(async (step) => {
      if (step === 'export: before commit') await doomed.vanish()
    })
    const [job] = await doomed.context.boss.fetch<{ export_id: string }>('export-samples')
    const { runExportSamples } = await import('../../jobs/export-samples.ts')
    const active = { ...job, name: 'export-samples' as const, retryLimit: 5, signal: SIGNAL }
    await expect(runExportSamples(doomed.context, active)).rejects.toThrow('vanished')
    const left = await listAll(pipeline.store, 'exports/')
    expect(left).toHaveLength(2)
    expect(await answerTo(id)).toMatchObject({ status: 'running', files: [] })

    await pipeline.expireJobs()
    await pipeline.drain(['export-samples'])
    expect((await answerTo(id)).status).toBe('completed')
    expect(await listAll(pipeline.store, 'exports/')).toEqual(left)
  })

  it('without a job gets one, and fails when its job was given up', async () => {
    await pipeline.insert(makeSamples(mine, 5, { start: START }))
    const id = await ask(mine.deviceId)
    await pipeline.db.query(`delete from pgboss.job where name = 'export-samples'`)
    expect((await runReconcile(pipeline.context)).output).toMatchObject({ exports: 1, failedExports: 0 })
    await pipeline.db.query(
      `update pgboss.job set retry_limit = 0, retry_count = 0 where name = 'export-samples' and state = 'created'`,
    )
    const [job] = await pipeline.context.boss.fetch('export-samples')
    await pipeline.context.boss.fail('export-samples', job.id)
    expect((await runReconcile(pipeline.context)).output).toMatchObject({ failedExports: 1 })
    expect(await answerTo(id)).toMatchObject({ status: 'failed', error_message: /tried several times/ })
  })

  it('is swept when its links have ended, and the row when it is old', async () => {
    await pipeline.insert(makeSamples(mine, 5, { start: START }))
    const ids = [await ask(mine.deviceId), await ask(mine.deviceId)]
    await pipeline.drain(['export-samples'])
    const [{ key }] = await listAll(pipeline.store, `exports/${ids[0]}/`)
    const old = new Date(Date.now() - 49 * 3_600_000)
    await utimes(join(pipeline.store.root, key), old, old)
    await pipeline.db.query(`update sample_exports set completed_at = now() - interval '31 days' where id = $1`, [
      ids[0],
    ])

    const { output } = await runSweep(pipeline.context, { signal: SIGNAL })
    expect(output.exports).toBe(1)
    expect((await listAll(pipeline.store, 'exports/')).map((object) => object.key.split('/')[1])).toEqual([ids[1]])
    const { rows } = await pipeline.db.query('select id from sample_exports')
    expect(rows).toEqual([{ id: ids[1] }])
    const { rows: logged } = await pipeline.db.query(
      `select operation_type as operation, rows_affected::int as rows, details -> 'files' as files from maintenance_log`,
    )
    expect(logged).toEqual([{ operation: 'sweep_exports', rows: 1, files: 1 }])
  })
})
