import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { answerWith, FaultPlan, type FaultTarget, readRequest } from './socket-faults.ts'
import { type Answer, empty, escapeXml, listObjects, listUploads, readObject, xml } from './strict-s3-answers.ts'
import { StrictBucket } from './strict-s3-bucket.ts'
import { isLink, S3Refusal, verifyFraming, verifyPayload, verifySignature } from './strict-s3-signature.ts'

/** What a strict server can be made to be. Each may be changed while it runs. */
export interface StrictS3State {
  accessKeyId: string
  secretAccessKey: string
  readonly region: string
  readonly bucket: string
  bucketExists: boolean
  /** All requests that are signed well are refused all the same. */
  denied: boolean
  /** All of what may be stored, in bytes. */
  quotaBytes: number
  /** How far the server's clock is ahead. */
  clockOffsetMs: number
  /** Objects, or uploads, on a page of a listing. */
  pageSize: number
  /** False makes it one of those services that overwrite silently. */
  honoursIfNoneMatch: boolean
  /** False makes it one of those that lose x-amz-meta headers. */
  keepsMetadata: boolean
}

export interface StrictS3 {
  readonly endpoint: string
  readonly state: StrictS3State
  readonly bucket: StrictBucket
  readonly faults: FaultPlan
  /** Method and path with query of each request so far. */
  readonly requests: string[]
  /** The headers of each. */
  readonly headers: IncomingHttpHeaders[]
  close(): Promise<void>
}

/**
 * An S3 server that forgives nothing: signatures, payload hashes, digests and lengths are checked in full, conditions honoured,
 * listings unordered and in small pages. One bucket, path style, in memory.
 */
export async function startStrictS3(): Promise<StrictS3> {
  const state: StrictS3State = {
    accessKeyId: 'TESTACCESSKEYID',
    secretAccessKey: 'test+secret/access=key',
    region: 'test-1',
    bucket: 'chunks',
    bucketExists: true,
    denied: false,
    quotaBytes: Infinity,
    clockOffsetMs: 0,
    pageSize: 3,
    honoursIfNoneMatch: true,
    keepsMetadata: true,
  }
  const bucket = new StrictBucket()
  const faults = new FaultPlan()
  const requests: string[] = []
  const headers: IncomingHttpHeaders[] = []
  const listen = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    requests.push(`${request.method} ${request.url}`)
    headers.push(request.headers)
    // A connection that broke is no failure of the server.
    serve(request, response, { state, bucket, faults, expectsContinue }).catch((error: unknown) => {
      response.destroy(error as Error)
    })
  }
  const server = createServer((request, response) => listen(request, response, false))
  server.on('checkContinue', (request, response) => listen(request, response, true))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
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
  server: { state: StrictS3State; bucket: StrictBucket; faults: FaultPlan; expectsContinue: boolean },
): Promise<void> {
  const { state } = server
  const now = new Date(Date.now() + state.clockOffsetMs)
  const fault = server.faults.take(targetOf(request))
  response.setHeader('date', now.toUTCString())
  response.setHeader('x-amz-request-id', 'TEST')
  let answer: Answer
  try {
    if (fault?.kind === 'refuse') {
      if (fault.retryAfter !== undefined) response.setHeader('retry-after', fault.retryAfter)
      throw new S3Refusal(fault.status, 'SlowDown', 'Please reduce your request rate.')
    }
    if (!isLink(request)) verifyFraming(request)
    verifySignature(request, { ...state, now: now.getTime() })
    if (state.denied) throw new S3Refusal(403, 'AccessDenied', 'Access Denied')
    if (server.expectsContinue) response.writeContinue()
    const body = await readRequest(request, fault)
    if (body === null) return
    if (!isLink(request)) verifyPayload(request, body)
    answer = act(request, body, { state, bucket: server.bucket, now })
  } catch (error) {
    if (!(error instanceof S3Refusal)) throw error
    // An answer without a look at the body; what still comes of it is dropped.
    request.resume()
    answer = xml(error.status, 'Error', `<Code>${error.code}</Code><Message>${escapeXml(error.message)}</Message>`)
  }
  await answerWith(response, fault, answer)
}

function targetOf(request: IncomingMessage): FaultTarget {
  const { key, query } = addressOf(request)
  if (key === '') return 'any'
  if (request.method === 'PUT') return 'write'
  return request.method === 'GET' && query.size === 0 ? 'read' : 'any'
}

