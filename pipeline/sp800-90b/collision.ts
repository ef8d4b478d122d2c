import { type Estimate, minEntropy, noEstimate, Z_995 } from './estimate.ts'

const EMPTY = 0
const TWO = 3

/**
 * A search for a collision has read nothing, one bit (0 or 1), or two unlike bits; the bit after these ends it.
 * Table: state * 256 + byte -> next state | searches of length 2 that end in the byte << 2 | of length 3 << 6.
 */
const STEPS = Uint16Array.from({ length: 4 * 256 }, (_, index) => {
  let state = index >>> 8
  let found = 0
  for (let bit = 7; bit >= 0; bit--) {
    const value = (index >>> bit) & 1
    if (state === EMPTY) state = 1 + value
    else if (state === TWO) {
      state = EMPTY
      found += 1 << 6
    } else if (state === 1 + value) {
      state = EMPTY
      found += 1 << 2
    } else state = TWO
  }
  return found | state
})

/** Collision estimate of the first `bits` bits. SP 800-90B, 6.3.2. */
export function estimateCollision(bytes: Uint8Array, bits: number): Estimate {
  let twos = 0
  let threes = 0
  let state = EMPTY
  const whole = Math.floor(bits / 8)
  for (let i = 0; i < whole; i++) {
    const step = STEPS[(state << 8) | bytes[i]]
    state = step & 3
    twos += (step >>> 2) & 15
    threes += step >>> 6
  }
  for (let i = 8 * whole; i < bits; i++) {
    const value = (bytes[whole] >>> (7 - (i & 7))) & 1
    if (state === EMPTY) state = 1 + value
    else if (state === TWO) {
      state = EMPTY
      threes++
    } else if (state === 1 + value) {
      state = EMPTY
      twos++
    } else state = TWO
  }
  const v = twos + threes
  if (v < 2) return noEstimate(`needs at least 2 collisions, given ${v} in ${bits} bits`)
  const mean = (2 * twos + 3 * threes) / v
  // Two values one apart: the sum of squared deviations is twos * threes / v.
  const deviation = Math.sqrt((twos * threes) / v / (v - 1))
  const bound = Math.max(2, mean - (Z_995 * deviation) / Math.sqrt(v))
  // The expected length of a search, with the standard's F written out, is 2 + 2p - 2p^2; at most 2.5, at p = 1/2.
  const p = bound < 2.5 ? 0.5 + Math.sqrt(1.25 - bound / 2) : 0.5
  return { min_entropy: minEntropy(p), details: { n: bits, v, mean, deviation, p } }
}
