import { randomUUID } from 'node:crypto'
import { Client, type ClientBase } from 'pg'
import { inject } from 'vitest'

export interface TestDatabase {
  /** As role postgres, which is not a superuser: what tests use. */
  readonly url: string
  /** As the superuser: for looking behind the curtain. */
  readonly adminUrl: string
  readonly name: string
  /** Ends what is still connected and drops the database. */
  drop(): Promise<void>
}

const TEMPLATES = { migrated: 'coherence_template', bare: 'coherence_bare' } as const

/** A database of your own: with our schema and queues (`migrated`), or as a new Supabase project has it (`bare`). */
export async function createDatabase(template: keyof typeof TEMPLATES = 'migrated'): Promise<TestDatabase> {
  const server = inject('databaseServer')
  const name = `test_${randomUUID().replaceAll('-', '')}`
  // Copying files instead of logging each block: a quarter less time for a whole test file.
  await runAsAdmin(`create database ${name} template ${TEMPLATES[template]} strategy file_copy owner postgres`)
  return {
    url: replaceDatabase(server.url, name),
    adminUrl: replaceDatabase(server.adminUrl, name),
    name,
    drop: () => runAsAdmin(`drop database if exists ${name} with (force)`),
  }
}

/**
 * Opens a transaction on `client` and makes the rest of it run as PostgREST would for this user; end it with `commit` or
 * `rollback`. Without a user id the request has no `sub`, as with the anonymous key.
 */
export async function asUser(client: ClientBase, userId: string | null, role = 'authenticated'): Promise<void> {
  const claims = JSON.stringify({ role, ...(userId === null ? {} : { sub: userId }) })
  await client.query('begin')
  await client.query(`select set_config('role', $1, true), set_config('request.jwt.claims', $2, true)`, [role, claims])
}

/** Runs `work` as `asUser` does and commits, or rolls back and passes its error on. */
export async function runAsUser<T>(
  client: ClientBase,
  userId: string | null,
  work: () => Promise<T>,
  role = 'authenticated',
): Promise<T> {
  await asUser(client, userId, role)
  try {
    const result = await work()
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback')
    throw error
  }
}

/** One statement on the server, as its superuser. */
export async function runAsAdmin(sql: string): Promise<void> {
  const admin = new Client({ connectionString: inject('databaseServer').adminUrl })
  await admin.connect()
  try {
    await admin.query(sql)
  } finally {
    await admin.end()
  }
}

function replaceDatabase(url: string, name: string): string {
  const changed = new URL(url)
  changed.pathname = `/${name}`
  return changed.href
}
