import { type ChildProcess, spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import { CoherenceError } from '../pipeline/errors.ts'
import type { Account, Binaries } from './embedded-binaries.ts'
import type { Claim } from './embedded-claim.ts'

export interface Launched {
  readonly child: ChildProcess
  readonly ended: Promise<void>
}

const START_TIMEOUT_MS = 120_000
const STOP_PATIENCE_MS = 30_000
const START_TRIES = 10
const LOG_TAIL = 12

// The server gets an environment of its own: PG* variables and locales of the caller must not reach it.
export const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' }

/** What a start needs to know besides where the programs are. */
export interface LaunchOptions {
  readonly port?: number
  readonly fast?: boolean
}

/** Starts the server, choosing another port when a free one was taken meanwhile. */
export async function launchServer(
  directory: string,
  binaries: Binaries,
  account: Account | undefined,
  options: LaunchOptions,
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
    await endServer({ child, ended })
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
export async function endServer({ child, ended }: Launched): Promise<void> {
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

export function asAccount(account: Account | undefined) {
  return { cwd: '/', env: ENVIRONMENT, ...(account ? { uid: account.uid, gid: account.gid } : {}) }
}

/** The last lines a process wrote, growing as it writes. */
export function collectLines(child: ChildProcess, log: (line: string) => void = () => {}): string[] {
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

export function describeFailure(what: string, output: string[]): CoherenceError {
  const words = output.length > 0 ? `Its last words:\n  ${output.join('\n  ')}` : 'It said nothing.'
  return new CoherenceError('EMBEDDED_POSTGRES', `The embedded Postgres server ${what}. ${words}`)
}

export function cannotRun(program: string, error: unknown): CoherenceError {
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
