import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { findPostgrest, startPostgrest, type Postgrest } from '../harness/postgrest.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const PAGE = readFileSync(new URL('../../docs/api.md', import.meta.url), 'utf8')
const EXAMPLES = [...PAGE.matchAll(/^```ts\n([^]*?)^```$/gm)].map(({ 1: code, index }, number) => {
  const [[, heading] = []] = [...PAGE.slice(0, index).matchAll(/^## (.*)$/gm)].slice(-1)
  return { title: `${number + 1}: ${heading}`, code }
})
const START = Date.UTC(2026, 0, 5, 12)

/** `// name → value`; a value that opens a bracket goes on until a line closes it. */
const ANSWER = /^ *\/\/ (\S+) → ((?:.*[[{]\n(?: *\/\/ {3}.*\n)* *\/\/ [\]}])|.+)$/gm

const AsyncFunction = (async () => {}).constructor as new (
  ...source: string[]
) => (...values: unknown[]) => Promise<unknown>

let pipeline: TestPipeline
let postgrest: Postgrest
let names: Record<string, unknown>

describe.skipIf(findPostgrest() === undefined)('docs/api.md', () => {
  beforeAll(async () => {
    pipeline = await openPipeline({ chunkTargetBytes: 1024 ** 2 })
    const { db, userId } = pipeline
    const [roof, cellar, lab] = await pipeline.addDevices(3)
    const [bob, grace] = [randomUUID(), randomUUID()]
    await db.query(`insert into auth.users (id, email) values ($1, 'bob@example.org'), ($2, 'grace@example.org')`, [
      bob,
      grace,
    ])
    await db.query(`update profiles set role = 'admin' where id = $1`, [grace])
    await db.query(`update profiles set email = 'ada@example.org' where id = $1`, [userId])
    await db.query(`update devices set name = 'roof' where id = $1`, [roof.deviceId])
    await db.query(`update devices set name = 'cellar' where id = $1`, [cellar.deviceId])
    await db.query(`update devices set name = 'lab', user_id = $2 where id = $1`, [lab.deviceId, bob])
    await db.query(
      `insert into coherence_events (name, hypothesis, event_start, event_end)
       values ('Turn of the century', 'pair', '2099-12-31 12:00Z', '2100-01-01 12:00Z')`,
    )
    await db.query(
      `insert into maintenance_log (operation_type, target_table, rows_affected, bytes_freed)
       values ('prune', 'entropy_samples', 86400, 48234496)`,
    )
    for (const [seed, device] of [roof, cellar, lab].entries()) {
      await pipeline.insert(makeSamples(device, 600, { start: START, seed: String(seed) }))
    }
    await pipeline.pack()
    await pipeline.drain()
    await pipeline.insert(makeSamples(roof, 2, { sequence: 600n }))
    await pipeline.insert(makeSamples(lab, 1, { sequence: 600n }))
    postgrest = await startPostgrest(
      { url: pipeline.config.databaseUrl, adminUrl: inject('databaseServer').adminUrl },
      { 'ada@example.org': userId, 'grace@example.org': grace },
    )
    names = {
      createClient,
      SUPABASE_URL: postgrest.url,
      SUPABASE_ANON_KEY: await postgrest.sign({ role: 'anon' }),
      password: 'secret',
      userId,
      deviceId: roof.deviceId,
      otherDeviceId: cellar.deviceId,
      foreignDeviceId: lab.deviceId,
    }
  })
  afterAll(async () => {
    await (names?.supabase as SupabaseClient | undefined)?.removeAllChannels()
    await postgrest?.close()
    await pipeline?.close()
  })

  it.each(EXAMPLES)('$title', async ({ code }) => {
    const shown = [...code.matchAll(/ → /g)].length
    let checked = 0
    const check = (found: unknown, expected: unknown, name: string) => {
      expect(found, name).toEqual(expected)
      checked += 1
    }
    const scope = { ...names, check, anything: expect.anything(), text: matchText, close: matchNumber }
    const run = new AsyncFunction(...Object.keys(scope), compile(code))
    names.supabase = await run(...Object.values(scope))
    expect(checked).toBe(shown)
    // The worker.
    if (code.includes(`from('analysis_jobs')`)) await pipeline.drain(['run-analysis'])
    if (code.includes(`from('sample_exports')`)) await pipeline.drain(['export-samples'])
  })

  it('subscribes to what Realtime publishes, of tables that the user may read', async () => {
    const client = names.supabase as SupabaseClient & { getChannels(): { bindings: object }[] }
    const bindings = client.getChannels().map((channel) => channel.bindings)
    expect(bindings).toMatchObject([{ postgres_changes: [{ filter: { table: 'analysis_jobs' } }] }])
    const { rows } = await pipeline.db.query<{ table: string; readable: boolean; is_named: boolean }>(
      `select tablename as table, has_table_privilege('authenticated', 'public.' || tablename, 'select') as readable,
         $1 ~ ('\`' || tablename || '\`') as is_named
       from pg_publication_tables where pubname = 'supabase_realtime' order by 1`,
      [PAGE],
    )
    expect(rows).toEqual(
      ['analysis_jobs', 'analysis_results', 'device_timeslice_stats', 'network_stats', 'sample_exports'].map(
        (table) => ({
          table,
          readable: true,
          is_named: true,
        }),
      ),
    )
  })

  it('names everything that a user may read or call', async () => {
    const { rows } = await pipeline.db.query<{ name: string }>(
      `select relname as name from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm')
         and has_table_privilege('authenticated', oid, 'select')
       union all select proname from pg_proc where pronamespace = 'public'::regnamespace
         and has_function_privilege('authenticated', oid, 'execute')`,
    )
    expect(rows.length).toBeGreaterThan(20)
    expect(rows.filter(({ name }) => !new RegExp(`[\`'(]${name}[\`' ]`).test(PAGE))).toEqual([])
  })

  it('is code that fits db/database.types.ts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'coherence-api-'))
    try {
      await symlink(resolve('node_modules'), join(folder, 'node_modules'))
      // Else a package.json of a folder above would say what kind of module this is.
      await writeFile(join(folder, 'package.json'), '{"type":"module"}')
      const [connect, ...rest] = EXAMPLES.map(({ code }) =>
        code.replace('./database.types.ts', resolve('db/database.types.ts')),
      )
      const givens = [
        'SUPABASE_URL',
        'SUPABASE_ANON_KEY',
        'password',
        'userId',
        'deviceId',
        'otherDeviceId',
        'foreignDeviceId',
      ]
      const blocks = rest.map((code) => `async () => {\n${code}}\n`)
      await writeFile(
        join(folder, 'page.ts'),
        `declare const ${givens.join(': string, ')}: string\n${connect}\n;[${blocks.join()}]`,
      )
      // Short examples leave out what to do when there is no data.
      const flags = [
        '--noEmit',
        '--strict',
        '--strictNullChecks',
        'false',
        '--skipLibCheck',
        '--allowImportingTsExtensions',
      ]
      const target = ['--module', 'nodenext', '--target', 'esnext', '--types', 'node', 'page.ts']
      const { stdout } = await promisify(execFile)(resolve('node_modules/.bin/tsc'), [...flags, ...target], {
        cwd: folder,
      }).catch((error) => error)
      expect(stdout).toBe('')
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

/** Text with `…` for what may be anything. */
function matchText(text: string): unknown {
  const parts = text.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'))
  return expect.stringMatching(new RegExp(`^${parts.join('[^]+')}$`))
}

/** A number that begins with these digits, but for the last, which may be rounded. */
function matchNumber(digits: string): unknown {
  return expect.closeTo(Number(digits), digits.split('.')[1].length - 1)
}

/** An example as the body of a function that calls `check` for each `// name → value`, and returns its client. */
function compile(code: string): string {
  const body = code
    .replaceAll(/^import .*\n/gm, '')
    .replace('<Database>', '')
    .replaceAll(ANSWER, (_line, name: string, value: string) => {
      const literal = value.replaceAll(/\n *\/\//g, '\n').replaceAll(/'[^'\n]*'|…|-?\d+\.\d+/g, (token) => {
        if (token === '…') return 'anything'
        if (!token.startsWith("'")) return `close('${token}')`
        return token.includes('…') ? `text(${token})` : token
      })
      return `check(${name}, ${literal}, ${JSON.stringify(name)})`
    })
  return `${body}\nreturn supabase`
}
