import { randomUUID } from 'node:crypto'
import { type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { signDeviceToken, verifyDeviceToken } from '../../infra/supabase/functions/_shared/claims.ts'
import { createDatabase, runAsUser, type TestDatabase } from '../harness/database.ts'
import { addPerson, type Person } from '../harness/people.ts'

const SECRET = 'a secret of the project, of 32 characters or more'
const KEY = Buffer.from(SECRET)
const now = () => Math.floor(Date.now() / 1000)

describe('the JWT of a device', () => {
  let database: TestDatabase
  let client: Client
  let victim: Person
  let attacker: Person
  beforeAll(async () => {
    database = await createDatabase()
    client = new Client({ connectionString: database.url })
    await client.connect()
    victim = await addPerson(client)
    attacker = await addPerson(client)
  })
  afterAll(async () => {
    await client.end()
    await database.drop()
  })

  /**
   * What Supabase Auth does with a bearer token (supabase/auth, internal/api/auth.go): any that the secret has signed is parsed, whatever
   * its role and audience, and the user is loaded by `sub`.
   */
  async function findAuthUser(token: string): Promise<string> {
    const { payload } = await jwtVerify(token, KEY, { algorithms: ['HS256'] })
    if (payload.sub === undefined || payload.sub === '') return 'missing sub claim'
    if (!/^[0-9a-f-]{36}$/.test(payload.sub)) return 'sub claim must be a UUID'
    const { rows } = await client.query<{ id: string }>('select id from auth.users where id = $1', [payload.sub])
    return rows[0]?.id ?? 'user not found'
  }

  const sign = (claims: JWTPayload) => new SignJWT(claims).setProtectedHeader({ alg: 'HS256', typ: 'JWT' }).sign(KEY)

  it('is no user’s to Supabase Auth, not even that of a device whose id is a user’s', async () => {
    for (const deviceId of [attacker.device, attacker.user, victim.user]) {
      const token = await signDeviceToken({ deviceId, tokenId: randomUUID() }, SECRET, { now: now() })
      expect(await findAuthUser(token)).toBe('missing sub claim')
    }
    // As it was, and as this test would tell.
    expect(await findAuthUser(await sign({ role: 'device', sub: victim.user }))).toBe(victim.user)
  })

  it('is none that names a user: the functions and the database refuse it, and nobody has such a device', async () => {
    const take = () =>
      client.query('insert into devices (id, user_id, name, device_token) values ($1, $2, $3, gen_random_uuid())', [
        victim.user,
        attacker.user,
        'mine',
      ])
    await expect(runAsUser(client, attacker.user, take)).rejects.toMatchObject({ code: '42501' })
    const { rows } = await client.query('select token_id from authenticate_device($1)', [attacker.token])
    const claims = { role: 'device', aud: 'device', device_id: attacker.device, token_id: rows[0].token_id as string }
    const good = await sign({ ...claims, exp: now() + 60 })
    expect(await verifyDeviceToken(good, SECRET, now())).toEqual({
      deviceId: attacker.device,
      tokenId: rows[0].token_id,
    })
    for (const sub of [attacker.device, victim.user, 'x', '', null]) {
      const bad = await sign({ ...claims, sub: sub as string, exp: now() + 60 })
      await expect(verifyDeviceToken(bad, SECRET, now()), String(sub)).rejects.toMatchObject({ status: 401 })
      const call = runAsUser(
        client,
        null,
        async () => {
          await client.query(`select set_config('request.jwt.claims', $1, true)`, [JSON.stringify({ ...claims, sub })])
          await client.query(`select insert_entropy_samples($1, '{}', '{}', '{}', '{}')`, [attacker.device])
        },
        'device',
      )
      await expect(call, String(sub)).rejects.toMatchObject({ code: '42501' })
    }
  })
})
