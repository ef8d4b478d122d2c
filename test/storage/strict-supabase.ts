import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { jwtVerify, SignJWT } from 'jose'
import { answerWith, type Fault, FaultPlan, type FaultTarget, readRequest } from './socket-faults.ts'
import { type BucketRules, StrictSupabaseBucket, SupabaseRefusal } from './strict-supabase-bucket.ts'
import { answerTus } from './strict-supabase-tus.ts'

/** What a strict server can be made to be. Each may be changed while it runs. */
export interface StrictSupabaseState extends BucketRules {
  secretKey: string
  /** False makes it the storage service without its gateway, which knows no sb_ keys. */
  hasGateway: boolean
  readonly bucketName: string
  bucketExists: boolean
  isPublic: boolean
  /** All that is asked with the right key is refused all the same. */
  denied: boolean
  /** 50 MiB unless raised. */
  fileSizeLimit: number
  /** All that fits. */
  diskBytes: number
  /** How far the server's clock is ahead. */
  clockOffsetMs: number
  /** The most objects on a page of a listing. */
  pageSize: number
  /** False makes it one of those that do not keep what writers say of their objects. */
  keepsMetadata: boolean
  /** False makes it one of those whose answers have no `code`. */
  tellsCodes: boolean
  uploadLifeMs: number
}

export interface StrictSupabase {
  readonly url: string
  readonly state: StrictSupabaseState
  readonly bucket: StrictSupabaseBucket
  readonly faults: FaultPlan
  /** Method and path with query of each request so far. */
  readonly requests: string[]
  /** The headers of each. */
  readonly headers: IncomingHttpHeaders[]
  close(): Promise<void>
}

const LINK_SECRET = Buffer.from('the secret by which links are signed')

interface Answer {
  status: number
  headers: Record<string, string | number>
  body: Buffer
}

/**
 * A storage service of Supabase behind its gateway that forgives nothing, with one bucket in memory. Its answers, statuses and words
 * are those of the service's source of August 2026.
 */
