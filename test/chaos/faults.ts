import { execFileSync } from 'node:child_process'
import { rmSync, statfsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault as SocketFault, FaultTarget } from '../storage/socket-faults.ts'
import type { StrictS3 } from '../storage/strict-s3.ts'
import type { Pooler } from './pooler.ts'
import type { Ending, Server } from './server.ts'

/** Something that goes wrong for a while. */
export interface Fault {
  readonly name: string
  /** Between these many seconds. */
  readonly seconds: readonly [number, number]
  begin(): Promise<void> | void
  end(): Promise<void> | void
}

/** The database's and the pooler's. */
export function connectionFaults(server: Server, pooler: Pooler): Fault[] {
  const endings: Record<Ending, string> = {
    fast: 'Postgres restarted',
    immediate: 'Postgres stopped at once',
    kill: 'Postgres: postmaster SIGKILLed',
  }
  return [
    ...Object.entries(endings).map(([how, name]): Fault => ({
      name,
      seconds: [0.2, 2],
      begin: () => server.end(how as Ending),
      end: () => server.start(),
    })),
    { name: `pooler (${pooler.name})`, seconds: [0.2, 3], begin: () => pooler.cut(), end: () => pooler.mend() },
  ]
}

const HANG_MS = 20_000

/** The object store's. */
export function storeFaults({ faults }: StrictS3): Fault[] {
  const fault = (name: string, what: SocketFault, on: FaultTarget = 'any'): Fault => ({
    name: `store ${name}`,
    seconds: [2, 6],
    begin: () => faults.add(what, { on, times: Infinity }),
    end: () => faults.clear(),
  })
  return [
    fault('answers 503', { kind: 'refuse', status: 503 }),
    fault('hangs', { kind: 'stall', ms: HANG_MS }),
    fault('does it, and its answer is lost', { kind: 'lose-response' }),
    fault('resets a put midway', { kind: 'reset-request' }, 'write'),
    fault('ends a get midway', { kind: 'truncate' }, 'read'),
    fault('flips a bit', { kind: 'corrupt' }, 'read'),
  ]
}

/** A disk of its own, so small that it can be filled. */
export interface SmallDisk {
  readonly directory: string
  unmount(): void
}

/** Null without the right to mount. */
export function mountSmallDisk(directory: string): SmallDisk | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', directory], { stdio: 'ignore' })
  } catch {
    return null
  }
  return { directory, unmount: () => execFileSync('umount', [directory], { stdio: 'ignore' }) }
}

export function diskFault({ directory }: SmallDisk): Fault {
  const ballast = join(directory, 'ballast')
  return {
    name: 'disk full',
    seconds: [2, 5],
    begin: () => {
      const { bavail, bsize } = statfsSync(directory)
      try {
        writeFileSync(ballast, Buffer.alloc(bavail * bsize))
      } catch {
        // Something else took the last page: full all the same.
      }
    },
    end: () => rmSync(ballast, { force: true }),
  }
}
