import { pendingMigrations } from '../../db/migrate.ts'
import { keepsSession, readRoleFacts } from '../../db/health.ts'
import { listMissingLinks } from '../../db/links.ts'
import { openPool, unreachable } from '../../db/pool.ts'
import { startBoss } from '../../jobs/boss.ts'
import { missingQueues } from '../../jobs/install.ts'
import { isCoherenceError } from '../../pipeline/errors.ts'
import type { Register } from '../command.ts'
import { parseConfig, readEnvironment, type Config } from '../config.ts'
import { assertNoneNewer } from '../database.ts'
import { openStore, openStoreAt } from '../stores.ts'
import type { ObjectStore } from '../../storage/object-store.ts'
import { formatList } from '../output.ts'

interface Check {
  readonly name: string
  readonly ok: boolean
  /** What was found, and what to do if it is wrong. */
  readonly detail: string
}

export const doctorCommand: Register = (command, bind) => {
  command.action(
    bind(async ({ output }) => {
      const config = parseConfig(readEnvironment())
      const { mirror } = config
      const checks = [
        ...(await checkDatabase(config)),
        await check('object store', () => checkStore(() => openStore(config))),
        ...(mirror ? [await check('mirror', () => checkStore(() => openStoreAt(config, mirror)))] : []),
      ]
      output.result({ ok: checks.every((one) => one.ok), checks }, () =>
        formatList(checks.map((one) => [`${one.ok ? 'ok  ' : 'FAIL'}  ${one.name}`, one.detail])),
      )
      return checks.every((one) => one.ok) ? 0 : 1
    }),
  )
}

async function check(name: string, look: () => Promise<string>): Promise<Check> {
  try {
    return { name, ok: true, detail: await look() }
  } catch (error) {
    return { name, ok: false, detail: (error as Error).message }
  }
}

async function checkDatabase(config: Config): Promise<Check[]> {
  const options = { databaseUrl: config.databaseUrl, caCert: config.databaseCaCert }
  const pool = openPool({ ...options, max: 2 })
  try {
    const connection = await check('connection', async () => {
      const { rows } = await pool
        .query('select current_user as user, version()')
        .catch((cause: unknown) => Promise.reject(unreachable(config.databaseUrl, cause)))
      const session = await keepsSession(pool)
      return `${rows[0].user}, ${String(rows[0].version).split(' on ')[0]}, ${
        session ? 'a session (direct or session pooler): all works' : 'a transaction pooler: all but `migrate` works'
      }`
    })
    if (!connection.ok) return [connection]
    const schema = await check('schema', async () => {
      await assertNoneNewer(pool)
      const pending = await pendingMigrations(options)
      if (pending.length > 0) throw new Error(`pending migrations: ${pending.length}; run \`coherence migrate\`.`)
      return 'up to date'
    })
    // What follows asks tables that may not be there yet.
    if (!schema.ok) return [connection, schema]
    return [
      connection,
      schema,
      await check('queues', async () => {
        const missing = await missingQueues(options)
        if (missing.length > 0) throw new Error(`${missing.join(', ')} missing: run \`coherence migrate\`.`)
        const boss = await startBoss(pool, { onError: () => {} })
        await boss.stop({ graceful: false, close: false })
        return 'all there, of this build'
      }),
      await check('roles', async () => {
        const facts = await readRoleFacts(pool)
        if (facts.missingRoles.length > 0) {
          throw new Error(
            `roles ${facts.missingRoles.join(', ')} are missing: this is no Supabase database. Connect to one, or try "coherence dev".`,
          )
        }
        if (!facts.bypassRls) throw new Error(`${facts.user} is bound by row level security: connect as postgres.`)
        return `${facts.user} passes row level security; anon, authenticated, service_role exist`
      }),
      await check('links', async () => {
        const missing = await listMissingLinks(pool)
        if (missing.length > 0) {
          throw new Error(
            `a restore has lost ${missing.join('; ')}: run \`coherence migrate\` (docs/backup.md says what it needs).`,
          )
        }
        return 'users, devices and Realtime are tied to the schema'
      }),
      await check('partitions', async () => {
        const facts = await readRoleFacts(pool)
        if (facts.partitionsAhead === 0)
          throw new Error('none is ready for tomorrow: run `coherence tick`, and schedule it every few minutes.')
        return `${facts.partitionsAhead} days ahead, ${facts.defaultPartitionRows} stray rows`
      }),
    ]
  } finally {
    await pool.end()
  }
}

async function checkStore(open: () => Promise<ObjectStore>): Promise<string> {
  const store = await open()
  const started = performance.now()
  try {
    await store.probe()
  } catch (error) {
    if (!isCoherenceError(error, 'STORE_NOT_FOUND')) throw error
    throw new Error(`${error.message}. Mount its disk; for a new store run \`coherence migrate\`.`, { cause: error })
  }
  return `${store.backend}:${store.bucket} round trip in ${Math.round(performance.now() - started)} ms`
}
