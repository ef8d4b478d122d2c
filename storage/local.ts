import { randomUUID } from 'node:crypto'
import { mkdir, unlink } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { CoherenceError } from '../pipeline/errors.ts'
import { hasErrno, missingRoot, storeError } from './local-errors.ts'
import { fileHolds, readPart, statusOf, syncFolders, walkFiles, writeDurably } from './local-files.ts'
import { exists, publishByLink, publishByRename } from './local-publish.ts'
import {
  assertLink,
  assertObjectKey,
  assertObjectPrefix,
  type HashedBytes,
  type ObjectInfo,
  type ObjectStore,
  probeRoundTrip,
  sha256Hex,
} from './object-store.ts'

// No object's key has a part that begins with a dot.
const TEMPORARY = '.tmp'

export interface LocalStore extends ObjectStore {
  /** The folder that holds the bucket: an object's file is root/key. */
  readonly root: string
  /**
   * Removes what killed writers left in `.tmp` and last touched before `before` (leave running puts some hours); the number of
   * files removed.
   */
  removeTemporary(before: Date): Promise<number>
}

/**
 * A store in the folder `directory`/`bucket`. With `create` the folder is made; without, every call throws STORE_NOT_FOUND while
 * it is missing, so that an unmounted disk does not look like an empty store. `hardLinks: false` does without link(2)
 * from the start; file systems that lack it are noticed anyway.
 */
export async function openLocalStore(
  directory: string,
  bucket: string,
  options: { create: boolean; hardLinks?: boolean },
): Promise<LocalStore> {
  assertObjectKey(bucket)
  if (bucket.includes('/')) throw new RangeError(`bucket ${JSON.stringify(bucket)} holds a slash`)
  const root = join(resolve(directory), bucket)
  if (options.create) {
    try {
      await mkdir(root, { recursive: true })
    } catch (error) {
      throw storeError(error, root, 'creating the bucket')
    }
  }
  return new LocalObjectStore(root, bucket, options.hardLinks ?? true)
}

class LocalObjectStore implements LocalStore {
  readonly backend = 'local'
  readonly bucket: string
  readonly root: string
  readonly #hardLinks: boolean
  /** Folders whose names this process has brought to the disk. */
  readonly #durable = new Set<string>()

  constructor(root: string, bucket: string, hardLinks: boolean) {
    this.root = root
    this.bucket = bucket
    this.#hardLinks = hardLinks
  }

