import { isDeepStrictEqual } from 'node:util'
import { Client, DatabaseError } from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { addPerson, insertRow, type Person } from '../harness/people.ts'
import { idsOf, newRows, readColumn, SHARED } from './access-probes.ts'
import { listWritableColumns, type WritableColumn } from './column-probes.ts'

/** Each long enough to be a token. */
const HOSTILE = [
  `'; drop table public.devices cascade; --`,
  `' or '1'='1' union select device_token from devices --`,
  `$$; delete from public.devices; $$ -- $1 $2 :name`,
  `\\'; delete from public.devices; --`,
  `"; "quoted" \\"and\\" \`ticked\``,
  `{"a": 1, "__proto__": {"b": 2}} {a,b,NULL}`,
  `<script>alert(document.cookie)</script><img src=x onerror=alert(1)>`,
  `first line\nsecond line\r\nthird\ttab\u001b[2J\u0007`,
  'four bytes each: \u{1f600}\u{1d54f}\u{10ffff} \u202e\ufeff',
  'half of a pair: \ud800 and the other: \udc00',
  'ends here:\0and goes on',
  '../../../../etc/passwd %00 %2e%2e%2f',
  '%s %n {{7*7}} ${7*7} ${jndi:ldap://x/y}',
  'x'.repeat(100_000),
]

let database: TestDatabase
let client: Client
let alice: Person
let relations: string[]
let columns: WritableColumn[]
beforeAll(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.url })
  await client.connect()
  alice = await addPerson(client)
  await addPerson(client)
  for (const table of SHARED) await insertRow(client, table, newRows(alice)[table])
  relations = await readColumn(
    client,
    `select relname::text from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1`,
  )
  const written = await listWritableColumns(client)
  columns = written.filter(({ type }) => ['text', 'text[]', 'jsonb'].includes(type))
})
afterAll(async () => {
  await client.end()
  await database.drop()
})

const valueOf = ({ type }: WritableColumn, text: string): unknown =>
  ({ text, 'text[]': [text, text], jsonb: { [text]: text, list: [text] } })[type]

/** Every row of every table, as text. */
async function readAll(): Promise<string[]> {
  const all = relations.map((relation) => `select '${relation} ' || t::text from public.${relation} t`)
  return await readColumn(client, all.join(' union all '))
}

/** Begins a transaction in which the row to be written is not there yet, and gives the statement that writes it. */
async function begin(
  column: WritableColumn,
  verb: string,
  value: unknown,
): Promise<{ sql: string; values: unknown[] }> {
  const { relation, name } = column
  const own = SHARED.some((shared) => shared === relation) ? '^never$' : idsOf(alice).join('|')
  await client.query('begin')
  // Events are declared by admins.
  if (relation === 'coherence_events')
    await client.query(`update profiles set role = 'admin' where id = $1`, [alice.user])
  if (verb === 'update') {
    const [ctid] = await readColumn(client, `select ctid from public.${relation} t where t::text ~ $1 limit 1`, [own])
    return {
      sql: `update public.${relation} set "${name}" = $1 where ctid = $2 returning "${name}"`,
      values: [value, ctid],
    }
  }
  await client.query(`delete from public.${relation} t where t::text ~ $1`, [own])
  const row = Object.entries({ ...newRows(alice)[relation], [name]: value })
  const places = row.map((_, index) => `$${index + 1}`)
  const names = row.map(([key]) => `"${key}"`)
  return {
    sql: `insert into public.${relation} (${names.join()}) values (${places.join()}) returning "${name}"`,
    values: row.map(([, given]) => given),
  }
}

/** `stored` as it is, `left out`, or `refused`; or a sentence, if it was none of them or something else has changed. */
async function tryWrite(column: WritableColumn, verb: string, text: string): Promise<string> {
  const { sql, values } = await begin(column, verb, valueOf(column, text))
  try {
    const before = await readAll()
    await client.query(`select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)`, [
      JSON.stringify({ role: 'authenticated', sub: alice.user }),
    ])
    const [stored] = await readColumn(client, sql, values)
    await client.query('reset role')
    const after = await readAll()
    const gone = before.filter((row) => !after.includes(row))
    const come = after.filter((row) => !before.includes(row))
    const elsewhere = [...gone, ...come].filter((row) => !row.startsWith(`${column.relation} `))
    if (elsewhere.length > 0) return `changed ${elsewhere.join()}`
    if (come.length !== 1 || gone.length !== (verb === 'update' ? 1 : 0))
      return `${gone.length} rows became ${come.length}`
    if (stored === null) return 'left out'
    const isAsItWas = isDeepStrictEqual(stored, valueOf(column, text.toWellFormed()))
    return isAsItWas ? 'stored' : `stored ${JSON.stringify(stored)}`
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    // Not theirs to write; data that no column holds (class 22); out of bounds (23).
    return /^(42501|22...|23...)$/.test(error.code ?? '') ? 'refused' : `${error.code}: ${error.message}`
  } finally {
    await client.query('rollback')
  }
}

const nameOf = ({ relation, name }: WritableColumn) => `${relation}.${name}`

it('finds the columns that users write text into', () => {
  expect(columns.map(nameOf)).toEqual(
    expect.arrayContaining([
      'devices.name',
      'devices.device_token',
      'sampling_profiles.metadata',
      'analysis_jobs.test_names',
    ]),
  )
})

it.each(HOSTILE.map((text) => [text.slice(0, 60).toWellFormed(), text]))(
  'stores %j as it is or refuses it, wherever a user may write it, and changes nothing else',
  async (_shown, text) => {
    for (const column of columns) {
      for (const verb of ['insert', 'update'].filter((name) =>
        name === 'insert' ? column.insertable : column.updatable,
      )) {
        expect(await tryWrite(column, verb, text), `${verb} ${nameOf(column)}`).toMatch(/^(stored|left out|refused)$/)
      }
    }
  },
)

it('refuses a NUL everywhere, and an ordinary sentence almost nowhere', async () => {
  const outcomes: Record<string, string[]> = { stored: [], refused: [] }
  for (const column of columns) {
    const verb = column.updatable ? 'update' : 'insert'
    expect(await tryWrite(column, verb, 'a sentence that\0ends'), nameOf(column)).toBe('refused')
    outcomes[await tryWrite(column, verb, 'a sentence of many words')].push(nameOf(column))
  }
  // These take a few words only, or the ids of devices; and one is for the pipeline to say.
  expect(outcomes.refused).toEqual([
    'analysis_jobs.device_ids',
    'analysis_jobs.error_message',
    'coherence_events.hypothesis',
    'coherence_events.profile',
    'coherence_events.tail',
  ])
})
