import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod, chown, mkdir, readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import { Socket } from 'node:net'
import { dirname, join, resolve } from 'node:path'
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
import { claimDirectory } from './embedded-claim.ts'
import {
  asAccount,
  cannotRun,
  collectLines,
  describeFailure,
  endServer,
  ENVIRONMENT,
  type Launched,
  launchServer,
} from './embedded-launch.ts'

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
  /** Once it aborts, the start fails with its reason and leaves nothing behind. */
  readonly signal?: AbortSignal
}

export interface EmbeddedServer {
  readonly port: number
  readonly directory: string
  /** A connection URL. `postgres` has the rights it has on hosted Supabase; `supabase_admin` is the superuser. */
  urlFor(database: string, role?: 'postgres' | 'supabase_admin'): string
  /** Ends open connections and the server (Postgres's "fast" shutdown); drain your own work first. */
  stop(): Promise<void>
}

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
 * @throws CoherenceError EMBEDDED_POSTGRES with what stands in the way and the server's last words; the signal's reason
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
    options.signal?.throwIfAborted()
    const password = await initialise(directory, binaries, account, options)
    options.signal?.throwIfAborted()
    const started = await launchServer(directory, binaries, account, options, claim, log)
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
      await endServer(started)
      await claim.release()
      if (!options.persistent) await rm(directory, { recursive: true, force: true })
      watchdog.stdin?.end('done\n')
    }
    return { port: started.port, directory, urlFor, stop: () => (stopping ??= stop()) }
  } catch (error) {
    if (launched) await endServer(launched)
    await claim.release()
    if (!options.persistent) await rm(directory, { recursive: true, force: true })
    // Ctrl-C reaches a child that has not yet got a session of its own, and then it is the child that fails.
    options.signal?.throwIfAborted()
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
  // In a session of its own, as the server: Ctrl-C must not tear it down under us.
  const child = spawn(binaries.initdb, flags, {
    ...asAccount(account),
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
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
