import { randomUUID } from 'node:crypto'
import { Client, type QueryResult } from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'

const ROLES = ['anon', 'device', 'user', 'admin', 'service_role', 'postgres'] as const
type Role = (typeof ROLES)[number]

let database: TestDatabase
let client: Client
let people: { user: string; admin: string }
let devices: string[]
beforeEach(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.url })
  await client.connect()
  people = { user: randomUUID(), admin: randomUUID() }
  for (const id of Object.values(people)) {
    await client.query('insert into auth.users (id, email) values ($1::uuid, $1::uuid::text)', [id])
  }
  await client.query(`update profiles set role = 'admin' where id = $1`, [people.admin])
  const { rows } = await client.query<{ id: string }>(
    `insert into devices (user_id, name, device_token) select $1, n, gen_random_uuid() from unnest(array['a', 'b', 'c']) n returning id`,
    [people.user],
  )
  devices = rows.map(({ id }) => id).toSorted()
})
afterEach(async () => {
  await client.end()
  await database.drop()
})

/** Runs a statement as this role would send it: postgres directly, the others as a request. */
async function ask(role: Role, sql: string, values: unknown[] = []): Promise<QueryResult> {
  if (role === 'postgres') return await client.query(sql, values)
  const user = { anon: null, device: null, service_role: null, user: people.user, admin: people.admin }[role]
  const name = role === 'user' || role === 'admin' ? 'authenticated' : role
  return await runAsUser<QueryResult>(client, user, () => client.query(sql, values), name)
}

/** Minutes from now, whole seconds, as SQL. */
const at = (minutes: number) => `date_trunc('second', now() + interval '${minutes} minutes')`

const insertSql = (from = 10, to = 20, more: Record<string, string> = {}) => {
  const columns = { name: `'${randomUUID()}'`, hypothesis: `'pair'`, event_start: at(from), event_end: at(to), ...more }
  return `insert into coherence_events (${Object.keys(columns).join(', ')}) values (${Object.values(columns).join(', ')})`
}

async function declare(from = 10, to = 20, more: Record<string, string> = {}, role: Role = 'postgres') {
  // Without RETURNING, as every role may do it.
  const name = `event ${randomUUID()}`
  await ask(role, insertSql(from, to, { ...more, name: `'${name}'` }))
  return (await client.query('select * from coherence_events where name = $1', [name])).rows[0]
}

/** A row that was declared in time, with everything in the past: what the guards refuse to make. */
async function declarePast(): Promise<Record<string, unknown>> {
  await client.query('alter table coherence_events disable trigger declare_events')
  const { rows } = await client.query(
    `${insertSql(-100, -90, { tail: `'upper'`, control_seed: `'7'`, declared_at: at(-110), declared_before_start: 'true' })} returning *`,
  )
  await client.query('alter table coherence_events enable trigger declare_events')
  return rows[0]
}

const COMPUTE = `update coherence_events set status = 'computed', computed_at = now(), method_version = '1', result = '{"p": 0.5}'`

const messageOf = (asked: Promise<unknown>) =>
  asked.then(
    () => 'done',
    (error: Error) => error.message,
  )

const DENIED = /permission denied/
const FIXED = /declared once and computed once/

describe('who may do what', () => {
  const matrix: Record<string, Record<Role, RegExp>> = {
    select: { anon: DENIED, device: DENIED, user: /done/, admin: /done/, service_role: /done/, postgres: /done/ },
    insert: {
      anon: DENIED,
      device: DENIED,
      user: /row-level security/,
      admin: /done/,
      service_role: /done/,
      postgres: /done/,
    },
    update: { anon: DENIED, device: DENIED, user: DENIED, admin: DENIED, service_role: DENIED, postgres: FIXED },
    compute: {
      anon: DENIED,
      device: DENIED,
      user: DENIED,
      admin: DENIED,
      service_role: DENIED,
      postgres: /is not over/,
    },
    delete: { anon: DENIED, device: DENIED, user: DENIED, admin: DENIED, service_role: DENIED, postgres: FIXED },
    truncate: { anon: DENIED, device: DENIED, user: DENIED, admin: DENIED, service_role: DENIED, postgres: FIXED },
    withdraw: { anon: DENIED, device: DENIED, user: /done/, admin: /done/, service_role: /done/, postgres: /done/ },
  }
  const statements: Record<string, string> = {
    select: 'select * from coherence_events',
    insert: insertSql(),
    update: `update coherence_events set description = 'other'`,
    compute: COMPUTE,
    delete: 'delete from coherence_events',
    truncate: 'truncate coherence_events cascade',
    withdraw: 'update coherence_events set withdrawn_at = now()',
  }
  const cases = Object.entries(matrix).flatMap(([what, of]) => ROLES.map((role) => [what, role, of[role]] as const))

  it.each(cases)('%s as %s', async (what, role, expected) => {
    const before = await declare()
    const message = await messageOf(ask(role, what === 'insert' ? insertSql() : statements[what]))
    expect(message).toMatch(expected)
    const { rows } = await client.query('select * from coherence_events where id = $1', [before.id])
    // Row level security lets a user's withdrawal find no row.
    const withdrawn = what === 'withdraw' && ['admin', 'service_role', 'postgres'].includes(role)
    expect(rows).toEqual([{ ...before, withdrawn_at: rows[0].withdrawn_at }])
    expect(rows[0].withdrawn_at instanceof Date).toBe(withdrawn)
  })

  it('everybody who is signed in sees every event', async () => {
    await declare()
    for (const role of ['user', 'admin', 'service_role'] as const) {
      expect((await ask(role, 'select from coherence_events')).rowCount).toBe(1)
    }
  })
})

