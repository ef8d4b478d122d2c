import { TransientError } from './retry.ts'

/** A request to the API. The keys are added. */
export interface SupabaseRequest {
  readonly method: string
  readonly headers?: Record<string, string>
  readonly body?: Uint8Array | string
  readonly signal: AbortSignal
}

/** An answer with its whole body. */
export interface SupabaseReply {
  readonly status: number
  readonly headers: Headers
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** Sends one request, once. Throws SupabaseAnswer unless the status is 2xx, and what fetch throws. */
export type SupabaseHttp = (url: string, request: SupabaseRequest) => Promise<SupabaseReply>

/** What the API answered when it did not do what it was asked. */
export class SupabaseAnswer extends Error {
  /** Of HTTP: 400 for nearly everything. */
  readonly httpStatus: number
  /** Of the body, if it has one: this is the one that counts. */
  readonly status: number
  /** Such as NoSuchKey; older servers tell it, or a word like it, as the `error`. */
  readonly code: string
  readonly headers: Headers

  constructor(httpStatus: number, headers: Headers, body: { status: number; code: string; message: string }) {
    super(body.message)
    this.name = 'SupabaseAnswer'
    this.httpStatus = httpStatus
    this.status = body.status
    this.code = body.code
    this.headers = headers
  }
}

// A body that is sent tells nothing of its progress: it gets time for this many bytes a millisecond besides.
const SLOWEST_UPLOAD = 50

const MAX_MESSAGE = 300

/**
 * Requests with the project's key, each given up after `silenceMs` without a byte. A body shorter than its Content-Length, or
 * longer, is a TransientError. Redirects are not followed: they would take the key to another host.
 */
export function openSupabaseHttp({ secretKey, silenceMs }: { secretKey: string; silenceMs: number }): SupabaseHttp {
  const keys = { apikey: secretKey, authorization: `Bearer ${secretKey}`, 'accept-encoding': 'identity' }
  return async (url, { method, headers, body, signal }) => {
    const silence = watchSilence(silenceMs, (body?.length ?? 0) / SLOWEST_UPLOAD)
    try {
      const response = await fetch(url, {
        method,
        headers: { ...headers, ...keys },
        body: body as RequestInit['body'],
        signal: AbortSignal.any([signal, silence.signal]),
        redirect: 'manual',
      })
      silence.heard()
      const bytes = await readBody(response, silence.heard)
      if (response.ok) return { status: response.status, headers: response.headers, bytes }
      throw answerFrom(response, Buffer.from(bytes).toString().replaceAll(secretKey, '[the key]'))
    } finally {
      silence.stop()
    }
  }
}

/** The same as a `fetch` for clients that want one. What it throws they hand on as the cause of their own errors. */
export function asFetch(http: SupabaseHttp, signal: AbortSignal): typeof fetch {
  return async (input, init) => {
    const url = input instanceof Request ? input.url : String(input)
    const headers = Object.fromEntries(new Headers(init?.headers))
    const body = init?.body as Uint8Array | string | undefined
    const reply = await http(url, { method: init?.method ?? 'GET', headers, body, signal })
    return new Response(reply.bytes, { status: reply.status, headers: reply.headers })
  }
}

function watchSilence(ms: number, firstMs: number): { signal: AbortSignal; heard: () => void; stop: () => void } {
  const controller = new AbortController()
  const end = (): void => controller.abort(new TransientError(`not a byte came for ${ms / 1000} s`))
  let timer = setTimeout(end, ms + firstMs)
  const stop = (): void => clearTimeout(timer)
  const heard = (): void => {
    stop()
    timer = setTimeout(end, ms)
  }
  return { signal: controller.signal, heard, stop }
}

async function readBody(response: Response, heard: () => void): Promise<Uint8Array<ArrayBuffer>> {
  if (response.body === null) return new Uint8Array(0)
  const length = contentLength(response.headers)
  const pieces: Uint8Array[] = []
  const whole = length === null ? null : new Uint8Array(length)
  let at = 0
  for await (const piece of response.body as AsyncIterable<Uint8Array>) {
    heard()
    if (whole === null) pieces.push(piece)
    else if (at + piece.length <= whole.length) whole.set(piece, at)
    else throw new TransientError(`the answer went on after its ${length} bytes`)
    at += piece.length
  }
  if (whole === null) return new Uint8Array(Buffer.concat(pieces))
  if (at !== length) throw new TransientError(`the answer ended after ${at} of ${length} bytes`)
  return whole
}

/** The length of the body as it is read, or null if it was not told. */
export function contentLength(headers: Headers): number | null {
  const length = headers.get('content-encoding') === null ? headers.get('content-length') : null
  return length !== null && /^\d+$/.test(length) ? Number(length) : null
}

function answerFrom(response: Response, text: string): SupabaseAnswer {
  let body: Record<string, unknown> = {}
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null) body = parsed as Record<string, unknown>
  } catch {
    // The resumable uploads answer in plain text, gateways in HTML.
    if (!text.trimStart().startsWith('<')) body = { message: text.trim() }
  }
  const word = (value: unknown): string => (typeof value === 'string' ? value : '')
  const told = Number(body.statusCode)
  return new SupabaseAnswer(response.status, response.headers, {
    status: told >= 100 && told <= 599 ? told : response.status,
    code: word(body.code) || word(body.error),
    message: (word(body.message) || word(body.msg) || response.statusText).slice(0, MAX_MESSAGE),
  })
}
