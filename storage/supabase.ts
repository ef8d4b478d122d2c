import { randomUUID } from 'node:crypto'
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
import { DEFAULT_RETRY, isTransportError, type RetryPolicy, TransientError, withRetries } from './retry.ts'
import { CACHE_SECONDS, CONTENT_TYPE, openSupabaseApi, type StoredObject, type SupabaseApi } from './supabase-api.ts'
import {
  isMissingBucket,
  isMissingObject,
  isPastEnd,
  isTaken,
  type SupabasePlace,
  supabaseError,
  supabaseTransient,
} from './supabase-errors.ts'
import { PART_BYTES, putInParts, type Send } from './supabase-tus.ts'

export interface SupabaseStoreOptions {
  /** The project's URL, as https://<project>.supabase.co, or that of the gateway of a self-hosted one. */
  readonly url: string
  /** An sb_secret_ key or a JWT of role service_role. */
  readonly secretKey: string
  readonly bucket: string
  /** A request fails, and is tried again, after this long without a byte: 60 s unless told, and longer while it sends. */
  readonly silenceMs?: number
  /** For each request with its further tries. */
  readonly retry?: Partial<RetryPolicy>
}

export interface SupabaseBucket {
  /** Anyone may read the objects of a public bucket. */
  readonly isPublic: boolean
  /** Bytes; null if only the project's own limit holds. */
  readonly fileSizeLimit: number | null
}

export interface SupabaseStore extends ObjectStore {
  /** The bucket's settings, or null if there is no such bucket. */
  findBucket(): Promise<SupabaseBucket | null>
  /** Creates the bucket, private, if there is none; leaves one that is there as it is. */
  ensureBucket(): Promise<SupabaseBucket & { created: boolean }>
}

const SILENCE_MS = 60_000
// A put that failed or was aborted waits no longer than this for the store to let go of its parts.
const LAST_WORDS_MS = 5_000

/**
 * A bucket of Supabase Storage. An object goes up without upsert, in one request up to 6 MiB and by a resumable upload above, and no
 * cache may keep it. Beyond the promises of ObjectStore: storage services older than September 2026 let the later of two
 * puts replace the earlier if both began before either ended; the earlier finds out unless it looked before it was replaced, so
 * give keys that hold a hash. A put aborted while its last bytes travel may leave the whole object, never a part of it. `get` hands out
 * what the store sent, whole: the caller compares the sha256. RangeError also for keys with characters that
 * Supabase does not take, such as é or %, and from here for a URL that is none or a key that is no secret one.
 */
export function openSupabaseStore(options: SupabaseStoreOptions): SupabaseStore {
  return new SupabaseObjectStore(options)
}

interface NewObject {
  readonly key: string
  readonly bytes: Uint8Array
  /** Kept with the object. The writer tells this put from all others. */
  readonly metadata: { readonly sha256: string; readonly writer: string }
}

class SupabaseObjectStore implements SupabaseStore {
  readonly backend = 'supabase'
  readonly bucket: string
  readonly #place: SupabasePlace
  readonly #retry: RetryPolicy
  readonly #api: SupabaseApi

