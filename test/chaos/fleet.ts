import { setTimeout as sleep } from 'node:timers/promises'
import { createCli, type Started } from '../infra/run-cli.ts'
import type { Random } from './random.ts'

const WORKERS = 3
const TICK_EVERY_MS = 3000
/** A process needs some time to begin with its work, and killed earlier it would show nothing; a tick soon ends. */
const WORKS_AFTER_MS = { work: 800, tick: 400 } as const
/** A worker hands back after 20 s; what platforms give before they kill is 25 s at least. */
const LONGEST_STOP_SECONDS = 25

/** Real processes of the command line, as a machine or Modal runs them: workers, and a tick again and again. */
export interface Fleet {
  /** What ended by itself, by command and end. */
  readonly ends: Map<string, number>
  /** What should not be: errors that no fault explains, and processes that go on after SIGTERM. */
  readonly unexpected: string[]
  /** Seconds from SIGTERM to the end, of each that was told to stop. */
  readonly stops: number[]
  /** SIGKILL or SIGTERM for one of those that are at work, at random; what it was, or null if none is. */
  kill(signal: 'SIGKILL' | 'SIGTERM'): string | null
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
  const stops: number[] = []
  const told = new Map<Started, number>()
  const run = async (command: 'work' | 'tick', ...flags: string[]) => {
    const args = [command, ...flags]
    const started = cli.start(args, { env: environment() })
    started.child.stdin.end()
    const name = args.join(' ')
    living.set(started, { name, worksFrom: Date.now() + WORKS_AFTER_MS[command] })
    const { code, stderr } = await started.finished
    living.delete(started)
    const said = /^([A-Z_]+): .*$/m.exec(stderr)
    // A tick that is told to stop ends as the signal has it; a worker's end on request is a good one.
    const asTold = command === 'tick' && code === 143
    const end = started.child.signalCode ?? (asTold ? 'stopped' : code === 0 ? 'done' : (said?.[1] ?? `exit ${code}`))
    if (end !== 'SIGKILL') ends.set(`${name}: ${end}`, (ends.get(`${name}: ${end}`) ?? 0) + 1)
    const toldAt = told.get(started)
    if (toldAt !== undefined) {
      stops.push((Date.now() - toldAt) / 1000)
      if (stops.at(-1)! > LONGEST_STOP_SECONDS) unexpected.push(`${name} took ${stops.at(-1)} s to stop`)
    }
    if (code !== 0 && code !== null && !asTold && (said === null || said[1] === 'UNEXPECTED'))
      unexpected.push(`${name}: exit ${code}, ${stderr.trim()}`)
    return code
  }
  const tell = (started: Started) => {
    told.set(started, Date.now())
    started.child.kill('SIGTERM')
    // Found out of time by then, it is not waited for.
    setTimeout(() => started.child.kill('SIGKILL'), 2000 * LONGEST_STOP_SECONDS).unref()
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
    stops,
    kill: (signal) => {
      const ready = [...living].filter(([, { worksFrom }]) => Date.now() > worksFrom)
      if (ready.length === 0) return null
      const [victim, { name }] = random.pick(ready)
      if (signal === 'SIGTERM') tell(victim)
      else victim.child.kill(signal)
      living.delete(victim)
      return name
    },
    stop: async () => {
      stopping.abort()
      for (const started of living.keys()) tell(started)
      await Promise.all(loops)
      cli.remove()
    },
  }
}
