import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, Socket } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import { CoherenceError } from '../pipeline/errors.ts'
import {
  type Account,
  type Binaries,
  checkReachable,
  findNativeFolder,
  findServerAccount,
  prepareBinaries,
} from './embedded-binaries.ts'
import { type Claim, claimDirectory } from './embedded-claim.ts'

export interface EmbeddedOptions {
  /** Holds the data directory (`data`), the password (mode 0600) and the note of who runs the server. */
  readonly directory: string
  /** On 127.0.0.1; a free one when not given. */
  readonly port?: number
  /** Trades safety against power loss for speed: for data that may be lost. */
  readonly fast?: boolean
  /** False: `directory` must be new or empty, and is deleted by `stop()` or when this process dies. */
  readonly persistent: boolean
  /** Receives each line the server logs. */
  readonly log?: (line: string) => void
  /** The folder with the server's `bin`, `lib` and `share`; by default the one npm installed. */
  readonly native?: string
}

export interface EmbeddedServer {
  readonly port: number
  readonly directory: string
  /** A connection URL. `postgres` has the rights it has on hosted Supabase; `supabase_admin` is the superuser. */
  urlFor(database: string, role?: 'postgres' | 'supabase_admin'): string
  /** Ends open connections and the server (Postgres's "fast" shutdown); drain your own work first. */
  stop(): Promise<void>
}

interface Launched {
  readonly child: ChildProcess
  readonly ended: Promise<void>
}

const START_TIMEOUT_MS = 120_000
const STOP_PATIENCE_MS = 30_000
const START_TRIES = 10
const LOG_TAIL = 12

// The server gets an environment of its own: PG* variables and locales of the caller must not reach it.
const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

/**
 * Waits on stdin. "done" means the server was stopped in good order. End of file means our process is gone, however it
 * went: then this ends the server (only while postmaster.pid still names it) and deletes what was not to be kept.
 */
const WATCHDOG = `
read -r word
[ "$word" = done ] && exit 0
tries=0 told=
while [ $tries -lt 300 ]; do
  if [ "$(head -n 1 "$1" 2>/dev/null)" = "$2" ]; then kill -INT "$2" 2>/dev/null; told=yes
  elif [ -n "$told" ] || [ $tries -gt 20 ]; then break
  fi
  sleep 0.1
  tries=$((tries + 1))
done
[ -n "$3" ] && rm -rf "$3"
`

