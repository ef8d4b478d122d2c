import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { isConnectionLost } from '../../db/connection-lost.ts'
import { inTransaction } from '../../db/pool.ts'
import { insertSamples, type NewSample, storeChecked } from '../../db/samples.ts'
import { CoherenceError } from '../../pipeline/errors.ts'
import type { Random } from './random.ts'

/** What the senders know of one sample. Without an answer it may be stored or not, but not twice. */
export interface Sent {
  readonly sample: NewSample
  /** Milliseconds since 1970; null: no answer came. */
  acknowledgedAt: number | null
}

/** All that was sent, by device, profile, time and sequence. */
export type Ledger = Map<string, Sent>

export const ledgerKey = (deviceId: string, profileId: string, micros: bigint, sequence: bigint) =>
  `${deviceId} ${profileId} ${micros} ${sequence}`

/**
 * `door`: by the function that devices call, as role device with their own token, again until there is an answer, samples of
 * now. `import`: by the same function as the service, samples of past days. `plain`: one INSERT a batch, of past days, never again
 * if no answer comes; some are late, when their day may have been pruned already.
 */
const WAYS = ['door', 'door', 'door', 'import', 'plain', 'plain', 'plain', 'plain'] as const
const SAMPLE_BYTES = 64
const BATCH = 10
const EVERY_MS = 500
const DAY = 86_400_000
/** The days that senders go through in a run are this long ago at its begin, and older than retention at its end. */
export const FIRST_DAY_AGO = 60
export const DAYS = 24
const LATE = 0.02

export interface Devices {
  readonly ledger: Ledger
  readonly ways: Readonly<Record<string, number>>
  /** No more samples; resolves when all have what they wait for. */
  stop(): Promise<void>
}

/** Lets devices send at a steady rate for `runSeconds`. They reach Postgres by another way than the workers. */
export async function startDevices(databaseUrl: string, random: Random, runSeconds: number): Promise<Devices> {
  const pool = new Pool({ connectionString: databaseUrl, max: WAYS.length + 1, connectionTimeoutMillis: 2000 })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  const today = Math.floor(Date.now() / DAY) * DAY
  await pool.query('select app_private.ensure_partitions($1::date, $2::date)', [
    new Date(today - FIRST_DAY_AGO * DAY),
    new Date(today - (FIRST_DAY_AGO - DAYS) * DAY),
  ])
  const ledger: Ledger = new Map()
  const stopping = new AbortController()
  const userId = await createLocalUser(pool, 'chaos@localhost')
  const began = Date.now()
  const failures: unknown[] = []
  const days = { now: 0 }
  await holdFrom(pool, today, 0)
  const passing = passDays(pool, { today, began, runSeconds, days }, stopping.signal)
  const loops = [passing.catch((error: unknown) => void failures.push(error))]
  for (const [index, way] of WAYS.entries()) {
    const device = await createDevice(pool, {
      userId,
      name: `${way} ${index}`,
      description: '',
      clientType: 'linux',
      sampleRateHz: BATCH * (1000 / EVERY_MS),
      sampleSizeBytes: SAMPLE_BYTES,
    })
    const claims = way === 'door' ? await giveToken(pool, device.deviceId) : ''
    const sender: Sender = { ...device, way, claims, random: random.fork(`device ${index}`), today, days }
    loops.push(runSender(pool, sender, ledger, stopping.signal).catch((error: unknown) => void failures.push(error)))
  }
  const ways = Object.fromEntries(
    Object.entries(Object.groupBy(WAYS, (way) => way)).map(([way, all]) => [way, all.length]),
  )
  return {
    ledger,
    ways,
    stop: async () => {
      stopping.abort()
      await Promise.all(loops)
      await holdFrom(pool, today, DAYS)
      await pool.end()
      if (failures.length > 0) throw failures[0]
    },
  }
}

interface Sender {
  readonly deviceId: string
  readonly profileId: string
  readonly way: (typeof WAYS)[number]
  /** Of the device's JWT. */
  readonly claims: string
  readonly random: Random
  readonly today: number
  /** The past day that is being sent, counted from the first. */
  readonly days: { readonly now: number }
}

