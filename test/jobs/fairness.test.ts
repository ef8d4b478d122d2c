import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { runReconcile } from '../../jobs/reconcile.ts'
import { runAnalysis } from '../../jobs/run-analysis.ts'
import { runAsUser } from '../harness/database.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
})
afterEach(() => pipeline.close())

const RANGE = `'2026-06-01', '2026-06-02', '{frequency}'`

async function addUser(): Promise<string> {
  const id = randomUUID()
  await pipeline.db.query('insert into auth.users (id, email) values ($1, $2)', [id, `${id}@example.test`])
  return id
}

/** Asks as the service does, which has no quota. */
async function ask(user: string, count: number): Promise<void> {
  await pipeline.db.query(
    `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names)
     select $1, ${RANGE} from generate_series(1, $2)`,
    [user, count],
  )
}

/** Takes the next jobs as a worker does and ends them; whose they were. */
async function work(count: number): Promise<string[]> {
  const users: string[] = []
  for (let i = 0; i < count; i++) {
    const [job] = await pipeline.context.boss.fetch<{ analysis_job_id: string }>('run-analysis')
    if (!job) break
    const { rows } = await pipeline.db.query(
      `update public.analysis_jobs set status = 'completed' where id = $1 returning user_id`,
      [job.data.analysis_job_id],
    )
    await pipeline.context.boss.complete('run-analysis', job.id)
    users.push(rows[0].user_id)
  }
  return users
}

describe('users who ask for analyses', () => {
  it('take turns: ten thousand of one delay another’s by none but what runs', async () => {
    const [busy, late] = [await addUser(), await addUser()]
    await ask(busy, 10_000)
    expect(await work(3)).toEqual([busy, busy, busy])
    await ask(late, 3)
    expect((await work(8)).filter((user) => user === late)).toHaveLength(3)
    expect(await work(2)).toEqual([busy, busy])
    // And the busy one is not shut out by many who come later.
    await ask(late, 500)
    const next = await work(20)
    expect(next.filter((user) => user === busy).length).toBeGreaterThanOrEqual(9)
    expect(next.filter((user) => user === late).length).toBeGreaterThanOrEqual(9)
  }, 120_000)

  it('keep their turns when reconcile sends their jobs anew', async () => {
    const [busy, late] = [await addUser(), await addUser()]
    await ask(busy, 20)
    await ask(late, 2)
    await pipeline.db.query('delete from pgboss.job')
    await runReconcile(pipeline.context)
    expect((await work(4)).filter((user) => user === late)).toHaveLength(2)
  })

  it('have so many waiting at most, and are told', async () => {
    await pipeline.db.query('update app_private.user_limits set waiting_analyses = 5')
    const [user, admin] = [await addUser(), await addUser()]
    await pipeline.db.query(`update public.profiles set role = 'admin' where id = $1`, [admin])
    const askAs = (who: string) =>
      runAsUser(pipeline.db, who, () =>
        pipeline.db.query(
          `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names) values ($1, ${RANGE})`,
          [who],
        ),
      )
    for (let i = 0; i < 5; i++) await askAs(user)
    await expect(askAs(user)).rejects.toMatchObject({
      code: 'PT429',
      message: 'you have 5 analyses waiting, which is the most',
      hint: 'Ask again when some are done, or delete some.',
    })
    for (let i = 0; i < 7; i++) await askAs(admin)
    await work(2)
    await askAs(user)
  })

  it('name devices of their own, at once and not first to a worker', async () => {
    const [device] = await pipeline.addDevices(1)
    const stranger = await addUser()
    const askAs = (who: string, ids: (string | null)[]) =>
      runAsUser(pipeline.db, who, () =>
        pipeline.db.query(
          `insert into public.analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names)
           values ($1, $2, ${RANGE}) returning id`,
          [who, ids],
        ),
      )
    const refused = { code: '42501', message: expect.stringMatching(/^these are not devices of yours: /) }
    await expect(askAs(stranger, [device.deviceId])).rejects.toMatchObject(refused)
    await expect(askAs(pipeline.userId, [device.deviceId, randomUUID()])).rejects.toMatchObject(refused)
    await expect(askAs(pipeline.userId, [null])).rejects.toMatchObject(refused)
    await expect(askAs(pipeline.userId, [`${device.deviceId}' or true`])).rejects.toMatchObject(refused)
    const { rows } = await askAs(pipeline.userId, [device.deviceId.toUpperCase()])
    const change = (ids: string[]) =>
      runAsUser(pipeline.db, pipeline.userId, () =>
        pipeline.db.query('update public.analysis_jobs set device_ids = $2 where id = $1', [rows[0].id, ids]),
      )
    await expect(change([randomUUID()])).rejects.toMatchObject(refused)
    await change([])
    await pipeline.db.query(`update public.profiles set role = 'admin' where id = $1`, [stranger])
    await askAs(stranger, [device.deviceId])
  })
})

