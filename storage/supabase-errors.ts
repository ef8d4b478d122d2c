import { DetailedError } from 'tus-js-client'
import { CoherenceError, type ErrorCode, isCoherenceError } from '../pipeline/errors.ts'
import { readRetryAfter, type Transient, TRANSIENT_STATUS } from './retry.ts'
import { SupabaseAnswer } from './supabase-http.ts'

// Locked; the platform's gateway and its content network saying that they waited in vain.
const MORE_TRANSIENT_STATUS: ReadonlySet<number> = new Set([408, 423, 520, 521, 522, 523, 524, 544])

// Answers that may pass, whatever their status.
const TRANSIENT_CODES: ReadonlySet<string> = new Set([
  'SlowDown',
  'TransactionError',
  'ResourceLocked',
  'LockTimeout',
  'DatabaseTimeout',
])

/** Whether the API's answer may be another one later, as `withRetries` asks it. */
export function supabaseTransient(error: unknown): Transient | null {
  if (!(error instanceof SupabaseAnswer) || isFull(error)) return null
  const byStatus = TRANSIENT_STATUS.has(error.status) || MORE_TRANSIENT_STATUS.has(error.status)
  if (!byStatus && !TRANSIENT_CODES.has(error.code)) return null
  return { afterMs: readRetryAfter(error.headers.get('retry-after')), said: saidBy(error) }
}

/** True for the answer that there is no such object. */
export function isMissingObject(error: unknown): boolean {
  if (!(error instanceof SupabaseAnswer) || isMissingBucket(error)) return false
  const said = error.code === 'not_found' || /^(object|the resource was) not found/i.test(error.message)
  return error.code === 'NoSuchKey' || (error.status === 404 && said)
}

/** True for the answer that there is no such bucket, or none that the key may see. */
export function isMissingBucket(error: unknown): boolean {
  if (!(error instanceof SupabaseAnswer)) return false
  return error.code === 'NoSuchBucket' || /bucket not found|related resource does not exist/i.test(error.message)
}

/** True for the answer that an object, or a bucket, of this name exists. */
export function isTaken(error: unknown): boolean {
  if (!(error instanceof SupabaseAnswer)) return false
  const coded = /^(Key|Resource|Bucket)AlreadyExists$|^Duplicate$/.test(error.code)
  return coded || (error.status === 409 && /already exists/i.test(error.message))
}

/** True for the answer that the object ends before the range that was asked for. */
export function isPastEnd(error: unknown): boolean {
  return error instanceof SupabaseAnswer && (error.status === 416 || /^invalid_?range$/i.test(error.code))
}

/** True for the answer that the disk behind a self-hosted store is full. */
function isFull({ message }: SupabaseAnswer): boolean {
  return /ENOSPC|no space left/i.test(message)
}

/** The bucket, as messages name it. */
export interface SupabasePlace {
  readonly url: string
  readonly bucket: string
  /** Whether the key is one that only gateways know. */
  readonly isGatewayKey: boolean
}

/**
 * The error to throw for `error`, met while `doing` something with a bucket: what the API answered by what an operator can do
 * about it; CoherenceErrors, RangeErrors and the like as they are. Neither it nor its cause holds the key.
 */
export function supabaseError(error: unknown, doing: string, place: SupabasePlace): unknown {
  if (isCoherenceError(error) || !(error instanceof Error)) return error
  if (!(error instanceof SupabaseAnswer)) return connectionError(error, doing, place)
  if (error.code === 'InvalidKey' || /^invalid key: /i.test(error.message)) {
    return new RangeError(`${doing}: the key holds characters that Supabase Storage does not take (${saidBy(error)})`)
  }
  const [code, advice] = adviceOn(error, place)
  return new CoherenceError(code, `${doing}: ${advice} (${saidBy(error)})`)
}

function adviceOn(answer: SupabaseAnswer, { bucket, url, isGatewayKey }: SupabasePlace): [ErrorCode, string] {
  const { status, code, message } = answer
  if (isMissingBucket(answer)) {
    return ['STORE_NOT_FOUND', `create the bucket ${bucket} as a private one, or set the right one`]
  }
  if (isMissingObject(answer)) return ['STORE_NOT_FOUND', 'there is no such object']
  if (status === 413 || code === 'EntityTooLarge') {
    const where = 'in the settings of Storage, of the bucket, or FILE_SIZE_LIMIT when self-hosted'
    return [
      'STORE_FULL',
      `it is above the file size limit, 50 MiB unless raised; lower CHUNK_TARGET_BYTES or raise the limit (${where})`,
    ]
  }
  if (isFull(answer)) return ['STORE_FULL', "the store's disk has no room left"]
  if (status === 402) return ['STORE_FULL', 'the project is over its quota; free some room or raise the plan']
  if (status === 415 || code === 'InvalidMimeType') {
    return ['STORE_FORBIDDEN', `the bucket ${bucket} takes other file types only; let it take application/octet-stream`]
  }
  const isBadKey = /jwt|jws|api ?key|authentication credentials|invalid token|signature verification/i.test(message)
  if (status === 401 || isBadKey || code === 'InvalidJWT') {
    const gateway =
      "an sb_secret_ key is known to the project's own URL (gateway) only, not to the storage service itself"
    const hint = isGatewayKey ? `; ${gateway}` : ''
    return [
      'STORE_FORBIDDEN',
      `the key is not one of the project at ${url}; check SUPABASE_SECRET_KEY and SUPABASE_URL${hint}`,
    ]
  }
  if (status === 403) {
    const what = 'the key may not read, write, list and delete there'
    return ['STORE_FORBIDDEN', `${what}; use the secret (service_role) key and check the grants on bucket ${bucket}`]
  }
  if (status === 540) return ['STORE_UNAVAILABLE', 'the project is paused; restore it in its dashboard']
  if (status === 404 || (status >= 300 && status < 400) || code === 'TenantNotFound') {
    return ['STORE_UNAVAILABLE', `${url} has no such storage API; check SUPABASE_URL, or update a self-hosted one`]
  }
  return ['STORE_UNAVAILABLE', 'the store refused']
}

function saidBy({ status, httpStatus, code, message }: SupabaseAnswer): string {
  const statuses = status === httpStatus ? `HTTP ${status}` : `${status} as HTTP ${httpStatus}`
  return [statuses, code === message ? '' : code, message].filter((word) => word !== '').join(', ')
}

function connectionError(error: Error, doing: string, { url }: SupabasePlace): unknown {
  const because = (text: string): CoherenceError =>
    new CoherenceError('STORE_UNAVAILABLE', `${doing}: ${text}`, { cause: error })
  const isStrange = error instanceof SyntaxError || error instanceof DetailedError
  if (isStrange) return because(`${url} did not answer as a storage API does; check SUPABASE_URL`)
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const code = 'code' in at ? String(at.code) : ''
    if (code === 'ENOTFOUND') return because(`${url} names no host; check SUPABASE_URL (${code})`)
    if (/CERT|TLS|SSL|SIGNATURE|ISSUER/.test(code)) {
      return because(`no safe connection to ${url}: ${at.message}; check SUPABASE_URL (${code})`)
    }
  }
  return error
}
