import { setTimeout as delay } from 'node:timers/promises'
import { CoherenceError } from '../pipeline/errors.ts'

/** How long to go on with a remote store that fails. */
export interface RetryPolicy {
  /** Tries in all, at least 1. */
  readonly attempts: number
  /** The first pause is random within this many milliseconds, and each further one within twice the last. */
  readonly baseMs: number
  /** No pause is drawn from more than this; Retry-After may ask for a longer one. */
  readonly maxMs: number
  /** All tries and pauses together: a try that still runs then is cut off. */
  readonly deadlineMs: number
  /** For tests: a number in [0, 1), and the pause itself. */
  readonly random?: () => number
  readonly sleep?: (ms: number, signal: AbortSignal | undefined) => Promise<void>
}

/** Six tries over up to a minute of storm, or as many as fit ten minutes when each ends in a minute of silence. */
export const DEFAULT_RETRY: RetryPolicy = { attempts: 6, baseMs: 500, maxMs: 20_000, deadlineMs: 600_000 }

/** What is known of a failure that may pass. */
export interface Transient {
  /** The pause the store asked for. */
  readonly afterMs?: number
  /** What the final error says of it, in place of its message and of itself as the cause. */
  readonly said?: string
}

/** Thrown by a driver inside `withRetries` for an answer that is worth another try, such as a body that ended early. */
export class TransientError extends Error {
  readonly afterMs: number | undefined
  constructor(message: string, options: { cause?: unknown; afterMs?: number } = {}) {
    super(message, { cause: options.cause })
    this.name = 'TransientError'
    this.afterMs = options.afterMs
  }
}

/** HTTP statuses that say "try again later". */
export const TRANSIENT_STATUS: ReadonlySet<number> = new Set([429, 500, 502, 503, 504])

const TRANSIENT_CODES: ReadonlySet<string> = new Set([
  // What sockets say.
  'ECONNRESET',
  'ECONNREFUSED',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'EAI_AGAIN',
  'HPE_INVALID_EOF_STATE',
  'ERR_STREAM_PREMATURE_CLOSE',
  // What fetch says.
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_RES_CONTENT_LENGTH_MISMATCH',
])

/** True for an error of the connection itself, at any depth of `cause`: reset, refused, cut off or silent for too long. */
export function isTransportError(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('code' in at && TRANSIENT_CODES.has(String(at.code))) return true
    if (at.name === 'TimeoutError' || /socket hang up|other side closed/.test(at.message)) return true
  }
  return false
}

/** A Retry-After header (seconds or a date) in milliseconds from `now`; undefined if absent or meaningless. */
export function readRetryAfter(header: string | null | undefined, now = Date.now()): number | undefined {
  const text = header?.trim() ?? ''
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000
  const date = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}

/**
 * Runs `operation` until it succeeds, fails for good, or the policy is used up, with full jitter between tries. `transient`
 * says which errors may pass (null: not this one); TransientError and transport errors always may. The operation gets a signal
 * that aborts with the caller's or at the deadline, and must heed it. Throws the caller's reason once `signal` has aborted;
 * errors that will not pass as they are; STORE_UNAVAILABLE, which begins with `doing`, when it gave up.
 */
export async function withRetries<T>(
  operation: (signal: AbortSignal) => Promise<T>,
  options: RetryPolicy & { doing: string; signal?: AbortSignal; transient?: (error: unknown) => Transient | null },
): Promise<T> {
  const { attempts, baseMs, maxMs, deadlineMs, doing, signal, random = Math.random, sleep = pause } = options
  signal?.throwIfAborted()
  const started = performance.now()
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(new Error(`not done in ${deadlineMs} ms`)), deadlineMs)
  const both = signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal
  try {
    for (let attempt = 1; ; attempt++) {
      try {
        return await operation(both)
      } catch (error) {
        signal?.throwIfAborted()
        const mayPass = deadline.signal.aborted ? {} : classify(error, options.transient)
        if (mayPass === null) throw error
        const wait = Math.max(mayPass.afterMs ?? 0, random() * Math.min(maxMs, baseMs * 2 ** (attempt - 1)))
        const spent = performance.now() - started
        if (deadline.signal.aborted || attempt >= attempts || spent + wait >= deadlineMs) {
          throw gaveUp(doing, error, { attempt, spent, ...mayPass })
        }
        await sleep(wait, signal)
        signal?.throwIfAborted()
      }
    }
  } finally {
    clearTimeout(timer)
  }
}

function classify(error: unknown, transient: (error: unknown) => Transient | null = () => null): Transient | null {
  if (error instanceof TransientError) return { afterMs: error.afterMs }
  return transient(error) ?? (isTransportError(error) ? {} : null)
}

function gaveUp(
  doing: string,
  error: unknown,
  { attempt, spent, afterMs, said }: { attempt: number; spent: number } & Transient,
): CoherenceError {
  const tries = attempt === 1 ? 'tried once' : `tried ${attempt} times`
  const asked = afterMs === undefined ? '' : `; it asks to wait ${Math.ceil(afterMs / 1000)} s`
  const why = said ?? (error instanceof Error ? error.message || error.name : String(error))
  const text = `${doing}: ${why} (${tries} in ${(spent / 1000).toFixed(1)} s${asked}); it may pass`
  return new CoherenceError('STORE_UNAVAILABLE', text, said === undefined ? { cause: error } : {})
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch (error) {
    signal?.throwIfAborted()
    throw error
  }
}
