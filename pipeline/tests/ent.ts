import { addByteHistogram, countOnes, countTransitions, sumNeighbourProducts } from '../bits.ts'
import { chiSquareUpper } from '../special.ts'
import {
  insufficientResult,
  okResult,
  type TestDefinition,
  type TestParams,
  type TestResult,
  totalBytes,
} from './definition.ts'

/** Bytes of a point of the Monte Carlo square: three for each coordinate, most significant first. */
const POINT_BYTES = 6
/** Points whose distance from the corner is at most that of the largest coordinate are inside the quarter circle. */
const RADIUS_SQUARED = (256 ** 3 - 1) ** 2

/** Of fewer expected occurrences the P-value of chi-square is told, as the program does, but not counted on. */
const LEAST_EXPECTED = 5

/** What has been read of one contiguous stream. All counts are exact up to 2^53. */
export interface EntCounts {
  readonly histogram: Float64Array
  bytes: number
  /** Sum of the products of neighbouring bytes, and of neighbouring bits that are both 1. */
  products: number
  bitPairs: number
  first: number
  last: number
  points: number
  inside: number
  /** The bytes of a point that is not whole yet. */
  readonly point: Uint8Array
  pointBytes: number
}

export interface EntNumbers {
  /** Shannon entropy, plug-in, in bits a byte or a bit. */
  readonly entropy: number
  readonly chi_square: number
  /** Upper tail of chi-square with 255 (bytes) or 1 (bits) degrees of freedom. */
  readonly chi_square_p: number
  readonly mean: number
  /** 4 times the share of points inside; null without a whole point. */
  readonly monte_carlo_pi: number | null
  /** Of neighbours, the last with the first; null if all are equal (the program prints -100000). */
  readonly serial_correlation: number | null
}

export function openEntCounts(): EntCounts {
  return {
    histogram: new Float64Array(256),
    bytes: 0,
    products: 0,
    bitPairs: 0,
    first: 0,
    last: 0,
    points: 0,
    inside: 0,
    point: new Uint8Array(POINT_BYTES),
    pointBytes: 0,
  }
}

/** Takes the next bytes of the stream. */
export function addEntBytes(counts: EntCounts, bytes: Uint8Array): void {
  if (bytes.length === 0) return
  const histogram = new Uint32Array(256)
  addByteHistogram(bytes, histogram)
  for (let value = 0; value < 256; value++) counts.histogram[value] += histogram[value]
  if (counts.bytes === 0) counts.first = bytes[0]
  else {
    counts.products += counts.last * bytes[0]
    counts.bitPairs += counts.last & (bytes[0] >>> 7) & 1
  }
  counts.products += sumNeighbourProducts(bytes)
  counts.bitPairs += countNeighbourOnes(bytes)
  counts.last = bytes[bytes.length - 1]
  counts.bytes += bytes.length
  addPoints(counts, bytes)
}

/** Pairs of neighbouring bits that are both 1: (2 ones - first - last - transitions) / 2. */
function countNeighbourOnes(bytes: Uint8Array): number {
  const ends = (bytes[0] >>> 7) + (bytes[bytes.length - 1] & 1)
  return (2 * countOnes(bytes) - ends - countTransitions(bytes)) / 2
}

function addPoints(counts: EntCounts, bytes: Uint8Array): void {
  let at = 0
  if (counts.pointBytes > 0) {
    at = Math.min(POINT_BYTES - counts.pointBytes, bytes.length)
    counts.point.set(bytes.subarray(0, at), counts.pointBytes)
    counts.pointBytes += at
    if (counts.pointBytes < POINT_BYTES) return
    counts.points++
    counts.inside += countInside(counts.point, 0, POINT_BYTES)
  }
  const whole = Math.floor((bytes.length - at) / POINT_BYTES)
  counts.points += whole
  counts.inside += countInside(bytes, at, at + whole * POINT_BYTES)
  const rest = bytes.subarray(at + whole * POINT_BYTES)
  counts.point.set(rest)
  counts.pointBytes = rest.length
}

/** By the first byte of both coordinates: 0 if every such point is outside, 1 if inside, UNDECIDED if the others decide. */
const QUARTER_CIRCLE = new Uint8Array(65_536)
const UNDECIDED = 2
for (let x = 0; x < 256; x++) {
  for (let y = 0; y < 256; y++) {
    const nearest = (x << 16) ** 2 + (y << 16) ** 2
    const farthest = (((x + 1) << 16) - 1) ** 2 + (((y + 1) << 16) - 1) ** 2
    QUARTER_CIRCLE[(x << 8) | y] = farthest <= RADIUS_SQUARED ? 1 : nearest > RADIUS_SQUARED ? 0 : UNDECIDED
  }
}

