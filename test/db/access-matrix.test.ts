import { randomUUID } from 'node:crypto'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { addPerson, insertRow, rowsOf, type Person } from '../harness/people.ts'
import { newRows, probeFunction, probeRelation, readColumn, SHARED, type Caller, type Scope } from './access-probes.ts'
import { listWritableColumns, probeInsert, probeUpdate } from './column-probes.ts'

/**
 * Who may do what with everything in schema public, which is what the internet reaches. S select, I insert, U update, D delete,
 * X execute; what is not named is refused. `own`: the rows that name the user or a device of the user's, and none of others;
 * `all`: every row, or a row for anybody; `none`: no error, and no row. A chunk or a pair of two users' devices is both users'
 * own. `device` asks with the token of one device.
 */
const MATRIX = `
relation                | anon | user             | admin            | device | service
analysis_jobs           | -    | SIUD own         | SIUD own         | -      | SIUD all
analysis_results        | -    | S own            | S own            | -      | SIUD all
chunk_analysis          | -    | S none           | S none           | -      | SIUD all
chunk_backlog           | -    | S own            | S own            | -      | S all
chunk_replicas          | -    | -                | -                | -      | SIUD all
chunk_slices            | -    | S own            | S own            | -      | SIUD all
coherence_events        | -    | S all, U none    | SIU all          | -      | SIU all
coherence_stats         | -    | S own            | S own            | -      | SIUD all
device_activity         | -    | S own            | S own            | -      | S all
device_health           | -    | S own            | S own            | -      | S all
device_timeslice_stats  | -    | S own            | S own            | -      | SIUD all
device_trials           | -    | S own            | S own            | -      | SIUD all
devices                 | -    | SIUD own         | SIUD own         | -      | SIUD all
entropy_samples         | -    | S own            | S own            | -      | SIUD all
maintenance_log         | -    | S none           | S all            | -      | SIUD all
network_stats           | -    | S all            | S all            | -      | SIUD all
pipeline_health         | -    | S own            | S own            | -      | S all
profiles                | -    | SU own           | SU own           | -      | SIUD all
sample_exports          | -    | SI own           | SI own           | -      | SIUD all
sampling_profiles       | -    | SIUD own         | SIUD own         | -      | SIUD all
storj_chunks            | -    | S own            | S own            | -      | SIUD all
watched_pairs           | -    | SID own          | SID own          | -      | SIUD all
authenticate_device     | -    | -                | -                | -      | X all
cancel_analysis_job     | -    | X own            | X all            | -      | X all
insert_entropy_sample   | -    | -                | -                | X own  | X all
insert_entropy_samples  | -    | -                | -                | X own  | X all
network_deviation       | -    | X all            | X all            | -      | X all
revoke_device_token     | -    | X own            | X own            | -      | X all
rotate_device_token     | -    | X own            | X own            | -      | X all
`

/**
 * What becomes of a value that a user (of coherence_events: an admin) writes into each column that the grants let them write; of an id,
 * another's. `set`: it is stored; `ours`: something else is, without an error; `refused`: an error; `-`: not granted.
 */
const COLUMNS = `
column                              | insert  | update
analysis_jobs.completed_at          | ours    | refused
analysis_jobs.created_at            | ours    | refused
analysis_jobs.device_ids            | refused | refused
analysis_jobs.error_message         | ours    | refused
analysis_jobs.id                    | set     | refused
analysis_jobs.parameters            | set     | set
analysis_jobs.queue_rank            | ours    | refused
analysis_jobs.started_at            | ours    | refused
analysis_jobs.status                | ours    | refused
analysis_jobs.test_names            | set     | set
analysis_jobs.time_range_end        | set     | set
analysis_jobs.time_range_start      | set     | set
analysis_jobs.user_id               | refused | refused
coherence_events.control_seed       | set     | -
coherence_events.description        | set     | -
coherence_events.device_ids         | set     | -
coherence_events.event_end          | set     | -
coherence_events.event_start        | set     | -
coherence_events.hypothesis         | set     | -
coherence_events.name               | set     | -
coherence_events.profile            | set     | -
coherence_events.tail               | set     | -
coherence_events.withdrawn_at       | -       | ours
devices.client_type                 | set     | set
devices.created_at                  | ours    | ours
devices.description                 | set     | set
devices.device_token                | set     | set
devices.id                          | set     | refused
devices.last_seen_at                | ours    | ours
devices.name                        | set     | set
devices.status                      | set     | set
devices.user_id                     | refused | refused
profiles.email                      | -       | set
sample_exports.device_id            | refused | -
sample_exports.time_range_end       | set     | -
sample_exports.time_range_start     | set     | -
sample_exports.user_id              | refused | -
sampling_profiles.created_at        | set     | set
sampling_profiles.device_id         | refused | refused
sampling_profiles.id                | set     | refused
sampling_profiles.is_active         | set     | set
sampling_profiles.label             | set     | set
sampling_profiles.metadata          | set     | set
sampling_profiles.sample_rate_hz    | set     | set
sampling_profiles.sample_size_bytes | set     | set
sampling_profiles.updated_at        | set     | ours
watched_pairs.device_a_id           | refused | -
watched_pairs.device_b_id           | refused | -
`

const [header, ...LINES] = MATRIX.trim()
  .split('\n')
  .map((line) => line.split('|').map((cell) => cell.trim()))

/** What the matrix says of one column, by relation or function. */
const expected = (column: string) => Object.fromEntries(LINES.map((line) => [line[0], line[header.indexOf(column)]]))

