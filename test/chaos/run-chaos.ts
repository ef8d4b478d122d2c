import { randomUUID } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pino } from 'pino'
import { type Config, parseConfig } from '../../infra/config.ts'
import { openContext } from '../../infra/context.ts'
import { startStrictS3, type StrictS3 } from '../storage/strict-s3.ts'
import { startClock } from './clock.ts'
import { startDevices } from './devices.ts'
import { connectionFaults, diskFault, type Fault, mountSmallDisk, storeFaults } from './faults.ts'
import { startFleet, type Fleet } from './fleet.ts'
import { startPooler } from './pooler.ts'
import { countOrphans, proveAnalyses, proveChunks, provePrunes, proveQueues } from './proof.ts'
import { createRandom, type Random } from './random.ts'
import { proveRollups } from './recompute.ts'
import { type ChaosReport, countSamples, type Event, recoveries, spreadOf } from './report.ts'
import { backfillFirstQuarter, startUsers } from './requests.ts'
import { startServer } from './server.ts'

/** Of the time, on the S3 service; then on the disk. */
const SHARE_OF_S3 = 0.7
/** Of the processes that are ended, those that get SIGTERM and may hand back what they do. */
const SHARE_OF_STOPS = 0.25
const DRAIN_LIMIT_MS = 240_000
const log = pino({ level: 'silent' })

export interface ChaosOptions {
  /** How long faults go on. */
  readonly seconds: number
  readonly seed: string
  readonly killsPerMinute: number
  readonly log: (line: string) => void
  readonly signal: AbortSignal
}

/** The chaos test. Everything it starts is its own and gone when it returns. */
export async function runChaos(options: ChaosOptions): Promise<ChaosReport> {
  const directory = join(tmpdir(), `coherence-chaos-${randomUUID()}`)
  const undo: (() => Promise<void> | void)[] = [() => rm(directory, { recursive: true, force: true })]
  try {
    const server = await startServer(directory)
    undo.push(() => server.end('fast'))
    const pooler = await startPooler(server.config.databaseUrl)
    undo.push(() => pooler.close())
    const s3 = await startStrictS3()
    s3.state.pageSize = 1000
    undo.push(() => s3.close())
    const disk = mountSmallDisk(server.config.localStorageDir)
    if (disk) undo.push(() => disk.unmount())
    else options.log('no right to mount a small disk: it will not be filled')
    await mkdir(join(server.config.localStorageDir, server.config.storageBucket), { recursive: true })

    const random = createRandom(options.seed)
    const settings = (driver: Config['storageDriver'], databaseUrl: string) =>
      environment(server.config, s3, driver, databaseUrl)
    let driver: Config['storageDriver'] = 'storj'
    const clock = await startClock(server.config.databaseUrl)
    undo.push(() => clock.stop())
    const fleet = startFleet(() => settings(driver, pooler.url), random.fork('fleet'))
    undo.push(() => fleet.stop())
    const devices = await startDevices(server.config.databaseUrl, random, options.seconds)
    let devicesStopped: Promise<void> | undefined
    const stopDevices = () => (devicesStopped ??= devices.stop())
    undo.push(stopDevices)
    const users = await startUsers(server.config.databaseUrl, random.fork('users'))
    let usersStopped: Promise<void> | undefined
    const stopUsers = () => (usersStopped ??= users.stop())
    undo.push(stopUsers)

    const began = Date.now()
    const events: Event[] = []
    const kills = killAtRandom(fleet, random.fork('kills'), options, events)
    // Awaited below; until then an interrupt must not end the process.
    kills.catch(() => {})
    const backfill = sleep(options.seconds * 500, undefined, { signal: options.signal }).then(() =>
      backfillFirstQuarter(server.config.databaseUrl, () => settings(driver, pooler.url), options.signal),
    )
    backfill.catch(() => {})
    const connections = connectionFaults(server, pooler)
    const untilDisk = began + options.seconds * 1000 * SHARE_OF_S3
    await meetFaults([...connections, ...storeFaults(s3)], random.fork('s3'), untilDisk, options, events)
    driver = 'local'
    options.log('from now on new objects go to the disk')
    const onDisk = [...connections, ...(disk ? [diskFault(disk)] : [])]
    await meetFaults(onDisk, random.fork('disk'), began + options.seconds * 1000, options, events)
    await kills
    const faultsOver = Date.now()
    const { sent: backfilled, provedBefore } = await backfill
    await stopUsers()
    await stopDevices()
    options.log('faults are over; draining')

    const { context, close } = await openContext(parseConfig(settings('local', server.config.databaseUrl)), log)
    try {
      const problems: string[] = []
      const drain = async (when: string) => {
        const waits = await clock.drain(DRAIN_LIMIT_MS, options.signal)
        if (waits.length > 0) problems.push(`${when} it did not drain: ${waits.join('; ')}`)
      }
      await drain('after the faults')
      const redriven = await clock.redrive(context)
      await drain('after the redrive')
      const drainSeconds = (Date.now() - faultsOver) / 1000
      await clock.stop()
      await fleet.stop()
      problems.push(...fleet.unexpected)
      await proveQueues(context.pool, problems)
      const retriedJobs = await clock.countRetried(context.pool)
      const analyses = await proveAnalyses(context.pool, users.asked, problems)
      const chunks = (await proveChunks(context, devices.ledger, problems)).map((chunk) => {
        // The backfill has proved it again; what counts here is the first time.
        return { ...chunk, verifiedAt: provedBefore.get(chunk.id) ?? chunk.verifiedAt }
      })
      const prunes = await provePrunes(context.pool, chunks, problems)
      const rollups = await proveRollups(context, chunks, problems)
      return {
        seed: options.seed,
        seconds: (faultsOver - began) / 1000,
        drainSeconds,
        ...countSamples(devices.ledger, chunks),
        chunks: chunks.length,
        objectsWithoutRow: await countOrphans(context),
        kills: Object.fromEntries(countBy(events.filter(isKill), ({ kind }) => kind.slice(KILL.length))),
        stops: { times: fleet.stops.length, seconds: spreadOf(fleet.stops) },
        analyses,
        backfilled,
        faults: recoveries(
          events.map((event) => (isKill(event) ? { ...event, kind: 'a process SIGKILLed' } : event)),
          chunks,
        ),
        prunes,
        rollups,
        retriedJobs,
        redriven,
        ends: Object.fromEntries(fleet.ends),
        problems,
      }
    } finally {
      await close()
    }
  } finally {
    for (const step of undo.toReversed()) {
      // What one step cannot undo must not keep the others from it.
      await Promise.resolve()
        .then(step)
        .catch((error: Error) => options.log(`could not clean up: ${error.message}`))
    }
  }
}