function addressOf(request: IncomingMessage): { bucket: string; key: string; query: URLSearchParams } {
  const [path, query = ''] = (request.url ?? '').split(/\?(.*)/s)
  const [, bucket, ...rest] = path.split('/')
  const parameters = new URLSearchParams(query.replaceAll('+', '%2B'))
  // The SDK names the operation in every query.
  parameters.delete('x-id')
  const ofLinks = [...parameters.keys()].filter((name) => name.startsWith('X-Amz-'))
  for (const name of ofLinks) parameters.delete(name)
  return { bucket, key: decodeURIComponent(rest.join('/')), query: parameters }
}

function act(
  request: IncomingMessage,
  body: Buffer,
  { state, bucket, now }: { state: StrictS3State; bucket: StrictBucket; now: Date },
): Answer {
  const { bucket: name, key, query } = addressOf(request)
  if (!state.bucketExists || name !== state.bucket) {
    throw new S3Refusal(404, 'NoSuchBucket', 'The specified bucket does not exist.')
  }
  const kept = [...bucket.objects.values()].reduce((sum, object) => sum + object.body.length, 0)
  const ifNoneMatch = state.honoursIfNoneMatch ? request.headers['if-none-match'] : undefined
  const uploadId = query.get('uploadId')
  const operation =
    `${request.method} ${key === '' ? 'bucket' : 'object'} ${[...query.keys()].toSorted().join(' ')}`.trim()
  if (request.method === 'PUT' && kept + body.length > state.quotaBytes) throw new S3Refusal(403, 'QuotaExceeded')
  switch (operation) {
    case 'HEAD bucket':
      return empty(200)
    case 'PUT object': {
      const { etag } = bucket.put(key, body, { ifNoneMatch, metadata: metadataOf(request, state), now })
      return empty(200, { etag: `"${etag}"` })
    }
    case 'GET object':
    case 'HEAD object':
      return readObject(bucket, key, request.headers.range)
    case 'GET object response-content-disposition': {
      const answer = readObject(bucket, key, request.headers.range)
      answer.headers['content-disposition'] = query.get('response-content-disposition') ?? ''
      return answer
    }
    case 'DELETE object':
      bucket.objects.delete(key)
      return empty(204)
    case 'POST object uploads': {
      const id = bucket.beginUpload(key, metadataOf(request, state), now)
      return xml(200, 'InitiateMultipartUploadResult', `<UploadId>${id}</UploadId>`)
    }
    case 'PUT object partNumber uploadId': {
      const etag = bucket.putPart(key, uploadId ?? '', Number(query.get('partNumber')), body)
      return empty(200, { etag: `"${etag}"` })
    }
    case 'POST object uploadId': {
      const { etag } = bucket.completeUpload(key, uploadId ?? '', partsNamedIn(body.toString()), { ifNoneMatch, now })
      return xml(200, 'CompleteMultipartUploadResult', `<ETag>&quot;${etag}&quot;</ETag>`)
    }
    case 'DELETE object uploadId':
      bucket.abortUpload(key, uploadId ?? '')
      return empty(204)
    case 'GET bucket uploads':
    case 'GET bucket key-marker upload-id-marker uploads':
      return listUploads(bucket, query.get('upload-id-marker'), state.pageSize)
    default:
      if (request.method === 'GET' && query.get('list-type') === '2') return listObjects(bucket, query, state.pageSize)
      throw new S3Refusal(501, 'NotImplemented', operation)
  }
}

function partsNamedIn(text: string): { number: number; etag: string }[] {
  return [...text.matchAll(/<Part>.*?<\/Part>/gs)].map(([part]) => ({
    number: Number(/<PartNumber>(\d+)</.exec(part)?.[1]),
    etag: /<ETag>(?:"|&quot;)?([0-9a-f]+)/.exec(part)?.[1] ?? '',
  }))
}

function metadataOf({ headers }: IncomingMessage, { keepsMetadata }: StrictS3State): Record<string, string> {
  const kept = Object.entries(headers).filter(([name]) => keepsMetadata && name.startsWith('x-amz-meta-'))
  return Object.fromEntries(kept.map(([name, value]) => [name.slice('x-amz-meta-'.length), String(value)]))
}
