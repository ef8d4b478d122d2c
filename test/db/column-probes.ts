import { randomUUID } from 'node:crypto'
import type { Client } from 'pg'
import type { Person } from '../harness/people.ts'
import { attempt, type Caller, idsOf, newRows, SHARED } from './access-probes.ts'

export interface WritableColumn {
  readonly relation: string
  readonly name: string
  readonly type: string
  readonly insertable: boolean
  readonly updatable: boolean
}

/** The columns that the grants let signed-in users write. */
export async function listWritableColumns(client: Client): Promise<WritableColumn[]> {
  const { rows } = await client.query<WritableColumn>(
    `select relname as relation, attname as name, format_type(atttypid, null) as type,
       has_column_privilege('authenticated', attrelid, attnum, 'insert') as insertable,
       has_column_privilege('authenticated', attrelid, attnum, 'update') as updatable
     from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
     where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
       and has_column_privilege('authenticated', attrelid, attnum, 'insert, update')
     order by relname collate "C", attname collate "C"`,
  )
  return rows
}

/** What is written into a column of each type: nothing that a row of `newRows` or `rowsOf` has. */
const OF_TYPE: Record<string, unknown> = {
  analysis_job_status: 'completed',
  bigint: 7,
  boolean: false,
  device_client_type: 'ios',
  device_status: 'inactive',
  integer: 7,
  jsonb: { else: 1 },
  numeric: 7,
  text: 'something else again',
  'text[]': ['runs'],
  'timestamp with time zone': '2025-12-31Z',
  user_role: 'admin',
}

/** And where that would be out of range: another's things, and times in their order. */
function valueFor(
  { relation, name, type }: WritableColumn,
  { self, other }: Caller,
  row: Record<string, unknown>,
): unknown {
  const later = (time: unknown) => new Date(Number(time) + 1000)
  const special: Record<string, () => unknown> = {
    'coherence_events.hypothesis': () => 'covar',
    'coherence_events.tail': () => 'two_sided',
    'coherence_events.profile': () => 'gcp200',
    'coherence_events.event_start': () => later(row.event_start),
    'coherence_events.event_end': () => later(row.event_end),
    'coherence_events.device_ids': () => [self.device, other.device].toSorted(),
    'analysis_jobs.device_ids': () => [other.device],
    'analysis_jobs.time_range_end': () => '2026-01-03Z',
    'sample_exports.time_range_end': () => '2026-01-03Z',
  }
  const uuids: Record<string, (person: Person) => string> = {
    user_id: ({ user }) => user,
    device_id: ({ device }) => device,
    device_a_id: ({ device }) => device,
    device_b_id: ({ device }) => device,
  }
  if (type === 'uuid') return uuids[name]?.(other) ?? randomUUID()
  return special[`${relation}.${name}`]?.() ?? OF_TYPE[type.replace('public.', '')]
}

/** What became of the value: `set`, `ours`, `refused`, or `-` if nobody asked for it. */
export type Outcome = string

export async function probeInsert(client: Client, caller: Caller, column: WritableColumn): Promise<Outcome> {
  if (!column.insertable) return '-'
  const { relation, name } = column
  const columns = (await listWritableColumns(client)).filter((other) => other.relation === relation && other.insertable)
  const row = newRows(caller.self)[relation]
  const given = Object.entries({ ...row, [name]: valueFor(column, caller, row) }).filter(([key]) =>
    columns.some((other) => other.name === key),
  )
  const place = given.findIndex(([key]) => key === name) + 1
  const own = idsOf(caller.self).join('|')
  const outcome = await attempt<boolean>(
    client,
    caller,
    `insert into public.${relation} (${given.map(([key]) => `"${key}"`).join()})
     values (${given.map((_, index) => `$${index + 1}`).join()}) returning "${name}" is not distinct from $${place}`,
    given.map(([, value]) => value),
    // The owner's own is there already.
    SHARED.some((shared) => shared === relation)
      ? {}
      : { before: `delete from public.${relation} t where t::text ~ '${own}'` },
  )
  return toOutcome(outcome)
}

export async function probeUpdate(client: Client, caller: Caller, column: WritableColumn): Promise<Outcome> {
  if (!column.updatable) return '-'
  const { relation, name } = column
  const own = SHARED.some((shared) => shared === relation) ? '' : idsOf(caller.self).join('|')
  const [row] = (
    await client.query(`select ctid, * from public.${relation} t where t::text ~ $1 order by 1 limit 1`, [own])
  ).rows
  const outcome = await attempt<boolean>(
    client,
    caller,
    `update public.${relation} set "${name}" = $1 where ctid = $2 returning "${name}" is not distinct from $1`,
    [valueFor(column, caller, row), row.ctid],
  )
  return toOutcome(outcome)
}

function toOutcome(stored: boolean[] | string): Outcome {
  if (typeof stored === 'string') return 'refused'
  return stored[0] === undefined ? 'no row' : stored[0] ? 'set' : 'ours'
}
