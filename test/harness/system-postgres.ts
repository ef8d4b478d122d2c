import { spawnSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { findServerAccount } from '../../infra/embedded-binaries.ts'
import { applyShim } from '../../infra/supabase-shim.ts'

const NEEDED = ['initdb', 'pg_ctl', 'postgres', 'pg_dump', 'pg_restore', 'psql']
const PLACES = '/usr/lib/postgresql'

/**
 * The programs of a server that the system has, Debian's newest; null if there is none. The embedded server comes without pg_dump, and
 * one of another version refuses it.
 */
export function findSystemPostgres(): string | null {
  const versions = existsSync(PLACES) ? readdirSync(PLACES).toSorted((a, b) => Number(b) - Number(a)) : []
  const places = versions.map((version) => join(PLACES, version, 'bin'))
  return places.find((bin) => NEEDED.every((name) => existsSync(join(bin, name)))) ?? null
}

/** A server of its own, with nobody's roles but a superuser's and those of a new Supabase project. */
export interface SystemServer {
  readonly urlFor: (database: string, role?: 'postgres' | 'supabase_admin') => string
  /** A database as a new Supabase project has it. */
  readonly createProject: (name: string) => Promise<void>
  readonly stop: () => void
}

export async function startSystemPostgres(bin: string): Promise<SystemServer> {
  const account = await findServerAccount()
  const directory = mkdtempSync(join(tmpdir(), 'coherence-system-postgres-'))
  if (account) chownSync(directory, account.uid, account.gid)
  const data = join(directory, 'data')
  const run = (program: string, args: readonly string[]) => {
    const { status, stderr, error } = spawnSync(join(bin, program), args, {
      cwd: directory,
      encoding: 'utf8',
      env: { PATH: '/usr/bin:/bin', LC_ALL: 'C' },
      // The server would keep a pipe open.
      stdio: ['ignore', 'ignore', program === 'initdb' ? 'pipe' : 'ignore'],
      ...(account ? { uid: account.uid, gid: account.gid } : {}),
    })
    if (status !== 0) throw new Error(`${program} failed: ${stderr ?? error?.message ?? status}`)
  }
  run('initdb', ['-D', data, '-U', 'supabase_admin', '--auth=trust', '-E', 'UTF8', '--locale=C', '--no-sync'])
  const port = await findFreePort()
  const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c wal_level=logical -c fsync=off -c max_connections=60`
  run('pg_ctl', ['-D', data, '-w', '-o', settings, '-l', join(directory, 'log'), 'start'])
  const urlFor = (database: string, role = 'postgres') => `postgres://${role}:trusted@127.0.0.1:${port}/${database}`
  const asAdmin = async (sql: string) => {
    const admin = new Client({ connectionString: urlFor('postgres', 'supabase_admin') })
    await admin.connect()
    try {
      await admin.query(sql)
    } finally {
      await admin.end()
    }
  }
  await asAdmin('create role postgres login nosuperuser createdb createrole replication bypassrls inherit')
  return {
    urlFor,
    createProject: async (name) => {
      await asAdmin(`create database ${name}`)
      await applyShim(urlFor(name, 'supabase_admin'))
    },
    stop: () => {
      run('pg_ctl', ['-D', data, '-w', '-m', 'immediate', 'stop'])
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function findFreePort(): Promise<number> {
  return await new Promise((settle) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => settle(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
