import { link, lstat, open, rename, unlink } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { CoherenceError } from '../pipeline/errors.ts'
import { hasErrno } from './local-errors.ts'

const LOCK_PATIENCE_MS = 10_000
const LOCK_POLL_MS = 20

/**
 * Gives the finished file `temporary` the name `target` unless that name is taken: true if it was given. link(2) does both in
 * one step. null where the file system has no hard links (exFAT, some network mounts).
 */
export async function publishByLink(temporary: string, target: string): Promise<boolean | null> {
  try {
    await link(temporary, target)
    return true
  } catch (error) {
    if (hasErrno(error, 'EEXIST')) return false
    if (hasErrno(error, 'EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK')) return null
    throw error
  }
}

/**
 * The same without hard links. rename(2) is atomic too, but replaces what is there, so the writers of one name take turns by a
 * lock file: look, then rename. Opening the target itself with O_EXCL would not do: a crash would leave a partial object under
 * its final name. A lock whose owner was killed blocks this one name (STORE_UNAVAILABLE after 10 s) until
 * `removeTemporary` sweeps it; nothing guesses that an owner is dead.
 */
export async function publishByRename(temporary: string, target: string, lock: string): Promise<boolean> {
  await takeLock(lock)
  try {
    if (await exists(target)) return false
    await rename(temporary, target)
    return true
  } finally {
    await unlink(lock)
  }
}

/** True if something has that name. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path)
    return true
  } catch (error) {
    if (hasErrno(error, 'ENOENT', 'ENOTDIR')) return false
    throw error
  }
}

async function takeLock(lock: string): Promise<void> {
  const deadline = performance.now() + LOCK_PATIENCE_MS
  for (;;) {
    try {
      await (await open(lock, 'wx')).close()
      return
    } catch (error) {
      if (!hasErrno(error, 'EEXIST')) throw error
    }
    if (performance.now() > deadline) {
      throw new CoherenceError('STORE_UNAVAILABLE', `another writer holds ${lock}; if none runs, sweep temporary files`)
    }
    await delay(LOCK_POLL_MS)
  }
}
