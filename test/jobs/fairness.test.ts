import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { completeAnalysis, startAnalysis } from '../../db/analysis.ts'
import { runReconcile } from '../../jobs/reconcile.ts'
import { runAnalysis } from '../../jobs/run-analysis.ts'
import { asUser, runAsUser } from '../harness/database.ts'
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

/** Takes the next job as a worker does. Null if there is none. */
async function begin() {
  const [job] = await pipeline.context.boss.fetch<{ analysis_job_id: string }>('run-analysis')
  if (!job) return null
  const request = await startAnalysis(pipeline.db, job.data.analysis_job_id)
  return { ...job, userId: request!.userId }
}

/** Takes the next jobs and ends them; whose they were. */
async function work(count: number): Promise<string[]> {
  const users: string[] = []
  for (let i = 0; i < count; i++) {
    const job = await begin()
    if (!job) break
    await completeAnalysis(pipeline.db, job.data.analysis_job_id, [])
    await pipeline.context.boss.complete('run-analysis', job.id)
    users.push(job.userId)
  }
  return users
}

describe('users who ask for analyses', () => {
  it('take turns: ten thousand of one delay another’s by none but what runs', async () => {
    const [busy, late] = [await addUser(), await addUser()]
    await ask(busy, 10_000)
    expect(await work(3)).toEqual([busy, busy, busy])
    expect(await begin()).toMatchObject({ userId: busy })
    await ask(late, 3)
    expect(await work(7)).toEqual([late, busy, late, busy, late, busy, busy])
    // Nor does what a worker has just fetched, and not begun yet, bring another before it.
    await pipeline.context.boss.fetch('run-analysis')
    await ask(late, 1)
    expect(await work(2)).toEqual([late, busy])
    // And the busy one is not shut out by many who come later.
    await ask(late, 500)
    const next = await work(20)
    expect(next.filter((user) => user === busy).length).toBeGreaterThanOrEqual(9)
    expect(next.filter((user) => user === late).length).toBeGreaterThanOrEqual(9)
  }, 120_000)

  it('who ask for one at a time come every other time, not each time', async () => {
    const [busy, late] = [await addUser(), await addUser()]
    await ask(busy, 20)
    await work(1)
    for (let i = 0; i < 4; i++) {
      await ask(late, 1)
      expect(await work(2)).toEqual([late, busy])
      await ask(late, 1)
      expect(await work(1)).toEqual([late])
      await ask(late, 1)
      // He was served last.
      expect(await work(2)).toEqual([busy, late])
      expect(await work(1)).toEqual([busy])
    }
  })

  it('who come first are served first, before any was served', async () => {
    const users = [await addUser(), await addUser(), await addUser()]
    for (const user of users) await ask(user, 2)
    expect(await work(6)).toEqual([...users, ...users])
  })

  it('keep their turns if they take back half of what they asked for', async () => {
    const [busy, late] = [await addUser(), await addUser()]
    await ask(busy, 60)
    await work(1)
    await pipeline.db.query('delete from public.analysis_jobs where user_id = $1 and queue_rank between 1 and 40', [
      busy,
    ])
    await ask(late, 30)
    const next = await work(10)
    expect(next.filter((user) => user === busy).length).toBeGreaterThanOrEqual(4)
    expect(next.filter((user) => user === late).length).toBeGreaterThanOrEqual(4)
  })

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

  it('have no more waiting by asking on many connections at once', async () => {
    await pipeline.db.query('update app_private.user_limits set waiting_analyses = 10')
    const user = await addUser()
    const [first, second] = [await pipeline.connect(), await pipeline.connect()]
    const sql = `insert into public.analysis_jobs (user_id, time_range_start, time_range_end, test_names)
       select $1, ${RANGE} from generate_series(1, 10)`
    await asUser(first, user)
    await first.query(sql, [user])
    const late = runAsUser(second, user, () => second.query(sql, [user])).then(
      () => 'stored',
      ({ code }) => code as string,
    )
    const waits = `select from pg_locks where locktype = 'advisory' and not granted`
    await vi.waitUntil(async () => (await pipeline.db.query(waits)).rowCount === 1, { timeout: 10_000 })
    await first.query('commit')
    expect(await late).toBe('PT429')
    expect((await pipeline.db.query('select from public.analysis_jobs')).rowCount).toBe(10)
  })

  it('ask for so many a day at most, those they take back among them', async () => {
    await pipeline.db.query('update app_private.user_limits set analyses_a_day = 5')
    const [user, admin] = [await addUser(), await addUser()]
    await pipeline.db.query(`update public.profiles set role = 'admin' where id = $1`, [admin])
    const askAs = (who: string, count: number) =>
      runAsUser(pipeline.db, who, () => ask(who, count).then(() => pipeline.db.query('delete from analysis_jobs')))
    await askAs(user, 2)
    const refused = {
      code: 'PT429',
      message: 'that is more than 5 analyses today, which is the most',
      hint: 'Ask again tomorrow; the day begins at midnight of UTC.',
    }
    await expect(askAs(user, 4)).rejects.toMatchObject(refused)
    await askAs(user, 3)
    await expect(askAs(user, 1)).rejects.toMatchObject(refused)
    await askAs(admin, 9)
    await ask(user, 9)
    await pipeline.db.query('update app_private.analyses_asked set day = day - 1')
    await askAs(user, 5)
    await expect(askAs(user, 1)).rejects.toMatchObject(refused)
  })

  it('leave no job behind of what they take back before a worker has it', async () => {
    await ask(pipeline.userId, 20)
    const jobs = async () =>
      (await pipeline.db.query('select state, count(*)::int as jobs from pgboss.job group by 1 order by 1')).rows
    const running = await begin()
    await runAsUser(pipeline.db, pipeline.userId, () =>
      pipeline.db.query(
        'select cancel_analysis_job(id) from (select id from analysis_jobs order by queue_rank desc limit 9)',
      ),
    )
    expect(await jobs()).toEqual([
      { state: 'created', jobs: 10 },
      { state: 'active', jobs: 1 },
    ])
    // One that is to be tried again.
    const again = await begin()
    await pipeline.context.boss.fail('run-analysis', again!.id)
    await runAsUser(pipeline.db, pipeline.userId, () => pipeline.db.query('delete from analysis_jobs'))
    expect(await jobs()).toEqual([{ state: 'cancelled', jobs: 1 }])
    await pipeline.context.boss.supervise()
    expect(await pipeline.context.boss.findJobs('run-analysis', {})).toMatchObject([{ id: running!.id }])
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

  it.each([
    `test_names = '{runs}'`,
    `time_range_start = '2026-05-01'`,
    `time_range_end = '2026-07-01'`,
    `parameters = '{"serial": {"m": 3}}'`,
    `device_ids = (select array_agg(id) from devices)`,
  ])('answers what was asked: %s is refused, then and later', async (change) => {
    const at = await running()
    const update = (set: string) =>
      runAsUser(pipeline.db, pipeline.userId, () => pipeline.db.query(`update public.analysis_jobs set ${set}`))
    const refused = {
      code: '42501',
      message: 'this analysis was begun: what it asks for cannot be changed any more',
      hint: 'Insert a new row to ask again.',
    }
    await expect(update(change)).rejects.toMatchObject(refused)
    await finish(at)
    expect((await pipeline.db.query('select status from public.analysis_jobs')).rows).toEqual([{ status: 'completed' }])
    await expect(update(change)).rejects.toMatchObject(refused)
    // An app that writes whole rows back.
    const same =
      'device_ids = device_ids, time_range_start = time_range_start, test_names = test_names, status = status'
    expect((await update(`${same}, parameters = '{}'`)).rowCount).toBe(1)
  })

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
