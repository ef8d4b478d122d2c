import { type FftPlan, planFft, transform } from './fft.ts'

/**
 * A real transform of n = a b points in two rounds of short ones that stay in the cache: b of a points, whose input lies
 * b apart, a turn by exp(-2 pi i column row / n), and a of b points (J. Cooley and J. Tukey 1965; D. Bailey 1990). Real
 * input allows two transforms of the first round in one, and leaves only half of the second to be done.
 */
interface RealPlan {
  readonly length: number
  readonly first: FftPlan
  readonly second: FftPlan
  /** exp(-2 pi i m / n) is 2 coarse[m >> 10] * fine[m & 1023]; real and imaginary parts in turn. n is below 2^31. */
  readonly coarse: Float64Array
  readonly fine: Float64Array
}

const FINE_BITS = 10
const FINE = 2 ** FINE_BITS
/** Rows lie a few numbers farther apart than they are long, lest those of 2^k numbers all fall in the same cache lines. */
const PADDING = 8

/** The divisor of `length`, made of 2, 3 and 5 only, that is nearest to its square root. */
function smoothDivisorNearRoot(length: number): number {
  let divisors = [1]
  let rest = length
  for (const prime of [2, 3, 5]) {
    const once = divisors
    for (let power = prime; rest % prime === 0; rest /= prime, power *= prime) {
      divisors = [...divisors, ...once.map((divisor) => divisor * power)]
    }
  }
  const distance = (divisor: number) => Math.abs(Math.log((divisor * divisor) / length))
  return divisors.reduce((best, divisor) => (distance(divisor) < distance(best) ? divisor : best), 1)
}

function planReal(length: number): RealPlan {
  const points = smoothDivisorNearRoot(length)
  const first = planFft(points)
  const fine = new Float64Array(2 * FINE)
  for (let m = 0; m < FINE; m++) {
    fine[2 * m] = Math.cos((2 * Math.PI * m) / length)
    fine[2 * m + 1] = -Math.sin((2 * Math.PI * m) / length)
  }
  const coarse = new Float64Array(2 * (Math.floor(length / FINE) + 1))
  for (let m = 0; m < coarse.length / 2; m++) {
    // The halves that taking two real transforms apart leaves over go in here.
    coarse[2 * m] = 0.5 * Math.cos((2 * Math.PI * m * FINE) / length)
    coarse[2 * m + 1] = -0.5 * Math.sin((2 * Math.PI * m * FINE) / length)
  }
  return { length, first, second: planFft(length / points), coarse, fine }
}

/** Plans last used; those of long transforms are heavy. */
const plans = new Map<number, RealPlan>()
const PLANS_KEPT = 4

function realPlan(length: number): RealPlan {
  const plan = plans.get(length) ?? planReal(length)
  plans.delete(length)
  plans.set(length, plan)
  for (const oldest of plans.keys()) {
    if (plans.size <= PLANS_KEPT) break
    plans.delete(oldest)
  }
  return plan
}

/**
 * Fills `re` with x_column, x_(column + stride), ... and `im` with the same from column + 1, or zeros if `single`.
 */
type LoadColumns = (column: number, stride: number, single: boolean, re: Float64Array, im: Float64Array) => void

/** |X_k|^2 for k = 0, ..., floor(n / 2) of the n real numbers that `load` gives. */
function powerSpectrum({ length, first, second, coarse, fine }: RealPlan, load: LoadColumns): Float64Array {
  const columns = second.length
  const rows = Math.floor(first.length / 2) + 1
  const pitch = columns + PADDING
  const workRe = new Float64Array(rows * pitch)
  const workIm = new Float64Array(rows * pitch)
  for (let column = 0; column < columns; column += 2) {
    load(column, columns, column + 1 === columns, first.inRe, first.inIm)
    transform(first)
    takeApart(column, first, coarse, fine, workRe, workIm, pitch)
  }
  const power = new Float64Array(Math.floor(length / 2) + 1)
  for (let row = 0; row < rows; row++) {
    second.inRe.set(workRe.subarray(row * pitch, row * pitch + columns))
    second.inIm.set(workIm.subarray(row * pitch, row * pitch + columns))
    transform(second)
    storePower(row, first.length, second, length, power)
  }
  return power
}

/**
 * The transforms of two real columns from that of one as real and the other as imaginary part, each turned by the
 * twiddles between the two rounds, into rows of the work arrays. The other half of the rows is their mirror image.
 */
function takeApart(
  column: number,
  { length, outRe, outIm }: FftPlan,
  coarse: Float64Array,
  fine: Float64Array,
  workRe: Float64Array,
  workIm: Float64Array,
  pitch: number,
): void {
  const rows = Math.floor(length / 2) + 1
  let to = column
  for (let row = 0; row < rows; row++, to += pitch) {
    const mirror = row === 0 ? 0 : length - row
    const leftR = outRe[row] + outRe[mirror]
    const leftI = outIm[row] - outIm[mirror]
    const rightR = outIm[row] + outIm[mirror]
    const rightI = outRe[mirror] - outRe[row]
    const m = column * row
    const c = 2 * (m >>> FINE_BITS)
    const f = 2 * (m & (FINE - 1))
    const wr = coarse[c] * fine[f] - coarse[c + 1] * fine[f + 1]
    const wi = coarse[c] * fine[f + 1] + coarse[c + 1] * fine[f]
    workRe[to] = leftR * wr - leftI * wi
    workIm[to] = leftR * wi + leftI * wr
    // The last column of an odd number has no neighbour; what is written beside it falls in the padding.
    const m2 = m + row
    const c2 = 2 * (m2 >>> FINE_BITS)
    const f2 = 2 * (m2 & (FINE - 1))
    const vr = coarse[c2] * fine[f2] - coarse[c2 + 1] * fine[f2 + 1]
    const vi = coarse[c2] * fine[f2 + 1] + coarse[c2 + 1] * fine[f2]
    workRe[to + 1] = rightR * vr - rightI * vi
    workIm[to + 1] = rightR * vi + rightI * vr
  }
}

/** Row r of the second round holds X_k for k = r, r + a, r + 2 a, ... (a = `step`); |X_(n-k)| = |X_k|. */
function storePower(row: number, step: number, plan: FftPlan, length: number, power: Float64Array): void {
  const { outRe, outIm } = plan
  let k = row
  for (let i = 0; i < plan.length; i++, k += step) {
    power[2 * k <= length ? k : length - k] = outRe[i] * outRe[i] + outIm[i] * outIm[i]
  }
}

/** |X_k|^2, k = 0, ..., floor(n / 2), of n >= 1 real numbers. */
export function realPowerSpectrum(signal: Float64Array): Float64Array {
  return powerSpectrum(realPlan(signal.length), (column, stride, single, re, im) => {
    for (let i = 0, at = column; i < re.length; i++, at += stride) {
      re[i] = signal[at]
      im[i] = single ? 0 : signal[at + 1]
    }
  })
}

/** |X_k|^2, k = 0, ..., floor(n / 2), of the first n = `bits` >= 1 bits of `bytes`, a one as +1 and a zero as -1. */
export function bitPowerSpectrum(bytes: Uint8Array, bits: number): Float64Array {
  return powerSpectrum(realPlan(bits), (column, stride, single, re, im) => {
    for (let i = 0, at = column; i < re.length; i++, at += stride) {
      re[i] = ((bytes[at >>> 3] >>> (7 - (at & 7))) & 1) * 2 - 1
      const next = at + 1
      im[i] = single ? 0 : ((bytes[next >>> 3] >>> (7 - (next & 7))) & 1) * 2 - 1
    }
  })
}