/** Goes from day to day. Those to come are held: all are older than retention, which would drop them while they are empty. */
async function passDays(
  pool: Pool,
  run: { today: number; began: number; runSeconds: number; days: { now: number } },
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const due = Math.min(DAYS - 1, Math.floor(((Date.now() - run.began) / 1000 / run.runSeconds) * DAYS))
    if (due > run.days.now && (await isAnswered(() => holdFrom(pool, run.today, due)))) run.days.now = due
    await sleep(200, undefined, { signal }).catch(() => {})
  }
}

/** No day from this one on, counted from the first, may be pruned. */
async function holdFrom(pool: Pool, today: number, day: number): Promise<void> {
  await pool.query(
    `with gone as (delete from app_private.retention_holds where reason = 'to come')
     insert into app_private.retention_holds (range_start, range_end, reason) select $1::timestamptz, $2::timestamptz, 'to come' where $1::timestamptz < $2::timestamptz`,
    [day, DAYS].map((n) => new Date(today - (FIRST_DAY_AGO - n) * DAY)),
  )
}

async function runSender(pool: Pool, sender: Sender, ledger: Ledger, signal: AbortSignal): Promise<void> {
  let due = performance.now()
  for (let sequence = 0n; !signal.aborted; sequence += BigInt(BATCH)) {
    const samples = nextBatch(sender, sequence)
    const sent = samples.map((sample): Sent => ({ sample, acknowledgedAt: null }))
    for (const [n, { deviceId, profileId, timestamp, sequence: own }] of samples.entries()) {
      ledger.set(ledgerKey(deviceId, profileId, BigInt((timestamp as Date).getTime()) * 1000n, own), sent[n])
    }
    let answered = await isAnswered(() => send(pool, sender, samples))
    for (let tries = 0; !answered && sender.way !== 'plain'; tries++) {
      if (tries === 600) throw new Error(`device ${sender.deviceId} had no answer in 600 tries`)
      await sleep(200)
      answered = await isAnswered(() => send(pool, sender, samples))
    }
    if (answered) for (const one of sent) one.acknowledgedAt = Date.now()
    due = Math.max(due + EVERY_MS, performance.now() - 10 * EVERY_MS)
    await sleep(Math.max(0, due - performance.now()), undefined, { signal }).catch(() => {})
  }
}

/** One a `BATCH`th of the time between two batches; those of the past as if one second lay between them. */
function nextBatch({ deviceId, profileId, way, random, ...run }: Sender, first: bigint): NewSample[] {
  const now = Date.now()
  const past = run.days.now
  const day = way === 'plain' && random.next() < LATE ? Math.floor(random.next() * (past + 1)) : past
  const noon = run.today - (FIRST_DAY_AGO - day) * DAY + DAY / 2
  return Array.from({ length: BATCH }, (_, n) => ({
    deviceId,
    profileId,
    timestamp: new Date(way === 'door' ? now + (n * EVERY_MS) / BATCH : noon + (Number(first) + n) * 1000),
    sequence: first + BigInt(n),
    data: random.bytes(SAMPLE_BYTES),
  }))
}

async function send(pool: Pool, { deviceId, way, claims }: Sender, samples: readonly NewSample[]): Promise<void> {
  if (way === 'plain') return await insertSamples(pool, samples)
  const answer = await inTransaction(pool, async (tx) => {
    // As PostgREST does for a request with the device's JWT.
    if (way === 'door') {
      await tx.query(`select set_config('role', 'device', true), set_config('request.jwt.claims', $1, true)`, [claims])
    }
    return await storeChecked(tx, deviceId, samples)
  })
  const rejected = answer.find(({ status }) => status === 'rejected')
  if (rejected) throw new CoherenceError('SAMPLES_REJECTED', rejected.reason ?? '')
}

/** False if no answer came: the connection broke, or there was none. Any other failure is the test's own. */
async function isAnswered(work: () => Promise<void>): Promise<boolean> {
  try {
    await work()
    return true
  } catch (error) {
    if (isConnectionLost(error)) return false
    throw error
  }
}

/** The claims of the JWT that a device has for its token. */
async function giveToken(pool: Pool, deviceId: string): Promise<string> {
  const { rows } = await pool.query<{ tokenId: string }>(
    `select token_id as "tokenId" from public.authenticate_device(public.rotate_device_token($1))`,
    [deviceId],
  )
  return JSON.stringify({ role: 'device', aud: 'device', device_id: deviceId, token_id: rows[0].tokenId })
}
