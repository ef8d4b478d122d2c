import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { CoherenceError } from '../pipeline/errors.ts'
import {
  assertLink,
  assertObjectKey,
  assertObjectPrefix,
  assertRange,
  type HashedBytes,
  type ObjectInfo,
  type ObjectStore,
  probeRoundTrip,
  sha256Hex,
} from './object-store.ts'
import { DEFAULT_RETRY, type RetryPolicy, TransientError, withRetries } from './retry.ts'
import { isMissing, openS3Client, proveCreateOnly, readBody } from './s3-client.ts'
import { answerOf, s3Error, s3Transient } from './s3-errors.ts'
import { listObjects } from './s3-list.ts'
import { abortUploads, asBuffer, contentMd5, type NewObject, putInParts, type Send } from './s3-multipart.ts'

export interface S3StoreOptions {
  readonly backend: 'storj'
  /** An http or https URL, without the bucket. */
  readonly endpoint: string
  readonly region: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Larger objects go up in parts of this size: 64 MiB unless told. S3 takes no less than 5 MiB. */
  readonly partBytes?: number
  /** A request fails, and is tried again, after this long without a byte in either direction: 60 s unless told. */
  readonly silenceMs?: number
  /** For each request with its further tries. */
  readonly retry?: Partial<RetryPolicy>
}

export interface S3Store extends ObjectStore {
  /** Aborts the multipart uploads that killed writers left and that began before `before`; how many. Leave running puts some hours. */
  removeTemporary(before: Date): Promise<number>
}

const PART_BYTES = 64 << 20
const SILENCE_MS = 60_000
// An aborted put waits no longer than this for the store to let go of its parts.
const LAST_WORDS_MS = 5_000

/**
 * A bucket of an S3 service, such as Storj's gateway. Objects are created with `If-None-Match: *`, which the service must honour
 * (`probe` tells for objects of one part; Ceph 16 ignores it for those of more). Beyond the promises of ObjectStore: a put whose answer was lost finds its own object at the next try and
 * ends as {created: false}; a put aborted while its last bytes travel may leave the whole object, never a part of it
 * (deleting it could take it from a writer that has just found it there). `get` hands out what the store sent, whole: the
 * caller compares the sha256. RangeError for an endpoint that is no URL or holds a password.
 */
export function openS3Store(options: S3StoreOptions): S3Store {
  return new S3ObjectStore(options)
}

class S3ObjectStore implements S3Store {
  readonly backend: 'storj'
  readonly bucket: string
  readonly #place: { endpoint: string; bucket: string; region: string }
  readonly #partBytes: number
  readonly #retry: RetryPolicy
  readonly #client: S3Client

  constructor(options: S3StoreOptions) {
    this.backend = options.backend
    this.bucket = options.bucket
    this.#client = openS3Client({ ...options, silenceMs: options.silenceMs ?? SILENCE_MS })
    this.#place = { endpoint: new URL(options.endpoint).origin, bucket: options.bucket, region: options.region }
    this.#partBytes = options.partBytes ?? PART_BYTES
    this.#retry = { ...DEFAULT_RETRY, ...options.retry }
  }

