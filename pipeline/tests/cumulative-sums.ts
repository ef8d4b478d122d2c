import { normalUpper } from '../special.ts'
import { okResult, type TestDefinition } from './definition.ts'
import { insufficientSegment, longestSegment } from './sp800-22.ts'

const MINIMUM_BITS = 100
/** Below this the steps of the walk show in the normal limit, and the exact P-values are given beside it. */
const EXACT_BELOW_BITS = 1000
/** Q(x) is 0 in double precision from here, so that terms of the series beyond change nothing. */
const NORMAL_VANISHES = 39

/** Sum of a byte's bits as +1 and -1, and the largest and smallest partial sum on the way, the empty one included. */
const BYTE_SUM = new Int8Array(256)
const BYTE_MAX = new Int8Array(256)
const BYTE_MIN = new Int8Array(256)
for (let byte = 0; byte < 256; byte++) {
  let sum = 0
  for (let bit = 7; bit >= 0; bit--) {
    sum += (byte >>> bit) & 1 ? 1 : -1
    BYTE_MAX[byte] = Math.max(BYTE_MAX[byte], sum)
    BYTE_MIN[byte] = Math.min(BYTE_MIN[byte], sum)
  }
  BYTE_SUM[byte] = sum
}

/** Number of ones in each byte of `word`, as four bytes. */
function onesInBytes(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555)
  const nibbles = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333)
  return (nibbles + (nibbles >>> 4)) & 0x0f0f0f0f
}

/** The random walk of the first `bits` bits of `bytes` (1 up, 0 down): its end, highest and lowest point, start included. */
export function walkExtremes(bytes: Uint8Array, bits: number): { sum: number; max: number; min: number } {
  let sum = 0
  let max = 0
  let min = 0
  const whole = Math.floor(bits / 8)
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice(0, whole)
  const words = new Int32Array(aligned.buffer, aligned.byteOffset, 2 * Math.floor(whole / 8))
  for (let i = 0; i < words.length; i += 2) {
    // Mostly the walk is too far from its extremes to reach one within 64 bits, and they are but counted.
    if (sum + 64 <= max && sum - 64 >= min) {
      const ones = Math.imul(onesInBytes(words[i]) + onesInBytes(words[i + 1]), 0x01010101) >>> 24
      sum += 2 * ones - 64
      continue
    }
    for (let at = 4 * i; at < 4 * i + 8; at++) {
      const byte = aligned[at]
      if (sum + BYTE_MAX[byte] > max) max = sum + BYTE_MAX[byte]
      if (sum + BYTE_MIN[byte] < min) min = sum + BYTE_MIN[byte]
      sum += BYTE_SUM[byte]
    }
  }
  for (let i = 32 * words.length; i < bits; i++) {
    sum += (bytes[Math.floor(i / 8)] >>> (7 - (i % 8))) & 1 ? 1 : -1
    if (sum > max) max = sum
    if (sum < min) min = sum
  }
  return { sum, max, min }
}

/**
 * P-value of a walk of n >= 1 steps whose farthest point from its start is z >= 1 away. Source: SP 800-22 rev 1a,
 * 2.13.4 (4). The standard's 1 - sum1 + sum2 is added up as upper tails Q, of which it is made by symmetry, so that
 * small P-values keep their digits. The bounds of k are integer divisions that truncate, as in C: at n = 10
 * the standard's example needs that.
 */
export function cumulativeSumsPValue(z: number, n: number): number {
  // 1 - (4 / pi) exp(-pi^2 n / (8 z^2)), the other form of the same series, is 1 in double precision long before this.
  if (n > 100 * z * z) return 1
  const reach = Math.trunc(n / z)
  const tail = (odd: number) => normalUpper((odd * z) / Math.sqrt(n))
  const vanishing = Math.ceil((NORMAL_VANISHES * Math.sqrt(n)) / z / 4) + 1
  const first = Math.max(Math.trunc((-reach + 1) / 4), -vanishing)
  const second = Math.max(Math.trunc((-reach - 3) / 4), -vanishing)
  const last = Math.min(Math.trunc((reach - 1) / 4), vanishing)
  // k = 0 of the first sum: 1 - (Phi(z) - Phi(-z)).
  let p = 2 * tail(1)
  for (let k = first; k <= last; k++) {
    if (k !== 0) p -= tail(4 * Math.abs(k) - 1) - tail(4 * Math.abs(k) + 1)
  }
  for (let k = second; k <= last; k++) {
    p += k < 0 ? tail(-4 * k - 3) - tail(-4 * k - 1) : tail(4 * k + 1) - tail(4 * k + 3)
  }
  // Only rounding can leave [0, 1].
  return Math.min(1, Math.max(0, p))
}

/**
 * Exact probability that a walk of n steps gets z >= 1 or more away from its start: the distribution of walks that have
 * not yet, step by step. n z steps of work; at n = 10, z = 4 it is .453 where the standard's normal limit gives .412.
 */
export function farthestPointProbability(z: number, n: number): number {
  // Positions -z to z at 0 to 2 z; what arrives at an end is counted and leaves.
  let now = new Float64Array(2 * z + 1)
  let next = new Float64Array(2 * z + 1)
  now[z] = 1
  let arrived = 0
  for (let step = 0; step < n; step++) {
    next.fill(0)
    for (let at = 1; at < 2 * z; at++) {
      next[at - 1] += now[at] / 2
      next[at + 1] += now[at] / 2
    }
    arrived += next[0] + next[2 * z]
    const swap = now
    now = next
    next = swap
  }
  return Math.min(1, arrived)
}

/**
 * Cumulative sums test. `p_values` is [forward, reverse], by the standard's normal limit at every length; below 1,000
 * bits `metrics.p_exact` has both exactly. The statistic is the forward z.
 */
export const cumulativeSums: TestDefinition = {
  name: 'cumulative_sums',
  title: 'Cumulative sums',
  formula:
    'z = max |S_k|; p = 1 - sum (Phi((4k+1)z/sqrt n) - Phi((4k-1)z/sqrt n)) ' +
    '+ sum (Phi((4k+3)z/sqrt n) - Phi((4k+1)z/sqrt n)), forward and reverse',
  source: 'SP 800-22 rev 1a, 2.13',
  minimumBits: MINIMUM_BITS,
  defaults: {},
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const { bytes, bits, metrics } = longestSegment(segments)
    if (bits < MINIMUM_BITS) {
      return insufficientSegment(cumulativeSums, params, MINIMUM_BITS, bits, metrics.bits_left_out)
    }
    const { sum, max, min } = walkExtremes(bytes, bits)
    const forward = Math.max(max, -min)
    const reverse = Math.max(sum - min, max - sum)
    return okResult(cumulativeSums, params, {
      p_values: [cumulativeSumsPValue(forward, bits), cumulativeSumsPValue(reverse, bits)],
      statistic: forward,
      metrics: {
        ...metrics,
        z_forward: forward,
        z_reverse: reverse,
        ...(bits < EXACT_BELOW_BITS && {
          p_exact: [farthestPointProbability(forward, bits), farthestPointProbability(reverse, bits)],
        }),
      },
    })
  },
}
