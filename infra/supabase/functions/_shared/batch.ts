import { z } from 'zod'
import { Refusal } from './refusal.ts'

export const MOST_SAMPLES = 10_000
export const MOST_BODY_BYTES = 8_000_000

/** A sample of good shape, as the database's JSON takes it. `index` is its place in the batch that was sent. */
export interface Sample {
  readonly index: number
  readonly profileId: string
  /** UTC in ISO 8601, to the microsecond. */
  readonly timestamp: string
  /** An int64 in decimal. */
  readonly sequence: string
  /** `\x` and the bytes in hexadecimal. */
  readonly payload: string
}

export type Outcome =
  | { readonly index: number; readonly status: 'accepted' | 'duplicate' }
  | { readonly index: number; readonly status: 'rejected'; readonly reason: string }

/** What a body held: samples to store, and those of bad shape, which are rejected already. */
export interface Batch {
  readonly samples: readonly Sample[]
  readonly rejected: readonly Outcome[]
}

export interface Report {
  readonly accepted: number
  readonly duplicate: number
  readonly rejected: number
  readonly results: readonly Outcome[]
}

export function tooManySamples(): Refusal {
  return new Refusal(413, `A batch has at most ${MOST_SAMPLES} samples; send it in parts.`)
}

/** The years in which `toISOString` has four digits, from 1970 on. */
const MOST_SECONDS = Date.UTC(9999, 11, 31, 23, 59, 59) / 1000

/** ISO 8601 of whole seconds since 1970 and microseconds within; null outside of the years 1970 to 9999. */
export function isoTimestamp(seconds: number, microseconds: number): string | null {
  if (!(seconds >= 0 && seconds <= MOST_SECONDS)) return null
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${String(microseconds).padStart(6, '0')}Z`
}

/** The arguments of insert_entropy_samples() for samples of one device. */
export function ingestArguments(deviceId: string, samples: readonly Sample[]) {
  return {
    device_id: deviceId,
    profile_ids: samples.map((sample) => sample.profileId),
    timestamps: samples.map((sample) => sample.timestamp),
    sequences: samples.map((sample) => sample.sequence),
    payloads: samples.map((sample) => sample.payload),
  }
}

/** What the database answers: of each sample, in the order they were given. */
const ROWS = z.array(
  z.object({
    index: z.int(),
    status: z.enum(['accepted', 'duplicate', 'rejected']),
    reason: z.string().nullable(),
  }),
)

/** The answer to a batch, from the database's to its samples. Throws a plain Error if that is not one row a sample. */
export function reportBatch(batch: Batch, answered: unknown): Report {
  const rows = ROWS.parse(answered)
  if (rows.length !== batch.samples.length) {
    throw new Error(`${rows.length} rows answer ${batch.samples.length} samples`)
  }
  const stored = rows.map(({ index, status, reason }): Outcome => {
    const sample = batch.samples[index]
    return status === 'rejected'
      ? { index: sample.index, status, reason: reason ?? 'not said' }
      : { index: sample.index, status }
  })
  const results = [...stored, ...batch.rejected].toSorted((a, b) => a.index - b.index)
  const count = (status: Outcome['status']) => results.filter((result) => result.status === status).length
  return { accepted: count('accepted'), duplicate: count('duplicate'), rejected: count('rejected'), results }
}
