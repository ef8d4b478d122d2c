import { insufficientResult, okResult, type TestDefinition, totalBytes } from './definition.ts'
import { countBlocks, insufficientBlocks } from './sp800-22.ts'

const SIZE = 32
const MATRIX_BITS = SIZE * SIZE
/** SP 800-22 rev 1a, 2.5.7: each class then expects 5 matrices or more. */
const MINIMUM_MATRICES = 38

/** Up to 32 bits from bit `at` of `bytes`, the first the most significant. */
function readBits(bytes: Uint8Array, at: number, count: number): number {
  let value = 0
  for (let i = at; i < at + count; i++) value = (value << 1) | ((bytes[Math.floor(i / 8)] >>> (7 - (i % 8))) & 1)
  return value
}

/** Rank over GF(2) of the matrix whose rows are the bits of `rows`, which are overwritten. */
export function binaryRank(rows: Int32Array): number {
  let rank = 0
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]
    if (row === 0) continue
    rank++
    // The lowest one of the row is the pivot; subtract it from the rows below without a branch that guesses wrong.
    const column = 31 - Math.clz32(row & -row)
    for (let j = i + 1; j < rows.length; j++) rows[j] ^= row & -((rows[j] >>> column) & 1)
  }
  return rank
}

/**
 * Adds to `counts` how many of the whole `size` by `size` matrices (at most 32) among the first `bits` bits of `bytes`,
 * filled row by row, have [full rank, one less, lower].
 */
export function addMatrixRanks(bytes: Uint8Array, bits: number, size: number, counts: Float64Array): void {
  const rows = new Int32Array(size)
  const matrices = Math.floor(bits / (size * size))
  for (let matrix = 0; matrix < matrices; matrix++) {
    const start = matrix * size * size
    for (let i = 0; i < size; i++) {
      const at = start + i * size
      if (size === 32) {
        const byte = at / 8
        rows[i] = (bytes[byte] << 24) | (bytes[byte + 1] << 16) | (bytes[byte + 2] << 8) | bytes[byte + 3]
      } else rows[i] = readBits(bytes, at, size)
    }
    counts[Math.min(2, size - binaryRank(rows))]++
  }
}

/** Probability that a random `size` by `size` matrix over GF(2) has rank r. SP 800-22 rev 1a, 3.5. */
function rankProbability(size: number, r: number): number {
  let product = 2 ** (r * (2 * size - r) - size * size)
  for (let i = 0; i < r; i++) product *= (1 - 2 ** (i - size)) ** 2 / (1 - 2 ** (i - r))
  return product
}

/** Probabilities of full rank, one less, and lower, of a random square matrix over GF(2). */
export function rankProbabilities(size: number): [number, number, number] {
  const [full, oneLess] = [rankProbability(size, size), rankProbability(size, size - 1)]
  return [full, oneLess, 1 - full - oneLess]
}

/** chi2 of the three counts against their probabilities, and p = exp(-chi2 / 2). SP 800-22 rev 1a, 2.5.4. */
export function matrixRankStatistic(counts: ArrayLike<number>, pi: readonly number[]): { chi2: number; p: number } {
  const matrices = counts[0] + counts[1] + counts[2]
  const chi2 = pi.reduce((sum, share, i) => sum + (counts[i] - matrices * share) ** 2 / (matrices * share), 0)
  return { chi2, p: Math.exp(-chi2 / 2) }
}

const PI = rankProbabilities(SIZE)

/** Binary matrix rank test on 32 by 32 matrices, cut inside each segment: are rows linearly dependent too often? */
export const rank: TestDefinition = {
  name: 'rank',
  title: 'Binary matrix rank',
  formula: 'counts of 32x32 matrices of rank 32, 31, lower; chi2 = sum (count - N pi)^2 / (N pi); p = exp(-chi2/2)',
  source: 'SP 800-22 rev 1a, 2.5 and 3.5',
  minimumBits: MINIMUM_MATRICES * MATRIX_BITS,
  defaults: {},
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const given = 8 * totalBytes(segments)
    const needed = MINIMUM_MATRICES * MATRIX_BITS
    if (given < needed) return insufficientResult(rank, params, needed, given)
    const matrices = countBlocks(segments, MATRIX_BITS)
    if (matrices < MINIMUM_MATRICES) {
      return insufficientBlocks(rank, params, MINIMUM_MATRICES, MATRIX_BITS, matrices)
    }
    const counts = new Float64Array(3)
    for (const segment of segments) addMatrixRanks(segment, 8 * segment.length, SIZE, counts)
    const { chi2, p } = matrixRankStatistic(counts, PI)
    const used = matrices * MATRIX_BITS
    return okResult(rank, params, {
      p_values: [p],
      statistic: chi2,
      metrics: { n_bits: used, bits_left_out: given - used, matrices, counts: [...counts] },
    })
  },
}
