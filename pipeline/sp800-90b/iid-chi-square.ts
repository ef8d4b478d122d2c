import { chiSquareUpper } from '../special.ts'

/** `df` 0: the data make too few bins, and there is no P-value. */
export interface ChiSquare {
  readonly statistic: number
  readonly df: number
  readonly p: number | null
}

const LEAST_EXPECTED = 5
const SUBSETS = 10
const MOST_BITS_A_TUPLE = 11

/**
 * Are neighbours independent? Pairs of symbols on end against the product of the symbols' shares, in bins of at least five
 * expected pairs. `symbols` are numbers below k, each of which occurs; k > 2. SP 800-90B, 5.2.1.
 */
export function testIndependence(symbols: Uint8Array, k: number): ChiSquare {
  const share = sharesOf(symbols, k)
  const pairs = Math.floor(symbols.length / 2)
  const expected = Float64Array.from(
    { length: k * k },
    (_, pair) => share[Math.floor(pair / k)] * share[pair % k] * pairs,
  )
  const { binOf, expectations } = allocateBins(expected)
  const observed = new Float64Array(expectations.length)
  for (let i = 0; i + 1 < symbols.length; i += 2) observed[binOf[symbols[i] * k + symbols[i + 1]]]++
  return chiSquareOf(distance(observed, expectations), expectations.length - k)
}

/** Are the symbols distributed alike in each tenth of the data? k > 2. SP 800-90B, 5.2.2. */
export function testGoodnessOfFit(symbols: Uint8Array, k: number): ChiSquare {
  const length = Math.floor(symbols.length / SUBSETS)
  const { binOf, expectations } = allocateBins(sharesOf(symbols, k).map((share) => share * length))
  let statistic = 0
  for (let subset = 0; subset < SUBSETS; subset++) {
    const observed = new Float64Array(expectations.length)
    for (let i = subset * length; i < (subset + 1) * length; i++) observed[binOf[symbols[i]]]++
    statistic += distance(observed, expectations)
  }
  return chiSquareOf(statistic, (SUBSETS - 1) * (expectations.length - 1))
}

/** The same of bits, one an element: tuples of as many bits as leave five of the rarest expected. SP 800-90B, 5.2.3. */
export function testBinaryIndependence(bits: Uint8Array): ChiSquare {
  const p1 = countBits(bits, 0, bits.length) / bits.length
  const rare = Math.min(p1, 1 - p1)
  let m = MOST_BITS_A_TUPLE
  while (m > 1 && rare ** m * Math.floor(bits.length / m) < LEAST_EXPECTED) m--
  if (m < 2) return chiSquareOf(0, 0)
  const blocks = Math.floor(bits.length / m)
  const observed = new Float64Array(1 << m)
  for (let block = 0; block < blocks; block++) {
    let tuple = 0
    for (let i = 0; i < m; i++) tuple = (tuple << 1) | bits[block * m + i]
    observed[tuple]++
  }
  const expected = observed.map((_, tuple) => {
    const ones = tuple.toString(2).replaceAll('0', '').length
    return p1 ** ones * (1 - p1) ** (m - ones) * blocks
  })
  return chiSquareOf(distance(observed, expected), (1 << m) - 2)
}

/** SP 800-90B, 5.2.4. */
export function testBinaryGoodnessOfFit(bits: Uint8Array): ChiSquare {
  const length = Math.floor(bits.length / SUBSETS)
  const p1 = countBits(bits, 0, bits.length) / bits.length
  const expected = [(1 - p1) * length, p1 * length]
  let statistic = 0
  for (let subset = 0; subset < SUBSETS; subset++) {
    const ones = countBits(bits, subset * length, (subset + 1) * length)
    statistic += distance([length - ones, ones], expected)
  }
  return chiSquareOf(statistic, SUBSETS - 1)
}

function chiSquareOf(statistic: number, df: number): ChiSquare {
  return df > 0 ? { statistic, df, p: chiSquareUpper(statistic, df) } : { statistic, df: 0, p: null }
}

function distance(observed: ArrayLike<number>, expected: ArrayLike<number>): number {
  let sum = 0
  for (let i = 0; i < expected.length; i++) sum += (observed[i] - expected[i]) ** 2 / expected[i]
  return sum
}

/**
 * Each symbol's share, added up as NIST's tool does: which of several all but equal pairs come into one bin depends on the rounding,
 * and the statistic on that.
 */
function sharesOf(symbols: Uint8Array, k: number): Float64Array {
  const shares = new Float64Array(k)
  const one = 1 / symbols.length
  for (let i = 0; i < symbols.length; i++) shares[symbols[i]] += one
  return shares
}

function countBits(bits: Uint8Array, from: number, to: number): number {
  let ones = 0
  for (let i = from; i < to; i++) ones += bits[i]
  return ones
}

/**
 * Bins of at least five expected, filled from the least likely value to the likeliest (equal ones in their order); what is left
 * over goes into the last. SP 800-90B, 5.2.1, steps 2 and 3.
 */
function allocateBins(expected: Float64Array): { binOf: Int32Array; expectations: number[] } {
  const order = Array.from(expected.keys()).toSorted((a, b) => expected[a] - expected[b] || a - b)
  const binOf = new Int32Array(expected.length)
  const expectations = [0]
  for (const value of order) {
    if (expectations[expectations.length - 1] >= LEAST_EXPECTED) expectations.push(0)
    binOf[value] = expectations.length - 1
    expectations[expectations.length - 1] += expected[value]
  }
  const last = expectations.length - 1
  if (last > 0 && expectations[last] < LEAST_EXPECTED) {
    expectations[last - 1] += expectations[last]
    expectations.pop()
    for (let value = 0; value < binOf.length; value++) if (binOf[value] === last) binOf[value] = last - 1
  }
  return { binOf, expectations }
}