let database: TestDatabase
let client: Client
let relations: string[]
let functions: string[]
let callers: Record<string, Caller>
beforeAll(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.url })
  await client.connect()
  const schema = `= 'public'::regnamespace`
  relations = await readColumn(
    client,
    `select relname::text from pg_class
    where relnamespace ${schema} and relkind in ('r', 'p', 'v', 'm', 'f') order by 1`,
  )
  functions = await readColumn(
    client,
    `select proname::text from pg_proc
    where pronamespace ${schema} and prorettype <> 'trigger'::regtype order by 1`,
  )
  callers = await addCallers()
})
afterAll(async () => {
  await client.end()
  await database.drop()
})

async function addCallers(): Promise<Record<string, Caller>> {
  const [alice, bob, admin, gone] = [
    await addPerson(client),
    await addPerson(client),
    await addPerson(client),
    await addPerson(client),
  ]
  for (const person of [alice, bob, admin, gone]) {
    const { devices } = rowsOf(person)
    await insertRow(client, 'devices', { ...devices, id: person.partner, device_token: randomUUID() })
    await insertRow(client, 'watched_pairs', newRows(person).watched_pairs)
  }
  for (const table of SHARED) await insertRow(client, table, newRows(alice)[table])
  const { storj_chunks: chunk, coherence_stats: pair } = rowsOf(alice)
  await insertRow(client, 'storj_chunks', { ...chunk, id: randomUUID(), device_ids: [alice.device, bob.device] })
  await insertRow(client, 'coherence_stats', { ...pair, device_b_id: bob.device })
  // What is left of somebody who is gone is nobody's.
  await client.query('delete from devices where user_id = $1', [gone.user])
  await client.query(`update profiles set role = 'admin' where id = $1`, [admin.user])
  const [tokenId] = await readColumn(client, 'select token_id from authenticate_device($1)', [alice.token])

  const user = (self: Person, other: Person): Caller => ({
    role: 'authenticated',
    claims: { role: 'authenticated', aud: 'authenticated', sub: self.user },
    self,
    other,
  })
  const deviceClaims = { role: 'device', aud: 'device', device_id: alice.device, token_id: tokenId }
  return {
    anon: { role: 'anon', claims: { role: 'anon' }, self: alice, other: bob },
    'user A': user(alice, bob),
    'user B': user(bob, alice),
    admin: user(admin, alice),
    'device A': { role: 'device', claims: deviceClaims, self: alice, other: bob },
    service: { role: 'service_role', claims: { role: 'service_role' }, self: alice, other: bob },
  }
}

/** As the matrix writes it: the letters of each scope, in the order in which they come. */
function toCell(scopes: Readonly<Record<string, Scope>>): string {
  const allowed = Object.entries(scopes).filter(([, scope]) => scope !== 'refused')
  const groups = Map.groupBy(allowed, ([, scope]) => scope)
  const cells = [...groups].map(([scope, verbs]) => `${verbs.map(([letter]) => letter).join('')} ${scope}`)
  return cells.join(', ') || '-'
}

async function probe(caller: Caller): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const relation of relations) {
    found[relation] = toCell(await probeRelation(client, caller, relation))
  }
  for (const name of functions) found[name] = toCell(await probeFunction(client, caller, name))
  return found
}

describe('the access matrix', () => {
  it('has a line for everything in schema public', () => {
    const there = [...relations, ...functions]
    const undecided = there.filter((name) => !LINES.some(([line]) => line === name))
    expect(undecided, 'Decide who may do what with these, and give each a line in MATRIX.').toEqual([])
    expect(LINES.map(([name]) => name).filter((name) => !there.includes(name))).toEqual([])
    expect(new Set(there).size, 'A function of two forms is ambiguous to PostgREST.').toBe(there.length)
  })

  it.each([
    ['anon', 'anon'],
    ['user A', 'user'],
    ['user B', 'user'],
    ['admin', 'admin'],
    ['device A', 'device'],
    ['service', 'service'],
  ])('is what happens to %s', async (name, heading) => {
    expect(await probe(callers[name])).toEqual(expected(heading))
  })

  it('has no trigger function that others than the owner may execute', async () => {
    const callable = await readColumn(
      client,
      `select p.oid::regprocedure || ' by ' || role from pg_proc p, unnest(array['anon', 'authenticated', 'device']) role
       where pronamespace = 'public'::regnamespace and has_function_privilege(role, p.oid, 'execute')
         and prorettype = 'trigger'::regtype`,
    )
    expect(callable).toEqual([])
  })
})

describe('what users may write', () => {
  it('is decided for each column that the grants let them write', async () => {
    const columns = await listWritableColumns(client)
    const found: string[][] = []
    for (const column of columns) {
      const caller = callers[column.relation === 'coherence_events' ? 'admin' : 'user A']
      const outcomes = [await probeInsert(client, caller, column), await probeUpdate(client, caller, column)]
      found.push([`${column.relation}.${column.name}`, ...outcomes])
    }
    const [, ...decided] = COLUMNS.trim()
      .split('\n')
      .map((line) => line.split('|').map((cell) => cell.trim()))
    const undecided = found.map(([name]) => name).filter((name) => !decided.some(([line]) => line === name))
    expect(undecided, 'Decide what users may write into these, and give each a line in COLUMNS.').toEqual([])
    expect(found).toEqual(decided)
  })
})
