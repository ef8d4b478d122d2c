import { Buffer } from 'node:buffer'
import { z } from 'zod'
import { type Batch, isoTimestamp, MOST_SAMPLES, type Outcome, type Sample, tooManySamples } from './batch.ts'
import { parseJson } from './json.ts'
import { Refusal } from './refusal.ts'

const BATCH = z.object({ samples: z.array(z.unknown()) }, 'The body must be {"samples": [ … ]}.')

const INT64 = 2n ** 63n

const SEQUENCE_FORM = 'sequence must be an integer; above 9007199254740991 it must be a string of decimal digits'
const SEQUENCE = z
  .union([z.int(SEQUENCE_FORM), z.string(SEQUENCE_FORM).regex(/^-?\d{1,19}$/, SEQUENCE_FORM)], SEQUENCE_FORM)
  .transform(BigInt)
  .refine((value) => value >= -INT64 && value < INT64, 'sequence must fit in 64 bits')
  .transform(String)

const TIMESTAMP = z.iso
  .datetime({ offset: true, error: 'timestamp must be ISO 8601 with its zone, as 2026-11-20T12:00:00.000001Z' })
  .transform((text, context) => {
    // Date.parse knows milliseconds at most; what is finer than a microsecond is cut off.
    const [fraction = '.'] = /\.\d+/.exec(text) ?? []
    const microseconds = Number(fraction.slice(1, 7).padEnd(6, '0'))
    const iso = isoTimestamp(Date.parse(text.replace(fraction, '')) / 1000, microseconds)
    if (iso === null)
      context.issues.push({ code: 'custom', message: 'timestamp must be from 1970 to 9999', input: text })
    return iso ?? z.NEVER
  })

const PAYLOAD = z.string('data must be a string').transform((text, context) => {
  const bytes = Buffer.from(text, 'base64')
  if (bytes.toString('base64') !== text) {
    context.issues.push({ code: 'custom', message: 'data must be base64 with its padding (RFC 4648, 4)', input: text })
  }
  return `\\x${bytes.toString('hex')}`
})

const SAMPLE = z.object(
  {
    profile_id: z.guid('profile_id must be a uuid'),
    timestamp: TIMESTAMP,
    sequence: SEQUENCE,
    data: PAYLOAD,
  },
  'must be {"profile_id", "timestamp", "sequence", "data"}',
)

/** The batch of a JSON body; refuses with 400 what is none, with 413 one of more than MOST_SAMPLES. */
export function parseJsonBatch(body: Uint8Array): Batch {
  const { success, data, error } = BATCH.safeParse(parseJson(body))
  if (!success)
    throw new Refusal(400, error.issues[0].path.length === 0 ? error.issues[0].message : 'samples must be a list.')
  if (data.samples.length > MOST_SAMPLES) throw tooManySamples()
  const samples: Sample[] = []
  const rejected: Outcome[] = []
  for (const [index, given] of data.samples.entries()) {
    const parsed = SAMPLE.safeParse(given)
    if (parsed.success) {
      const { profile_id: profileId, timestamp, sequence, data: payload } = parsed.data
      samples.push({ index, profileId, timestamp, sequence, payload })
    } else {
      const reason = [...new Set(parsed.error.issues.map((issue) => issue.message))].join('; ')
      rejected.push({ index, status: 'rejected', reason })
    }
  }
  return { samples, rejected }
}
