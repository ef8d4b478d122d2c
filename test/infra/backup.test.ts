/** The drill by the two commands of docs/backup.md, from one server into an empty project of another. */
import { spawnSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Client } from 'pg'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { migrate } from '../../db/migrate.ts'
import { openContext } from '../../infra/context.ts'
import { installQueues } from '../../jobs/install.ts'
import { beginLife, expectNothingLost, goOn } from '../harness/drill.ts'
import { openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { findSystemPostgres, startSystemPostgres, type SystemServer } from '../harness/system-postgres.ts'
import { type Cli, createCli } from './run-cli.ts'

const bin = findSystemPostgres()
const script = (name: string) => fileURLToPath(new URL(`../../infra/backup/${name}`, import.meta.url))

/** What everybody may do with tables and functions, and with those to come. */
const RIGHTS = `select kind || ' ' || name || ' ' || coalesce((select string_agg(one::text, ',' order by one::text) from unnest(acl) one), '') as right
  from (
    select 'table' as kind, c.oid::regclass::text as name,
      coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner)) as acl from pg_class c join pg_namespace n on n.oid = relnamespace
    where nspname in ('public', 'app_private', 'entropy_partitions', 'pgboss')
    union all
    select 'function', p.oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) from pg_proc p join pg_namespace n on n.oid = pronamespace
    where nspname in ('public', 'app_private', 'pgboss')
    union all
    select 'schema', nspname, coalesce(nspacl, acldefault('n', nspowner)) from pg_namespace where nspname in ('public', 'app_private', 'entropy_partitions', 'pgboss')
    union all
    select 'default', defaclobjtype::text, defaclacl from pg_default_acl
  ) rights order by 1`

describe.skipIf(bin === null)(
  'a dump, restored into an empty project on another server (where Debian’s postgresql is)',
  () => {
    let servers: SystemServer[]
    let pipeline: TestPipeline
    let cli: Cli
    beforeAll(async () => {
      servers = [await startSystemPostgres(bin!), await startSystemPostgres(bin!)]
      await servers[0].createProject('project')
      const databaseUrl = servers[0].urlFor('project')
      await migrate({ databaseUrl })
      await installQueues({ databaseUrl })
      const database = { url: databaseUrl, drop: async () => {} }
      pipeline = await openPipeline({ chunkTargetBytes: 4096, database })
      await servers[1].createProject('project')
      cli = createCli({
        DATABASE_URL: servers[1].urlFor('project'),
        LOCAL_STORAGE_DIR: pipeline.config.localStorageDir,
      })
    }, 120_000)
    afterAll(async () => {
      await pipeline?.close()
      cli?.remove()
      for (const server of servers ?? []) server.stop()
    })

    const run = (name: string, databaseUrl: string, file: string) =>
      spawnSync(script(name), [file], {
        encoding: 'utf8',
        env: { PATH: `${bin}:${process.env.PATH}`, DATABASE_URL: databaseUrl, LC_ALL: 'C' },
      })
    async function ask(url: string, sql: string) {
      const client = new Client({ connectionString: url })
      await client.connect()
      try {
        return (await client.query(sql)).rows
      } finally {
        await client.end()
      }
    }

    test('goes on where it was, loses and repeats nothing, and has every right and link that it had', async () => {
      const [source, target] = servers.map((server) => server.urlFor('project'))
      const file = join(cli.directory, 'backup.dump')
      const [device] = await beginLife(pipeline)
      expect(run('dump.sh', source, file)).toMatchObject({ status: 0, stderr: '' })
      await pipeline.vanish()
      const original = await openContext(pipeline.config, pino({ level: 'silent' }), { poolSize: 8 })
      const objects = await goOn(original.context, device)
      const rights = await ask(source, RIGHTS)
      await original.close()

      expect(run('restore.sh', target, file)).toMatchObject({ status: 0, stderr: '' })
      expect(await ask(target, RIGHTS)).toEqual(rights)
      const migrated = await cli.run(['migrate', '--json'])
      expect(migrated.json()).toEqual({ applied: [], queues: [], mended: ['tables in the publication of Realtime'] })
      const { code, stdout } = await cli.run(['doctor'])
      expect({ code, failed: stdout.match(/^FAIL.*/gm) }).toEqual({ code: 0, failed: null })
      // Who signs up has a profile.
      await ask(target, `insert into auth.users (id, email) values ('${randomUUID()}', 'new@example.org')`)
      expect(await ask(target, `select count(*)::int as n from public.profiles`)).toEqual([{ n: 2 }])
      const restored = await openContext({ ...pipeline.config, databaseUrl: target }, pino({ level: 'silent' }), {
        poolSize: 8,
      })
      const samples = await expectNothingLost(restored.context, objects)
      await restored.close()
      expect(samples).toBe(720)
    }, 120_000)

    test('is refused where there are tables already, and a broken one leaves nothing', async () => {
      const target = servers[1].urlFor('project')
      const file = join(cli.directory, 'backup.dump')
      expect(run('restore.sh', target, file)).toMatchObject({
        status: expect.not.toBeOneOf([0]),
        stderr: expect.stringMatching(/not empty/),
      })
      await servers[1].createProject('another')
      spawnSync('truncate', ['--size=-2000', file])
      expect(run('restore.sh', servers[1].urlFor('another'), file).status).not.toBe(0)
      expect(await ask(servers[1].urlFor('another'), `select to_regnamespace('app_private')::text as left`)).toEqual([
        { left: null },
      ])
    })
  },
)
