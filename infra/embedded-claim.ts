import { execFile } from 'node:child_process'
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { CoherenceError } from '../pipeline/errors.ts'

/** A process that can be told from a later one with the same number. */
interface ProcessMark {
  readonly pid: number
  readonly born: string
}

interface ClaimRecord {
  readonly owner: ProcessMark
  readonly server?: ProcessMark & { readonly port: number }
}

/** One process's hold on an embedded server's directory. */
export interface Claim {
  /** Notes the running server, so that a later start can tell it from a stranger. */
  noteServer(pid: number, port: number): Promise<void>
  /** Lets the directory go. */
  release(): Promise<void>
}

const ORPHAN_PATIENCE_MS = 30_000

/**
 * When a process began, or undefined when it is gone (a zombie counts as gone: containers often have nobody to reap it).
 * Numbers alone do not tell: after a reboot, or in a fresh container on an old volume, they name other processes.
 */
async function readBirth(pid: number): Promise<string | undefined> {
  if (process.platform === 'linux') {
    const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
    // proc(5): field 2 is the name in parentheses, field 3 the state, field 22 the start time in ticks since boot.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19]
  }
  const found = await promisify(execFile)('ps', ['-o', 'state=,lstart=', '-p', String(pid)]).catch(() => ({
    stdout: '',
  }))
  const [state = '', ...lstart] = found.stdout.trim().split(/\s+/)
  return state === '' || state.startsWith('Z') ? undefined : lstart.join(' ')
}

async function isAlive(mark: ProcessMark | undefined): Promise<boolean> {
  return mark !== undefined && (await readBirth(mark.pid)) === mark.born
}

/**
 * Takes `directory` for this process, ending a server that a killed process left behind in it.
 *
 * @throws CoherenceError EMBEDDED_POSTGRES when a living process holds it, or a left-behind server does not end
 */
export async function claimDirectory(directory: string): Promise<Claim> {
  const file = join(directory, 'owner.json')
  const mine = `${file}.${process.pid}`
  const owner: ProcessMark = { pid: process.pid, born: (await readBirth(process.pid)) ?? '' }
  await writeFile(mine, JSON.stringify({ owner } satisfies ClaimRecord), { mode: 0o600 })
  try {
    for (;;) {
      // link(2) creates the file whole or not at all; open(O_EXCL) would show readers an empty one.
      const taken = await link(mine, file).then(
        () => true,
        (error: NodeJS.ErrnoException) => {
          if (error.code === 'EEXIST') return false
          throw error
        },
      )
      if (taken) break
      await clearStaleClaim(directory, file)
    }
  } finally {
    await rm(mine, { force: true })
  }
  let current = JSON.stringify({ owner } satisfies ClaimRecord)
  return {
    noteServer: async (pid, port) => {
      current = JSON.stringify({
        owner,
        server: { pid, born: (await readBirth(pid)) ?? '', port },
      } satisfies ClaimRecord)
      await writeFile(mine, current, { mode: 0o600 })
      await rename(mine, file)
    },
    release: async () => {
      // After our server was killed another start may have taken the directory over: leave that claim alone.
      if ((await readFile(file, 'utf8').catch(() => '')) === current) await rm(file, { force: true })
    },
  }
}

async function clearStaleClaim(directory: string, file: string): Promise<void> {
  const text = await readFile(file, 'utf8').catch(() => '')
  if (text === '') return
  const { owner, server }: ClaimRecord = JSON.parse(text)
  const serving = await isAlive(server)
  if ((await isAlive(owner)) && (serving || server === undefined)) {
    throw new CoherenceError(
      'EMBEDDED_POSTGRES',
      `The embedded Postgres server in ${directory} is already in use by process ${owner.pid}` +
        `${server === undefined ? ', which is starting it' : ` (port ${server.port})`}. Stop that one first ` +
        '(Ctrl-C there), or choose another directory.',
    )
  }
  if (server !== undefined && serving) await endOrphan(directory, server)
  if (server !== undefined) await removeForeignPidFile(directory, server)
  await rm(file, { force: true })
}

/** The watchdog of a killed process needs a moment to end its server; where it was killed too, this does its work. */
async function endOrphan(directory: string, server: ProcessMark): Promise<void> {
  const deadline = Date.now() + ORPHAN_PATIENCE_MS
  // SIGINT is Postgres's fast shutdown; a second one changes nothing.
  process.kill(server.pid, 'SIGINT')
  while (await isAlive(server)) {
    if (Date.now() > deadline) {
      throw new CoherenceError(
        'EMBEDDED_POSTGRES',
        `An embedded Postgres server left behind in ${directory} (process ${server.pid}) does not end: end it with ` +
          `kill -QUIT ${server.pid} and try again.`,
      )
    }
    await delay(50)
  }
}

/**
 * postmaster.pid outlives a killed server. Postgres clears it when its number is free, and refuses to start when another
 * process of the same account has that number by now, which in containers is common: then it goes here.
 */
async function removeForeignPidFile(directory: string, server: ProcessMark): Promise<void> {
  const pidFile = join(directory, 'data', 'postmaster.pid')
  const pid = Number((await readFile(pidFile, 'utf8').catch(() => '')).split('\n')[0])
  if (pid !== server.pid) return
  const born = await readBirth(pid)
  if (born !== undefined && born !== server.born) await rm(pidFile, { force: true })
}
