import { randomUUID } from 'node:crypto'
import { type GetObjectCommandOutput, S3Client } from '@aws-sdk/client-s3'
import { CoherenceError, isCoherenceError } from '../pipeline/errors.ts'
import { hashBytes, type ObjectStore } from './object-store.ts'
import { TransientError } from './retry.ts'
import { answerOf } from './s3-errors.ts'

const CONNECT_MS = 10_000
const MAX_SOCKETS = 64

/**
 * The SDK's client with everything said that it would look for in the environment or decide by itself: path style, no retries, no
 * checksum trailers (services other than AWS keep them as part of the object), no guessing at the clock. RangeError for an
 * endpoint that is no URL or holds a password.
 */
export function openS3Client(options: {
  endpoint: string
  region: string
  accessKeyId: string
  secretAccessKey: string
  silenceMs: number
}): S3Client {
  const endpoint = URL.parse(options.endpoint)
  if (endpoint === null || !/^https?:$/.test(endpoint.protocol)) {
    throw new RangeError(`the S3 endpoint ${JSON.stringify(options.endpoint)} is no http or https URL`)
  }
  if (endpoint.username !== '' || endpoint.password !== '') throw new RangeError('the S3 endpoint holds a password')
  const client = new S3Client({
    endpoint: endpoint.href,
    region: options.region,
    credentials: { accessKeyId: options.accessKeyId, secretAccessKey: options.secretAccessKey },
    forcePathStyle: true,
    maxAttempts: 1,
    retryMode: 'standard',
    defaultsMode: 'standard',
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    disableClockSkewCorrection: true,
    disableS3ExpressSessionAuth: true,
    useArnRegion: false,
    useDualstackEndpoint: false,
    useFipsEndpoint: false,
    userAgentAppId: 'coherence',
    requestHandler: {
      connectionTimeout: Math.min(CONNECT_MS, options.silenceMs),
      socketTimeout: options.silenceMs,
      httpAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
      httpsAgent: { keepAlive: true, maxSockets: MAX_SOCKETS },
    },
  })
  signKnownHash(client)
  return client
}

/** The hash of a whole put is known: the signature takes it instead of reading the body again. */
function signKnownHash(client: S3Client): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const { Body, Metadata } = args.input as { Body?: unknown; Metadata?: Record<string, string> }
      const { headers } = args.request as { headers: Record<string, string> }
      if (Body !== undefined && Metadata?.sha256 !== undefined) headers['x-amz-content-sha256'] = Metadata.sha256
      return await next(args)
    },
    { step: 'build', name: 'signKnownHash', override: true },
  )
}

/** True for the answer that there is no such object or, to a HEAD, perhaps no such bucket. */
export function isMissing(error: unknown): boolean {
  const answer = answerOf(error)
  return answer?.status === 404 && answer.name !== 'NoSuchBucket'
}

/** The body of an answer, read into memory of exactly its length. TransientError if it ends early. */
export async function readBody(
  answer: GetObjectCommandOutput,
  range: { start: number; end: number } | undefined,
): Promise<Uint8Array<ArrayBuffer>> {
  const { ContentLength: length, ContentRange, Body } = answer
  if (length === undefined) throw new TransientError('the store did not tell the length of its answer')
  const asked = range === undefined || (ContentRange ?? 'bytes 0-').startsWith(`bytes ${range.start}-`)
  if (!asked || length > (range ? range.end - range.start : Infinity)) {
    throw new CoherenceError('STORE_UNAVAILABLE', 'the store sent other bytes than the range it was asked for')
  }
  const bytes = new Uint8Array(length)
  let at = 0
  // The type is that of every platform; in Node it is an IncomingMessage.
  for await (const piece of (Body ?? []) as AsyncIterable<Uint8Array>) {
    if (at + piece.length > length) throw new TransientError(`the answer went on after its ${length} bytes`)
    bytes.set(piece, at)
    at += piece.length
  }
  if (at !== length) throw new TransientError(`the answer ended after ${at} of ${length} bytes`)
  return bytes
}

/** Throws STORE_UNAVAILABLE if the store lets an object be overwritten: some services ignore If-None-Match. */
export async function proveCreateOnly(store: Omit<ObjectStore, 'probe'>): Promise<void> {
  const key = `health/${randomUUID()}`
  const [first, second] = [Uint8Array.of(1), Uint8Array.of(2)]
  await store.put(key, hashBytes(first))
  try {
    await store.put(key, hashBytes(second))
  } catch (error) {
    if (isCoherenceError(error, 'STORE_CONFLICT')) return
    throw error
  } finally {
    await store.delete(key)
  }
  throw new CoherenceError(
    'STORE_UNAVAILABLE',
    `the ${store.backend} store let ${store.bucket}/${key} be overwritten: it ignores If-None-Match, and is not safe here`,
  )
}
