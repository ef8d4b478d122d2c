import { compactVerify, decodeJwt, decodeProtectedHeader, type JWTPayload } from 'jose'
import { DEVICE_CLAIMS, secretKey } from './supabase/functions/_shared/claims.ts'

/** The roles that this project's database knows. */
const ROLES = ['anon', 'authenticated', 'service_role', 'device']
/** PostgREST's tolerance for clocks that differ. */
const CLOCK_TOLERANCE_SECONDS = 30

export interface JwtReport {
  readonly valid: boolean
  /** What is wrong with it, all of it. */
  readonly problems: readonly string[]
  readonly header: Record<string, unknown> | null
  readonly claims: Record<string, unknown> | null
}

/** What this project's API would make of a token, `now` in seconds since 1970. The secret is in none of the words. */
export async function reportJwt(token: string, secret: string, now: number): Promise<JwtReport> {
  let header: Record<string, unknown>
  let claims: JWTPayload
  try {
    header = decodeProtectedHeader(token)
    claims = decodeJwt(token)
  } catch {
    return { valid: false, problems: [notJwt(token)], header: null, claims: null }
  }
  const problems = [
    ...(await signatureProblems(token, header.alg, secret)),
    ...timeProblems(claims, now),
    ...roleProblems(claims),
  ]
  return { valid: problems.length === 0, problems, header, claims }
}

function notJwt(token: string): string {
  if (/^sb_(publishable|secret)_/.test(token))
    return 'not a JWT: it is an API key of the newer kind, which goes into the header apikey'
  if (/^bearer\s/i.test(token)) return 'not a JWT: leave out the word Bearer'
  const parts = token.split('.').length
  return parts === 3
    ? 'not a JWT: its first two parts must be JSON objects in base64url'
    : `not a JWT: that has three parts with a dot between, and this has ${parts}`
}

async function signatureProblems(token: string, alg: unknown, secret: string): Promise<string[]> {
  if (typeof alg !== 'string') return ['its header names no alg']
  if (alg.toLowerCase() === 'none') return ['alg is none: anybody could have written it']
  if (alg !== 'HS256') return [`alg is ${JSON.stringify(alg)}: a secret verifies HS256`]
  try {
    await compactVerify(token, secretKey(secret), { algorithms: ['HS256'] })
    return []
  } catch {
    return ['the signature is not of this secret']
  }
}

function timeProblems({ exp, nbf, iat }: JWTPayload, now: number): string[] {
  const problems = Object.entries({ exp, nbf, iat })
    .filter(([, time]) => time !== undefined && !isTime(time))
    .map(([name, time]) => `${name} must be seconds since 1970, not ${JSON.stringify(time)}`)
  if (isTime(exp) && exp + CLOCK_TOLERANCE_SECONDS < now) problems.push(`expired ${isoTime(exp)}`)
  if (isTime(nbf) && nbf - CLOCK_TOLERANCE_SECONDS > now) problems.push(`not valid before ${isoTime(nbf)}`)
  if (isTime(iat) && iat - CLOCK_TOLERANCE_SECONDS > now) problems.push(`issued in the future, ${isoTime(iat)}`)
  return problems
}

function roleProblems(claims: JWTPayload): string[] {
  const { role } = claims
  if (role === undefined) return ['has no role']
  if (typeof role !== 'string' || !ROLES.includes(role)) {
    return [`role ${JSON.stringify(role)} is none of ${ROLES.join(', ')}`]
  }
  if (role !== 'device') return []
  const { error } = DEVICE_CLAIMS.safeParse(claims)
  const problems = error?.issues.map((issue) => issue.message) ?? []
  if (claims.exp === undefined) problems.push('a device’s token must have an end (exp)')
  return problems
}

/** Seconds since 1970 that a date can be made of. */
export function isTime(value: unknown): value is number {
  return typeof value === 'number' && Math.abs(value) <= 8.64e12
}

/** Seconds since 1970, as isTime knows them, in ISO 8601. */
export function isoTime(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace(/\.\d+/, '')
}
