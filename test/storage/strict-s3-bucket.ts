import { createHash, randomUUID } from 'node:crypto'
import { S3Refusal } from './strict-s3-signature.ts'

const MIN_PART_BYTES = 5 << 20

export interface KeptObject {
  readonly body: Buffer
  readonly etag: string
  readonly modifiedAt: Date
  readonly metadata: Readonly<Record<string, string>>
}

interface Upload {
  readonly key: string
  readonly id: string
  readonly initiatedAt: Date
  readonly metadata: Readonly<Record<string, string>>
  readonly parts: Map<number, { body: Buffer; etag: string }>
}

export interface Listing {
  readonly objects: [string, KeptObject][]
  readonly nextToken: string | undefined
}

/** What a strict bucket holds and how it may change. */
export class StrictBucket {
  readonly objects = new Map<string, KeptObject>()
  readonly uploads = new Map<string, Upload>()
  readonly #listings = new Map<string, string[]>()

  /** Creates or, without `ifNoneMatch`, replaces an object. */
  put(
    key: string,
    body: Buffer,
    options: { ifNoneMatch?: string; metadata: Record<string, string>; now: Date },
  ): KeptObject {
    this.#assertFree(key, options.ifNoneMatch)
    const object = { body, etag: md5(body), modifiedAt: options.now, metadata: options.metadata }
    this.objects.set(key, object)
    return object
  }

  find(key: string): KeptObject {
    const object = this.objects.get(key)
    if (object === undefined) throw new S3Refusal(404, 'NoSuchKey', 'The specified key does not exist.')
    return object
  }

  /** A page in no order of names; the token for the next is good for any number of uses. */
  list(prefix: string, token: string | undefined, pageSize: number): Listing {
    const keys = token === undefined ? this.#shuffled(prefix) : this.#listings.get(token)
    if (keys === undefined) throw new S3Refusal(400, 'InvalidArgument', 'The continuation token is not one of ours.')
    const rest = keys.slice(pageSize)
    const nextToken = rest.length > 0 ? `${randomUUID()}=+/` : undefined
    if (nextToken !== undefined) this.#listings.set(nextToken, rest)
    const objects = keys.slice(0, pageSize).flatMap((key): [string, KeptObject][] => {
      const object = this.objects.get(key)
      return object === undefined ? [] : [[key, object]]
    })
    return { objects, nextToken }
  }

  beginUpload(key: string, metadata: Record<string, string>, now: Date): string {
    const id = randomUUID()
    this.uploads.set(id, { key, id, initiatedAt: now, metadata, parts: new Map() })
    return id
  }

  putPart(key: string, id: string, number: number, body: Buffer): string {
    if (!(number >= 1 && number <= 10_000)) throw new S3Refusal(400, 'InvalidArgument', 'part numbers are 1 to 10000')
    const part = { body, etag: md5(body) }
    this.#upload(key, id).parts.set(number, part)
    return part.etag
  }

  completeUpload(
    key: string,
    id: string,
    named: { number: number; etag: string }[],
    options: { ifNoneMatch?: string; now: Date },
  ): KeptObject {
    const upload = this.#upload(key, id)
    this.#assertFree(key, options.ifNoneMatch)
    if (named.length === 0) throw new S3Refusal(400, 'MalformedXML')
    const bodies = named.map(({ number, etag }, index) => {
      if (index > 0 && number <= named[index - 1].number) throw new S3Refusal(400, 'InvalidPartOrder')
      const part = upload.parts.get(number)
      if (part?.etag !== etag.replaceAll('"', '')) throw new S3Refusal(400, 'InvalidPart')
      if (index < named.length - 1 && part.body.length < MIN_PART_BYTES) throw new S3Refusal(400, 'EntityTooSmall')
      return part.body
    })
    const digests = Buffer.concat(named.map(({ etag }) => Buffer.from(etag.replaceAll('"', ''), 'hex')))
    const etag = `${md5(digests)}-${named.length}`
    const object = { body: Buffer.concat(bodies), etag, modifiedAt: options.now, metadata: upload.metadata }
    this.objects.set(key, object)
    this.uploads.delete(id)
    return object
  }

  abortUpload(key: string, id: string): void {
    this.#upload(key, id)
    this.uploads.delete(id)
  }

  #upload(key: string, id: string): Upload {
    const upload = this.uploads.get(id)
    if (upload?.key !== key) throw new S3Refusal(404, 'NoSuchUpload', 'The specified upload does not exist.')
    return upload
  }

  #assertFree(key: string, ifNoneMatch: string | undefined): void {
    if (ifNoneMatch !== undefined && ifNoneMatch !== '*') throw new S3Refusal(501, 'NotImplemented')
    if (ifNoneMatch === '*' && this.objects.has(key)) {
      throw new S3Refusal(412, 'PreconditionFailed', 'At least one of the preconditions you specified did not hold.')
    }
  }

  #shuffled(prefix: string): string[] {
    const keys = [...this.objects.keys()].filter((key) => key.startsWith(prefix))
    return keys.toSorted((a, b) => (md5(Buffer.from(a)) < md5(Buffer.from(b)) ? -1 : 1))
  }
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex')
}
