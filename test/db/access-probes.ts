import { randomUUID } from 'node:crypto'
import { DatabaseError, type Client } from 'pg'
import { expect } from 'vitest'
import { rowsOf, type Person } from '../harness/people.ts'

export interface Caller {
  readonly role: string
  readonly claims: object
  /** Whose rows are this caller's own; those of a caller that has none are tried as if they were. */
  readonly self: Person
  /** Somebody else. */
  readonly other: Person
}

/** `refused`, `none`, `own` or `all`; or a sentence, if it was none of them. */
export type Scope = string

/** Tables whose rows are nobody's. */
export const SHARED = ['coherence_events', 'maintenance_log', 'network_stats'] as const

/** What an update sets. A constant: a value that reads the row would bring in the policies of SELECT. */
const UPDATES: Record<string, readonly [column: string, value: string]> = {
  analysis_jobs: ['parameters', '{"a": 1}'],
  analysis_results: ['summary', '{"a": 1}'],
  chunk_analysis: ['tests', '{"a": 1}'],
  chunk_replicas: ['verified_at', '2026-01-02Z'],
  chunk_slices: ['partial', '\\x01'],
  coherence_events: ['withdrawn_at', '2026-01-02Z'],
  coherence_stats: ['tests', '{"a": 1}'],
  device_timeslice_stats: ['byte_count', '2'],
  device_trials: ['trials', '2'],
  devices: ['name', 'new'],
  entropy_samples: ['sequence', '2'],
  maintenance_log: ['duration_ms', '2'],
  network_stats: ['device_count', '3'],
  profiles: ['email', 'new'],
  sample_exports: ['sample_count', '2'],
  sampling_profiles: ['label', 'new'],
  storj_chunks: ['bucket', 'new'],
  watched_pairs: ['created_at', '2026-01-02Z'],
}

/** What a function is called with, about a person's things. */
const ARGUMENTS: Record<string, (person: Person) => unknown[]> = {
  authenticate_device: ({ token }) => [token],
  cancel_analysis_job: ({ job }) => [job],
  insert_entropy_sample: ({ device, profile }) => [device, profile, 1, Buffer.alloc(1), new Date()],
  insert_entropy_samples: ({ device, profile }) => [device, [profile], [new Date()], [1], [Buffer.alloc(1)]],
  network_deviation: () => ['2026-01-01Z', '2026-01-03Z', 'all_bits', '1 day', 'theoretical'],
  revoke_device_token: ({ device }) => [device],
  rotate_device_token: ({ device }) => [device],
}

/** A row of each table, of this person where a row can be anybody's, that can be inserted once the person's are gone. */
export function newRows(person: Person): Record<string, Record<string, unknown>> {
  const { devices, ...rows } = rowsOf(person)
  const [low, high] = [person.device, person.partner].toSorted()
  const start = new Date(Date.now() + 3_600_000 + Math.random() * 1e9)
  start.setUTCMilliseconds(0)
  const end = new Date(start.getTime() + 60_000)
  return {
    ...rows,
    // An id that statistics have is not for users to take again.
    devices: { ...devices, id: randomUUID() },
    profiles: { id: person.user, email: 'new' },
    watched_pairs: { user_id: person.user, device_a_id: low, device_b_id: high },
    maintenance_log: { operation_type: 'prune', target_table: 'entropy_samples' },
    network_stats: {
      bucket_start: start,
      bucket_end: end,
      device_count: 2,
      device_set_hash: 'hash',
      sums: {},
      netvar: {},
      pair: {},
      devvar: {},
      covar: {},
      normalization: 'theoretical',
      method_version: '1',
    },
    coherence_events: { name: randomUUID(), hypothesis: 'pair', tail: 'upper', event_start: start, event_end: end },
  }
}

export async function readColumn<T>(client: Client, sql: string, values: unknown[] = []): Promise<T[]> {
  return (await client.query({ text: sql, values, rowMode: 'array' })).rows.map(([value]) => value)
}

/** What happens to a caller who tries each verb on this table or view, every one in a transaction that is rolled back. */
export async function probeRelation(client: Client, caller: Caller, relation: string): Promise<Record<string, Scope>> {
  return {
    S: await trySelect(client, caller, relation),
    I: await tryInsert(client, caller, relation),
    U: await tryUpdate(client, caller, relation),
    D: await tryDelete(client, caller, relation),
  }
}

/** What happens to a caller of this function, for things of the caller's own and for somebody else's. */
export async function probeFunction(client: Client, caller: Caller, name: string): Promise<Record<string, Scope>> {
  const outcomes: Scope[] = []
  for (const owner of [caller.self, caller.other]) {
    if (!(name in ARGUMENTS)) return { X: 'no ARGUMENTS to call it with' }
    const values = ARGUMENTS[name](owner)
    const places = values.map((_, index) => `$${index + 1}`).join()
    const outcome = await attempt<unknown>(client, caller, `select f from public.${name}(${places}) f`, values)
    if (typeof outcome === 'string') outcomes.push(outcome)
    else outcomes.push(outcome[0] === false ? 'refused' : 'done')
  }
  return { X: scopeOfPair(outcomes) }
}

