import { randomBytes, randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import * as fc from 'fast-check'
import { type JWTPayload, jwtVerify, SignJWT, UnsecuredJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { reportJwt } from '../../infra/jwt-report.ts'
import { type Cli, createCli } from './run-cli.ts'

const SECRET = randomBytes(40).toString('base64url')
const KEY = Buffer.from(SECRET)
const NOW = 1_800_000_000
const [DEVICE, TOKEN_ID] = [randomUUID(), randomUUID()]
const DEVICE_CLAIMS = {
  role: 'device',
  aud: 'device',
  device_id: DEVICE,
  token_id: TOKEN_ID,
  exp: NOW + 60,
}

const sign = (claims: JWTPayload, key: Uint8Array = KEY, alg = 'HS256') =>
  new SignJWT(claims).setProtectedHeader({ alg }).sign(key)
const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
const unsigned = (header: object, claims: unknown) => `${encode(header)}.${encode(claims)}.`

const NOT_SIGNED = 'the signature is not of this secret'
const NOT_JSON = 'not a JWT: its first two parts must be JSON objects in base64url'
const ROLES = 'anon, authenticated, service_role, device'

describe('the report on a token', () => {
  it.each([
    ['of anon', { role: 'anon', iss: 'supabase', iat: NOW, exp: NOW + 60 }],
    ['of a device', DEVICE_CLAIMS],
    ['that has no end', { role: 'authenticated' }],
    ['that ended within the tolerance', { role: 'anon', exp: NOW - 30 }],
    ['that begins within the tolerance', { role: 'anon', iat: NOW + 30, nbf: NOW + 30 }],
  ])('%s that is good finds nothing', async (_what, claims) => {
    expect(await reportJwt(await sign(claims), SECRET, NOW)).toEqual({
      valid: true,
      problems: [],
      header: { alg: 'HS256' },
      claims,
    })
  })

  const wrong: [what: string, make: () => string | Promise<string>, problems: string[]][] = [
    ['of another secret', () => sign({ role: 'anon' }, Buffer.alloc(40)), [NOT_SIGNED]],
    ['without its signature', () => unsigned({ alg: 'HS256' }, { role: 'anon' }), [NOT_SIGNED]],
    [
      'with alg none',
      () => new UnsecuredJWT({ role: 'anon' }).encode(),
      ['alg is none: anybody could have written it'],
    ],
    ['with another alg', () => sign({ role: 'anon' }, KEY, 'HS512'), ['alg is "HS512": a secret verifies HS256']],
    ['without alg', () => unsigned({}, { role: 'anon' }), ['its header names no alg']],
    ['that expired', () => sign({ role: 'anon', exp: NOW - 31 }), ['expired 2027-01-15T07:59:29Z']],
    ['not valid yet', () => sign({ role: 'anon', nbf: NOW + 31 }), ['not valid before 2027-01-15T08:00:31Z']],
    ['of the future', () => sign({ role: 'anon', iat: NOW + 31 }), ['issued in the future, 2027-01-15T08:00:31Z']],
    [
      'whose end is text',
      () => sign({ role: 'anon', exp: 'soon' as unknown as number }),
      ['exp must be seconds since 1970, not "soon"'],
    ],
    [
      'whose end is beyond all dates',
      () => sign({ role: 'anon', exp: 1e300 }),
      ['exp must be seconds since 1970, not 1e+300'],
    ],
    ['without a role', () => sign({}), ['has no role']],
    ['of a role that is none', () => sign({ role: 'postgres' }), [`role "postgres" is none of ${ROLES}`]],
    ['of a role that is no text', () => sign({ role: ['anon'] }), [`role ["anon"] is none of ${ROLES}`]],
    [
      'of a device for another audience',
      () => sign({ ...DEVICE_CLAIMS, aud: 'authenticated' }),
      ['aud must be "device"'],
    ],
    [
      'of a device without an end',
      () => sign({ ...DEVICE_CLAIMS, exp: undefined }),
      ['a device’s token must have an end (exp)'],
    ],
    [
      'of a device with a sub',
      () => sign({ ...DEVICE_CLAIMS, sub: DEVICE }),
      ['there must be no sub: Supabase Auth takes it for a user’s id'],
    ],
    ['of no device', () => sign({ ...DEVICE_CLAIMS, device_id: undefined }), ['device_id must be the device’s uuid']],
    [
      'of a device without its token',
      () => sign({ ...DEVICE_CLAIMS, token_id: 'x' }),
      ['token_id must be the uuid of the device’s token'],
    ],
    [
      'with several faults',
      () => sign({ exp: 1, nbf: NOW * 2 }, Buffer.alloc(40)),
      [NOT_SIGNED, 'expired 1970-01-01T00:00:01Z', 'not valid before 2084-01-29T16:00:00Z', 'has no role'],
    ],
    [
      'that is a newer key',
      () => 'sb_secret_abc',
      ['not a JWT: it is an API key of the newer kind, which goes into the header apikey'],
    ],
    ['with Bearer', () => 'Bearer a.b.c', ['not a JWT: leave out the word Bearer']],
    ['of two parts', () => 'a.b', ['not a JWT: that has three parts with a dot between, and this has 2']],
    ['that is not JSON', () => 'a.b.c', [NOT_JSON]],
    ['of a list', () => unsigned({ alg: 'HS256' }, []), [NOT_JSON]],
  ]

  it.each(wrong)('%s says so', async (_what, make, problems) => {
    expect(await reportJwt(await make(), SECRET, NOW)).toMatchObject({ valid: false, problems })
  })

  it('of anything at all is a report', async () => {
    const header = fc.constant(encode({ alg: 'HS256' }))
    const part = fc.oneof(fc.string(), fc.jsonValue().map(encode), header)
    const [role, exp, nbf, iat, sub] = Array.from({ length: 5 }, () => fc.jsonValue())
    const claims = fc.record({ role, exp, nbf, iat, sub }, { requiredKeys: [] }).map(encode)
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.array(part), fc.tuple(header, claims, part)), async (parts) => {
        expect((await reportJwt(parts.join('.'), SECRET, NOW)).valid).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})

describe('the command', () => {
  let cli: Cli
  beforeAll(() => {
    cli = createCli()
    writeFileSync(join(cli.directory, 'secret'), `${SECRET}\n`)
  })
  afterAll(() => cli.remove())

  const withSecret = { env: { JWT_SECRET: SECRET } }

  it('generates a secret and two keys as lines for .env, others each time', async () => {
    const [first, second] = await Promise.all([
      cli.run(['keys', 'generate']),
      cli.run(['keys', 'generate', '--years', '1']),
    ])
    expect(first.stdout).toMatch(/^JWT_SECRET=[\w-]{64}\nANON_KEY=\S+\nSERVICE_ROLE_KEY=\S+\n$/)
    const [made, other] = [parseEnv(first.stdout), parseEnv(second.stdout)]
    expect(made.JWT_SECRET).not.toBe(other.JWT_SECRET)
    const key = Buffer.from(made.JWT_SECRET!)
    for (const [name, role] of [
      ['ANON_KEY', 'anon'],
      ['SERVICE_ROLE_KEY', 'service_role'],
    ]) {
      const { payload } = await jwtVerify(made[name]!, key, { algorithms: ['HS256'] })
      expect(payload).toEqual({ role, iss: 'supabase', iat: expect.any(Number), exp: expect.any(Number) })
      const ends = new Date(payload.exp! * 1000)
      ends.setUTCFullYear(ends.getUTCFullYear() - 10)
      expect(ends.getTime() / 1000).toBe(payload.iat)
      await expect(jwtVerify(other[name]!, key)).rejects.toThrow('signature')
    }
  })

  it('generates the same as JSON', async () => {
    const made = (await cli.run(['keys', 'generate', '--json'])).json()
    expect(Object.keys(made)).toEqual(['JWT_SECRET', 'ANON_KEY', 'SERVICE_ROLE_KEY', 'expires_at'])
    const env = { JWT_SECRET: made.JWT_SECRET }
    const verified = await cli.run(['keys', 'verify', made.ANON_KEY, '--json'], { env })
    expect(verified).toMatchObject({ code: 0, stderr: '' })
    expect(verified.json()).toMatchObject({ valid: true, problems: [], claims: { role: 'anon' } })
  })

  it('signs a device’s JWT by a secret from a file or the environment, and verifies it from the pipe', async () => {
    const args = ['keys', 'device', DEVICE, '--token-id', TOKEN_ID]
    const fromFile = await cli.run([...args, '--secret-file', 'secret'])
    const { payload } = await jwtVerify(fromFile.stdout.trim(), KEY, { algorithms: ['HS256'], audience: 'device' })
    expect(payload).toEqual({
      role: 'device',
      aud: 'device',
      device_id: DEVICE,
      token_id: TOKEN_ID,
      iss: 'coherence',
      iat: expect.any(Number),
      exp: expect.any(Number),
    })
    expect(payload.exp! - payload.iat!).toBe(3600)
    const half = (await cli.run([...args, '--hours', '0.5', '--json'], withSecret)).json()
    const { exp, iat } = (await jwtVerify(half.token, KEY)).payload
    expect([exp! - iat!, exp]).toEqual([1800, Date.parse(half.expires_at) / 1000])
    expect(await cli.run(['keys', 'verify', '-'], { ...withSecret, input: `  ${fromFile.stdout}\n` })).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^valid\n[^]*"role" +"device"[^]*"exp" +\d+ \(20\d\d-/),
    })
  })

  it('says what is wrong, exits with 1, and shows neither the secret nor control characters', async () => {
    const token = await sign({ role: 'x', exp: 1e300, '\u001b[2J': '\u001b' }, Buffer.alloc(40))
    for (const more of [[], ['--json']]) {
      const { code, stdout, stderr } = await cli.run(['keys', 'verify', token, ...more], withSecret)
      expect([code, stderr]).toEqual([1, ''])
      expect(stdout).toContain(NOT_SIGNED)
      expect(stdout).toContain('none of anon')
      expect(stdout).not.toContain(SECRET)
      expect(stdout).not.toContain('\u001b')
    }
  })

  it.each([
    ['no secret', ['verify', 'x'], {}, /USAGE: set JWT_SECRET, or name the file/],
    ['an empty secret', ['verify', 'x'], { JWT_SECRET: '' }, /USAGE: set JWT_SECRET/],
    ['a short secret', ['verify', 'x'], { JWT_SECRET: 'hunter2' }, /USAGE: the JWT secret has 7 characters; .* 32/],
    ['a file that is not there', ['verify', 'x', '--secret-file', 'no'], {}, /INPUT_INVALID: cannot read no:/],
    ['a device that is no uuid', ['device', 'pi-1', '--token-id', TOKEN_ID], {}, /a device's id is a uuid, not "pi-1"/],
    ['a token id that is no uuid', ['device', DEVICE, '--token-id', 'x'], {}, /--token-id takes a uuid, not "x"/],
    ['no token id', ['device', DEVICE], {}, /required option '--token-id <id>'/],
    ['no hours', ['device', DEVICE, '--token-id', TOKEN_ID, '--hours', '0'], {}, /--hours takes a number above 0/],
    ['a part of a year', ['generate', '--years', '1.5'], {}, /--years takes a whole number from 1 to 100, not "1.5"/],
  ])('%s is wrong usage', async (_what, args, env, said) => {
    const outcome = await cli.run(['keys', ...args], { env })
    expect(outcome).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(said) })
    expect(outcome.stderr).not.toContain('hunter2')
  })
})
