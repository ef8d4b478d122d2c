import { readFile } from 'node:fs/promises'
import { Client } from 'pg'

// Two starts at once would both find `auth` absent.
const SHIM_LOCK = 7_268_151

/**
 * Dresses a plain Postgres database as a new hosted Supabase project: roles, schemas `auth` and `extensions`, grants.
 * A database that has a schema `auth` is left as it is, so a real Supabase project is never touched.
 *
 * @param adminUrl connection URL of a superuser
 * @returns whether anything was done
 */
export async function applyShim(adminUrl: string): Promise<{ applied: boolean }> {
  const sql = await readFile(new URL('./supabase-shim.sql', import.meta.url), 'utf8')
  const client = new Client({ connectionString: adminUrl })
  await client.connect()
  try {
    await client.query('begin')
    await client.query('select pg_advisory_xact_lock($1)', [SHIM_LOCK])
    const { rows } = await client.query<{ present: boolean }>(`select to_regnamespace('auth') is not null as present`)
    if (rows[0].present) {
      await client.query('rollback')
      return { applied: false }
    }
    await client.query(sql)
    await client.query('commit')
    return { applied: true }
  } finally {
    await client.end()
  }
}
