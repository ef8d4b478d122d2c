import { createHash, hash, randomBytes, randomUUID } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { CoherenceError } from '../pipeline/errors.ts'
import type { StorePlace } from '../pipeline/store-place.ts'

export interface ObjectInfo {
  readonly key: string
  /** Bytes. */
  readonly size: number
  /** By the store's own clock. */
  readonly modifiedAt: Date
}

/**
 * Where chunks are kept. Objects are created once and never changed. A `signal` that aborts makes the call reject with the
 * signal's reason and leaves nothing behind. Besides the errors named below every call may throw STORE_UNAVAILABLE (worth a
 * retry), STORE_FORBIDDEN, STORE_NOT_FOUND when the bucket itself is missing, and RangeError for a key that
 * `assertObjectKey` refuses.
 */
export interface ObjectStore extends StorePlace {
  /**
   * Creates an object. If the key exists with the same size and sha256, nothing is done: {created: false}; with other bytes:
   * STORE_CONFLICT. When it returns, the object is durable. STORE_FULL.
   */
  put(key: string, object: HashedBytes, options?: { signal?: AbortSignal }): Promise<{ created: boolean }>
  /**
   * The object's bytes, or those in [start, end), cut off at its end (a range past the end is empty). STORE_NOT_FOUND if there
   * is no such object.
   */
  get(
    key: string,
    options?: { range?: { start: number; end: number }; signal?: AbortSignal },
  ): Promise<Uint8Array<ArrayBuffer>>
  /** Size in bytes and time of creation, or null if there is no such object. */
  head(key: string): Promise<Omit<ObjectInfo, 'key'> | null>
  /** The objects whose keys begin with `prefix`, in no order. Those created or deleted meanwhile may or may not be seen. */
  list(prefix: string, options?: { signal?: AbortSignal }): AsyncIterable<ObjectInfo>
  /** False if there was no such object. */
  delete(key: string): Promise<boolean>
  /**
   * A URL by which anybody gets the object for `seconds` (1 to MAX_LINK_SECONDS), saved as `fileName` if that is given. Of
   * the local store a file: URL, which does not end. A store may find out only at its use that there is no such object.
   */
  signedUrl(key: string, options: { seconds: number; fileName?: string }): Promise<string>
  /** Removes what killed writers left behind before `before` (temporary files, unfinished multipart uploads); how many. */
  removeTemporary?(before: Date): Promise<number>
  /** Proves that the store works: an object put, read back, compared and deleted under `health/`. */
  probe(): Promise<void>
}

declare const hashed: unique symbol

/**
 * Bytes and their sha256, 64 lower-case hex digits, as the two functions below make them: nobody can give a store the hash of another
 * buffer, and nobody has to hash twice.
 */
export interface HashedBytes {
  readonly bytes: Uint8Array
  readonly sha256: string
  readonly [hashed]: true
}

/** Hashes bytes that do not change any more. */
export function hashBytes(bytes: Uint8Array): HashedBytes {
  return { bytes, sha256: sha256Hex(bytes) } as HashedBytes
}

/** 2 ms on a slow machine. */
const HASHED_AT_ONCE = 2 * 1024 ** 2

/** As `hashBytes`, in pieces: what else this thread has to do is done between them. */
export async function hashLargeBytes(bytes: Uint8Array): Promise<HashedBytes> {
  const running = createHash('sha256')
  for (let from = 0; from < bytes.length; from += HASHED_AT_ONCE) {
    if (from > 0) await setImmediate()
    running.update(bytes.subarray(from, from + HASHED_AT_ONCE))
  }
  return { bytes, sha256: running.digest('hex') } as HashedBytes
}

/** The longest that S3 signs for: a week. */
export const MAX_LINK_SECONDS = 7 * 86_400

/** Longer keys do not fit every store. */
export const MAX_KEY_BYTES = 512
// The longest file name of the usual file systems.
const MAX_PART_BYTES = 255

/**
 * Refuses, with a RangeError, keys that do not mean the same in every store: empty or longer than 512 bytes, absolute, with an
 * empty part or one that begins with a dot (so no `..`), longer than 255 bytes, with a backslash, control character or
 * half a surrogate pair.
 */
export function assertObjectKey(key: string): void {
  const refuse = (problem: string): never => {
    throw new RangeError(`object key ${JSON.stringify(key)} ${problem}`)
  }
  if (key === '') refuse('is empty')
  if (!key.isWellFormed()) refuse('is not valid Unicode')
  if (Buffer.byteLength(key) > MAX_KEY_BYTES) refuse(`is longer than ${MAX_KEY_BYTES} bytes`)
  if (/[\\\p{Cc}]/u.test(key)) refuse('holds a backslash or a control character')
  for (const part of key.split('/')) {
    if (part === '') refuse('begins or ends with a slash, or holds two in a row')
    if (part.startsWith('.')) refuse('has a part that begins with a dot')
    if (Buffer.byteLength(part) > MAX_PART_BYTES) refuse(`has a part longer than ${MAX_PART_BYTES} bytes`)
  }
}

/** Refuses, with a RangeError, a range that is not one of whole bytes. */
export function assertRange({ start, end }: { start: number; end: number }): void {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0) {
    throw new RangeError(`range ${start} to ${end} is not one of whole bytes`)
  }
  if (end < start) throw new RangeError(`range ${start} to ${end} ends before it begins`)
}

/** Refuses, with a RangeError, a link that not every store could make: of another length, or a file name that is more than one. */
export function assertLink({ seconds, fileName }: { seconds: number; fileName?: string }): void {
  if (!(Number.isSafeInteger(seconds) && seconds >= 1 && seconds <= MAX_LINK_SECONDS)) {
    throw new RangeError(`a link holds for 1 to ${MAX_LINK_SECONDS} seconds, not ${seconds}`)
  }
  if (fileName !== undefined && !/^\w[\w.-]{0,199}$/.test(fileName)) {
    throw new RangeError(`${JSON.stringify(fileName)} is not a plain file name`)
  }
}

/** Refuses a prefix to list by that no key could begin with. The empty prefix is every object. */
export function assertObjectPrefix(prefix: string): void {
  if (prefix !== '') assertObjectKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix)
}

/** The sha256 of `bytes` as 64 lower-case hex digits. */
export function sha256Hex(bytes: Uint8Array): string {
  return hash('sha256', bytes, 'hex')
}

/** That of a list, a line each. */
export function sha256OfLines(lines: readonly string[]): string {
  return hash('sha256', lines.join('\n'), 'hex')
}

/** The round trip behind every driver's `probe`. Throws STORE_UNAVAILABLE if the bytes do not come back as they went. */
export async function probeRoundTrip(store: Omit<ObjectStore, 'probe'>): Promise<void> {
  const key = `health/${randomUUID()}`
  const bytes = randomBytes(64)
  await store.put(key, hashBytes(bytes))
  let back: Uint8Array
  try {
    back = await store.get(key)
  } finally {
    await store.delete(key)
  }
  if (Buffer.compare(back, bytes) !== 0) {
    throw new CoherenceError(
      'STORE_UNAVAILABLE',
      `the ${store.backend} store changed the bytes of ${store.bucket}/${key}: it cannot be trusted with samples`,
    )
  }
}