describe('a declaration', () => {
  it('has the defaults that suit its hypothesis, and says who made it and when', async () => {
    const { rows: before } = await client.query('select clock_timestamp() as now')
    const event = await declare(10, 20, {}, 'admin')
    expect(event).toMatchObject({
      tail: 'upper',
      profile: 'all_bits',
      device_ids: null,
      control_seed: event.id,
      declared_by: people.admin,
      declared_before_start: true,
      withdrawn_at: null,
      status: 'declared',
      computed_at: null,
      method_version: null,
      result: null,
    })
    expect(event.declared_at.getTime()).toBeGreaterThanOrEqual(before[0].now.getTime())
    const tails = []
    for (const hypothesis of ['pair', 'netvar', 'devvar', 'covar']) {
      tails.push((await declare(10, 20, { hypothesis: `'${hypothesis}'` })).tail)
    }
    expect(tails).toEqual(['upper', 'upper', 'two_sided', 'two_sided'])
  })

  it('within its window is taken, and marked as such', async () => {
    expect(await declare(-10, 20)).toMatchObject({ declared_before_start: false })
  })

  it.each(['admin', 'service_role', 'postgres'] as const)(
    'after its window is refused, whatever it says of itself: %s',
    async (role) => {
      await expect(ask(role, insertSql(-20, -10))).rejects.toThrow('an event is declared before its window ends')
    },
  )

  it('cannot be kept waiting in a transaction until its window is over', async () => {
    await client.query('begin')
    await client.query('select now()')
    const soon = `date_trunc('second', clock_timestamp() + interval '1 second')`
    await client.query(`select pg_sleep_until(${soon} + interval '10 milliseconds')`)
    const over = client.query(insertSql(-1, 0, { event_end: `date_trunc('second', clock_timestamp())` }))
    await expect(over).rejects.toThrow('before its window ends')
    await client.query('rollback')
  })

  it('brings no result and no past of its own', async () => {
    const forged = {
      declared_at: `timestamptz '2000-01-01'`,
      declared_before_start: 'true',
      status: `'computed'`,
      computed_at: 'now()',
      method_version: `'1'`,
      result: `'{"p": 0}'`,
      withdrawn_at: 'now()',
    }
    const event = await declare(-10, 20, forged)
    expect(event).toMatchObject({ status: 'declared', result: null, computed_at: null, withdrawn_at: null })
    expect(event.declared_before_start).toBe(false)
    for (const column of [...Object.keys(forged), 'declared_by', 'id']) {
      const value = { ...forged, declared_by: 'gen_random_uuid()', id: 'gen_random_uuid()' }[column] as string
      await expect(ask('admin', insertSql(10, 20, { [column]: value })), column).rejects.toThrow('permission denied')
    }
  })

  it.each([
    ['no name', { name: `' '` }],
    ['an unknown hypothesis', { hypothesis: `'all'` }],
    ['an unknown tail', { tail: `'lower'` }],
    ['an unknown profile', { profile: `'some'` }],
    ['parts of a second', { event_start: `${at(10)} + interval '0.5 seconds'` }],
    ['an end before its start', { event_start: at(30) }],
    ['more than 31 days', { event_end: `${at(10)} + interval '31 days 1 second'` }],
    ['no end', { event_end: `'infinity'` }],
    ['no devices', { device_ids: `'{}'` }],
    ['a device that is none', { device_ids: `array[gen_random_uuid()]`, hypothesis: `'netvar'` }],
    ['null among devices', { device_ids: `array[null::uuid]`, hypothesis: `'netvar'` }],
  ])('is refused with %s', async (_what, columns) => {
    await expect(ask('postgres', insertSql(10, 20, columns))).rejects.toMatchObject({ code: '23514' })
  })

  it('of a pair product needs two devices, named once each, in any order', async () => {
    const list = (ids: string[]) => `array[${ids.map((id) => `'${id}'`).join(', ')}]::uuid[]`
    const twice = { device_ids: list([devices[0], devices[0]]) }
    await expect(ask('postgres', insertSql(10, 20, twice))).rejects.toMatchObject({ code: '23514' })
    expect((await declare(10, 20, { ...twice, hypothesis: `'netvar'` })).device_ids).toEqual([devices[0]])
    // An admin need not own them.
    const three = { device_ids: list([devices[2], devices[0], devices[1], devices[0]]) }
    expect((await declare(10, 20, three, 'admin')).device_ids).toEqual(devices)
  })

  it('has a name of its own, also beside one that is withdrawn', async () => {
    const { name } = await declare()
    await client.query('update coherence_events set withdrawn_at = now()')
    await expect(ask('postgres', insertSql(10, 20, { name: `'${name}'` }))).rejects.toMatchObject({ code: '23505' })
  })

  it('can be withdrawn before its window begins, once, by the clock of the database', async () => {
    const event = await declare()
    await client.query(`update coherence_events set withdrawn_at = '2000-01-01'`)
    const { rows } = await client.query('select withdrawn_at > declared_at as later from coherence_events')
    expect(rows).toEqual([{ later: true }])
    for (const value of ['null', 'now()']) {
      await expect(client.query(`update coherence_events set withdrawn_at = ${value}`)).rejects.toThrow('declared once')
    }
    await expect(client.query(`${COMPUTE} where id = $1`, [event.id])).rejects.toThrow('declared once')
  })

  it('cannot be withdrawn once its window has begun', async () => {
    await declare(-1, 20)
    for (const role of ['admin', 'service_role', 'postgres'] as const) {
      const asked = ask(role, 'update coherence_events set withdrawn_at = now()')
      await expect(asked, role).rejects.toThrow('has begun: it can no longer be withdrawn')
    }
  })
})

