/** Every error a user or operator can meet, by code. docs/errors.md repeats this table; a test keeps the two equal. */
export const ERRORS = {
  CONFIG_INVALID: 'The environment holds a missing or malformed setting; the message lists every problem at once.',
  NODE_TOO_OLD: 'The running Node.js is older than this software needs.',
  USAGE: 'The command line is wrong: unknown command, missing argument, or a value out of range.',
  DATABASE_UNREACHABLE: 'No connection to Postgres could be made with DATABASE_URL.',
  DATABASE_NOT_MIGRATED: 'The schema is missing or older than this build; run `coherence migrate`.',
  MIGRATION_EDITED: 'A migration that was already applied differs from the file of the same version.',
  MIGRATION_BLOCKED: 'An existing object stands in the way of a migration; the message names it and what to do.',
  QUEUE_VERSION: 'The schema or the queues in the database belong to another build; this worker leaves quietly.',
  EMBEDDED_POSTGRES: 'The embedded Postgres server could not be installed, initialised or started here.',
  STORE_UNAVAILABLE: 'The object store did not answer, or answered with a failure that may pass.',
  STORE_NOT_FOUND: 'The object (or the bucket folder) is not in the store.',
  STORE_CONFLICT: 'An object of this key exists with other bytes; nothing was overwritten.',
  STORE_FULL: 'The object store has no room left.',
  STORE_FORBIDDEN: 'The object store refused access with these credentials or file permissions.',
  CHUNK_CORRUPT: 'An object read back is not the chunk that was written: hash, row count or format differ.',
  CHUNK_FORMAT: 'The bytes are not an Arrow chunk of a format this build reads.',
  CHUNK_ROWS_CHANGED: 'The rows of a claimed chunk are not those counted when it was claimed.',
  CHUNK_STALE_ATTEMPT: 'Another worker has taken this chunk over; this attempt gives way.',
  SAMPLES_REJECTED: 'Samples were refused by the database; nothing of the batch was stored.',
  DEVICE_UNKNOWN: 'No such device, or it is not active.',
  ANALYSIS_INVALID: 'The analysis or export asks for what cannot be done; its error_message says what to change.',
  EVENT_INVALID: 'The event cannot be declared, found or withdrawn as asked; the message says why.',
  INPUT_INVALID: 'A file or pipe given to the command cannot be used.',
} as const

export type ErrorCode = keyof typeof ERRORS

/** The one error class for failures a person can act on: what was wrong, which value, what to do. */
export class CoherenceError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'CoherenceError'
    this.code = code
  }
}

/** True for a CoherenceError, of the given code if one is given. */
export function isCoherenceError(error: unknown, code?: ErrorCode): error is CoherenceError {
  return error instanceof CoherenceError && (code === undefined || error.code === code)
}
