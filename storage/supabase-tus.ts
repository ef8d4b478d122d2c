import { type HttpRequest, type HttpResponse, type HttpStack, Upload } from 'tus-js-client'
import { isCoherenceError } from '../pipeline/errors.ts'
import { TransientError } from './retry.ts'
import { isTaken } from './supabase-errors.ts'
import { SupabaseAnswer, type SupabaseHttp } from './supabase-http.ts'

/** Supabase takes resumable uploads in parts of exactly this size, the last one aside. */
export const PART_BYTES = 6 * 1024 * 1024

/** Makes a request with all its tries. */
export type Send = <T>(request: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal) => Promise<T>

/**
 * Creates an object by a resumable upload; false if the key is taken. After a break it goes on where the store says it was, and
 * each part that arrives gives the next a full set of tries. An upload that fails is ended, by `sendLast`, as far as
 * the store can be reached; otherwise the store forgets it after a day or less.
 */
export async function putInParts(
  http: SupabaseHttp,
  object: { endpoint: string; bytes: Uint8Array; metadata: Record<string, string> },
  { send, sendLast, signal }: { send: Send; sendLast: Send; signal?: AbortSignal },
): Promise<boolean> {
  const { endpoint, bytes, metadata } = object
  const stack = openStack(http)
  let arrived = 0
  const upload = new Upload(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), {
    endpoint,
    metadata,
    headers: { 'x-upsert': 'false' },
    chunkSize: PART_BYTES,
    httpStack: stack,
    retryDelays: null,
    fingerprint: async () => '',
    storeFingerprintForResuming: false,
    // The store may call itself by a name (http instead of https, a host behind the gateway) that leads nowhere from here.
    onUploadUrlAvailable: () => (upload.url = `${endpoint}/${new URL(upload.url ?? '').pathname.split('/').at(-1)}`),
    onChunkComplete: (_bytes, accepted) => (arrived = Math.max(arrived, accepted)),
  })
  const goOn = (until: AbortSignal): Promise<void> =>
    new Promise((resolve, reject) => {
      stack.begin(until)
      upload.options.onSuccess = () => resolve()
      upload.options.onError = (error) => reject(stack.failure() ?? error)
      upload.start()
    })
  for (;;) {
    const before = arrived
    try {
      await send(goOn, signal)
      return true
    } catch (error) {
      const isStuck = !isCoherenceError(error, 'STORE_UNAVAILABLE') || arrived === before
      if (!isStuck) continue
      if (upload.url !== null) await terminate(upload.url, stack, sendLast)
      if (isTaken(error)) return false
      throw error
    }
  }
}

async function terminate(url: string, stack: Stack, sendLast: Send): Promise<void> {
  try {
    await sendLast(async (signal) => {
      stack.begin(signal)
      await Upload.terminate(url, { httpStack: stack, retryDelays: null })
    })
  } catch {
    // What the store could not be told it finds out by itself.
  }
}

interface Stack extends HttpStack {
  /** The requests from now on end with this signal. */
  begin(signal: AbortSignal): void
  /** What made the last request fail: the client's own errors wrap it, and would show all headers. */
  failure(): unknown
}

/** Lets the client send its requests the way all others go. */
function openStack(http: SupabaseHttp): Stack {
  let signal = new AbortController().signal
  let failure: unknown
  const createRequest = (method: string, url: string): HttpRequest => {
    const headers: Record<string, string> = {}
    const send = async (body: Uint8Array | null): Promise<HttpResponse> => {
      try {
        const reply = await http(url, { method, headers, body: body ?? undefined, signal })
        return responseOf(reply.status, reply.headers)
      } catch (error) {
        if (method === 'HEAD' && isGone(error)) return responseOf(error.status, error.headers)
        failure = method === 'PATCH' ? patchFailure(error) : error
        throw failure
      }
    }
    return {
      getMethod: () => method,
      getURL: () => url,
      setHeader: (name, value) => (headers[name] = value),
      getHeader: (name) => headers[name],
      setProgressHandler: () => {},
      getUnderlyingObject: () => null,
      abort: async () => {},
      send,
    }
  }
  return {
    createRequest,
    getName: () => 'SupabaseStack',
    begin: (next) => {
      signal = next
      failure = undefined
    },
    failure: () => failure,
  }
}

function responseOf(status: number, headers: Headers): HttpResponse {
  return {
    getStatus: () => status,
    getHeader: (name) => headers.get(name) ?? undefined,
    getBody: () => '',
    getUnderlyingObject: () => null,
  }
}

function isGone(error: unknown): error is SupabaseAnswer {
  return error instanceof SupabaseAnswer && (error.status === 404 || error.status === 410)
}

/** A part that does not fit what the store has: the next try asks where it is, and begins anew if the upload has expired. */
function patchFailure(error: unknown): unknown {
  if (isGone(error)) return new TransientError('the store has forgotten the unfinished upload')
  if (error instanceof SupabaseAnswer && error.status === 409 && !isTaken(error)) {
    return new TransientError('the store has another part of the object than was thought')
  }
  return error
}
