import { randomUUID } from 'node:crypto'

/** The storage service refuses in JSON under HTTP 400 whatever the status; the resumable uploads in text under the status itself. */
export class SupabaseRefusal extends Error {
  readonly status: number
  readonly code: string
  readonly error: string
  constructor(status: number, code: string, message: string, error = code) {
    super(message)
    this.status = status
    this.code = code
    this.error = error
  }
}

export interface KeptObject {
  readonly body: Buffer
  readonly createdAt: Date
  readonly modifiedAt: Date
  readonly metadata: unknown
}

interface Upload {
  readonly key: string
  readonly length: number
  readonly metadata: unknown
  readonly expiresAt: number
  readonly parts: Buffer[]
  offset: number
}

/** What may be put, and for how long an upload may go on. */
export interface BucketRules {
  readonly fileSizeLimit: number
  readonly diskBytes: number
  readonly keepsMetadata: boolean
  readonly uploadLifeMs: number
}

export const PART_BYTES = 6 * 1024 * 1024

// As the service has it.
const VALID_KEY = /^[A-Za-z0-9_/!.*'() &$=@;:+,?-]+$/

export function exists(): SupabaseRefusal {
  return new SupabaseRefusal(409, 'KeyAlreadyExists', 'The resource already exists', 'Duplicate')
}

/** What a strict bucket holds and how it may change. */
export class StrictSupabaseBucket {
  readonly objects = new Map<string, KeptObject>()
  readonly uploads = new Map<string, Upload>()

  /** What is asked before any byte is taken. */
  assertMayCreate(key: string, size: number, rules: BucketRules): void {
    this.assertKey(key)
    if (size > rules.fileSizeLimit) {
      const text = 'The object exceeded the maximum allowed size'
      throw new SupabaseRefusal(413, 'EntityTooLarge', text, 'Payload too large')
    }
    if (this.objects.has(key)) throw exists()
  }

  assertKey(key: string): void {
    if (!VALID_KEY.test(key)) throw new SupabaseRefusal(400, 'InvalidKey', `Invalid key: ${key}`)
  }

  /** What is done when all bytes are there. */
  create(key: string, body: Buffer, metadata: unknown, rules: BucketRules, now: Date): void {
    const kept = [...this.objects.values()].reduce((sum, object) => sum + object.body.length, 0)
    if (kept + body.length > rules.diskBytes) {
      throw new SupabaseRefusal(500, 'InternalError', 'ENOSPC: no space left on device, write', 'Error')
    }
    if (this.objects.has(key)) throw exists()
    this.objects.set(key, { body, createdAt: now, modifiedAt: now, metadata: rules.keepsMetadata ? metadata : null })
  }

  find(key: string): KeptObject {
    this.assertKey(key)
    const object = this.objects.get(key)
    if (object === undefined) throw new SupabaseRefusal(404, 'NoSuchKey', 'Object not found', 'not_found')
    return object
  }

  /** A page in byte order of the names after `startAfter`. */
  list(prefix: string, startAfter: string, limit: number): { page: [string, KeptObject][]; hasNext: boolean } {
    const after = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b))
    const all = [...this.objects]
      .filter(([key]) => key.startsWith(prefix) && after(key, startAfter) > 0)
      .toSorted(([a], [b]) => after(a, b))
    return { page: all.slice(0, limit), hasNext: all.length > limit }
  }

  /** Begins a resumable upload; its id. */
  beginUpload(bucket: string, key: string, length: number, metadata: unknown, rules: BucketRules, now: Date): string {
    const id = Buffer.from(`${bucket}/${key}/${randomUUID()}`).toString('base64url')
    const expiresAt = now.getTime() + rules.uploadLifeMs
    this.uploads.set(id, { key, length, metadata, expiresAt, parts: [], offset: 0 })
    return id
  }

  findUpload(id: string, now: Date): Upload {
    const upload = this.uploads.get(id)
    if (upload === undefined) throw new SupabaseRefusal(404, '', 'The file for this url was not found')
    if (upload.expiresAt < now.getTime() && upload.offset < upload.length) {
      throw new SupabaseRefusal(410, '', 'The file for this url no longer exists')
    }
    return upload
  }

  /** Begun and neither finished nor ended. */
  unfinished(): number {
    return [...this.uploads.values()].filter(({ offset, length }) => offset < length).length
  }
}
