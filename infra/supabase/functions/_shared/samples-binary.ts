import { Buffer } from 'node:buffer'
import { type Batch, isoTimestamp, MOST_SAMPLES, type Outcome, type Sample, tooManySamples } from './batch.ts'
import { Refusal } from './refusal.ts'

export const BINARY_TYPE = 'application/vnd.coherence.samples'

const HEAD_BYTES = 36

/**
 * The batch of a binary body: records without anything between, each the profile's uuid (16 bytes), microseconds since 1970
 * (int64), sequence (int64), the payload's length (uint32), all big-endian, and the payload. Refuses with 400 a body that
 * ends within a record, with 413 one of more than MOST_SAMPLES.
 */
export function parseBinaryBatch(body: Uint8Array<ArrayBuffer>): Batch {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength)
  const samples: Sample[] = []
  const rejected: Outcome[] = []
  let at = 0
  for (let index = 0; at < body.length; index++) {
    if (index === MOST_SAMPLES) throw tooManySamples()
    const left = body.length - at - HEAD_BYTES
    const length = left < 0 ? 0 : view.getUint32(at + 32)
    if (left < length) {
      const what = left < 0 ? `its head of ${HEAD_BYTES} bytes` : `its payload of ${length} bytes`
      throw new Refusal(400, `The body ends within ${what}: record ${index}, which begins at byte ${at}.`)
    }
    const microseconds = view.getBigInt64(at + 16)
    const timestamp = isoTimestamp(Number(microseconds / 1_000_000n), Number(microseconds % 1_000_000n))
    if (microseconds < 0n || timestamp === null) {
      rejected.push({ index, status: 'rejected', reason: 'timestamp must be from 1970 to 9999' })
    } else {
      samples.push({
        index,
        profileId: uuid(hex(body, at, 16)),
        timestamp,
        sequence: String(view.getBigInt64(at + 24)),
        payload: `\\x${hex(body, at + HEAD_BYTES, length)}`,
      })
    }
    at += HEAD_BYTES + length
  }
  return { samples, rejected }
}

function hex(bytes: Uint8Array<ArrayBuffer>, at: number, length: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('hex')
}

function uuid(digits: string): string {
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
}