  async put(
    key: string,
    { bytes, sha256 }: HashedBytes,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<{ created: boolean }> {
    assertObjectKey(key)
    signal?.throwIfAborted()
    return await this.#guard(`writing ${key}`, async (doing) => {
      const inParts = bytes.length > this.#partBytes
      // Whether the key is taken shows only after the last part: ask before sending so much.
      const taken = inParts && (await this.#head(doing, key, signal)) !== null
      const object = { key, bytes, sha256 }
      const put = () => (inParts ? this.#putInParts(doing, object, signal) : this.#putWhole(doing, object, signal))
      const created = !taken && (await put())
      await this.#assertHolds(doing, object, created, signal)
      return { created }
    })
  }

  async get(
    key: string,
    options: { range?: { start: number; end: number }; signal?: AbortSignal } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    assertObjectKey(key)
    const { range, signal } = options
    if (range !== undefined) assertRange(range)
    signal?.throwIfAborted()
    return await this.#guard(`reading ${key}`, async (doing) => {
      if (range !== undefined && range.start === range.end) {
        const there = await this.#head(doing, key, signal)
        if (there === null) throw new CoherenceError('STORE_NOT_FOUND', `${doing}: there is no such object`)
        return new Uint8Array(0)
      }
      const Range = range && `bytes=${range.start}-${range.end - 1}`
      try {
        return await this.#send(doing, signal, async (abortSignal) => {
          const command = new GetObjectCommand({ Bucket: this.bucket, Key: key, Range })
          return await readBody(await this.#client.send(command, { abortSignal }), range)
        })
      } catch (error) {
        if (answerOf(error)?.status === 416) return new Uint8Array(0)
        throw error
      }
    })
  }

  async head(key: string): Promise<{ size: number; modifiedAt: Date } | null> {
    assertObjectKey(key)
    return await this.#guard(`looking for ${key}`, async (doing) => {
      const there = await this.#head(doing, key)
      return there && { size: there.size, modifiedAt: there.modifiedAt }
    })
  }

  async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncGenerator<ObjectInfo> {
    assertObjectPrefix(prefix)
    options.signal?.throwIfAborted()
    const send = <T>(request: (signal: AbortSignal) => Promise<T>): Promise<T> =>
      this.#guard(`listing ${prefix || 'everything'}`, (doing) => this.#send(doing, options.signal, request))
    for await (const object of listObjects(this.#client, { bucket: this.bucket, prefix }, send)) {
      options.signal?.throwIfAborted()
      yield object
    }
  }

  async delete(key: string): Promise<boolean> {
    assertObjectKey(key)
    return await this.#guard(`deleting ${key}`, async (doing) => {
      // S3 does not tell whether there was one.
      if ((await this.#head(doing, key)) === null) return false
      await this.#send(doing, undefined, (abortSignal) =>
        this.#client.send(new DeleteObjectCommand({ Bucket: this.bucket, Key: key }), { abortSignal }),
      )
      return true
    })
  }

  async signedUrl(key: string, options: { seconds: number; fileName?: string }): Promise<string> {
    assertObjectKey(key)
    assertLink(options)
    const { seconds: expiresIn, fileName } = options
    const ResponseContentDisposition = fileName && `attachment; filename="${fileName}"`
    const command = new GetObjectCommand({ Bucket: this.bucket, Key: key, ResponseContentDisposition })
    return await getSignedUrl(this.#client, command, { expiresIn })
  }

  async probe(): Promise<void> {
    await probeRoundTrip(this)
    await proveCreateOnly(this)
  }

  async removeTemporary(before: Date): Promise<number> {
    return await this.#guard('aborting unfinished uploads', (doing) =>
      abortUploads(this.#client, this.bucket, before, (request, signal) => this.#send(doing, signal, request)),
    )
  }

  /** One PutObject; false if the key is taken. */
  async #putWhole(doing: string, object: NewObject, signal?: AbortSignal): Promise<boolean> {
    const Body = asBuffer(object.bytes)
    const ContentMD5 = contentMd5(Body)
    const target = { Bucket: this.bucket, Key: object.key, IfNoneMatch: '*', Metadata: { sha256: object.sha256 } }
    try {
      await this.#send(doing, signal, (abortSignal) =>
        this.#client.send(new PutObjectCommand({ ...target, Body, ContentMD5 }), { abortSignal }),
      )
      return true
    } catch (error) {
      if (answerOf(error)?.status === 412) return false
      throw error
    }
  }

  async #putInParts(doing: string, object: NewObject, signal?: AbortSignal): Promise<boolean> {
    const send: Send = (request, until) => this.#send(doing, until, request)
    const lastWords = { attempts: 3, baseMs: 50, deadlineMs: Math.min(LAST_WORDS_MS, this.#retry.deadlineMs) }
    const sendLast: Send = (request) => this.#send(doing, undefined, request, lastWords)
    const parts = { ...object, bucket: this.bucket, partBytes: this.#partBytes }
    return await putInParts(this.#client, parts, { send, sendLast, signal })
  }

  /**
   * STORE_CONFLICT unless this is the object that is there. The hash its writer gave is enough for yes, and none is for one
   * just created; for no, or for one found without a hash, the bytes themselves are read.
   */
  async #assertHolds(
    doing: string,
    { key, bytes, sha256 }: NewObject,
    created: boolean,
    signal?: AbortSignal,
  ): Promise<void> {
    const there = await this.#send(doing, signal, async (abortSignal) => {
      const head = await this.#headOnce(key, abortSignal)
      if (head === null) throw new TransientError('the object just written, or just found, is gone')
      return head
    })
    if (there.size === bytes.length) {
      if ((there.sha256 ?? (created ? sha256 : undefined)) === sha256) return
      if (sha256Hex(await this.get(key, { signal })) === sha256) return
    }
    const text = `${doing}: it exists with other bytes (${there.size}, not ${bytes.length}, in size)`
    const since = created ? 'another writer replaced it, or the store cut it' : 'nothing was overwritten'
    throw new CoherenceError('STORE_CONFLICT', `${text}; ${since}`)
  }

  /** As `head`, with the sha256 its writer gave. A missing bucket throws. */
  async #head(doing: string, key: string, signal?: AbortSignal): Promise<StoredObject | null> {
    const there = await this.#send(doing, signal, (abortSignal) => this.#headOnce(key, abortSignal))
    if (there === null) await this.#assertBucket(doing, signal)
    return there
  }

  async #headOnce(key: string, abortSignal: AbortSignal): Promise<StoredObject | null> {
    try {
      const head = await this.#client.send(new HeadObjectCommand({ Bucket: this.bucket, Key: key }), { abortSignal })
      if (head.ContentLength === undefined || head.LastModified === undefined) {
        throw new TransientError('the store told neither size nor time')
      }
      return { size: head.ContentLength, modifiedAt: head.LastModified, sha256: head.Metadata?.sha256 }
    } catch (error) {
      if (isMissing(error)) return null
      throw error
    }
  }

  /** HEAD has no body, so a missing object and a missing bucket look the same: ask for the bucket. */
  async #assertBucket(doing: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.#send(doing, signal, (abortSignal) =>
        this.#client.send(new HeadBucketCommand({ Bucket: this.bucket }), { abortSignal }),
      )
    } catch (error) {
      if (!isMissing(error)) throw error
      throw new CoherenceError('STORE_NOT_FOUND', `${doing}: create the bucket ${this.bucket}, or set the right one`)
    }
  }

  #send<T>(
    doing: string,
    signal: AbortSignal | undefined,
    request: (signal: AbortSignal) => Promise<T>,
    policy: Partial<RetryPolicy> = {},
  ): Promise<T> {
    return withRetries(request, { ...this.#retry, ...policy, doing, signal, transient: s3Transient })
  }

  async #guard<T>(what: string, work: (doing: string) => Promise<T>): Promise<T> {
    const doing = `${what} in ${this.bucket} at ${this.#place.endpoint}`
    try {
      return await work(doing)
    } catch (error) {
      throw s3Error(error, doing, this.#place)
    }
  }
}

interface StoredObject {
  readonly size: number
  readonly modifiedAt: Date
  readonly sha256: string | undefined
}
