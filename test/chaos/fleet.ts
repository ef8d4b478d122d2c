import { setTimeout as sleep } from 'node:timers/promises'
import { createCli, type Started } from '../infra/run-cli.ts'
import type { Random } from './random.ts'

const WORKERS = 3
const TICK_EVERY_MS = 3000
/** A process needs some time to begin with its work, and killed earlier it would show nothing; a tick soon ends. */
const WORKS_AFTER_MS = { work: 800, tick: 400 } as const

/** Real processes of the command line, as a machine or Modal runs them: workers, and a tick again and again. */
export interface Fleet {
  /** What ended by itself, by command and end. */
  readonly ends: Map<string, number>
  /** What should not be: errors that no fault explains. */
  readonly unexpected: string[]
  /** SIGKILL for one of those that are at work, at random; what it was, or null if none is. */
  kill(): string | null
  /** SIGTERM for all; resolves when they have ended. */
  stop(): Promise<void>
}

/** `environment` is asked at each start: a fleet moves to another store as its processes are replaced. */
export function startFleet(environment: () => Record<string, string>, random: Random): Fleet {
  const cli = createCli()
  const stopping = new AbortController()
  const living = new Map<Started, { name: string; worksFrom: number }>()
  const ends = new Map<string, number>()
  const unexpected: string[] = []
  const run = async (command: 'work' | 'tick', ...flags: string[]) => {
    const args = [command, ...flags]
    const started = cli.start(args, { env: environment() })
    started.child.stdin.end()
    const name = args.join(' ')
    living.set(started, { name, worksFrom: Date.now() + WORKS_AFTER_MS[command] })
    const { code, stderr } = await started.finished
    living.delete(started)
    const said = /^([A-Z_]+): .*$/m.exec(stderr)
    const end = started.child.signalCode ?? (code === 0 ? 'done' : (said?.[1] ?? `exit ${code}`))
    if (end !== 'SIGKILL') ends.set(`${name}: ${end}`, (ends.get(`${name}: ${end}`) ?? 0) + 1)
    if (code !== 0 && code !== null && (said === null || said[1] === 'UNEXPECTED'))
      unexpected.push(`${name}: ${stderr.trim()}`)
    return code
  }
  const pause = async (ms: number) => {
    await sleep(ms, undefined, { signal: stopping.signal }).catch(() => {})
  }
  const work = async (slot: number) => {
    const own = random.fork(`worker ${slot}`)
    while (!stopping.signal.aborted) {
      await run('work', own.next() < 0.5 ? '--watch' : '--drain')
      await pause(200)
    }
  }
  const tick = async () => {
    while (!stopping.signal.aborted) {
      await run('tick')
      await pause(TICK_EVERY_MS)
    }
  }
  const loops = [tick(), ...Array.from({ length: WORKERS }, (_, slot) => work(slot))]
  return {
    ends,
    unexpected,
    kill: () => {
      const ready = [...living].filter(([, { worksFrom }]) => Date.now() > worksFrom)
      if (ready.length === 0) return null
      const [victim, { name }] = random.pick(ready)
      victim.child.kill('SIGKILL')
      living.delete(victim)
      return name
    },
    stop: async () => {
      stopping.abort()
      for (const { child } of living.keys()) child.kill('SIGTERM')
      await Promise.all(loops)
      cli.remove()
    },
  }
}