const KILL = 'kill '
const isKill = ({ kind }: Event) => kind.startsWith(KILL)

function countBy<T>(list: readonly T[], key: (item: T) => string): [string, number][] {
  return [...Map.groupBy(list, key)].map(([name, all]) => [name, all.length])
}

/** Chunks of some 250 samples after a second, a retention that the days of the run pass: all else is as it comes. */
function environment(
  config: Config,
  { endpoint, state }: StrictS3,
  driver: string,
  databaseUrl: string,
): Record<string, string> {
  return {
    DATABASE_URL: databaseUrl,
    STORAGE_DRIVER: driver,
    STORAGE_BUCKET: driver === 'storj' ? state.bucket : config.storageBucket,
    LOCAL_STORAGE_DIR: config.localStorageDir,
    STORJ_ENDPOINT: endpoint,
    STORJ_REGION: state.region,
    STORJ_ACCESS_KEY_ID: state.accessKeyId,
    STORJ_SECRET_ACCESS_KEY: state.secretAccessKey,
    CHUNK_TARGET_BYTES: '16384',
    CHUNK_MAX_AGE: '1',
    RETENTION_DAYS: '30',
    LOG_LEVEL: 'error',
  }
}

/** Fault after fault until `until`: all kinds in a random order, then all again. Time for the pipeline to go on in between. */
async function meetFaults(
  faults: readonly Fault[],
  random: Random,
  until: number,
  { log: say, signal }: ChaosOptions,
  events: Event[],
): Promise<void> {
  let deck: Fault[] = []
  for (;;) {
    await sleep(random.between(1, 4) * 1000, undefined, { signal })
    if (deck.length === 0) deck = random.shuffle(faults)
    const fault = deck.pop() as Fault
    const seconds = random.between(...fault.seconds)
    if (Date.now() + seconds * 1000 > until) return
    const began = Date.now()
    await fault.begin()
    try {
      await sleep(seconds * 1000, undefined, { signal })
    } finally {
      await fault.end()
    }
    events.push({ kind: fault.name, began, ended: Date.now() })
    say(`${fault.name}, ${seconds.toFixed(1)} s`)
  }
}

async function killAtRandom(fleet: Fleet, random: Random, options: ChaosOptions, events: Event[]): Promise<void> {
  const until = Date.now() + options.seconds * 1000
  const mean = 60_000 / options.killsPerMinute
  let due = Date.now()
  while ((due += random.between(0.2, 1.8) * mean) < until) {
    await sleep(Math.max(0, due - Date.now()), undefined, { signal: options.signal })
    const how = random.next() < SHARE_OF_STOPS ? 'SIGTERM' : 'SIGKILL'
    let killed = fleet.kill(how)
    // None is at work yet: the next that is.
    while (killed === null && Date.now() < until) {
      await sleep(50)
      killed = fleet.kill(how)
    }
    const at = Date.now()
    if (killed === null) continue
    events.push({ kind: how === 'SIGKILL' ? `${KILL}${killed}` : 'a process told to stop', began: at, ended: at })
  }
}
