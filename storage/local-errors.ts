import { CoherenceError, type ErrorCode, isCoherenceError } from '../pipeline/errors.ts'

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'STORE_FULL',
  EDQUOT: 'STORE_FULL',
  EFBIG: 'STORE_FULL',
  EACCES: 'STORE_FORBIDDEN',
  EPERM: 'STORE_FORBIDDEN',
  EROFS: 'STORE_FORBIDDEN',
  ENOENT: 'STORE_NOT_FOUND',
}

/** True for a file system error with one of these codes, such as ENOENT. */
export function hasErrno(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}

/**
 * The error to throw for `error`, met while `doing` something in `root`: file system errors by what an operator can do about
 * them, anything else (an abort, a bug) as it is. `needed` is the bytes that were to be written.
 */
export function storeError(error: unknown, root: string, doing: string, needed = 0): unknown {
  if (isCoherenceError(error) || !(error instanceof Error) || !('syscall' in error)) return error
  const errno = 'code' in error ? String(error.code) : ''
  const code = CODES[errno] ?? 'STORE_UNAVAILABLE'
  return new CoherenceError(code, `${doing} in ${root}: ${advice(code, root, needed)} (${error.message})`, {
    cause: error,
  })
}

/** The error for a store whose root folder is gone: an unmounted disk must not look like an empty store. */
export function missingRoot(root: string): CoherenceError {
  return new CoherenceError(
    'STORE_NOT_FOUND',
    `the store's folder ${root} does not exist: mount its disk, or let "coherence migrate" create it`,
  )
}

function advice(code: ErrorCode, root: string, needed: number): string {
  if (code === 'STORE_FULL') return `no room for ${needed} bytes; free some or raise the quota of ${root}`
  if (code === 'STORE_FORBIDDEN') return `let this process write there, or set another folder`
  if (code === 'STORE_NOT_FOUND') return 'a folder has vanished; mount its disk, or let "coherence migrate" create it'
  return 'the disk did not do as told; it may pass'
}
