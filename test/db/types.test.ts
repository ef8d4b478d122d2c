import { readFileSync } from 'node:fs'
import { Client } from 'pg'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'

/** Names, and the text of their types or what is within their braces. */
interface Shape {
  [name: string]: string | Shape
}

const STALE = 'db/database.types.ts is not what the migrations make: run `npm run types:database` and commit the file.'
const file = readFileSync(new URL('../../db/database.types.ts', import.meta.url), 'utf8')

let database: TestDatabase
let client: Client
beforeAll(async () => {
  database = await createDatabase()
  client = new Client({ connectionString: database.url })
  await client.connect()
})
afterAll(async () => {
  await client.end()
  await database.drop()
})

/** What the file says of schema public: a line for each name, and for each bracket that closes. */
function readShape(): Record<'Tables' | 'Views' | 'Functions' | 'Enums', Record<string, Shape>> {
  const lines = file
    .slice(file.indexOf('export type Database'), file.indexOf('type DatabaseWithoutInternals'))
    .replaceAll('{ ', '{\n')
    .replaceAll('; ', '\n')
    .replaceAll(' }', '\n}')
    .split('\n')
    .map((line) => line.trim())
  const read = (): Shape => {
    const shape: Shape = {}
    for (let line = lines.shift(); line !== undefined && !/^[}\]]/.test(line); line = lines.shift()) {
      const [, name, type = ''] = /^'?([^:']*)'?: (.*)$/.exec(line) ?? []
      if (type === '{') shape[name] = read()
      else if (type === '[') shape[name] = readRelationships().toSorted().join()
      else if (name !== undefined) shape[name] = type
    }
    return shape
  }
  const readRelationships = (): string[] => {
    const relationships: string[] = []
    let key = ''
    for (let line = lines.shift(); line !== ']'; line = lines.shift()) {
      const [, name, value] = /^(foreignKeyName|referencedRelation): '(.*)'$/.exec(line ?? '') ?? []
      if (name === 'foreignKeyName') key = value
      if (name === 'referencedRelation') relationships.push(`${key} to ${value}`)
    }
    return relationships
  }
  lines.shift()
  return read().public as ReturnType<typeof readShape>
}

const TYPES: Record<string, string> = {
  boolean: 'boolean',
  jsonb: 'Json',
  void: 'undefined',
  ...Object.fromEntries(
    ['bigint', 'double precision', 'integer', 'numeric', 'smallint'].map((name) => [name, 'number']),
  ),
  ...Object.fromEntries(
    ['bytea', 'interval', 'text', 'timestamp with time zone', 'uuid'].map((name) => [name, 'string']),
  ),
}

/** What TypeScript calls a type of Postgres. */
function toType(type: string): string {
  if (type.endsWith('[]')) return `${toType(type.slice(0, -2))}[]`
  return TYPES[type] ?? `Database['public']['Enums']['${type.replace('public.', '')}']`
}

interface Column {
  readonly relation: string
  readonly name: string
  readonly type: string
  readonly required: boolean
  readonly defaulted: boolean
}

async function listColumns(kinds: readonly string[]): Promise<Map<string, Column[]>> {
  const { rows } = await client.query<Column>(
    `select relname as relation, attname as name, format_type(atttypid, null) as type, attnotnull as required,
       atthasdef or attidentity <> '' as defaulted
     from pg_class join pg_attribute on attrelid = pg_class.oid and attnum > 0 and not attisdropped
     where relnamespace = 'public'::regnamespace and relkind::text = any ($1) order by relname, attname collate "C"`,
    [kinds],
  )
  return Map.groupBy(rows, ({ relation }) => relation)
}

function columnType({ type, required }: Column): string {
  if (!required) return `${toType(type)} | null`
  return type === 'jsonb' ? 'NonNullable<Json>' : toType(type)
}

/**
 * What can be embedded in each relation: a foreign key of a table is also one of every view that shows its columns, and leads to
 * every view that shows those it refers to. A view's rule says of which table's column each of its columns is.
 */
