import { randomBytes, randomUUID } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { gzipSync } from 'node:zlib'
import * as fc from 'fast-check'
import { type JWTPayload, SignJWT, UnsecuredJWT } from 'jose'
import { Client } from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { findPostgrest } from '../harness/postgrest.ts'
import { type Gateway, startGateway } from './edge-gateway.ts'
import { binaryBatch } from './edge-records.ts'
import { checkTypes, type EdgeFunction, serveFunction } from './edge-server.ts'

const BYTES = 8
const SECRET_KEY = `sb_secret_${randomBytes(16).toString('hex')}`
const PUBLISHABLE_KEY = `sb_publishable_${randomBytes(16).toString('hex')}`
const BINARY = 'application/vnd.coherence.samples'

interface Sensor {
  readonly user: string
  readonly device: string
  readonly profile: string
  readonly token: string
}

let database: TestDatabase
let client: Client
let gateway: Gateway
let deviceAuth: EdgeFunction
let ingestEntropy: EdgeFunction
let sensor: Sensor
let other: Sensor
/** Of all devices that were made. */
const deviceTokens: string[] = []

function environmentFor({ url, jwtSecret }: Gateway): Record<string, string> {
  return {
    SUPABASE_URL: url,
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: SECRET_KEY }),
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: PUBLISHABLE_KEY }),
    JWT_SECRET: jwtSecret,
  }
}

async function addSensor(): Promise<Sensor> {
  const [user, device, profile, token] = Array.from({ length: 4 }, () => randomUUID())
  await client.query('insert into auth.users (id, email) values ($1::uuid, $1::uuid::text)', [user])
  await client.query(`insert into devices (id, user_id, name, device_token) values ($1, $2, 'd', $3)`, [
    device,
    user,
    token,
  ])
  await client.query(
    `insert into sampling_profiles (id, device_id, label, sample_rate_hz, sample_size_bytes) values ($1, $2, 'p', 1, $3)`,
    [profile, device, BYTES],
  )
  deviceTokens.push(token)
  return { user, device, profile, token }
}

type Body = string | Uint8Array<ArrayBuffer>

interface Answer {
  readonly status: number
  readonly headers: Headers
  // oxlint-disable-next-line typescript/no-explicit-any -- documents of several kinds
  readonly body: any
}

async function post(url: string, body: Body, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body,
  })
  return { status: response.status, headers: response.headers, body: await response.json() }
}

const authenticate = (token: unknown) => post(deviceAuth.url, JSON.stringify({ device_token: token }))
const accessToken = async ({ token }: Sensor): Promise<string> => (await authenticate(token)).body.access_token
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const ingest = (body: Body, headers: Record<string, string>) => post(ingestEntropy.url, body, headers)

const sampleOf = ({ profile }: Sensor, sequence: number | string, more: object = {}) => ({
  profile_id: profile,
  sequence,
  timestamp: new Date(Date.now() - 60_000).toISOString(),
  data: randomBytes(BYTES).toString('base64'),
  ...more,
})
const batchOf = (...samples: unknown[]) => JSON.stringify({ samples })

async function storedOf({ device }: Sensor) {
  const { rows } = await client.query(
    `select profile_id, sequence, to_char("timestamp" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as timestamp,
       encode(sample_data, 'base64') as data
     from entropy_samples where device_id = $1 order by sequence`,
    [device],
  )
  return rows
}

/** What is sent above a limit fills the buffers of two sockets; a function that reads on takes more. */
const MOST_SENT = 64 * 1024 ** 2

/** POSTs spaces until an answer comes, and gives its status; rejects if none has come after MOST_SENT bytes. */
async function sendEndlessly(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return await new Promise((resolve, reject) => {
    const piece = Buffer.alloc(64 * 1024, ' ')
    let sent = 0
    const request = httpRequest(url, { method: 'POST', headers }, (response) => {
      resolve(response.statusCode)
      request.destroy()
    })
    request.on('error', reject)
    const write = () => {
      while (!request.destroyed) {
        if (sent > MOST_SENT) return void request.destroy(new Error(`read ${sent} bytes and did not answer`))
        sent += piece.length
        if (!request.write(piece)) return void request.once('drain', write)
      }
    }
    write()
  })
}

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