  async put(
    key: string,
    { bytes, sha256 }: HashedBytes,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<{ created: boolean }> {
    const target = this.#path(key)
    signal?.throwIfAborted()
    try {
      await this.#makeFolders(key, target)
      const created = !(await exists(target)) && (await this.#create(key, target, bytes, signal))
      if (!created && !(await fileHolds(target, bytes.length, sha256))) {
        throw new CoherenceError('STORE_CONFLICT', `${target} exists with other bytes; nothing was overwritten`)
      }
      // Also for an object found: its writer may have been killed just before this.
      await syncFolders(dirname(target), this.root, this.#durable)
      return { created }
    } catch (error) {
      throw storeError(error, this.root, `writing ${key}`, bytes.length)
    }
  }

  async get(
    key: string,
    options: { range?: { start: number; end: number }; signal?: AbortSignal } = {},
  ): Promise<Uint8Array<ArrayBuffer>> {
    const path = this.#path(key)
    const range = options.range ?? { start: 0, end: Number.MAX_SAFE_INTEGER }
    if (!Number.isSafeInteger(range.start) || !Number.isSafeInteger(range.end) || range.start < 0) {
      throw new RangeError(`range ${range.start} to ${range.end} is not one of whole bytes`)
    }
    if (range.end < range.start) throw new RangeError(`range ${range.start} to ${range.end} ends before it begins`)
    return await this.#guard(`reading ${key}`, async () => {
      let bytes: Uint8Array<ArrayBuffer> | undefined
      try {
        bytes = await readPart(path, range, options.signal)
      } catch (error) {
        if (!hasErrno(error, 'ENOENT', 'ENOTDIR')) throw error
        await this.#assertRoot()
      }
      if (bytes === undefined) throw new CoherenceError('STORE_NOT_FOUND', `there is no object ${path}`)
      return bytes
    })
  }

  async head(key: string): Promise<{ size: number; modifiedAt: Date } | null> {
    const path = this.#path(key)
    return await this.#guard(`looking for ${key}`, async () => {
      const status = await statusOf(path)
      if (status === null) await this.#assertRoot()
      return status && { size: status.size, modifiedAt: status.mtime }
    })
  }

  async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncGenerator<ObjectInfo> {
    assertObjectPrefix(prefix)
    options.signal?.throwIfAborted()
    const folder = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    try {
      await this.#assertRoot()
      for await (const object of walkFiles(this.root, folder, prefix)) {
        options.signal?.throwIfAborted()
        yield object
      }
    } catch (error) {
      throw storeError(error, this.root, `listing ${prefix}`)
    }
  }

  async delete(key: string): Promise<boolean> {
    const path = this.#path(key)
    return await this.#guard(`deleting ${key}`, async () => {
      if ((await statusOf(path)) === null) {
        await this.#assertRoot()
        return false
      }
      // Empty folders stay: removing them would race with a put that has just made them.
      return await removeFile(path)
    })
  }

  async signedUrl(key: string, options: { seconds: number; fileName?: string }): Promise<string> {
    assertLink(options)
    return pathToFileURL(this.#path(key)).href
  }

  async probe(): Promise<void> {
    await probeRoundTrip(this)
  }

  async removeTemporary(before: Date): Promise<number> {
    return await this.#guard('sweeping temporary files', async () => {
      await this.#assertRoot()
      let removed = 0
      for await (const { key, modifiedAt } of walkFiles(join(this.root, TEMPORARY), '', '')) {
        if (modifiedAt < before && (await removeFile(join(this.root, TEMPORARY, key)))) removed++
      }
      return removed
    })
  }

  /** Writes a temporary file and gives it its name; false if another writer was first. A kill leaves only the temporary. */
  async #create(key: string, target: string, bytes: Uint8Array, signal?: AbortSignal): Promise<boolean> {
    const temporary = join(this.root, TEMPORARY, randomUUID())
    await writeDurably(temporary, bytes, signal)
    try {
      const linked = this.#hardLinks ? await publishByLink(temporary, target) : null
      if (linked !== null) return linked
      const lock = join(this.root, TEMPORARY, `${sha256Hex(Buffer.from(key))}.lock`)
      return await publishByRename(temporary, target, lock)
    } finally {
      await removeFile(temporary)
    }
  }

  async #makeFolders(key: string, target: string): Promise<void> {
    try {
      // Not recursive: it must fail when the root is gone.
      await mkdir(join(this.root, TEMPORARY))
    } catch (error) {
      if (hasErrno(error, 'ENOENT')) throw missingRoot(this.root)
      if (!hasErrno(error, 'EEXIST')) throw error
    }
    try {
      await mkdir(dirname(target), { recursive: true })
    } catch (error) {
      if (!hasErrno(error, 'EEXIST', 'ENOTDIR')) throw error
      throw new CoherenceError('STORE_CONFLICT', `part of ${key} is an object itself; a folder cannot have its name`)
    }
  }

  async #assertRoot(): Promise<void> {
    if (!(await exists(this.root))) throw missingRoot(this.root)
  }

  async #guard<T>(doing: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw storeError(error, this.root, doing)
    }
  }

  #path(key: string): string {
    assertObjectKey(key)
    return join(this.root, key)
  }
}

async function removeFile(path: string): Promise<boolean> {
  try {
    await unlink(path)
    return true
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return false
    throw error
  }
}