  constructor(options: SupabaseStoreOptions) {
    this.bucket = options.bucket
    this.#api = openSupabaseApi({ ...options, silenceMs: options.silenceMs ?? SILENCE_MS })
    this.#place = {
      url: new URL(options.url).origin,
      bucket: options.bucket,
      isGatewayKey: options.secretKey.startsWith('sb_'),
    }
    this.#retry = { ...DEFAULT_RETRY, ...options.retry }
  }

  async put(
    key: string,
    { bytes, sha256 }: HashedBytes,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<{ created: boolean }> {
    assertObjectKey(key)
    signal?.throwIfAborted()
    return await this.#guard(
      `writing ${key}`,
      async (doing) => {
        const object = { key, bytes, metadata: { sha256, writer: randomUUID() } }
        const inParts = bytes.length > PART_BYTES
        const put = inParts ? this.#putInParts(doing, object, signal) : this.#putWhole(doing, object, signal)
        return { created: await this.#confirm(doing, object, await put, signal) }
      },
      bytes.length,
    )
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
      const isEmpty = range !== undefined && range.start === range.end
      try {
        if (!isEmpty) return await this.#send(doing, signal, (until) => this.#api.download(key, range, until))
        await this.#send(doing, signal, (until) => this.#api.info(key, until))
      } catch (error) {
        if (!isPastEnd(error)) throw error
      }
      return new Uint8Array(0)
    })
  }

  async head(key: string): Promise<{ size: number; modifiedAt: Date } | null> {
    assertObjectKey(key)
    return await this.#guard(`looking for ${key}`, async (doing) => {
      try {
        const { size, modifiedAt } = await this.#send(doing, undefined, (until) => this.#api.info(key, until))
        return { size, modifiedAt }
      } catch (error) {
        if (isMissingObject(error)) return null
        throw error
      }
    })
  }

  async *list(prefix: string, { signal }: { signal?: AbortSignal } = {}): AsyncGenerator<ObjectInfo> {
    assertObjectPrefix(prefix)
    signal?.throwIfAborted()
    let cursor: string | undefined
    do {
      const from = cursor
      const page = await this.#guard(`listing ${prefix || 'everything'}`, async (doing) => {
        const found = await this.#send(doing, signal, (until) => this.#api.list(prefix, from, until))
        // A missing bucket lists as an empty one.
        if (found.objects.length === 0 && from === undefined) await this.#assertBucket(doing, signal)
        if (found.next !== undefined && found.next === from) {
          throw new CoherenceError('STORE_UNAVAILABLE', `${doing}: the store lost its place`)
        }
        return found
      })
      for (const object of page.objects) {
        signal?.throwIfAborted()
        if (isObjectKey(object.key)) yield object
      }
      cursor = page.next
    } while (cursor !== undefined)
  }

  async delete(key: string): Promise<boolean> {
    assertObjectKey(key)
    return await this.#guard(`deleting ${key}`, async (doing) => {
      let isUnsure = false
      const removed = await this.#send(doing, undefined, async (until) => {
        try {
          return await this.#api.remove(key, until)
        } catch (error) {
          // Its answer may have been lost, and then the next try finds nothing.
          isUnsure ||= isTransportError(error) || error instanceof TransientError
          throw error
        }
      })
      // A missing bucket has no objects to delete.
      if (!removed && !isUnsure) await this.#assertBucket(doing)
      return removed || isUnsure
    })
  }

  async signedUrl(key: string, options: { seconds: number; fileName?: string }): Promise<string> {
    assertObjectKey(key)
    assertLink(options)
    return await this.#guard(`signing a link to ${key}`, (doing) =>
      this.#send(doing, undefined, (until) => this.#api.sign(key, options, until)),
    )
  }

  async probe(): Promise<void> {
    const { isPublic } = await this.#guard('looking for the bucket', (doing) => this.#assertBucket(doing))
    if (isPublic) {
      const text = `the bucket ${this.bucket} at ${this.#place.url} is public: anyone may read the samples in it; make it private`
      throw new CoherenceError('STORE_FORBIDDEN', text)
    }
    await probeRoundTrip(this)
  }

  async findBucket(): Promise<SupabaseBucket | null> {
    return await this.#guard('looking for the bucket', async (doing) => {
      try {
        return await this.#assertBucket(doing)
      } catch (error) {
        if (isMissingBucket(error)) return null
        throw error
      }
    })
  }

  async ensureBucket(): Promise<SupabaseBucket & { created: boolean }> {
    const found = await this.findBucket()
    if (found !== null) return { ...found, created: false }
    return await this.#guard('creating the bucket', async (doing) => {
      let created = true
      try {
        await this.#send(doing, undefined, (until) => this.#api.createBucket(until))
      } catch (error) {
        if (!isTaken(error)) throw error
        created = false
      }
      return { ...(await this.#assertBucket(doing)), created }
    })
  }

  /** One request; false if the key is taken. */
  async #putWhole(doing: string, { key, bytes, metadata }: NewObject, signal?: AbortSignal): Promise<boolean> {
    try {
      await this.#send(doing, signal, (until) => this.#api.upload(key, bytes, metadata, until))
      return true
    } catch (error) {
      if (isTaken(error)) return false
      throw error
    }
  }

  async #putInParts(doing: string, { key, bytes, metadata }: NewObject, signal?: AbortSignal): Promise<boolean> {
    const send: Send = (request, until) => this.#send(doing, until, request)
    const lastWords = { attempts: 3, baseMs: 50, deadlineMs: Math.min(LAST_WORDS_MS, this.#retry.deadlineMs) }
    const sendLast: Send = (request) => this.#send(doing, undefined, request, lastWords)
    const described = {
      bucketName: this.bucket,
      objectName: key,
      contentType: CONTENT_TYPE,
      cacheControl: CACHE_SECONDS,
      metadata: JSON.stringify(metadata),
    }
    const object = { endpoint: this.#api.resumableEndpoint, bytes, metadata: described }
    return await putInParts(this.#api.http, object, { send, sendLast, signal })
  }

  /**
   * Whether this put made the object that is there. STORE_CONFLICT if that one has other bytes: a hash told by another writer is enough
   * for yes, for no the bytes themselves are read. STORE_UNAVAILABLE if the store cut the object, which is then removed.
   */
  async #confirm(
    doing: string,
    { key, bytes, metadata }: NewObject,
    created: boolean,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const there = await this.#send(doing, signal, (until) => this.#infoOfFresh(key, until))
    const { sha256, writer } = there.metadata
    // A store that does not keep what writers say of themselves leaves its first answer to go by.
    const isOurs = writer === undefined ? created : writer === metadata.writer
    const isWhole = there.size === bytes.length
    if (isWhole && (isOurs || sha256 === metadata.sha256)) return isOurs
    if (isWhole && sha256Hex(await this.get(key, { signal })) === metadata.sha256) return isOurs
    if (writer === metadata.writer) {
      await this.delete(key)
      const text = `${doing}: the store kept ${there.size} bytes of it; they were removed, try again`
      throw new CoherenceError('STORE_UNAVAILABLE', text)
    }
    const since = created ? 'another writer replaced it' : 'nothing was overwritten'
    throw new CoherenceError('STORE_CONFLICT', `${doing}: it exists with other bytes, ${there.size} of them; ${since}`)
  }

  async #infoOfFresh(key: string, until: AbortSignal): Promise<StoredObject> {
    try {
      return await this.#api.info(key, until)
    } catch (error) {
      if (isMissingObject(error)) throw new TransientError('the object just written, or just found, is gone')
      throw error
    }
  }

  async #assertBucket(doing: string, signal?: AbortSignal): Promise<SupabaseBucket> {
    return await this.#send(doing, signal, (until) => this.#api.findBucket(until))
  }

  #send<T>(
    doing: string,
    signal: AbortSignal | undefined,
    request: (signal: AbortSignal) => Promise<T>,
    policy: Partial<RetryPolicy> = {},
  ): Promise<T> {
    return withRetries(request, { ...this.#retry, ...policy, doing, signal, transient: supabaseTransient })
  }

  async #guard<T>(what: string, work: (doing: string) => Promise<T>, size?: number): Promise<T> {
    const bytes = size === undefined ? '' : ` (${size} bytes)`
    const doing = `${what}${bytes} in ${this.bucket} at ${this.#place.url}`
    try {
      return await work(doing)
    } catch (error) {
      throw supabaseError(error, doing, this.#place)
    }
  }
}

/** False for what no driver could have put, such as the dashboard's placeholders of empty folders. */
function isObjectKey(key: string): boolean {
  try {
    assertObjectKey(key)
    return true
  } catch (error) {
    if (error instanceof RangeError) return false
    throw error
  }
}