/** Does something as PostgREST would for the caller; what `look` then sees as the owner of the tables, or how it failed. */
export async function attempt<T>(
  client: Client,
  caller: Caller,
  sql: string,
  values: unknown[] = [],
  { before, look }: { before?: string; look?: string } = {},
): Promise<T[] | string> {
  await client.query('begin')
  try {
    if (before !== undefined) await client.query(before)
    await client.query(`select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`, [
      caller.role,
      JSON.stringify(caller.claims),
    ])
    const rows = await readColumn<T>(client, sql, values)
    if (look === undefined) return rows
    await client.query('reset role')
    return await readColumn<T>(client, look)
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error
    // 55000: a view that takes no rows, whoever asks.
    return error.code === '42501' || error.code === '55000' ? 'refused' : `${error.code}: ${error.message}`
  } finally {
    await client.query('rollback')
  }
}

export const idsOf = ({ user, device, partner, profile, chunk, job }: Person) => [
  user,
  device,
  partner,
  profile,
  chunk,
  job,
]

/** Which of all rows those are. */
function scopeOf(caller: Caller, touched: string[] | string, all: readonly string[]): Scope {
  if (typeof touched === 'string') return touched
  const isOwn = (row: string) => idsOf(caller.self).some((id) => row.includes(id))
  if (touched.length === 0) return 'none'
  if (touched.length === all.length) return 'all'
  if (touched.every(isOwn) && touched.length === all.filter(isOwn).length) return 'own'
  return `${touched.length} of ${all.length} rows`
}

/** Of what was done for oneself and for somebody else. */
function scopeOfPair([self, other]: Scope[]): Scope {
  if (self === 'done' && other === 'done') return 'all'
  if (self === 'done' && other === 'refused') return 'own'
  return self === other ? self : `own: ${self}, other: ${other}`
}

/** pipeline_health names nobody: it is a caller's own when it counts what chunk_backlog shows to the caller. */
const rowsIn = (relation: string) =>
  relation === 'pipeline_health'
    ? `select device_id::text from chunk_backlog
       where (select sum(samples) from chunk_backlog) = (select waiting_samples from pipeline_health)`
    : `select t::text from public.${relation} t`

async function trySelect(client: Client, caller: Caller, relation: string): Promise<Scope> {
  const all = await readColumn<string>(client, rowsIn(relation))
  expect(new Set(all).size, `different rows of ${relation} to try with`).toBe(all.length)
  expect(all.length, `rows of ${relation} to try with`).toBeGreaterThan(0)
  return scopeOf(caller, await attempt(client, caller, rowsIn(relation)), all)
}

/** The columns of a relation, or those on which the caller has this privilege. */
async function columnsOf(client: Client, relation: string, caller?: Caller, privilege?: string): Promise<string[]> {
  return await readColumn<string>(
    client,
    `select attname::text from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped
       and ($2::text is null or has_column_privilege($2, attrelid, attnum, $3)) order by attnum`,
    [`public.${relation}`, caller?.role ?? null, privilege ?? null],
  )
}

async function tryInsert(client: Client, caller: Caller, relation: string): Promise<Scope> {
  const granted = await columnsOf(client, relation, caller, 'insert')
  const outcomes: Scope[] = []
  for (const owner of [caller.self, caller.other]) {
    const row = newRows(owner)[relation]
    const given = Object.entries(row ?? {}).filter(([name]) => granted.length === 0 || granted.includes(name))
    const outcome = await attempt(
      client,
      caller,
      given.length === 0
        ? `insert into public.${relation} default values`
        : `insert into public.${relation} (${given.map(([name]) => `"${name}"`).join()})
           values (${given.map((_, index) => `$${index + 1}`).join()})`,
      given.map(([, value]) => value),
      // The owner's own is there already.
      row === undefined || SHARED.some((name) => name === relation)
        ? {}
        : { before: `delete from public.${relation} t where t::text ~ '${idsOf(owner).join('|')}'` },
    )
    outcomes.push(typeof outcome === 'string' ? outcome : 'done')
  }
  return scopeOfPair(outcomes)
}

async function tryUpdate(client: Client, caller: Caller, relation: string): Promise<Scope> {
  const all = await readColumn<string>(client, rowsIn(relation))
  const granted = await columnsOf(client, relation, caller, 'update')
  const [column, value] = UPDATES[relation] ?? [(await columnsOf(client, relation))[0], null]
  const change =
    granted.length === 0 || granted.includes(column)
      ? `"${column}" = ${value === null ? 'default' : `'${value}'`}`
      : granted.map((name) => `"${name}" = "${name}"`).join()
  const touched = await attempt<string>(client, caller, `update public.${relation} set ${change}`, [], {
    look: `${rowsIn(relation)} where t.xmin = pg_current_xact_id()::xid`,
  })
  return scopeOf(caller, touched, all)
}

async function tryDelete(client: Client, caller: Caller, relation: string): Promise<Scope> {
  const all = await readColumn<string>(client, rowsIn(relation))
  const left = await attempt<string>(client, caller, `delete from public.${relation}`, [], { look: rowsIn(relation) })
  return scopeOf(caller, typeof left === 'string' ? left : all.filter((row) => !left.includes(row)), all)
}