describe('an analysis that runs', () => {
  /** An analysis that a worker has in hand. */
  async function running() {
    const [device] = await pipeline.addDevices(1)
    await pipeline.insert(makeSamples(device, 5, { start: Date.UTC(2026, 5, 1) }))
    await ask(pipeline.userId, 1)
    const [job] = await pipeline.context.boss.fetch<{ analysis_job_id: string }>('run-analysis')
    await pipeline.db.query(`update public.analysis_jobs set status = 'running'`)
    const { rows } = await pipeline.db.query('select id from public.analysis_jobs')
    return { id: rows[0].id as string, job }
  }
  const finish = ({ job }: Awaited<ReturnType<typeof running>>) =>
    runAnalysis(pipeline.context, {
      ...job,
      name: 'run-analysis',
      signal: new AbortController().signal,
    } as unknown as Parameters<typeof runAnalysis>[1])
  const state = async () => (await pipeline.db.query('select state from pgboss.job')).rows
  const touched = async ({ job }: Awaited<ReturnType<typeof running>>) =>
    (await pipeline.context.boss.touch('run-analysis', { id: job.id, retryCount: 0 })) as unknown as {
      affected: number
    }

  it('is ended by its user: the worker loses the job, and nothing is answered', async () => {
    const at = await running()
    const cancel = (who: string) =>
      runAsUser(pipeline.db, who, () => pipeline.db.query('select cancel_analysis_job($1) as done', [at.id]))
    expect((await cancel(await addUser())).rows).toEqual([{ done: false }])
    expect(await touched(at)).toMatchObject({ affected: 1 })
    expect((await cancel(pipeline.userId)).rows).toEqual([{ done: true }])
    expect((await cancel(pipeline.userId)).rows).toEqual([{ done: false }])
    expect(await state()).toEqual([{ state: 'cancelled' }])
    expect(await touched(at)).toMatchObject({ affected: 0 })
    expect(await finish(at)).toMatchObject({ output: { skipped: expect.any(String) } })
    const { rows } = await pipeline.db.query('select status, error_message from public.analysis_jobs')
    expect(rows).toEqual([{ status: 'failed', error_message: 'Cancelled.' }])
    expect((await pipeline.db.query('select from public.analysis_results')).rowCount).toBe(0)
  })

  it('goes with its row', async () => {
    const at = await running()
    await runAsUser(pipeline.db, pipeline.userId, () => pipeline.db.query('delete from public.analysis_jobs'))
    expect(await state()).toEqual([{ state: 'cancelled' }])
    expect(await finish(at)).toMatchObject({ output: { skipped: expect.any(String) } })
    expect((await pipeline.db.query('select from public.analysis_results')).rowCount).toBe(0)
  })

  it('writes nothing if it is cancelled while it computes', async () => {
    const at = await running()
    // As if it had read the row a moment before.
    await pipeline.db.query('select cancel_analysis_job($1)', [at.id])
    await pipeline.db.query(`update public.analysis_jobs set status = 'running'`)
    await expect(finish(at)).rejects.toMatchObject({ code: 'CHUNK_STALE_ATTEMPT' })
    expect((await pipeline.db.query('select from public.analysis_results')).rowCount).toBe(0)
  })
})

describe('Realtime', () => {
  it('tells of what the web app waits for', async () => {
    const { rows } = await pipeline.db.query(
      `select tablename from pg_publication_tables where pubname = 'supabase_realtime' order by 1`,
    )
    expect(rows.map(({ tablename }) => tablename)).toEqual([
      'analysis_jobs',
      'analysis_results',
      'device_timeslice_stats',
      'network_stats',
      'sample_exports',
    ])
  })
})