describe('what is written', () => {
  const CHANGES: Record<string, string> = {
    id: 'gen_random_uuid()',
    name: `'other'`,
    hypothesis: `'netvar'`,
    tail: `'two_sided'`,
    profile: `'gcp200'`,
    event_start: `event_start - interval '1 second'`,
    event_end: `event_end - interval '1 second'`,
    device_ids: `array[gen_random_uuid(), gen_random_uuid()]`,
    description: `'other'`,
    control_seed: `'other'`,
    declared_at: `declared_at - interval '1 day'`,
    declared_by: 'gen_random_uuid()',
    declared_before_start: 'false',
    withdrawn_at: `event_start - interval '1 day'`,
    status: `'declared'`,
    computed_at: `computed_at + interval '1 day'`,
    method_version: `'2'`,
    result: `'{"p": 0.001}'`,
  }
  const columnsOf = async () =>
    (
      await client.query(
        `select attname::text as name from pg_attribute where attrelid = 'coherence_events'::regclass
         and attnum > 0 and not attisdropped`,
      )
    ).rows.map(({ name }) => name as string)

  it('is a result, once, after the window: every column of it together', async () => {
    const event = await declarePast()
    for (const part of [`result = '{}'`, `status = 'computed'`, `method_version = '1'`, 'computed_at = now()']) {
      await expect(client.query(`update coherence_events set ${part}`), part).rejects.toThrow(
        /declared once|results_are_whole/,
      )
    }
    await client.query(COMPUTE)
    const { rows } = await client.query('select * from coherence_events')
    expect(rows).toEqual([
      { ...event, status: 'computed', computed_at: expect.any(Date), method_version: '1', result: { p: 0.5 } },
    ])
    await expect(client.query(COMPUTE)).rejects.toThrow('declared once and computed once')
  })

  it('of a computed event is never changed: no column, by nobody', async () => {
    await declarePast()
    await client.query(COMPUTE)
    const before = (await client.query('select * from coherence_events')).rows
    expect((await columnsOf()).toSorted()).toEqual(Object.keys(CHANGES).toSorted())
    for (const [column, value] of Object.entries(CHANGES)) {
      for (const role of ROLES) {
        const message = await messageOf(ask(role, `update coherence_events set ${column} = ${value}`))
        const allowed = column === 'withdrawn_at' && role !== 'anon' && role !== 'device'
        // Of the column that users may set, row level security shows them no row.
        const expected = allowed && role === 'user' ? 'done' : allowed || role === 'postgres' ? FIXED : DENIED
        expect(message, `${column} as ${role}`).toMatch(expected)
      }
    }
    await expect(
      client.query(`update coherence_events set status = 'declared', result = null, computed_at = null,
      method_version = null`),
    ).rejects.toThrow('declared once')
    expect((await client.query('select * from coherence_events')).rows).toEqual(before)
  })

  it('cannot slip a change of the declaration in with its result', async () => {
    await declarePast()
    const before = (await client.query('select * from coherence_events')).rows
    const set = new Set(['status', 'computed_at', 'method_version', 'result'])
    for (const [column, value] of Object.entries(CHANGES)) {
      if (set.has(column)) continue
      await expect(client.query(`${COMPUTE}, ${column} = ${value}`), column).rejects.toThrow(/declared once|has begun/)
    }
    expect((await client.query('select * from coherence_events')).rows).toEqual(before)
  })

  it('is not deleted: not by its owner, not with a user, not by TRUNCATE', async () => {
    await declarePast()
    await declare(10, 20, {}, 'admin')
    for (const sql of [
      'delete from coherence_events',
      'truncate coherence_events',
      'truncate devices, coherence_events cascade',
    ]) {
      await expect(client.query(sql), sql).rejects.toThrow('declared once')
    }
    await client.query('delete from auth.users where id = $1', [people.admin])
    await client.query('delete from devices')
    const { rows } = await client.query('select declared_by from coherence_events order by event_start')
    expect(rows).toEqual([{ declared_by: null }, { declared_by: people.admin }])
  })
})