function countInside(bytes: Uint8Array, from: number, to: number): number {
  let inside = 0
  for (let i = from; i < to; i += POINT_BYTES) {
    const verdict = QUARTER_CIRCLE[(bytes[i] << 8) | bytes[i + 3]]
    if (verdict !== UNDECIDED) {
      inside += verdict
      continue
    }
    const x = (bytes[i] << 16) | (bytes[i + 1] << 8) | bytes[i + 2]
    const y = (bytes[i + 3] << 16) | (bytes[i + 4] << 8) | bytes[i + 5]
    // Both squares are below 2^48, so the sum is exact.
    if (x * x + y * y <= RADIUS_SQUARED) inside++
  }
  return inside
}

/** The five numbers of the stream, of its bytes or of its bits. Throws RangeError if there are none. */
export function entNumbers(counts: EntCounts, unit: 'byte' | 'bit'): EntNumbers {
  if (counts.bytes === 0) throw new RangeError('ent needs at least one byte')
  const { histogram, first, last } = counts
  const occurrences = unit === 'byte' ? histogram : bitOccurrences(histogram)
  const n = unit === 'byte' ? counts.bytes : 8 * counts.bytes
  const expected = n / occurrences.length
  let [entropy, chi, sum, squares] = [0, 0, 0, 0]
  for (let value = 0; value < occurrences.length; value++) {
    const count = occurrences[value]
    if (count > 0) entropy += (count / n) * Math.log2(n / count)
    chi += (count - expected) ** 2 / expected
    sum += value * count
    squares += value * value * count
  }
  const closing = unit === 'byte' ? last * first : last & (first >>> 7) & 1
  const products = (unit === 'byte' ? counts.products : counts.bitPairs) + closing
  return {
    entropy,
    chi_square: chi,
    chi_square_p: chiSquareUpper(chi, occurrences.length - 1),
    mean: sum / n,
    monte_carlo_pi: counts.points === 0 ? null : (4 * counts.inside) / counts.points,
    serial_correlation: correlation(n, products, sum, squares),
  }
}

/** (n sum xy - (sum x)^2) / (n sum x^2 - (sum x)^2) about the mean, so that long streams cancel no digits; Knuth, TAOCP 3.3.2 K. */
function correlation(n: number, products: number, sum: number, squares: number): number | null {
  const mean = sum / n
  const variance = squares / n - mean * mean
  // Integers: all values are equal just if n sum x^2 = (sum x)^2, which is when the mean of squares is the square of the mean.
  if (variance <= squares * Number.EPSILON * (4 / n)) return null
  return (products / n - mean * mean) / variance
}

function bitOccurrences(histogram: Float64Array): Float64Array {
  let [ones, bytes] = [0, 0]
  for (let value = 0; value < 256; value++) {
    bytes += histogram[value]
    ones += histogram[value] * countOnes(Uint8Array.of(value))
  }
  return Float64Array.of(8 * bytes - ones, ones)
}

function unitParam({ unit }: TestParams): 'byte' | 'bit' {
  if (unit === 'byte' || unit === 'bit') return unit
  throw new RangeError(`parameter unit must be "byte" or "bit", not ${JSON.stringify(unit)}`)
}

function resultOf(counts: EntCounts, params: TestParams, leftOut: number): TestResult {
  const unit = unitParam(params)
  if (counts.bytes === 0) return insufficientResult(ent, params, 8, 0)
  const numbers = entNumbers(counts, unit)
  const metrics = { n_bytes: counts.bytes, ...numbers, ...(leftOut > 0 && { bytes_left_out: leftOut }) }
  const expected = unit === 'byte' ? counts.bytes / 256 : 4 * counts.bytes
  const p = expected < LEAST_EXPECTED ? [] : [numbers.chi_square_p]
  return okResult(ent, params, { p_values: p, statistic: numbers.chi_square, metrics })
}

/** The five numbers of John Walker's program ent, of the longest segment. The P-value, from 1,280 bytes on, is that of chi-square. */
export const ent: TestDefinition = {
  name: 'ent',
  title: 'The five numbers of ent',
  formula:
    'entropy = sum p log2(1/p); chi-square of the values; mean; 4 x share of 6-byte points in the quarter circle; ' +
    'correlation of neighbours, last with first',
  source: 'J. Walker, ent; D. Knuth, TAOCP 3.3.2 K',
  notes:
    'Equal to the program in all of its printed digits. Where all values are equal it prints -100000 for the correlation; here it ' +
    'is null.',
  minimumBits: 8,
  defaults: { unit: 'byte' },
  suites: { ent: {} },
  run(segments, params) {
    unitParam(params)
    const longest = segments.reduce((best, one) => (one.length > best.length ? one : best), new Uint8Array(0))
    const counts = openEntCounts()
    addEntBytes(counts, longest)
    return resultOf(counts, params, totalBytes(segments) - longest.length)
  },
  open(params) {
    unitParam(params)
    const counts = openEntCounts()
    return { add: (bytes) => addEntBytes(counts, bytes), finish: () => resultOf(counts, params, 0) }
  },
}
