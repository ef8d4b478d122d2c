import { bitWords, onesInWord } from './bit-words.ts'
import { type Estimate, noEstimate } from './estimate.ts'

/** The standard takes the likeliest sequence of so many bits. */
const SEQUENCE = 128

/** Markov estimate of the first `bits` bits. SP 800-90B, 6.3.3. */
export function estimateMarkov(bytes: Uint8Array, bits: number): Estimate {
  if (bits < 2) return noEstimate(`needs at least 2 bits, given ${bits}`)
  const words = bitWords(bytes, bits)
  let ones = 0
  let oneOne = 0
  // Past the end are zeros, which neither count as ones nor as a pair of ones.
  for (let i = 0; 32 * i < bits; i++) {
    ones += onesInWord(words[i])
    oneOne += onesInWord(words[i] & ((words[i] << 1) | (words[i + 1] >>> 31)))
  }
  const first = bytes[0] >>> 7
  const last = (bytes[(bits - 1) >>> 3] >>> (~(bits - 1) & 7)) & 1
  // Pairs that begin with a one, and of those the pairs that end with a zero; then the same for a zero.
  const fromOne = ones - last
  const oneZero = fromOne - oneOne
  const fromZero = bits - 1 - fromOne
  const zeroOne = ones - first - oneOne
  const zeroZero = fromZero - zeroOne
  const log = (count: number, of: number) => (count > 0 ? -Math.log2(count / of) : Infinity)
  const h0 = log(bits - ones, bits)
  const h1 = log(ones, bits)
  const [h00, h01] = [log(zeroZero, fromZero), log(zeroOne, fromZero)]
  const [h10, h11] = [log(oneZero, fromOne), log(oneOne, fromOne)]
  const half = SEQUENCE / 2
  const likeliest = Math.min(
    h0 + (SEQUENCE - 1) * h00,
    h0 + half * h01 + (half - 1) * h10,
    h0 + h01 + (SEQUENCE - 2) * h11,
    h1 + h10 + (SEQUENCE - 2) * h00,
    h1 + half * h10 + (half - 1) * h01,
    h1 + (SEQUENCE - 1) * h11,
  )
  return {
    min_entropy: Math.abs(Math.min(likeliest / SEQUENCE, 1)),
    details: { n: bits, ones, n_00: zeroZero, n_01: zeroOne, n_10: oneZero, n_11: oneOne },
  }
}
