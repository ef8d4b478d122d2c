import type { IncomingMessage } from 'node:http'
import { type Fault, readRequest } from './socket-faults.ts'
import {
  type BucketRules,
  exists,
  PART_BYTES,
  type StrictSupabaseBucket,
  SupabaseRefusal,
} from './strict-supabase-bucket.ts'

export interface TusAnswer {
  status: number
  headers: Record<string, string | number>
  body: Buffer
}

/** The resumable uploads of TUS 1.0.0: creation, termination and expiration. Null if the connection broke. */
export async function answerTus(
  request: IncomingMessage,
  fault: Fault | undefined,
  server: {
    id: string
    bucket: StrictSupabaseBucket
    bucketName: string
    isThere: boolean
    rules: BucketRules
    now: Date
  },
): Promise<TusAnswer | null> {
  const { id, bucket, rules, now } = server
  if (request.headers['tus-resumable'] !== '1.0.0') throw new SupabaseRefusal(412, '', 'Tus-Resumable Required')
  if (request.headers['x-upsert'] === 'true') throw new SupabaseRefusal(501, '', 'this server never overwrites')
  switch (request.method) {
    case 'POST': {
      if ((await readRequest(request, fault)) === null) return null
      return begin(request, server)
    }
    case 'HEAD': {
      const { offset, length } = bucket.findUpload(id, now)
      return answer(200, { 'upload-offset': offset, 'upload-length': length, 'cache-control': 'no-store' })
    }
    case 'PATCH': {
      const upload = bucket.findUpload(id, now)
      const { length } = checkPart(request, upload)
      if (bucket.objects.has(upload.key)) throw exists()
      const part = await readPart(request, fault, length)
      upload.parts.push(part)
      upload.offset += part.length
      if (part.length < length) return null
      if (upload.offset === upload.length) {
        bucket.create(upload.key, Buffer.concat(upload.parts), upload.metadata, rules, now)
      }
      return answer(204, { 'upload-offset': upload.offset, 'upload-expires': new Date(upload.expiresAt).toUTCString() })
    }
    case 'DELETE': {
      const { offset, length } = bucket.findUpload(id, now)
      if (offset === length) throw new SupabaseRefusal(400, '', 'Cannot terminate an already completed upload')
      bucket.uploads.delete(id)
      return answer(204, {})
    }
    default:
      throw new SupabaseRefusal(404, '', 'Not found')
  }
}

function begin(
  request: IncomingMessage,
  { bucket, bucketName, isThere, rules, now }: Parameters<typeof answerTus>[2],
): TusAnswer {
  const length = Number(request.headers['upload-length'] ?? Number.NaN)
  if (!Number.isSafeInteger(length) || length < 0) throw new SupabaseRefusal(400, '', 'Upload-Length required')
  const told = parseMetadata(String(request.headers['upload-metadata'] ?? ''))
  const key = told.objectName ?? ''
  bucket.assertKey(key)
  if (length > rules.fileSizeLimit) throw new SupabaseRefusal(413, '', 'Maximum size exceeded')
  if (!isThere || told.bucketName !== bucketName) {
    throw new SupabaseRefusal(404, '', 'The related resource does not exist')
  }
  if (!told.contentType || !/^\d+$/.test(told.cacheControl ?? ''))
    throw new SupabaseRefusal(400, '', 'Invalid metadata')
  bucket.assertMayCreate(key, length, rules)
  const id = bucket.beginUpload(bucketName, key, length, JSON.parse(told.metadata ?? 'null'), rules, now)
  // As behind a gateway that ends TLS: the service does not know by what name it was called.
  return answer(201, { location: `https://storage.internal:5000/upload/resumable/${id}` })
}

function checkPart(request: IncomingMessage, upload: { offset: number; length: number }): { length: number } {
  if (request.headers['content-type'] !== 'application/offset+octet-stream') {
    throw new SupabaseRefusal(403, '', 'Content-Type header required')
  }
  if (request.headers['upload-offset'] === undefined)
    throw new SupabaseRefusal(403, '', 'Upload-Offset header required')
  if (Number(request.headers['upload-offset']) !== upload.offset)
    throw new SupabaseRefusal(409, '', 'Upload-Offset conflict')
  const length = Number(request.headers['content-length'] ?? Number.NaN)
  const rest = upload.length - upload.offset
  if (length > rest) throw new SupabaseRefusal(413, '', 'Maximum size exceeded')
  if (length !== Math.min(PART_BYTES, rest)) throw new SupabaseRefusal(400, '', 'parts are of 6 MiB but the last')
  return { length }
}

/** The part, or what came of it: the service keeps also that. */
async function readPart(request: IncomingMessage, fault: Fault | undefined, length: number): Promise<Buffer> {
  const pieces: Buffer[] = []
  let at = 0
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      pieces.push(piece)
      at += piece.length
      if (fault?.kind === 'reset-request' && at >= length / 2 && at < length) {
        request.socket.resetAndDestroy()
        break
      }
    }
  } catch {
    // The other side hung up.
  }
  return Buffer.concat(pieces)
}

function parseMetadata(header: string): Record<string, string | undefined> {
  const pairs = header.split(',').map((pair) => pair.split(' '))
  for (const pair of pairs) {
    const valid = pair.length === 2 && Buffer.from(pair[1], 'base64').toString('base64') === pair[1]
    if (!valid) throw new SupabaseRefusal(400, '', 'Invalid Upload-Metadata header')
  }
  return Object.fromEntries(pairs.map(([name, value]) => [name, Buffer.from(value, 'base64').toString()]))
}

function answer(status: number, headers: Record<string, string | number>): TusAnswer {
  return { status, headers: { 'tus-resumable': '1.0.0', ...headers }, body: Buffer.alloc(0) }
}
