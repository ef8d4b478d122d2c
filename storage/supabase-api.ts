import { createClient, type SupabaseClient } from '@supabase/supabase-js'
import { TransientError } from './retry.ts'
import { asFetch, contentLength, openSupabaseHttp, type SupabaseHttp } from './supabase-http.ts'

export interface StoredObject {
  readonly size: number
  readonly modifiedAt: Date
  /** What its writer said of itself, if the store kept it. */
  readonly metadata: { readonly sha256?: string; readonly writer?: string }
}

export interface ListPage {
  readonly objects: { key: string; size: number; modifiedAt: Date }[]
  readonly next: string | undefined
}

/** The API's requests for one bucket, each sent once. They throw SupabaseAnswer, TransientError and what fetch throws. */
export interface SupabaseApi {
  readonly http: SupabaseHttp
  readonly resumableEndpoint: string
  upload(key: string, bytes: Uint8Array, metadata: object, signal: AbortSignal): Promise<void>
  download(
    key: string,
    range: { start: number; end: number } | undefined,
    signal: AbortSignal,
  ): Promise<Uint8Array<ArrayBuffer>>
  info(key: string, signal: AbortSignal): Promise<StoredObject>
  /** False if there was no such object. */
  remove(key: string, signal: AbortSignal): Promise<boolean>
  sign(key: string, options: { seconds: number; fileName?: string }, signal: AbortSignal): Promise<string>
  list(prefix: string, cursor: string | undefined, signal: AbortSignal): Promise<ListPage>
  findBucket(signal: AbortSignal): Promise<{ isPublic: boolean; fileSizeLimit: number | null }>
  createBucket(signal: AbortSignal): Promise<void>
}

/** No cache between here and the store may answer in its place. */
export const CACHE_SECONDS = '0'
export const CONTENT_TYPE = 'application/octet-stream'

// The most that the store lists at once.
const PAGE = 1000

/** RangeError for a URL that is no URL or holds a password, and for a key that is a public one or none. */
export function openSupabaseApi(options: {
  url: string
  secretKey: string
  bucket: string
  silenceMs: number
}): SupabaseApi {
  const { secretKey, bucket } = options
  assertSecretKey(secretKey)
  const url = projectUrl(options.url)
  const http = openSupabaseHttp(options)
  const storage = (signal: AbortSignal): SupabaseClient['storage'] =>
    createClient(url, secretKey, { accessToken: async () => secretKey, global: { fetch: asFetch(http, signal) } })
      .storage
  const pathOf = (key: string): string => `${encodeURIComponent(bucket)}/${encodeKey(key)}`
  return {
    http,
    resumableEndpoint: `${url}/storage/v1/upload/resumable`,
    async upload(key, bytes, metadata, signal) {
      const how = { upsert: false, contentType: CONTENT_TYPE, cacheControl: CACHE_SECONDS, metadata }
      // The client puts the key into the URL as it is: a question mark would end it.
      dataOf(await storage(signal).from(bucket).upload(encodeKey(key), bytes, how))
    },
    async download(key, range, signal) {
      const headers = range && { range: `bytes=${range.start}-${range.end - 1}` }
      // Without "authenticated" a wrong key is told as a missing bucket.
      const request = { method: 'GET', headers, signal }
      const reply = await http(`${url}/storage/v1/object/authenticated/${pathOf(key)}`, request)
      if (contentLength(reply.headers) === null)
        throw new TransientError('the store did not tell the length of its answer')
      if (range === undefined) return reply.bytes
      if (reply.status !== 206) return reply.bytes.slice(range.start, range.end)
      const from = reply.headers.get('content-range') ?? ''
      if (!from.startsWith(`bytes ${range.start}-`) || reply.bytes.length > range.end - range.start) {
        throw new TransientError(`the store sent another range than it was asked for, ${JSON.stringify(from)}`)
      }
      return reply.bytes
    },
    async info(key, signal) {
      const reply = await http(`${url}/storage/v1/object/info/authenticated/${pathOf(key)}`, { method: 'GET', signal })
      return readInfo(JSON.parse(Buffer.from(reply.bytes).toString()))
    },
    async remove(key, signal) {
      return dataOf(await storage(signal).from(bucket).remove([key])).length > 0
    },
    async sign(key, { seconds, fileName }, signal) {
      const how = fileName === undefined ? {} : { download: fileName }
      return dataOf(await storage(signal).from(bucket).createSignedUrl(encodeKey(key), seconds, how)).signedUrl
    },
    async list(prefix, cursor, signal) {
      const page = dataOf(await storage(signal).from(bucket).listV2({ prefix, cursor, limit: PAGE }))
      if (!Array.isArray(page.objects)) throw new SyntaxError('the list of objects is none')
      const objects = page.objects.map(({ name, metadata, updated_at }) => {
        return { key: name, size: metadata?.size ?? 0, modifiedAt: new Date(updated_at) }
      })
      return { objects, next: page.hasNext ? page.nextCursor : undefined }
    },
    async findBucket(signal) {
      const found = dataOf(await storage(signal).getBucket(bucket))
      return { isPublic: found.public, fileSizeLimit: found.file_size_limit ?? null }
    },
    async createBucket(signal) {
      dataOf(await storage(signal).createBucket(bucket, { public: false }))
    },
  }
}

/** The client's data, or its error, or rather the one that it wrapped. */
function dataOf<T>(result: { data: T; error: Error | null }): NonNullable<T> {
  if (result.error === null) return result.data as NonNullable<T>
  const { originalError } = result.error as { originalError?: unknown }
  throw originalError instanceof Error ? originalError : result.error
}

function readInfo(info: Record<string, unknown>): StoredObject {
  const size = info.size
  const modifiedAt = new Date(String(info.last_modified ?? info.updated_at ?? info.created_at))
  if (typeof size !== 'number' || Number.isNaN(modifiedAt.getTime())) {
    throw new TransientError('the store told neither size nor time')
  }
  const metadata = (info.metadata ?? {}) as StoredObject['metadata']
  return { size, modifiedAt, metadata: { sha256: metadata.sha256, writer: metadata.writer } }
}

function encodeKey(key: string): string {
  return key.split('/').map(encodeURIComponent).join('/')
}

function projectUrl(text: string): string {
  const url = URL.parse(text)
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new RangeError(`the Supabase URL ${JSON.stringify(text)} is no http or https URL`)
  }
  if (url.username !== '' || url.password !== '') throw new RangeError('the Supabase URL holds a password')
  if (url.search !== '' || url.hash !== '') throw new RangeError('the Supabase URL holds more than host and path')
  return url.href.replace(/\/+$/, '')
}

/** Tells the public keys that people paste by mistake: with them every object would look as if it were not there. */
function assertSecretKey(key: string): void {
  if (!/^[\x21-\x7e]+$/.test(key))
    throw new RangeError('the Supabase secret key is empty or holds other than visible ASCII')
  const role = key.startsWith('sb_publishable_') ? 'publishable' : roleOf(key)
  if (role === null || role === 'service_role') return
  throw new RangeError(`the Supabase key is a public one (${role}); give the secret or service_role key`)
}

function roleOf(key: string): string | null {
  try {
    const { role } = JSON.parse(Buffer.from(key.split('.')[1] ?? '', 'base64url').toString()) as { role?: unknown }
    return typeof role === 'string' && /^\w+$/.test(role) ? role : null
  } catch {
    return null
  }
}
