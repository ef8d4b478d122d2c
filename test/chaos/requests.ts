import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Pool } from 'pg'
import { isConnectionLost } from '../../db/connection-lost.ts'
import { createCli } from '../infra/run-cli.ts'
import { DAYS, FIRST_DAY_AGO } from './devices.ts'
import type { Random } from './random.ts'

const ASK_EVERY_MS = [4000, 8000] as const
const DAY = 86_400_000
const HOUR = 3_600_000
/** Of the analyses, those for a device that is not their user's. */
const REFUSED = 0.2
const KINDS = [['frequency', 'runs', 'serial'], ['network'], ['frequency', 'network']] as const
const BACKFILLS = ['tests', 'slices'] as const

/** What was asked: the tests of each analysis, and whether it is to be refused. */
export type Asked = Map<string, { readonly names: readonly string[]; readonly refused: boolean }>

export interface Users {
  readonly asked: Asked
  stop(): Promise<void>
}

/** The devices' user asks for analyses, of past days and of today, each again until there is an answer. By a way of their own to Postgres. */
export async function startUsers(databaseUrl: string, random: Random): Promise<Users> {
  const pool = new Pool({ connectionString: databaseUrl, max: 1, connectionTimeoutMillis: 2000 })
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  const asked: Asked = new Map()
  const stopping = new AbortController()
  const today = Math.floor(Date.now() / DAY) * DAY
  const ask = async () => {
    const id = randomUUID()
    const request = { names: random.pick(KINDS), refused: random.next() < REFUSED }
    const day = random.pick([today, today - (FIRST_DAY_AGO - Math.floor(random.next() * DAYS)) * DAY + DAY / 2])
    asked.set(id, request)
    const values = [id, new Date(day), new Date(day + HOUR), request.names, request.refused ? [randomUUID()] : []]
    for (let tries = 0; ; tries++) {
      try {
        await pool.query(
          `insert into public.analysis_jobs (id, user_id, time_range_start, time_range_end, test_names, device_ids)
           select $1, user_id, $2, $3, $4, $5 from public.devices limit 1 on conflict (id) do nothing`,
          values,
        )
        return
      } catch (error) {
        if (!isConnectionLost(error) || tries === 600) throw error
        await sleep(200)
      }
    }
  }
  let failure: { error: unknown } | undefined
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      await sleep(random.between(...ASK_EVERY_MS), undefined, { signal: stopping.signal }).catch(() => {})
      if (!stopping.signal.aborted) await ask()
    }
  })().catch((error: unknown) => void (failure = { error }))
  return {
    asked,
    stop: async () => {
      stopping.abort()
      await loop
      await pool.end()
      if (failure) throw failure.error
    },
  }
}

/**
 * What a maintainer does whose battery has changed: the tests and slices of all that was sent in the first quarter are made again, the
 * hours with them. Returns the jobs sent, and when each chunk had been proved before, in milliseconds since 1970.
 */
export async function backfillFirstQuarter(
  databaseUrl: string,
  environment: () => Record<string, string>,
  signal: AbortSignal,
): Promise<{ sent: number; provedBefore: Map<string, number> }> {
  const provedBefore = await readProofs(databaseUrl, signal)
  const cli = createCli()
  const first = Math.floor(Date.now() / DAY) * DAY - FIRST_DAY_AGO * DAY
  const range = ['--from', new Date(first).toISOString(), '--to', new Date(first + (DAYS / 4) * DAY).toISOString()]
  let sent = 0
  try {
    for (const kind of BACKFILLS) {
      for (let tries = 0; ; tries++) {
        signal.throwIfAborted()
        const finished = await cli.run(['backfill', kind, ...range, '--again', '--json'], { env: environment() })
        if (finished.code === 0) {
          sent += finished.json().sent
          break
        }
        if (tries === 60) throw new Error(`backfill ${kind} failed in 60 tries: ${finished.stderr}`)
        await sleep(1000, undefined, { signal })
      }
    }
    return { sent, provedBefore }
  } finally {
    cli.remove()
  }
}

async function readProofs(databaseUrl: string, signal: AbortSignal): Promise<Map<string, number>> {
  for (;;) {
    const client = new Client({ connectionString: databaseUrl })
    client.on('error', () => {})
    try {
      await client.connect()
      const { rows } = await client.query<{ id: string; at: number }>(
        `select id, extract(epoch from verified_at)::float8 * 1000 as at from public.storj_chunks where verified_at is not null`,
      )
      return new Map(rows.map(({ id, at }) => [id, at]))
    } catch (error) {
      if (!isConnectionLost(error)) throw error
      await sleep(200, undefined, { signal })
    } finally {
      await client.end().catch(() => {})
    }
  }
}
