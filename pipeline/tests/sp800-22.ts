/** What several tests of SP 800-22 share: whose constants they compute with, and what becomes of breaks in the data. */
import { insufficientResult, type TestDefinition, type TestParams, type TestResult } from './definition.ts'

/** 'corrected': the constants that the mathematics gives. 'nist212': those that NIST's STS 2.1.2 computes with. */
export type Variant = 'corrected' | 'nist212'

/** The parameter `variant`. Throws RangeError unless it is 'corrected' or 'nist212'. */
export function variantParam(params: TestParams): Variant {
  const { variant } = params
  if (variant === 'corrected' || variant === 'nist212') return variant
  throw new RangeError(`parameter variant must be "corrected" or "nist212", not ${JSON.stringify(variant)}`)
}

/** For tests of one unbroken sequence: the longest segment, the first of equals, and what a result has to say of it. */
export function longestSegment(segments: readonly Uint8Array[]): {
  bytes: Uint8Array
  bits: number
  metrics: { n_bits: number; bits_left_out: number }
} {
  let bytes: Uint8Array = new Uint8Array(0)
  let total = 0
  for (const segment of segments) {
    total += segment.length
    if (segment.length > bytes.length) bytes = segment
  }
  const bits = 8 * bytes.length
  return { bytes, bits, metrics: { n_bits: bits, bits_left_out: 8 * total - bits } }
}

/** Too few bits in the longest segment, of `given` bits; `leftOut` lie in others. */
export function insufficientSegment(
  subject: Pick<TestDefinition, 'name'>,
  params: TestParams,
  needed: number,
  given: number,
  leftOut: number,
): TestResult {
  const found = insufficientResult(subject, params, needed, given)
  if (leftOut === 0) return found
  return { ...found, reason: `needs at least ${needed} bits without a break, given ${given} in the longest segment` }
}

/** Number of whole blocks of `blockBits` bits inside the segments. */
export function countBlocks(segments: readonly Uint8Array[], blockBits: number): number {
  return segments.reduce((blocks, { length }) => blocks + Math.floor((8 * length) / blockBits), 0)
}

/** Enough bits perhaps, but in pieces too short for `needed` blocks. */
export function insufficientBlocks(
  subject: Pick<TestDefinition, 'name'>,
  params: TestParams,
  needed: number,
  blockBits: number,
  given: number,
): TestResult {
  const found = insufficientResult(subject, params, needed * blockBits, given * blockBits)
  return { ...found, reason: `needs at least ${needed} unbroken blocks of ${blockBits} bits, given ${given}` }
}