async function listRelationships(): Promise<Map<string, string>> {
  const { rows } = await client.query<{ relation: string; names: string }>(
    `with relations as (
       select oid, relname::text as name, relkind from pg_class where relnamespace = 'public'::regnamespace
     ), shown as (
       select oid, name, oid as origin, attnum as number from relations join pg_attribute on attrelid = oid
       where relkind in ('r', 'p')
       union all
       select r.oid, name, origin[3]::oid, origin[4]::smallint
       from relations r join pg_rewrite on ev_class = r.oid
         cross join regexp_matches(ev_action::text,
           ':resno (\\d+) :resname (\\S+) :ressortgroupref \\d+ :resorigtbl (\\d+) :resorigcol (\\d+)', 'g') as origin
         join pg_attribute a on a.attrelid = r.oid and a.attnum = origin[1]::smallint and a.attname = origin[2]
     ), sides as (select name, origin, array_agg(number) as numbers from shown group by name, origin)
     select here.name as relation,
       string_agg(conname || ' to ' || there.name, ',' order by (conname || ' to ' || there.name) collate "C") as names
     from pg_constraint join sides here on here.origin = conrelid and conkey <@ here.numbers
       join sides there on there.origin = confrelid and confkey <@ there.numbers
     where contype = 'f' group by 1`,
  )
  return new Map(rows.map((row) => [row.relation, row.names]))
}

it('names the tables, their columns as they are read and written, and what can be embedded', async () => {
  const relationships = await listRelationships()
  const there = [...(await listColumns(['r', 'p']))].map(([relation, columns]) => {
    const row = columns.map((column) => [column.name, columnType(column)])
    const insert = columns.map((column) => [
      column.required && !column.defaulted ? column.name : `${column.name}?`,
      columnType(column),
    ])
    const update = columns.map((column) => [`${column.name}?`, columnType(column)])
    return [
      relation,
      {
        Row: Object.fromEntries(row),
        ComputedFields: 'never',
        Insert: Object.fromEntries(insert),
        Update: Object.fromEntries(update),
        Relationships: relationships.get(relation) ?? '[]',
      },
    ]
  })
  expect(readShape().Tables, STALE).toEqual(Object.fromEntries(there))
})

it('names the views, their columns, and what can be embedded', async () => {
  const relationships = await listRelationships()
  const said = Object.entries(readShape().Views).map(([view, { Row, Relationships }]) => [
    view,
    // Which of them can be null is the generator's guess.
    Object.entries(Row).map(([name, type]) => [name, typeof type === 'string' ? type.replace(' | null', '') : type]),
    Relationships,
  ])
  const there = [...(await listColumns(['v', 'm']))].map(([view, columns]) => [
    view,
    columns.map(({ name, type }) => [name, toType(type)]),
    relationships.get(view) ?? '[]',
  ])
  expect(said, STALE).toEqual(there)
})

it('names the functions, what they take and what they return', async () => {
  const { rows } = await client.query<{ name: string; args: [string, string][]; output: [string, string][] | string }>(
    `select p.proname as name,
       (select json_agg(json_build_array(a.name || case when a.place > p.pronargs - p.pronargdefaults then '?' else '' end,
          format_type(a.type, null)) order by a.name collate "C")
        from unnest(p.proargtypes::oid[], p.proargnames[1:p.pronargs]) with ordinality as a (type, name, place)) as args,
       coalesce((select json_agg(json_build_array(a.name, format_type(a.type, null)) order by a.name collate "C")
        from unnest(p.proallargtypes, p.proargnames, p.proargmodes) as a (type, name, mode) where a.mode = 't'),
        to_json(format_type(p.prorettype, null))) as output
     from pg_proc p
     where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype order by 1`,
  )
  const shapeOf = (fields: readonly [string, string][]) =>
    Object.fromEntries(fields.map(([name, type]) => [name, toType(type)]))
  const there = rows.map(({ name, args, output }) => [
    name,
    { Args: shapeOf(args), Returns: typeof output === 'string' ? toType(output) : shapeOf(output) },
  ])
  expect(readShape().Functions, STALE).toEqual(Object.fromEntries(there))
})

it('names the enums and their values', async () => {
  const { rows } = await client.query<{ name: string; labels: string[] }>(
    `select typname as name, array_agg(enumlabel::text order by enumsortorder) as labels
     from pg_type join pg_enum on enumtypid = pg_type.oid where typnamespace = 'public'::regnamespace group by 1`,
  )
  const there = rows.map(({ name, labels }) => [name, labels.map((label) => `'${label}'`).join(' | ')])
  expect(readShape().Enums, STALE).toEqual(Object.fromEntries(there))
})
