import { type Estimate, minEntropy, noEstimate, Z_995 } from './estimate.ts'

const BLOCK_BITS = 6
const VALUES = 1 << BLOCK_BITS
/** Blocks that only fill the dictionary. */
const DICTIONARY_BLOCKS = 1000
/** Corrects the deviation for the dependence of the distances, 6.3.4. */
const DEVIATION_FACTOR = 0.5907

/** Bits below which there is no deviation: 1,000 blocks for the dictionary and 2 to test. */
export const COMPRESSION_MINIMUM_BITS = BLOCK_BITS * (DICTIONARY_BLOCKS + 2)

/** Compression estimate of the first `bits` bits. SP 800-90B, 6.3.4. */
export function estimateCompression(bytes: Uint8Array, bits: number): Estimate {
  if (bits < COMPRESSION_MINIMUM_BITS) {
    return noEstimate(`needs at least ${COMPRESSION_MINIMUM_BITS} bits, given ${bits}`)
  }
  const blocks = Math.floor(bits / BLOCK_BITS)
  const v = blocks - DICTIONARY_BLOCKS
  const distances = countDistances(bytes, blocks)
  let sum = 0
  let squares = 0
  for (let distance = 2; distance < distances.length; distance++) {
    if (distances[distance] === 0) continue
    const log = Math.log2(distance)
    sum += distances[distance] * log
    squares += distances[distance] * log * log
  }
  const mean = sum / v
  const deviation = DEVIATION_FACTOR * Math.sqrt(Math.max(0, squares / (v - 1) - mean * mean))
  const bound = mean - (Z_995 * deviation) / Math.sqrt(v)
  const p = findProbability(bound, blocks)
  return { min_entropy: minEntropy(p) / BLOCK_BITS, details: { n: bits, v, mean, deviation, p } }
}

/** How often each distance to the block's last occurrence is met; a block not yet met counts from before the first. */
function countDistances(bytes: Uint8Array, blocks: number): Uint32Array {
  const distances = new Uint32Array(blocks + 1)
  const last = new Int32Array(VALUES)
  for (let block = 1, bit = 0; block <= blocks; block++, bit += BLOCK_BITS) {
    const at = bit >>> 3
    const value = (((bytes[at] << 8) | bytes[at + 1]) >>> (10 - (bit & 7))) & (VALUES - 1)
    if (block > DICTIONARY_BLOCKS) distances[block - last[value]]++
    last[value] = block
  }
  return distances
}

/** p in [1/64, 1] whose expected mean is `mean`, for one value of probability p and 63 of (1 - p) / 63. */
function findProbability(mean: number, blocks: number): number {
  const excess = (p: number) =>
    expectedLog(p, blocks) + (VALUES - 1) * expectedLog((1 - p) / (VALUES - 1), blocks) - mean
  let low = 1 / VALUES
  let high = 1
  let atLow = excess(low)
  if (!(atLow > 0)) return low
  let atHigh = -mean
  if (!(atHigh < 0)) return 1
  // The expectation falls as p rises. Regula falsi with the Illinois step: a bisection would need 50 evaluations.
  for (let turn = 0, side = 0; turn < 100 && high - low > 1e-14; turn++) {
    const p = (low * atHigh - high * atLow) / (atHigh - atLow)
    const found = excess(p)
    if (found === 0 || p <= low || p >= high) return p
    if (found > 0) {
      low = p
      atLow = found
      if (side === 1) atHigh /= 2
      side = 1
    } else {
      high = p
      atHigh = found
      if (side === -1) atLow /= 2
      side = -1
    }
  }
  return (low + high) / 2
}

/**
 * G(z) of 6.3.4: the mean over t = 1001..blocks of sum_u log2(u) F(z, t, u), F = z^2 (1 - z)^(u-1) for u < t and
 * z (1 - z)^(t-1) for u = t. A term u < t is met by blocks - max(u, 1000) values of t, a term u = t by one.
 */
function expectedLog(z: number, blocks: number): number {
  const v = blocks - DICTIONARY_BLOCKS
  let power = 1
  let inner = 0
  let last = 0
  for (let u = 2; u <= blocks; u++) {
    power *= 1 - z
    const term = Math.log2(u) * power
    if (u <= DICTIONARY_BLOCKS) inner += v * term
    else {
      inner += (blocks - u) * term
      last += term
      // What is left is below a geometric series.
      if (term * v < 1e-18 * z * inner) break
    }
  }
  return (z * (z * inner + last)) / v
}
