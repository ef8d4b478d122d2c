import { z } from 'zod'
import type { DeviceIdentity } from './claims.ts'
import type { Environment } from './environment.ts'
import { logFault } from './post.ts'
import { Refusal } from './refusal.ts'

const TIMEOUT_MS = 30_000

interface Call {
  readonly apiKey: string
  /** The JWT to be, if it is not the key. */
  readonly bearer?: string
  /** Statuses that say something about what was sent, and are passed on. */
  readonly passedOn: readonly number[]
}

/** What PostgREST says of an error. */
const FAILURE = z.object({ code: z.string(), message: z.string(), hint: z.string().nullish() })

/** The value of a database function, called through the project's API. Refuses with 502 or 503 if it has none to give. */
export async function callFunction(url: string, name: string, args: object, call: Call): Promise<unknown> {
  // Keys of the newer kind are no JWTs: the gateway takes them in `apikey` alone.
  const bearer = call.bearer ?? (call.apiKey.startsWith('sb_') ? undefined : call.apiKey)
  let response: Response
  let answered: unknown
  try {
    response = await fetch(new URL(`/rest/v1/rpc/${name}`, url), {
      method: 'POST',
      headers: {
        apikey: call.apiKey,
        'content-type': 'application/json',
        ...(bearer !== undefined && { authorization: `Bearer ${bearer}` }),
      },
      body: JSON.stringify(args),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    // A gateway's errors may be no JSON.
    answered = response.ok ? await response.json() : await response.json().catch(() => null)
  } catch (error) {
    logFault(error)
    throw new Refusal(503, 'The database did not answer. Send the same again.', { 'retry-after': '10' })
  }
  if (response.ok) return answered
  const { data: failure } = FAILURE.safeParse(answered)
  if (!call.passedOn.includes(response.status)) {
    logFault({ function: name, status: response.status, ...failure })
    throw new Refusal(502, 'The database could not do it. Send the same again later.', { 'retry-after': '60' })
  }
  const { message = 'refused by the database', hint } = failure ?? {}
  const wait = /\bin (\d+) seconds?/.exec(hint ?? '')?.[1] ?? response.headers.get('retry-after') ?? '1'
  const said = (hint ? `${message}; ${hint}` : message).replace(/\.?$/, '.')
  throw new Refusal(response.status, said, response.status === 429 ? { 'retry-after': wait } : {})
}

const AUTHENTICATED = z.array(
  z.object({ device_id: z.guid(), token_id: z.guid(), profiles: z.array(z.record(z.string(), z.unknown())) }),
)

export interface AuthenticatedDevice extends DeviceIdentity {
  readonly profiles: readonly Record<string, unknown>[]
}

/** The device whose token this is; null for a token that is unknown or revoked, or of a device that is not active. */
export async function authenticateDevice(environment: Environment, token: string): Promise<AuthenticatedDevice | null> {
  // Postgres cannot hold such a text, so it is nobody's. It is looked up all the same: every wrong token takes the same way.
  const asked = token.isWellFormed() && !token.includes('\0') ? token : crypto.randomUUID()
  const rows = AUTHENTICATED.parse(
    await callFunction(
      environment.url,
      'authenticate_device',
      { device_token: asked },
      { apiKey: environment.secretKey, passedOn: [] },
    ),
  )
  return rows.length === 0
    ? null
    : { deviceId: rows[0].device_id, tokenId: rows[0].token_id, profiles: rows[0].profiles }
}
