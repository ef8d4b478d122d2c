import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { authenticateDevice, callFunction } from '../../infra/supabase/functions/_shared/database.ts'
import { readEnvironment } from '../../infra/supabase/functions/_shared/environment.ts'

let server: Server
let url: string
/** What the project's API answers, and the headers it was asked with. */
let answer: { status: number; body: string; headers?: Record<string, string> }
let asked: IncomingHttpHeaders
const logged: string[] = []

beforeEach(async () => {
  server = createServer((request, response) => {
    asked = request.headers
    request.resume().on('end', () => response.writeHead(answer.status, answer.headers).end(answer.body))
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  logged.length = 0
  vi.spyOn(console, 'error').mockImplementation((line: string) => void logged.push(line))
})

afterEach(() => {
  vi.restoreAllMocks()
  server.closeAllConnections()
  server.close()
})

const ASK = { apiKey: 'sb_secret_x', passedOn: [401, 403, 413, 429] }
const failure = (code: string, hint: string | null = null) =>
  JSON.stringify({ code, message: 'it says why', details: null, hint })

it('puts a key of the newer kind in apikey alone, and a legacy one, which is a JWT, in Authorization too', async () => {
  answer = { status: 200, body: '[]' }
  await callFunction(url, 'f', {}, ASK)
  expect([asked.apikey, asked.authorization]).toEqual(['sb_secret_x', undefined])
  await callFunction(url, 'f', {}, { ...ASK, apiKey: 'eyJ.a.b' })
  expect([asked.apikey, asked.authorization]).toEqual(['eyJ.a.b', 'Bearer eyJ.a.b'])
  await callFunction(url, 'f', {}, { ...ASK, bearer: 'eyJ.c.d' })
  expect([asked.apikey, asked.authorization]).toEqual(['sb_secret_x', 'Bearer eyJ.c.d'])
})

it.each([
  [403, '42501', 'Get a new one from device-auth.', 'it says why; Get a new one from device-auth.', undefined],
  [413, 'PT413', null, 'it says why.', undefined],
  [429, 'PT429', 'retry in 17 seconds', 'it says why; retry in 17 seconds.', '17'],
  [429, 'PT429', null, 'it says why.', '1'],
])('passes on %i (%s, hint %s)', async (status, code, hint, message, wait) => {
  answer = { status, body: failure(code, hint) }
  await expect(callFunction(url, 'f', {}, ASK)).rejects.toMatchObject({
    status,
    message,
    headers: wait === undefined ? {} : { 'retry-after': wait },
  })
  expect(logged).toEqual([])
})

it('passes on when a gateway says to come back', async () => {
  answer = { status: 429, body: '<html>', headers: { 'retry-after': '9' } }
  await expect(callFunction(url, 'f', {}, ASK)).rejects.toMatchObject({ headers: { 'retry-after': '9' } })
})

it.each([
  [500, 'XX000'],
  [404, 'PGRST202'],
  [400, '22P02'],
])('keeps %i (%s) from the device, and logs it', async (status, code) => {
  answer = { status, body: failure(code) }
  const refused = { status: 502, message: expect.not.stringContaining('why'), headers: { 'retry-after': '60' } }
  await expect(callFunction(url, 'f', {}, ASK)).rejects.toMatchObject(refused)
  expect(logged.map((line) => JSON.parse(line).fault)).toEqual([
    expect.objectContaining({ function: 'f', status, code, message: 'it says why' }),
  ])
})

it.each(['an answer that is no JSON', 'a project that is not there'])(
  'says of %s to send the same again',
  async (what) => {
    answer = { status: 200, body: '<html>' }
    if (what.startsWith('a project')) url = 'http://127.0.0.1:1'
    await expect(callFunction(url, 'f', {}, ASK)).rejects.toMatchObject({
      status: 503,
      headers: { 'retry-after': '10' },
    })
    expect(logged).toHaveLength(1)
  },
)

it('does not say of a key of its own that is wrong that the device’s token is', async () => {
  answer = { status: 401, body: '{"message":"Invalid API key"}' }
  const environment = { url, secretKey: 'sb_secret_x', publishableKey: '', jwtSecret: '' }
  await expect(authenticateDevice(environment, 'token')).rejects.toMatchObject({ status: 502 })
})

it('reads the keys as the platform gives them, newer before older', () => {
  const given = {
    SUPABASE_URL: 'https://x.supabase.co',
    SUPABASE_SECRET_KEYS: '{"ci":"sb_secret_ci","default":"sb_secret_default"}',
    SUPABASE_PUBLISHABLE_KEYS: '{"web":"sb_publishable_web"}',
    SUPABASE_SERVICE_ROLE_KEY: 'eyJ.service',
    SUPABASE_ANON_KEY: 'eyJ.anon',
    JWT_SECRET: 's'.repeat(32),
  }
  const read = (environment: Record<string, string>) => readEnvironment((name) => environment[name])
  expect(read(given)).toEqual({
    url: given.SUPABASE_URL,
    secretKey: 'sb_secret_default',
    publishableKey: 'sb_publishable_web',
    jwtSecret: given.JWT_SECRET,
  })
  const older = { ...given, SUPABASE_SECRET_KEYS: '', SUPABASE_PUBLISHABLE_KEYS: '{}' }
  expect(read(older)).toMatchObject({ secretKey: 'eyJ.service', publishableKey: 'eyJ.anon' })
  const single = { ...older, SUPABASE_SECRET_KEY: 'sb_secret_one', SUPABASE_PUBLISHABLE_KEY: 'sb_publishable_one' }
  expect(read(single)).toMatchObject({ secretKey: 'sb_secret_one', publishableKey: 'sb_publishable_one' })
  expect(() => read({})).toThrow(/SUPABASE_URL, SUPABASE_SECRET_KEYS, SUPABASE_PUBLISHABLE_KEYS, JWT_SECRET$/)
  expect(() => read({ ...given, JWT_SECRET: 'short' })).toThrow('JWT_SECRET must have 32 characters or more')
})