describe.skipIf(findPostgrest() === undefined)('the edge functions (need PostgREST)', () => {
  beforeAll(async () => {
    database = await createDatabase()
    client = new Client({ connectionString: database.url })
    await client.connect()
    gateway = await startGateway(database, { secret: SECRET_KEY, publishable: PUBLISHABLE_KEY })
    const env = environmentFor(gateway)
    deviceAuth = await serveFunction('device-auth', env)
    ingestEntropy = await serveFunction('ingest-entropy', env)
  }, 120_000)

  afterAll(async () => {
    await Promise.all([deviceAuth?.stop(), ingestEntropy?.stop(), gateway?.close()])
    await client.end()
    await database.drop()
  })

  beforeEach(async () => {
    sensor = await addSensor()
    other = await addSensor()
  })

  it.each(['device-auth', 'ingest-entropy'])('%s passes the type check of Deno', (name) => {
    expect(checkTypes(name)).toBe('')
  })

  describe('device-auth', () => {
    it('exchanges a device token for a JWT, and tells the profiles', async () => {
      const { status, headers, body } = await authenticate(sensor.token)
      expect({ status, body }).toEqual({
        status: 200,
        body: {
          access_token: expect.stringMatching(/^eyJ[\w-]+\.[\w-]+\.[\w-]{43}$/),
          token_type: 'bearer',
          expires_in: 3600,
          device_id: sensor.device,
          profiles: [{ id: sensor.profile, label: 'p', sample_rate_hz: 1, sample_size_bytes: BYTES }],
        },
      })
      expect(headers.get('cache-control')).toBe('no-store')
      const { exp, iat, ...claims } = JSON.parse(Buffer.from(body.access_token.split('.')[1], 'base64url').toString())
      expect(exp - iat).toBe(3600)
      expect(claims).toEqual({
        role: 'device',
        aud: 'device',
        iss: 'coherence',
        device_id: sensor.device,
        token_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      })
    })

    it('gives every wrong token one answer, by the same way', async () => {
      const [rotated, revoked, paused] = [await addSensor(), await addSensor(), await addSensor()]
      await client.query('select rotate_device_token($1)', [rotated.device])
      await client.query('select revoke_device_token($1)', [revoked.device])
      await client.query(`update devices set status = 'inactive' where id = $1`, [paused.device])
      const tokens = [
        randomUUID(),
        '',
        'x'.repeat(3000),
        `${sensor.token} `,
        `${sensor.token}\0`,
        '\ud800',
        `' or '1'='1`,
        `sha256:${'0'.repeat(64)}`,
        rotated.token,
        revoked.token,
        paused.token,
      ]
      const before = gateway.paths.length
      const answers = []
      for (const token of tokens) answers.push(await authenticate(token))
      expect(new Set(answers.map(({ status, body }) => JSON.stringify([status, body])))).toEqual(
        new Set([
          JSON.stringify([
            401,
            { error: 'This device token is not known, was revoked, or is of a device that is not active.' },
          ]),
        ]),
      )
      expect(gateway.paths.slice(before)).toEqual(tokens.map(() => '/rest/v1/rpc/authenticate_device'))
      const headerNames = answers.map(({ headers }) => [...headers.keys()].join())
      expect(new Set(headerNames).size).toBe(1)
      expect(answers[0].headers.get('www-authenticate')).toMatch(/^Bearer /)
    })

    it('gives a rotated device a JWT for its new token', async () => {
      const { rows } = await client.query('select rotate_device_token($1) as token', [sensor.device])
      expect(await authenticate(rows[0].token)).toMatchObject({ status: 200, body: { device_id: sensor.device } })
    })

    it.each([
      ['no JSON', 'x', {}, 400],
      ['no token', '{}', {}, 400],
      ['a token that is no text', '{"device_token": 5}', {}, 400],
      ['a token in the prototype', '{"__proto__": {"device_token": "x"}}', {}, 400],
      ['more than 4 KB', JSON.stringify({ device_token: 'x'.repeat(4096) }), {}, 413],
      ['a form', 'device_token=x', { 'content-type': 'application/x-www-form-urlencoded' }, 415],
      ['gzip', gzipSync('{}'), { 'content-encoding': 'gzip' }, 415],
    ])('refuses %s', async (_what, body, headers, status) => {
      expect(await post(deviceAuth.url, body as Body, headers as Record<string, string>)).toMatchObject({
        status,
        body: { error: expect.stringMatching(/^[A-Z].*\.$/) },
      })
    })
  })

  describe.each(['device-auth', 'ingest-entropy'])('%s', (name) => {
    const url = () => (name === 'device-auth' ? deviceAuth : ingestEntropy).url

    it('answers a preflight, and POST alone', async () => {
      const preflight = await fetch(url(), { method: 'OPTIONS' })
      expect(preflight.status).toBe(204)
      expect(preflight.headers.get('access-control-allow-origin')).toBe('*')
      expect(preflight.headers.get('access-control-allow-headers')).toContain('x-device-token')
      for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
        const response = await fetch(url(), { method })
        expect([response.status, response.headers.get('allow')]).toEqual([405, 'POST, OPTIONS'])
        expect(response.headers.get('access-control-allow-origin')).toBe('*')
      }
    })

    it('reads a body that never ends no further than it must', async () => {
      const headers = { 'content-type': 'application/json', ...bearer(await accessToken(sensor)) }
      expect(await sendEndlessly(url(), headers)).toBe(413)
      expect(await post(url(), 'x', headers)).toMatchObject({ status: 400 })
    })
  })

  describe('ingest-entropy', () => {
    it('stores a JSON batch, says what became of each sample, and knows a retry', async () => {
      const headers = bearer(await accessToken(sensor))
      const good = sampleOf(sensor, '9007199254740993', { timestamp: '2026-11-20T12:00:00.000001Z' })
      // The database's clock is now.
      good.timestamp = `${new Date(Date.now() - 5000).toISOString().slice(0, 19)}.000001Z`
      const body = batchOf(
        good,
        { ...good, sequence: 'x' },
        sampleOf(sensor, 2, { data: 'AAAA' }),
        sampleOf(other, 3),
        sampleOf(sensor, -4),
        good,
        sampleOf(sensor, 5, { timestamp: new Date(Date.now() + 3_600_000).toISOString() }),
        null,
      )
      const answer = await ingest(body, headers)
      expect({ status: answer.status, body: answer.body }).toEqual({
        status: 200,
        body: {
          accepted: 1,
          duplicate: 1,
          rejected: 6,
          results: [
            { index: 0, status: 'accepted' },
            { index: 1, status: 'rejected', reason: expect.stringMatching(/^sequence must be an integer/) },
            { index: 2, status: 'rejected', reason: '3 bytes, where the profile says 8' },
            { index: 3, status: 'rejected', reason: 'this device has no such profile' },
            { index: 4, status: 'rejected', reason: 'sequence is below 0' },
            { index: 5, status: 'duplicate' },
            { index: 6, status: 'rejected', reason: expect.stringMatching(/ahead/) },
            { index: 7, status: 'rejected', reason: expect.stringMatching(/must be/) },
          ],
        },
      })
      expect(await storedOf(sensor)).toEqual([good])
      expect((await ingest(body, headers)).body).toMatchObject({ accepted: 0, duplicate: 2, rejected: 6 })
      expect(await storedOf(sensor)).toEqual([good])
      expect(await storedOf(other)).toEqual([])
    })

    it('stores a binary batch as the same samples', async () => {
      const milliseconds = Date.now() - 9000
      const records = Array.from({ length: 3 }, (_, i) => ({
        profileId: sensor.profile,
        microseconds: BigInt(milliseconds) * 1000n + BigInt(i),
        sequence: 2n ** 60n + BigInt(i),
        payload: randomBytes(BYTES),
      }))
      const headers = { ...bearer(await accessToken(sensor)), 'content-type': BINARY }
      expect(await ingest(binaryBatch(records), headers)).toMatchObject({ status: 200, body: { accepted: 3 } })
      expect(await storedOf(sensor)).toEqual(
        records.map(({ sequence, payload }, i) => ({
          profile_id: sensor.profile,
          sequence: String(sequence),
          timestamp: `${new Date(milliseconds).toISOString().slice(0, -1)}00${i}Z`,
          data: payload.toString('base64'),
        })),
      )
      expect((await ingest(binaryBatch(records).slice(0, -1), headers)).body.error).toMatch(/record 2, which begins/)
      expect(await storedOf(sensor)).toHaveLength(3)
    })

    it('exchanges the token of an old device by itself', async () => {
      const body = batchOf(sampleOf(sensor, 1))
      const ofBoth = { 'x-device-token': sensor.token, ...bearer(PUBLISHABLE_KEY) }
      expect(await ingest(body, { 'x-device-token': sensor.token })).toMatchObject({
        status: 200,
        body: { accepted: 1 },
      })
      expect(await ingest(body, ofBoth)).toMatchObject({ status: 200, body: { duplicate: 1 } })
      await client.query('select revoke_device_token($1)', [sensor.device])
      expect(await ingest(body, ofBoth)).toMatchObject({ status: 401 })
    })

    it('takes 10,000 samples in one call of the database, and tells of each', async () => {
      const samples = Array.from({ length: 10_000 }, (_, i) => sampleOf(sensor, i))
      const headers = bearer(await accessToken(sensor))
      const before = gateway.paths.length
      const first = await ingest(batchOf(...samples), headers)
      expect(first.body).toMatchObject({ accepted: 10_000, duplicate: 0, rejected: 0 })
      expect(first.body.results[9999]).toEqual({ index: 9999, status: 'accepted' })
      expect((await ingest(batchOf(...samples), headers)).body).toMatchObject({ accepted: 0, duplicate: 10_000 })
      expect(gateway.paths.slice(before)).toHaveLength(2)
      expect(await ingest(batchOf(...samples, samples[0]), headers)).toMatchObject({ status: 413 })
    })

    it('answers an empty batch, and asks the database whose it is', async () => {
      expect(await ingest(batchOf(), bearer(await accessToken(sensor)))).toMatchObject({
        status: 200,
        body: { accepted: 0, duplicate: 0, rejected: 0, results: [] },
      })
    })

    it('passes on that a device sends too fast, and when it may again', async () => {
      const headers = bearer(await accessToken(sensor))
      await client.query('update app_private.ingest_limits set samples_per_second = 2, burst_samples = 10')
      try {
        const answer = await ingest(batchOf(...Array.from({ length: 21 }, (_, i) => sampleOf(sensor, i))), headers)
        expect(answer).toMatchObject({
          status: 429,
          body: { error: expect.stringMatching(/more than 2 samples a second/) },
        })
        expect(Number(answer.headers.get('retry-after'))).toBe(6)
        expect(await storedOf(sensor)).toEqual([])
      } finally {
        await client.query('update app_private.ingest_limits set samples_per_second = default, burst_samples = default')
      }
    })

    it('passes on that the database takes less at once', async () => {
      await client.query('update app_private.ingest_limits set batch_samples = 1')
      try {
        const answer = await ingest(
          batchOf(sampleOf(sensor, 1), sampleOf(sensor, 2)),
          bearer(await accessToken(sensor)),
        )
        expect(answer).toMatchObject({ status: 413, body: { error: expect.stringMatching(/at most 1 samples/) } })
      } finally {
        await client.query('update app_private.ingest_limits set batch_samples = default')
      }
    })

    it('ends with the token: a JWT from before it was revoked or rotated is refused', async () => {
      for (const name of ['revoke', 'rotate']) {
        const device = await addSensor()
        const headers = bearer(await accessToken(device))
        expect(await ingest(batchOf(sampleOf(device, 1)), headers)).toMatchObject({ status: 200 })
        await client.query(`select ${name}_device_token($1)`, [device.device])
        expect(await ingest(batchOf(sampleOf(device, 2)), headers)).toMatchObject({
          status: 403,
          body: { error: expect.stringMatching(/revoked/) },
        })
        expect(await storedOf(device)).toHaveLength(1)
      }
    })

    it('ends with the device being active', async () => {
      const headers = bearer(await accessToken(sensor))
      await client.query(`update devices set status = 'inactive' where id = $1`, [sensor.device])
      expect(await ingest(batchOf(sampleOf(sensor, 1)), headers)).toMatchObject({
        status: 403,
        body: { error: expect.stringMatching(/not active/) },
      })
    })
  })

  describe('a token that ingest-entropy does not take', () => {
    const sign = (claims: JWTPayload, secret = gateway.jwtSecret, alg = 'HS256') =>
      new SignJWT(claims).setProtectedHeader({ alg, typ: 'JWT' }).sign(Buffer.from(secret))
    const now = () => Math.floor(Date.now() / 1000)
    const good = async () => {
      const { rows } = await client.query('select token_id from authenticate_device($1)', [sensor.token])
      return {
        role: 'device',
        aud: 'device',
        device_id: sensor.device,
        token_id: rows[0].token_id as string,
        iat: now(),
        exp: now() + 60,
      }
    }

    it('is none of these: signed as the functions do, it is taken', async () => {
      expect(await ingest(batchOf(sampleOf(sensor, 1)), bearer(await sign(await good())))).toMatchObject({
        status: 200,
      })
    })

    const wrong: [what: string, make: (claims: Awaited<ReturnType<typeof good>>) => Promise<string> | string][] = [
      ['signed with another secret', (claims) => sign(claims, 'x'.repeat(40))],
      [
        'with an altered claim',
        async (claims) => (await sign(claims)).replace(/\.[^.]+\./, `.${encode({ ...claims, exp: claims.exp + 1 })}.`),
      ],
      ['without its signature', async (claims) => (await sign(claims)).replace(/[^.]+$/, '')],
      ['with alg none', (claims) => new UnsecuredJWT(claims).encode()],
      ['with alg None', (claims) => `${encode({ alg: 'None' })}.${encode(claims)}.`],
      ['signed HS512', (claims) => sign(claims, gateway.jwtSecret, 'HS512')],
      [
        'of a critical header that is not understood',
        async (claims) =>
          `${encode({ alg: 'HS256', crit: ['b64'], b64: false })}.${(await sign(claims)).split('.').slice(1).join('.')}`,
      ],
      ['that has expired', (claims) => sign({ ...claims, exp: now() - 10 })],
      ['without an end', (claims) => sign({ ...claims, exp: undefined })],
      ['whose end is no number', (claims) => sign({ ...claims, exp: 'never' as unknown as number })],
      ['not valid yet', (claims) => sign({ ...claims, nbf: now() + 3600 })],
      ['for another audience', (claims) => sign({ ...claims, aud: 'authenticated' })],
      ['for several audiences', (claims) => sign({ ...claims, aud: ['device', 'authenticated'] })],
      ['of a user', (claims) => sign({ ...claims, role: 'authenticated' })],
      ['of the service', (claims) => sign({ ...claims, role: 'service_role' })],
      ['that to Supabase Auth is a user’s', (claims) => sign({ ...claims, sub: claims.device_id })],
      ['of no device', (claims) => sign({ ...claims, device_id: 'x' })],
      ['without its token', (claims) => sign({ ...claims, token_id: undefined })],
      ['that is the publishable key', () => PUBLISHABLE_KEY],
      ['that is no JWT', () => 'x.y.z'],
      ['that is empty', () => ''],
    ]

    it.each(wrong)('%s', async (_what, make) => {
      const headers = bearer(await make(await good()))
      const answer = await ingest(batchOf(sampleOf(sensor, 1)), headers)
      expect(answer).toMatchObject({ status: 401, body: { error: expect.stringMatching(/device-auth/) } })
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer /)
      expect(await storedOf(sensor)).toEqual([])
    })

    it('of another device, whatever it says of itself: the database refuses', async () => {
      const claims = { ...(await good()), device_id: other.device }
      expect(await ingest(batchOf(sampleOf(other, 1)), bearer(await sign(claims)))).toMatchObject({ status: 403 })
      expect(await storedOf(other)).toEqual([])
    })

    it('none at all', async () => {
      expect(await ingest(batchOf(), {})).toMatchObject({ status: 401 })
      expect(await ingest(batchOf(), { authorization: 'Basic eDp5' })).toMatchObject({ status: 401 })
    })

    it('is refused before the body is read', async () => {
      expect(await sendEndlessly(ingestEntropy.url, { 'content-type': 'application/json' })).toBe(401)
    })
  })

  describe('a body that ingest-entropy does not take', () => {
    it.each([
      ['of 8 MB and a byte', Buffer.alloc(8_000_001, ' '), {}, 413],
      ['of gzip', gzipSync(batchOf()), { 'content-encoding': 'gzip' }, 415],
      ['of two encodings', gzipSync(batchOf()), { 'content-encoding': 'identity, br' }, 415],
      ['of another type', batchOf(), { 'content-type': 'text/plain' }, 415],
      ['that is no batch', '[]', {}, 400],
      ['of ten million elements', `{"samples":[${'0,'.repeat(3_999_990)}0]}`, {}, 413],
      ['of millions of objects', `{"samples":[${'{},'.repeat(2_600_000)}{}]}`, {}, 413],
      ['that is nested deep', '{"samples":['.padEnd(7_000_000, '['), {}, 400],
      ['with NaN', '{"samples":[NaN]}', {}, 400],
      ['of a record that lies about its length', Buffer.alloc(40, 255), { 'content-type': BINARY }, 400],
    ])('%s', async (_what, body, headers, status) => {
      const answer = await ingest(body, {
        ...bearer(await accessToken(sensor)),
        ...(headers as Record<string, string>),
      })
      expect(answer).toMatchObject({ status, body: { error: expect.stringMatching(/^[A-Z].*\.$/) } })
      expect(await storedOf(sensor)).toEqual([])
    })

    it('is never answered with 500, whatever it is', async () => {
      const headers = bearer(await accessToken(sensor))
      const field = fc.oneof(
        fc.jsonValue(),
        fc.string({ unit: 'binary' }),
        fc.constantFrom('\ud800', '\0', 'NaN', '-1', -1, 2 ** 63, '9'.repeat(30)),
      )
      const sample = fc
        .record({ profile_id: field, timestamp: field, sequence: field, data: field }, { requiredKeys: [] })
        .map((given) => ({ ...sampleOf(sensor, 1), ...given }))
      const body = fc.oneof(
        fc.array(fc.oneof(sample, fc.jsonValue())).map((samples) => batchOf(...samples)),
        fc.json(),
        fc.uint8Array().map((bytes) => new Uint8Array(bytes)),
      )
      await fc.assert(
        fc.asyncProperty(body, fc.boolean(), async (given, isBinary) => {
          const type = isBinary ? BINARY : 'application/json'
          const answer = await ingest(given, { ...headers, 'content-type': type })
          expect([200, 400]).toContain(answer.status)
        }),
        { numRuns: 300 },
      )
      expect(await storedOf(other)).toEqual([])
      for (const { data } of await storedOf(sensor)) expect(Buffer.from(data, 'base64')).toHaveLength(BYTES)
    })
  })

  it('after all that, no function has logged a fault of its own, nor any secret', () => {
    for (const server of [deviceAuth, ingestEntropy]) {
      expect(server.log()).not.toContain('fault')
      for (const secret of [...deviceTokens, SECRET_KEY, gateway.jwtSecret, 'eyJ'])
        expect(server.log()).not.toContain(secret)
    }
  })
})
