import { CoherenceError, type ErrorCode, isCoherenceError } from '../pipeline/errors.ts'
import { readRetryAfter, type Transient, TRANSIENT_STATUS } from './retry.ts'

// Answers that may pass, whatever their HTTP status. The conflicts are those of two conditional writes at once.
const TRANSIENT_NAMES: ReadonlySet<string> = new Set([
  'SlowDown',
  'RequestTimeout',
  'TooManyRequests',
  'ConditionalRequestConflict',
  'OperationAborted',
])

// S3 refuses requests signed further from its own time than this.
const MAX_SKEW_MS = 15 * 60_000

interface Answer {
  /** The code of the answer's XML; HEAD has none, and then it is some word for the status. */
  readonly name: string
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly message: string
}

/** What the store answered, if `error` is the SDK's for an answer and not one of the connection or of ours. */
export function answerOf(error: unknown): Answer | null {
  if (!(error instanceof Error) || !('$metadata' in error)) return null
  const { $metadata, $response } = error as {
    $metadata?: { httpStatusCode?: number }
    $response?: { statusCode?: number; headers?: Record<string, string> }
  }
  const status = $response?.statusCode ?? $metadata?.httpStatusCode
  if (status === undefined) return null
  return { name: error.name, status, headers: $response?.headers ?? {}, message: error.message }
}

/** Whether the store's answer may be another one later, as `withRetries` asks it. */
export function s3Transient(error: unknown): Transient | null {
  const answer = answerOf(error)
  if (answer === null || !(TRANSIENT_STATUS.has(answer.status) || TRANSIENT_NAMES.has(answer.name))) return null
  return { afterMs: readRetryAfter(answer.headers['retry-after']), said: saidBy(answer) }
}

function saidBy({ name, status, message }: Answer): string {
  const words = message === '' || message === name || message === 'UnknownError' ? '' : `: ${message}`
  return `${name}, HTTP ${status}${words}`
}

/** The bucket, as messages name it. */
export interface S3Place {
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
}

/**
 * The error to throw for `error`, met while `doing` something with a bucket: what the store answered by what an operator can do
 * about it; CoherenceErrors, RangeErrors and the like as they are. Neither it nor its cause holds headers, signatures or keys.
 */
export function s3Error(error: unknown, doing: string, place: S3Place): unknown {
  if (isCoherenceError(error) || !(error instanceof Error)) return error
  const answer = answerOf(error)
  if (answer === null) return connectionError(error, doing, place)
  const [code, advice] = adviceOn(answer, place)
  return new CoherenceError(code, `${doing}: ${advice} (${saidBy(answer)})`)
}

function adviceOn({ name, status, headers, message }: Answer, place: S3Place): [ErrorCode, string] {
  if (name === 'NoSuchBucket') return ['STORE_NOT_FOUND', `create the bucket ${place.bucket}, or set the right one`]
  if (/quota|storage.?full|limit.?exceeded|exceeds.*limit|insufficient.?storage/i.test(`${name} ${message}`)) {
    return ['STORE_FULL', 'the quota is used up; free some room or raise it']
  }
  if (name === 'EntityTooLarge' || status === 413) {
    return ['STORE_FULL', 'the object is larger than the store takes; lower CHUNK_TARGET_BYTES']
  }
  if (status === 507) return ['STORE_FULL', 'the store has no room left']
  if (name === 'InvalidAccessKeyId') return ['STORE_FORBIDDEN', 'the store does not know this access key id; check it']
  if (name === 'SignatureDoesNotMatch') {
    return ['STORE_FORBIDDEN', 'the secret access key does not belong to the access key id; check both']
  }
  const skew = name === 'RequestTimeTooSkewed' || status === 403 ? skewOf(headers.date) : 0
  if (name === 'RequestTimeTooSkewed' || Math.abs(skew) > MAX_SKEW_MS) {
    const by = skew === 0 ? '' : ` by ${Math.round(Math.abs(skew) / 60_000)} minutes (${skew > 0 ? 'fast' : 'slow'})`
    return ['STORE_FORBIDDEN', `this machine's clock is wrong${by}; set it, for example by NTP`]
  }
  if (name === 'AuthorizationHeaderMalformed' || name === 'PermanentRedirect' || name === 'InvalidRegion') {
    return ['STORE_FORBIDDEN', `the bucket is in another region than ${place.region}; check region and endpoint`]
  }
  if (status === 401 || status === 403) {
    return ['STORE_FORBIDDEN', 'let this access key read, write, list and delete in the bucket; check key and bucket']
  }
  if (status === 404) return ['STORE_NOT_FOUND', 'there is no such object']
  return ['STORE_UNAVAILABLE', 'the store refused']
}

/** How far this machine's clock is ahead of a Date header, in milliseconds. */
function skewOf(date: string | undefined): number {
  const there = Date.parse(date ?? '')
  return Number.isNaN(there) ? 0 : Date.now() - there
}

function connectionError(error: Error, doing: string, { endpoint }: S3Place): unknown {
  const code = 'code' in error ? String(error.code) : ''
  if (code === 'ENOTFOUND') {
    return new CoherenceError(
      'STORE_UNAVAILABLE',
      `${doing}: ${endpoint} names no host; check the endpoint (${code})`,
      {
        cause: error,
      },
    )
  }
  if (/CERT|TLS|SSL|SIGNATURE|ISSUER/.test(code)) {
    const text = `${doing}: no safe connection to ${endpoint}: ${error.message}; check the endpoint (${code})`
    return new CoherenceError('STORE_UNAVAILABLE', text, { cause: error })
  }
  return error
}
