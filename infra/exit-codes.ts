import type { ErrorCode } from '../pipeline/errors.ts'

const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: 2,
  USAGE: 2,
  NODE_TOO_OLD: 2,
  EVENT_INVALID: 2,
  INPUT_INVALID: 2,
  // "Try again later" of sysexits.h: the other build's workers do the work meanwhile.
  QUEUE_VERSION: 75,
}

/** What the process exits with after this error: 2 for bad usage or configuration, 75 for "later", otherwise 1. */
export function exitCodeOf(code: ErrorCode): number {
  return EXIT_CODES[code] ?? 1
}
