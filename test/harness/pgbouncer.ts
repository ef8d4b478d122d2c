import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from 'pg'
import { findTool } from './tools.ts'

/** PgBouncer in front of one server, in transaction mode unless asked for the other, as the poolers of Supabase are. */
export interface Bouncer {
  /** The database's URL, through the pooler. */
  readonly url: string
  /** The pooler's own console. */
  readonly consoleUrl: string
  /** Ends it as a power cut would: every connection is cut. */
  readonly kill: () => Promise<void>
  /** Starts it again, on the same port. */
  readonly start: () => Promise<void>
  readonly close: () => Promise<void>
}

export const PGBOUNCER = findTool('pgbouncer')
export const NO_PGBOUNCER = 'There is no PgBouncer here: apt-get install pgbouncer.'

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

export interface BouncerOptions {
  readonly connections: number
  readonly mode?: 'transaction' | 'session'
  readonly loginRetrySeconds?: number
}

/** Starts PgBouncer with at most `connections` to the server of `databaseUrl`; returns when it answers. */
export async function startBouncer(
  databaseUrl: string,
  { connections, mode = 'transaction', loginRetrySeconds = 15 }: BouncerOptions,
): Promise<Bouncer> {
  const folder = await mkdtemp(join(tmpdir(), 'coherence-pooler-'))
  const real = new URL(databaseUrl)
  const port = await freePort()
  const files = { ini: join(folder, 'pgbouncer.ini'), users: join(folder, 'users.txt') }
  await writeFile(files.users, `"${real.username}" "${decodeURIComponent(real.password)}"\n`)
  await writeFile(
    files.ini,
    `[databases]
* = host=${real.hostname} port=${real.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = plain
auth_file = ${files.users}
admin_users = ${real.username}
pool_mode = ${mode}
default_pool_size = ${connections}
max_db_connections = ${connections}
max_client_conn = 400
server_login_retry = ${loginRetrySeconds}
ignore_startup_parameters = extra_float_digits
`,
  )
  for (const path of [folder, files.ini, files.users]) await chmod(path, path === folder ? 0o755 : 0o644)
  // It refuses to be root.
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const url = Object.assign(new URL(real), { port: String(port) }).href
  const consoleUrl = Object.assign(new URL(url), { pathname: '/pgbouncer' }).href
  let child: ChildProcess | undefined
  const start = async () => {
    child = spawn(PGBOUNCER ?? 'pgbouncer', ['-q', ...user, files.ini], { stdio: 'ignore' })
    await waitForConsole(consoleUrl)
  }
  const kill = async () => {
    if (child === undefined) return
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
    child = undefined
  }
  const close = async () => {
    await kill()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await start()
  } catch (error) {
    await close()
    throw error
  }
  return { url, consoleUrl, kill, start, close }
}

/** The console answers whether or not the server behind is up. */
async function waitForConsole(consoleUrl: string): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const client = new Client({ connectionString: consoleUrl })
    try {
      await client.connect()
      await client.end()
      return
    } catch (error) {
      if (attempt === 100) throw error
      await sleep(50)
    }
  }
}