/**
 * Starts a real PostgreSQL 17 server of our own, initialising `directory` at first use.
 *
 * The server runs in a session of its own, so Ctrl-C in the terminal reaches us but not it, and connections live until we
 * call `stop()`. Should we be killed, a watchdog ends it; should that be killed too, the next start in the same
 * directory does. It does not keep the event loop alive.
 *
 * @throws CoherenceError EMBEDDED_POSTGRES with what stands in the way and the server's last words
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedServer> {
  const directory = resolve(options.directory)
  const log = options.log ?? (() => {})
  const native = options.native ?? findNativeFolder()
  const binaries = await prepareBinaries(native)
  const account = await findServerAccount()
  await makeDirectory(directory, options.persistent, account)
  if (account) {
    await checkReachable(binaries.postgres, account, 'the server program')
    await checkReachable(join(native, 'share', 'postgresql', 'postgres.bki'), account, "the server's files")
    await checkReachable(directory, account, 'the data directory')
  }
  const claim = await claimDirectory(directory)
  let launched: Launched | undefined
  try {
    const password = await initialise(directory, binaries, account, options)
    const started = await launch(directory, binaries, account, options, claim, log)
    launched = started
    const urlFor = (database: string, role = 'postgres') =>
      `postgres://${role}:${password}@127.0.0.1:${started.port}/${encodeURIComponent(database)}`
    await createPostgresRole(urlFor('postgres', 'supabase_admin'), password)
    const watchdog = startWatchdog(directory, started.pid, !options.persistent)
    letGo(started.child)
    letGo(watchdog)
    let stopping: Promise<void> | undefined
    started.child.once('exit', (code, signal) => {
      if (!stopping) log(`The embedded Postgres server ended by itself (${signal ?? `exit code ${code}`}).`)
    })
    const stop = async () => {
      await end(started)
      await claim.release()
      if (!options.persistent) await rm(directory, { recursive: true, force: true })
      watchdog.stdin?.end('done\n')
    }
    return { port: started.port, directory, urlFor, stop: () => (stopping ??= stop()) }
  } catch (error) {
    if (launched) await end(launched)
    await claim.release()
    if (!options.persistent) await rm(directory, { recursive: true, force: true })
    throw error
  }
}

async function makeDirectory(directory: string, persistent: boolean, account: Account | undefined): Promise<void> {
  const first = await mkdir(directory, { recursive: true })
  if (!persistent && (await readdir(directory)).length > 0) {
    throw new CoherenceError(
      'EMBEDDED_POSTGRES',
      `${directory} is not empty: a server that is not kept deletes its directory in the end, so it needs a new one.`,
    )
  }
  if (!account) return
  // Directories we made ourselves under a strict umask, and our own, must let the server's account through to `data`.
  for (let at = directory; ; at = dirname(at)) {
    await chmod(at, ((await stat(at)).mode & 0o7777) | 0o011)
    if (first === undefined || at === first) break
  }
}

/** @returns the password of both roles */
async function initialise(
  directory: string,
  binaries: Binaries,
  account: Account | undefined,
  options: EmbeddedOptions,
): Promise<string> {
  const data = join(directory, 'data')
  const passwordFile = join(directory, 'password')
  const version = await readFile(join(data, 'PG_VERSION'), 'utf8').catch(() => undefined)
  if (version !== undefined) {
    return await readFile(passwordFile, 'utf8').catch((error: unknown) => {
      throw new CoherenceError(
        'EMBEDDED_POSTGRES',
        `The password of the embedded Postgres server cannot be read from ${passwordFile}. Restore it, or delete ` +
          `${directory} to begin anew (its data is lost).`,
        { cause: error },
      )
    })
  }
  const password = randomBytes(24).toString('base64url')
  await writeFile(passwordFile, password, { mode: 0o600 })
  // Initialised under another name and moved: a data directory that exists is complete, whenever we were killed.
  const fresh = join(directory, 'data.new')
  const initialPassword = join(directory, 'initdb-password')
  await rm(fresh, { recursive: true, force: true })
  await mkdir(fresh, { mode: 0o700 })
  await writeFile(initialPassword, `${password}\n`, { mode: 0o600 })
  if (account) {
    await chown(fresh, account.uid, account.gid)
    await chown(initialPassword, account.uid, account.gid)
  }
  const flags = [
    `--pgdata=${fresh}`,
    '--username=supabase_admin',
    `--pwfile=${initialPassword}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
    '--locale-provider=builtin',
    '--builtin-locale=C.UTF-8',
    '--data-checksums',
    '--no-instructions',
    ...(options.fast ? ['--no-sync'] : []),
  ]
  const child = spawn(binaries.initdb, flags, { ...asAccount(account), stdio: ['ignore', 'pipe', 'pipe'] })
  const output = collectLines(child)
  try {
    const code = await new Promise<number | null>((settle, reject) => {
      child.once('error', reject)
      child.once('close', settle)
    }).catch((error: unknown) => {
      throw cannotRun(binaries.initdb, error)
    })
    if (code !== 0) throw describeFailure(`could not be initialised in ${directory}`, output)
    await rename(fresh, data)
  } finally {
    await rm(initialPassword, { force: true })
  }
  return password
}

/** Starts the server, choosing another port when a free one was taken meanwhile. */
async function launch(
  directory: string,
  binaries: Binaries,
  account: Account | undefined,
  options: EmbeddedOptions,
  claim: Claim,
  log: (line: string) => void,
): Promise<Launched & { port: number; pid: number }> {
  for (let tries = 1; ; tries++) {
    const port = options.port ?? (await findFreePort())
    const flags = serverFlags(join(directory, 'data'), port, options.fast ?? false)
    const child = spawn(binaries.postgres, flags, {
      ...asAccount(account),
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    const output = collectLines(child, log)
    const ended = new Promise<void>((settle) => {
      child.once('close', () => settle())
      child.once('error', () => settle())
    })
    const ready = waitUntilReady(child, binaries.postgres)
    if (child.pid !== undefined) await claim.noteServer(child.pid, port)
    const state = await ready
    if (state === 'ready' && child.pid !== undefined) return { child, ended, port, pid: child.pid }
    await end({ child, ended })
    const words = output.join('\n')
    if (words.includes('Address already in use') && options.port !== undefined) {
      throw new CoherenceError(
        'EMBEDDED_POSTGRES',
        `Port ${port} on 127.0.0.1 is in use by another program: choose another port, or end that program.`,
      )
    }
    // The processes of a server killed with -9 need a moment to notice and leave its shared memory.
    const passing = words.includes('Address already in use') || words.includes('pre-existing shared memory')
    if (!passing || tries === START_TRIES) throw describeFailure(`did not start in ${directory} (${state})`, output)
    await delay(250)
  }
}

function serverFlags(data: string, port: number, fast: boolean): string[] {
  const settings: Record<string, string | number> = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    timezone: 'UTC',
    log_timezone: 'UTC',
    log_line_prefix: '',
    lc_messages: 'C',
    log_checkpoints: 'off',
    // As hosted Supabase has it, so that publications and the volume of WAL are the same.
    wal_level: 'logical',
    ...(fast ? { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off' } : {}),
  }
  return ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
}

/** Resolves when the server takes connections, or with a word on why it never will. */
async function waitUntilReady(child: ChildProcess, program: string): Promise<string> {
  return await new Promise<string>((settle, reject) => {
    const timer = setTimeout(() => settle(`not ready after ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS)
    const settleOnce = (state: string) => {
      clearTimeout(timer)
      settle(state)
    }
    child.stderr?.on('data', (bytes: Buffer) => {
      if (bytes.includes('database system is ready to accept connections')) settleOnce('ready')
    })
    child.once('close', (code, signal) => settleOnce(signal ?? `exit code ${code}`))
    child.once('error', (error) => {
      clearTimeout(timer)
      reject(cannotRun(program, error))
    })
  })
}

