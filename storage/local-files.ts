import { createHash } from 'node:crypto'
import { createReadStream, type Dir } from 'node:fs'
import { lstat, open, opendir, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CoherenceError } from '../pipeline/errors.ts'
import { hasErrno } from './local-errors.ts'

// Between pieces an abort is noticed. Larger pieces are not faster.
const PIECE_BYTES = 4 << 20

/** Creates `path` with these bytes and brings them to the disk. The file is removed again if that fails. */
export async function writeDurably(path: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  const file = await open(path, 'wx')
  try {
    for (let at = 0; at < bytes.length;) {
      signal?.throwIfAborted()
      const { bytesWritten } = await file.write(bytes, at, Math.min(PIECE_BYTES, bytes.length - at))
      at += bytesWritten
    }
    await file.sync()
    signal?.throwIfAborted()
  } catch (error) {
    await unlink(path)
    throw error
  } finally {
    await file.close()
  }
}

/** The bytes of [start, end) of a file, fewer if it ends before; undefined if `path` is no file. */
export async function readPart(
  path: string,
  range: { start: number; end: number },
  signal?: AbortSignal,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  signal?.throwIfAborted()
  const file = await open(path, 'r')
  try {
    const status = await file.stat()
    if (!status.isFile()) return undefined
    const bytes = new Uint8Array(Math.max(0, Math.min(range.end, status.size) - range.start))
    for (let at = 0; at < bytes.length;) {
      signal?.throwIfAborted()
      const length = Math.min(PIECE_BYTES, bytes.length - at)
      const { bytesRead } = await file.read(bytes, at, length, range.start + at)
      if (bytesRead === 0) throw new CoherenceError('STORE_UNAVAILABLE', `${path} became shorter while it was read`)
      at += bytesRead
    }
    return bytes
  } finally {
    await file.close()
  }
}

/** True if the file has exactly these contents. */
export async function fileHolds(path: string, size: number, sha256: string): Promise<boolean> {
  const status = await lstat(path)
  if (!status.isFile() || status.size !== size) return false
  const digest = createHash('sha256')
  const pieces: AsyncIterable<Buffer> = createReadStream(path)
  for await (const piece of pieces) digest.update(piece)
  return digest.digest('hex') === sha256
}

/**
 * Brings the names in `folder` to the disk, and the folder's own name and those above it, up to `root`. Folders of `durable`, of
 * which that is known, are passed over; the others are added. Nobody removes a folder.
 */
export async function syncFolders(folder: string, root: string, durable: Set<string>): Promise<void> {
  await syncFolder(folder)
  const found: string[] = []
  for (let path = folder; path !== root && path !== dirname(path) && !durable.has(path); path = dirname(path)) {
    await syncFolder(dirname(path))
    found.push(path)
  }
  for (const path of found) durable.add(path)
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/**
 * The files under root/folder whose path from root begins with `prefix`, read as a stream: memory does not grow with their
 * number. Names that begin with a dot, links and what vanishes meanwhile are passed over.
 */
export async function* walkFiles(
  root: string,
  folder: string,
  prefix: string,
): AsyncGenerator<{ key: string; size: number; modifiedAt: Date }> {
  const entries = await openFolder(join(root, folder))
  if (entries === null) return
  for await (const entry of entries) {
    const key = folder + entry.name
    if (entry.name.startsWith('.') || !key.startsWith(prefix)) continue
    if (entry.isDirectory()) yield* walkFiles(root, `${key}/`, '')
    if (!entry.isFile()) continue
    const status = await statusOf(join(root, key))
    if (status !== null) yield { key, size: status.size, modifiedAt: status.mtime }
  }
}

/** Size and times of a file; null if there is none. */
export async function statusOf(path: string): Promise<{ size: number; mtime: Date } | null> {
  try {
    const status = await lstat(path)
    return status.isFile() ? status : null
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return null
    throw error
  }
}

async function openFolder(path: string): Promise<Dir | null> {
  try {
    return await opendir(path)
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return null
    throw error
  }
}