export async function startStrictSupabase(): Promise<StrictSupabase> {
  const state: StrictSupabaseState = {
    secretKey: 'sb_secret_0123456789abcdef',
    hasGateway: true,
    bucketName: 'entropy-chunks',
    bucketExists: true,
    isPublic: false,
    denied: false,
    fileSizeLimit: 50 << 20,
    diskBytes: Infinity,
    clockOffsetMs: 0,
    pageSize: 3,
    keepsMetadata: true,
    tellsCodes: true,
    uploadLifeMs: 3_600_000,
  }
  const bucket = new StrictSupabaseBucket()
  const faults = new FaultPlan()
  const requests: string[] = []
  const headers: IncomingHttpHeaders[] = []
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`)
    headers.push(request.headers)
    // A connection that broke is no failure of the server.
    serve(request, response, { state, bucket, faults }).catch((error: unknown) => response.destroy(error as Error))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    state,
    bucket,
    faults,
    requests,
    headers,
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  server: { state: StrictSupabaseState; bucket: StrictSupabaseBucket; faults: FaultPlan },
): Promise<void> {
  const { state } = server
  const now = new Date(Date.now() + state.clockOffsetMs)
  const fault = server.faults.take(targetOf(request))
  response.setHeader('date', now.toUTCString())
  const isTus = /^\/storage\/v1\/upload\/resumable(\/|$)/.test(request.url ?? '')
  let answer: Answer | null
  try {
    if (fault?.kind === 'refuse') {
      if (fault.retryAfter !== undefined) response.setHeader('retry-after', fault.retryAfter)
      throw refusalOf(fault.status)
    }
    if (!isLink(request)) assertKey(request, state)
    if (state.denied)
      throw new SupabaseRefusal(403, 'AccessDenied', 'permission denied for table objects', 'Unauthorized')
    const there = {
      bucket: server.bucket,
      bucketName: state.bucketName,
      isThere: state.bucketExists,
      rules: state,
      now,
    }
    const id = /^\/storage\/v1\/upload\/resumable\/([\w-]+)$/.exec(request.url ?? '')?.[1] ?? ''
    answer = isTus ? await answerTus(request, fault, { id, ...there }) : await act(request, fault, { ...server, now })
  } catch (error) {
    if (!(error instanceof SupabaseRefusal)) throw error
    // An answer without a look at the body; what still comes of it is dropped.
    request.resume()
    answer = refuse(error, isTus, state)
  }
  if (answer !== null) await answerWith(response, fault, answer)
}

function isLink({ method, url = '' }: IncomingMessage): boolean {
  return method === 'GET' && url.startsWith('/storage/v1/object/sign/')
}

function targetOf({ method, url = '' }: IncomingMessage): FaultTarget {
  if (method === 'PATCH') return 'write'
  if (method === 'POST' && /^\/storage\/v1\/object\/(?!list)/.test(url)) return 'write'
  return method === 'GET' && url.startsWith('/storage/v1/object/authenticated/') ? 'read' : 'any'
}

/** Who refuses, and how: the service itself, or what stands before it. */
function refusalOf(status: number): SupabaseRefusal {
  if (status === 502 || status === 504) return new SupabaseRefusal(status, 'html', '<html><h1>Bad Gateway</h1></html>')
  if (status === 429) return new SupabaseRefusal(429, 'SlowDown', 'Too many connections issued to the database')
  if (status === 544) return new SupabaseRefusal(544, 'DatabaseTimeout', 'The connection to the database timed out')
  if (status === 423) return new SupabaseRefusal(423, 'ResourceLocked', 'The resource is locked')
  if (status === 409) return new SupabaseRefusal(409, 'TransactionError', 'The transaction could not be ended')
  if (status === 503) return new SupabaseRefusal(503, 'LockTimeout', 'acquiring lock timeout', 'acquiring_lock_timeout')
  return new SupabaseRefusal(status, 'InternalError', 'Internal server error')
}

function assertKey({ headers }: IncomingMessage, state: StrictSupabaseState): void {
  const isKnown = headers.apikey === state.secretKey && headers.authorization === `Bearer ${state.secretKey}`
  if (state.hasGateway && !isKnown) throw new SupabaseRefusal(401, 'gateway', 'Invalid API key')
  if (isKnown && (state.hasGateway || !state.secretKey.startsWith('sb_'))) return
  throw new SupabaseRefusal(403, 'AccessDenied', 'Invalid Compact JWS', 'Unauthorized')
}

function refuse(refusal: SupabaseRefusal, isTus: boolean, { tellsCodes }: StrictSupabaseState): Answer {
  const { status, code, message, error } = refusal
  if (code === 'html') return { status, headers: { 'content-type': 'text/html' }, body: Buffer.from(message) }
  if (code === 'gateway') return json(status, { message, hint: 'Double check your Supabase API key.' })
  // Those of the service that come before the uploads' own code are in JSON all the same.
  if (isTus && code !== 'AccessDenied')
    return { status, headers: { 'tus-resumable': '1.0.0' }, body: Buffer.from(message) }
  const httpStatus = [416, 429, 500, 544].includes(status) ? status : 400
  return json(httpStatus, { statusCode: String(status), ...(tellsCodes && { code }), error, message })
}

async function act(
  request: IncomingMessage,
  fault: Fault | undefined,
  { state, bucket, now }: { state: StrictSupabaseState; bucket: StrictSupabaseBucket; now: Date },
): Promise<Answer | null> {
  const path = (request.url ?? '').split('?')[0]
  const [, route, name, key] =
    /^\/storage\/v1\/(object\/sign|object\/authenticated|object\/info\/authenticated|object\/list-v2|object|bucket)(?:\/([^/]+)(?:\/(.+))?)?$/.exec(
      path,
    ) ?? []
  const isThere = state.bucketExists && decodeURIComponent(name ?? '') === state.bucketName
  const object = decodeURIComponent(key ?? '')
  const assertBucket = (): void => {
    if (!isThere) throw new SupabaseRefusal(404, 'NoSuchBucket', 'Bucket not found', 'Bucket not found')
  }
  const operation = `${request.method} ${route}${name === undefined ? '' : ' b'}${key === undefined ? '' : ' k'}`
  if (operation === 'POST object b k') {
    assertBucket()
    const length = Number(request.headers['content-length'] ?? Number.NaN)
    if (!Number.isSafeInteger(length)) throw new SupabaseRefusal(501, 'NotImplemented', 'no Content-Length')
    if (request.headers['x-upsert'] !== 'false') throw new SupabaseRefusal(501, 'NotImplemented', 'never overwrite')
    bucket.assertMayCreate(object, length, state)
  }
  const body = await readRequest(request, fault)
  if (body === null) return null
  switch (operation) {
    case 'POST object b k': {
      const told = Buffer.from(String(request.headers['x-metadata'] ?? ''), 'base64').toString()
      bucket.create(object, body, told === '' ? null : JSON.parse(told), state, now)
      return json(200, { Id: '00000000-0000-4000-8000-000000000000', Key: `${state.bucketName}/${object}` })
    }
    case 'GET object/authenticated b k':
      assertBucket()
      return readObject(bucket.find(object).body, request.headers.range)
    case 'POST object/sign b k': {
      assertBucket()
      bucket.find(object)
      const seconds = jsonOf(request, body).expiresIn
      if (!(Number.isSafeInteger(seconds) && Number(seconds) >= 1))
        throw new SupabaseRefusal(400, 'InvalidRequest', 'body/expiresIn must be >= 1', 'Error')
      const signed = `${state.bucketName}/${object}`
      const expires = Math.floor(now.getTime() / 1000) + Number(seconds)
      const token = await new SignJWT({ url: signed })
        .setProtectedHeader({ alg: 'HS256' })
        .setExpirationTime(expires)
        .sign(LINK_SECRET)
      return json(200, { signedURL: `/object/sign/${signed}?token=${token}` })
    }
    case 'GET object/sign b k': {
      const query = new URL(request.url ?? '', 'http://storage').searchParams
      const { payload } = await jwtVerify(query.get('token') ?? '', LINK_SECRET, { currentDate: now }).catch(
        ({ message }: Error) => {
          throw new SupabaseRefusal(400, 'InvalidJWT', message, 'InvalidJWT')
        },
      )
      if (payload.url !== `${state.bucketName}/${object}`)
        throw new SupabaseRefusal(400, 'InvalidSignature', 'Invalid signature')
      const found = readObject(bucket.find(object).body, request.headers.range)
      const saved = query.get('download')
      if (saved !== null) found.headers['content-disposition'] = `attachment; filename=${saved};`
      return found
    }
    case 'GET object/info/authenticated b k': {
      assertBucket()
      const { body: kept, createdAt, modifiedAt, metadata } = bucket.find(object)
      const times = { created_at: createdAt.toISOString(), last_modified: modifiedAt.toISOString() }
      return json(200, { name: object, bucket_id: state.bucketName, size: kept.length, metadata, ...times })
    }
    case 'DELETE object b': {
      const names = jsonOf(request, body).prefixes
      if (!Array.isArray(names) || names.length === 0) throw new SupabaseRefusal(400, 'InvalidRequest', 'no prefixes')
      return json(
        200,
        names.filter((each) => isThere && bucket.objects.delete(String(each))).map((each) => ({ name: each })),
      )
    }
    case 'POST object/list-v2 b':
      return json(200, listPage(jsonOf(request, body), isThere ? bucket : new StrictSupabaseBucket(), state.pageSize))
    case 'GET bucket b':
      assertBucket()
      return json(200, { id: name, name, public: state.isPublic, file_size_limit: null })
    case 'POST bucket': {
      if (state.bucketExists)
        throw new SupabaseRefusal(409, 'BucketAlreadyExists', 'The resource already exists', 'Duplicate')
      state.bucketExists = true
      state.isPublic = jsonOf(request, body).public === true
      return json(200, { name: state.bucketName })
    }
    default:
      return json(404, { statusCode: 404, error: 'Not Found', message: `Route ${request.method}:${path} not found` })
  }
}

function readObject(body: Buffer, range: string | undefined): Answer {
  const headers = { 'content-type': 'application/octet-stream', 'cache-control': 'max-age=0', 'accept-ranges': 'bytes' }
  if (range === undefined) return { status: 200, headers, body }
  const [, start, last] = (/^bytes=(\d+)-(\d+)$/.exec(range) ?? []).map(Number)
  if (!(start <= last && start < body.length)) {
    throw new SupabaseRefusal(416, 'InvalidRange', 'invalid range provided', 'invalid_range')
  }
  const part = body.subarray(start, last + 1)
  const covered = `bytes ${start}-${start + part.length - 1}/${body.length}`
  return { status: 206, headers: { ...headers, 'content-range': covered }, body: part }
}

function listPage(asked: Record<string, unknown>, bucket: StrictSupabaseBucket, pageSize: number): object {
  const { prefix = '', cursor = '', limit = 1000 } = asked
  const isText = typeof prefix === 'string' && typeof cursor === 'string'
  if (!isText || !Number.isSafeInteger(limit) || Number(limit) < 1)
    throw new SupabaseRefusal(400, 'InvalidRequest', 'body does not fit its schema', 'Error')
  const startAfter = Buffer.from(cursor, 'base64').toString()
  const { page, hasNext } = bucket.list(prefix, startAfter, Math.min(Number(limit), pageSize))
  const objects = page.map(([name, { body, createdAt, modifiedAt }]) => {
    const times = { created_at: createdAt.toISOString(), updated_at: modifiedAt.toISOString() }
    return { id: name, name, metadata: { size: body.length, mimetype: 'application/octet-stream' }, ...times }
  })
  const nextCursor = hasNext ? Buffer.from(page.at(-1)?.[0] ?? '').toString('base64') : undefined
  return { hasNext, nextCursor, folders: [], objects }
}

function jsonOf({ headers }: IncomingMessage, body: Buffer): Record<string, unknown> {
  if (headers['content-type'] !== 'application/json') {
    throw new SupabaseRefusal(415, 'InvalidMimeType', 'Invalid Content-Type header', 'invalid_mime_type')
  }
  return JSON.parse(body.toString()) as Record<string, unknown>
}

function json(status: number, value: unknown): Answer {
  return { status, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify(value)) }
}