/** Ends the server: the fast way, then the ways that need recovery at the next start. */
async function end({ child, ended }: Launched): Promise<void> {
  child.ref()
  for (const signal of ['SIGINT', 'SIGQUIT', 'SIGKILL'] as const) {
    if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) break
    child.kill(signal)
    const patience = new AbortController()
    const late = delay(STOP_PATIENCE_MS, undefined, { signal: patience.signal }).catch(() => {})
    await Promise.race([ended, late])
    patience.abort()
  }
}

function startWatchdog(directory: string, pid: number, temporary: boolean): ChildProcess {
  const pidFile = join(directory, 'data', 'postmaster.pid')
  const watchdog = spawn('/bin/sh', ['-c', WATCHDOG, 'sh', pidFile, String(pid), temporary ? directory : ''], {
    cwd: '/',
    detached: true,
    env: ENVIRONMENT,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  // Without a shell there is no watchdog: the next start in the directory ends a server left behind.
  watchdog.on('error', () => {})
  watchdog.stdin?.on('error', () => {})
  return watchdog
}

function letGo(child: ChildProcess): void {
  child.unref()
  for (const stream of [child.stdin, child.stderr]) if (stream instanceof Socket) stream.unref()
}

function asAccount(account: Account | undefined) {
  return { cwd: '/', env: ENVIRONMENT, ...(account ? { uid: account.uid, gid: account.gid } : {}) }
}

/** The last lines a process wrote, growing as it writes. */
function collectLines(child: ChildProcess, log: (line: string) => void = () => {}): string[] {
  const lines: string[] = []
  for (const input of [child.stdout, child.stderr]) {
    if (!input) continue
    createInterface({ input }).on('line', (line) => {
      lines.push(line)
      if (lines.length > LOG_TAIL) lines.shift()
      log(line)
    })
  }
  return lines
}

function describeFailure(what: string, output: string[]): CoherenceError {
  const words = output.length > 0 ? `Its last words:\n  ${output.join('\n  ')}` : 'It said nothing.'
  return new CoherenceError('EMBEDDED_POSTGRES', `The embedded Postgres server ${what}. ${words}`)
}

function cannotRun(program: string, error: unknown): CoherenceError {
  return new CoherenceError(
    'EMBEDDED_POSTGRES',
    `${program} cannot be run here (${error instanceof Error ? error.message : String(error)}). The build needs glibc: on ` +
      'Alpine Linux, or a volume mounted noexec, set DATABASE_URL to a Postgres of your own instead.',
    { cause: error },
  )
}

async function findFreePort(): Promise<number> {
  return await new Promise((settle, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => settle(typeof address === 'object' && address ? address.port : 0))
    })
  })
}

/** Gives role `postgres` what it has on hosted Supabase: much, but not superuser. */
async function createPostgresRole(adminUrl: string, password: string): Promise<void> {
  const admin = new Client({ connectionString: adminUrl })
  await admin.connect()
  try {
    const { rowCount } = await admin.query(`select from pg_roles where rolname = 'postgres'`)
    if (rowCount) return
    await admin.query(
      'create role postgres login nosuperuser createdb createrole replication bypassrls inherit ' +
        `password ${admin.escapeLiteral(password)}`,
    )
  } finally {
    await admin.end()
  }
}
