import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { json } from 'node:stream/consumers'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { insertSamples } from '../../db/samples.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type EdgeFunction, serveFunction } from './edge-server.ts'
import { type Cli, createCli } from './run-cli.ts'

const FORGED = '{"level":30,"fault":"forged","msg":"forged"}'
/** Texts that try to end their line and begin one of their own, or to command a terminal. */
const HOSTILE = [
  ...['\n', '\r', '\r\n', '\v', '\f', '\u0085', '\u2028', '\u2029'].map((end) => `a${end}${FORGED}${end}`),
  `"}\n${FORGED}`,
  `\\"}\\n${FORGED}`,
  '\u001b[2J\u001b[31mred \u009b2J \u0007 \u007f',
  '%s %j %o ${jndi:ldap://x} {{7*7}}',
  '\u{1f600} \ufeff \u202e',
]

/** Reads a log as strictly as any reader would: at whatever ends a line, each of them one JSON object. */
function readLog(log: string): Record<string, unknown>[] {
  const lines = log.split(/\r\n|[\n\r\v\f\u0085\u2028\u2029]/).filter((line) => line !== '')
  for (const line of lines) {
    expect(line).toMatch(/^\{.*\}$/)
    // oxlint-disable-next-line eslint/no-control-regex -- those are what this looks for
    expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
  }
  return lines.map((line) => JSON.parse(line))
}

describe('the log of an edge function', () => {
  let api: Server
  let deviceAuth: EdgeFunction
  let answer: (token: string) => { status: number; body: unknown }
  beforeAll(async () => {
    const respond = async (request: IncomingMessage, response: ServerResponse) => {
      const asked = (await json(request)) as { device_token: string }
      const { status, body } = answer(asked.device_token)
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    }
    api = createServer((request, response) => void respond(request, response))
    await once(api.listen(0, '127.0.0.1'), 'listening')
    deviceAuth = await serveFunction('device-auth', {
      SUPABASE_URL: `http://127.0.0.1:${(api.address() as AddressInfo).port}`,
      SUPABASE_SECRET_KEY: 'sb_secret_x',
      SUPABASE_PUBLISHABLE_KEY: 'sb_publishable_x',
      JWT_SECRET: 's'.repeat(32),
    })
  }, 120_000)
  afterAll(async () => {
    await deviceAuth.stop()
    api.close()
  })

  /** What is logged while a device sends each of these tokens. */
  async function logOf(tokens: readonly string[], statuses: readonly number[]): Promise<Record<string, unknown>[]> {
    const before = deviceAuth.log().length
    for (const token of tokens) {
      const response = await fetch(deviceAuth.url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ device_token: token }),
      })
      expect(statuses).toContain(response.status)
      await response.arrayBuffer()
    }
    await expect.poll(() => deviceAuth.log().slice(before).split('\n').length).toBeGreaterThan(tokens.length)
    return readLog(deviceAuth.log().slice(before))
  }

  it('has one line for each token that the database repeats in an error', async () => {
    answer = (token) => ({ status: 500, body: { code: token, message: token, hint: token } })
    const lines = await logOf(HOSTILE, [502])
    expect(lines).toEqual(
      HOSTILE.map((token) => ({
        fault: { function: 'authenticate_device', status: 500, code: token, message: token, hint: token },
      })),
    )
  })

  it('has one line for each answer that it cannot make sense of', async () => {
    answer = (token) => ({ status: 200, body: [{ device_id: token, token_id: token, profiles: [{ [token]: token }] }] })
    const lines = await logOf(HOSTILE, [500])
    expect(lines.map((line) => Object.keys(line))).toEqual(HOSTILE.map(() => ['fault']))
    expect(lines.map(({ fault }) => fault)).not.toContain('forged')
  })
})

describe('the log of a worker', () => {
  let database: TestDatabase
  let client: Client
  let cli: Cli
  beforeAll(async () => {
    database = await createDatabase()
    client = new Client({ connectionString: database.adminUrl })
    await client.connect()
    cli = createCli({ DATABASE_URL: database.url, CHUNK_MAX_AGE: '0.001', LOG_LEVEL: 'trace' })
    mkdirSync(join(cli.directory, '.coherence/storage/entropy-chunks'), { recursive: true })
  })
  afterAll(async () => {
    cli.remove()
    await client.end()
    await database.drop()
  })

  it('has one line for each thing that happens, whatever devices are called and errors say', async () => {
    const userId = await createLocalUser(client, 'someone@example.org')
    const kind = { userId, clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: 8 }
    for (const name of HOSTILE) {
      const device = await createDevice(client, { ...kind, name, description: name })
      await client.query('update sampling_profiles set label = $1, metadata = $2 where device_id = $3', [
        name,
        { [name]: name },
        device.deviceId,
      ])
      const sample = { ...device, timestamp: new Date(Date.now() - 60_000), sequence: 0n, data: Buffer.alloc(8, 'x') }
      await insertSamples(client, [sample])
      await client.query(
        `insert into analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names, parameters)
         values ($1, $2, now() - interval '1 hour', now(), $3, $4)`,
        [userId, [device.deviceId, name], [name, 'frequency'], { [name]: name }],
      )
    }
    // Every upload fails, with the name of a device in the message, and as the name of what failed.
    await client.query(`
      create sequence fault;
      create function fail() returns trigger language plpgsql security definer as $$
      declare
        hostile constant text := (select name from public.devices order by created_at, id
          limit 1 offset nextval('public.fault') % (select count(*) from public.devices));
      begin
        raise exception using message = hostile, detail = hostile, hint = hostile, constraint = hostile;
      end $$;
      create trigger fail before insert on chunk_replicas for each row execute function fail();
      update pgboss.queue set retry_limit = ${HOSTILE.length + 1}, retry_delay = 0, retry_backoff = false where name = 'upload-chunk'`)
    const ticked = await cli.run(['tick', '--json'])
    const drained = await cli.run(['work', '--drain', '--max-seconds', '60', '--json'])
    const lines = readLog(ticked.stderr + drained.stderr)
    const told = JSON.stringify(lines)
    for (const name of HOSTILE.slice(0, 3)) expect(told).toContain(JSON.stringify(name).slice(1, -1))
    for (const line of lines) {
      expect(Object.keys(line).slice(0, 2)).toEqual(['level', 'time'])
      expect(line.fault).toBeUndefined()
      expect(line.msg).not.toBe('forged')
    }
  })
})
