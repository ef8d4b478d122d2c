import { logGamma } from './special.ts'

/** Below this number of values the exact distribution is computed, a millisecond of work; it grows as n^1.5. */
const EXACT_BELOW = 200
/** From this n d^2 on, twice the one-sided probability is the two-sided one: both sides at once have under 1e-10 of it. */
const TAIL_FROM = 3.76

/** Largest distance of the empirical distribution from the uniform one, and its P-value. */
export interface KolmogorovSmirnov {
  readonly d: number
  readonly p: number
}

/** Throws RangeError, naming the value, unless all are numbers of [0, 1]. */
export function requirePValues(pValues: readonly number[]): void {
  const bad = pValues.find((p) => !(p >= 0 && p <= 1))
  if (bad !== undefined) throw new RangeError(`not a P-value: ${bad}`)
}

/**
 * Two-sided Kolmogorov-Smirnov test of one or more P-values against the uniform distribution. Unlike P_T it sees where in
 * a bin they lie. Throws RangeError if there is none, or one is outside [0, 1].
 */
export function kolmogorovSmirnov(pValues: readonly number[]): KolmogorovSmirnov {
  requirePValues(pValues)
  const n = pValues.length
  if (n === 0) throw new RangeError('the Kolmogorov-Smirnov test of no P-values')
  const d = pValues
    .toSorted((a, b) => a - b)
    .reduce((largest, p, i) => Math.max(largest, p - i / n, (i + 1) / n - p), 0)
  return { d, p: kolmogorovUpper(n, d) }
}

/**
 * P(D >= d) of the two-sided Kolmogorov-Smirnov distance of n uniform values, 0 <= d <= 1. Below 200 values exact to
 * 1e-10; from there on, outside the tail, the limit with the correction of Vrbik 2018, good to 1e-4.
 */
export function kolmogorovUpper(n: number, d: number): number {
  if (n * d * d > TAIL_FROM) return Math.min(1, 2 * oneSidedUpper(n, d))
  if (n < EXACT_BELOW) return Math.min(1, Math.max(0, 1 - kolmogorovLower(n, d)))
  const x = Math.sqrt(n) * d
  return kolmogorovLimit(x + 1 / (6 * Math.sqrt(n)) + (x - 1) / (4 * n))
}

/**
 * P(D+ >= d), the one-sided distance, of Birnbaum & Tingey 1951: d sum C(n, j) (d + j/n)^(j-1) (1 - d - j/n)^(n-j) over
 * j <= n (1 - d). Every term is positive, so that far tails keep their digits.
 */
function oneSidedUpper(n: number, d: number): number {
  let sum = 0
  for (let j = 0; j < n * (1 - d); j++) {
    const above = d + j / n
    const choices = logGamma(n + 1) - logGamma(j + 1) - logGamma(n - j + 1)
    sum += Math.exp(choices + (j - 1) * Math.log(above) + (n - j) * Math.log1p(-above))
  }
  return d * sum
}

/** P(K >= x) of the limiting distribution, K = sqrt(n) D. */
function kolmogorovLimit(x: number): number {
  // The terms alternate and fall; near x = 0 the sum would need ever more of them and is 1 to 12 digits.
  if (x < 0.2) return 1
  let sum = 0
  for (let k = 1, term = 1; term > 1e-17; k++) {
    term = 2 * Math.exp(-2 * k * k * x * x)
    sum += k % 2 === 1 ? term : -term
  }
  return Math.min(1, Math.max(0, sum))
}

/** P(D < d): n! / n^n times the middle entry of the n-th power of the matrix of Marsaglia, Tsang & Wang 2003. */
function kolmogorovLower(n: number, d: number): number {
  const k = Math.floor(n * d) + 1
  const h = k - n * d
  const size = 2 * k - 1
  // The n-th root of n! / n^n goes into every entry, so that the power stays near 1.
  const scale = Math.exp(logGamma(n + 1) / n - Math.log(n))
  const entry = (row: number, column: number) => {
    if (row - column + 1 < 0) return 0
    let value = 1
    if (column === 0) value -= h ** (row + 1)
    if (row === size - 1) value -= h ** (size - column)
    if (column === 0 && row === size - 1) value += Math.max(0, 2 * h - 1) ** size
    return (scale * value) / Math.exp(logGamma(row - column + 2))
  }
  const matrix = Array.from({ length: size }, (_, row) =>
    Float64Array.from({ length: size }, (__, column) => entry(row, column)),
  )
  return matrixPower(matrix, n)[k - 1][k - 1]
}

/** The n-th power of a square matrix, n >= 1, by squaring. */
function matrixPower(matrix: readonly Float64Array[], n: number): readonly Float64Array[] {
  if (n === 1) return matrix
  const half = matrixPower(matrix, Math.floor(n / 2))
  const square = matrixProduct(half, half)
  return n % 2 === 0 ? square : matrixProduct(square, matrix)
}

function matrixProduct(a: readonly Float64Array[], b: readonly Float64Array[]): Float64Array[] {
  return a.map((row) => {
    const sums = new Float64Array(row.length)
    for (let k = 0; k < row.length; k++) for (let j = 0; j < row.length; j++) sums[j] += row[k] * b[k][j]
    return sums
  })
}
