/**
 * Discrete Fourier transforms of any length: X_k = sum x_j exp(-2 pi i j k / n), not scaled. Lengths made of 2, 3 and 5
 * go by self-sorting (Stockham) passes of radix 2, 3, 4 and 5, others by Bluestein's convolution. Every factor of a
 * table is a cosine and a sine of its own, not a power of another, so that rounding errors do not grow with n.
 */
import { type Pass, passOf2, passOf3, passOf4, passOf5 } from './fft-passes.ts'

/** A transform of one length. Fill `inRe` and `inIm`, call transform, read `outRe` and `outIm`, which may be the same. */
export interface FftPlan {
  readonly length: number
  readonly inRe: Float64Array
  readonly inIm: Float64Array
  readonly outRe: Float64Array
  readonly outIm: Float64Array
  readonly passes: readonly Pass[]
  readonly bluestein?: Bluestein
}

interface Bluestein {
  readonly chirpRe: Float64Array
  readonly chirpIm: Float64Array
  /** Transform of the conjugate chirp, divided by its length. */
  readonly kernelRe: Float64Array
  readonly kernelIm: Float64Array
  readonly inner: FftPlan
}

/** The radices of a length, or undefined if another prime than 2, 3 and 5 divides it. */
function radicesOf(length: number): number[] | undefined {
  const radices: number[] = []
  let rest = length
  for (const radix of [5, 4, 3, 2]) {
    for (; rest % radix === 0; rest /= radix) radices.push(radix)
  }
  return rest === 1 ? radices : undefined
}

/** Tables and work arrays for the complex transform of `length` points. Throws RangeError unless length >= 1. */
export function planFft(length: number): FftPlan {
  if (!(Number.isSafeInteger(length) && length >= 1)) throw new RangeError(`no transform has ${length} points`)
  const inRe = new Float64Array(length)
  const inIm = new Float64Array(length)
  const radices = radicesOf(length)
  if (!radices) return { length, inRe, inIm, outRe: inRe, outIm: inIm, passes: [], bluestein: planBluestein(length) }
  const otherRe = new Float64Array(length)
  const otherIm = new Float64Array(length)
  let stride = 1
  const passes = radices.map((radix, i): Pass => {
    const groups = length / (stride * radix)
    const twiddles = new Float64Array(2 * groups * (radix - 1))
    for (let k = 0, at = 0; k < groups; k++) {
      for (let j = 1; j < radix; j++) {
        const angle = (-2 * Math.PI * j * k) / (radix * groups)
        twiddles[at++] = Math.cos(angle)
        twiddles[at++] = Math.sin(angle)
      }
    }
    const even = i % 2 === 0
    const pass: Pass = {
      radix,
      groups,
      stride,
      twiddles,
      fromRe: even ? inRe : otherRe,
      fromIm: even ? inIm : otherIm,
      toRe: even ? otherRe : inRe,
      toIm: even ? otherIm : inIm,
    }
    stride *= radix
    return pass
  })
  const swapped = radices.length % 2 === 1
  return { length, inRe, inIm, outRe: swapped ? otherRe : inRe, outIm: swapped ? otherIm : inIm, passes }
}

/** X_k = c_k sum (x_j c_j) conj(c)_(k-j) with the chirp c_j = exp(-pi i j^2 / n): a convolution. L. Bluestein 1970. */
function planBluestein(length: number): Bluestein {
  const inner = planFft(2 ** Math.ceil(Math.log2(2 * length - 1)))
  const chirpRe = new Float64Array(length)
  const chirpIm = new Float64Array(length)
  // j^2 modulo 2 n, kept exact by adding 2 j + 1.
  for (let j = 0, square = 0; j < length; square = (square + 2 * j + 1) % (2 * length), j++) {
    chirpRe[j] = Math.cos((Math.PI * square) / length)
    chirpIm[j] = -Math.sin((Math.PI * square) / length)
  }
  for (let j = 0; j < length; j++) {
    inner.inRe[j] = chirpRe[j]
    inner.inIm[j] = -chirpIm[j]
    if (j > 0) {
      inner.inRe[inner.length - j] = chirpRe[j]
      inner.inIm[inner.length - j] = -chirpIm[j]
    }
  }
  transform(inner)
  return {
    chirpRe,
    chirpIm,
    kernelRe: inner.outRe.map((x) => x / inner.length),
    kernelIm: inner.outIm.map((x) => x / inner.length),
    inner,
  }
}

/** Transforms what is in `inRe`, `inIm` of the plan, which is overwritten, to `outRe`, `outIm`. */
export function transform(plan: FftPlan): void {
  if (plan.bluestein) return convolve(plan, plan.bluestein)
  for (const pass of plan.passes) {
    if (pass.radix === 5) passOf5(pass)
    else if (pass.radix === 4) passOf4(pass)
    else if (pass.radix === 3) passOf3(pass)
    else passOf2(pass)
  }
}

function convolve({ length, inRe, inIm }: FftPlan, { chirpRe, chirpIm, kernelRe, kernelIm, inner }: Bluestein): void {
  for (let j = 0; j < length; j++) {
    inner.inRe[j] = inRe[j] * chirpRe[j] - inIm[j] * chirpIm[j]
    inner.inIm[j] = inRe[j] * chirpIm[j] + inIm[j] * chirpRe[j]
  }
  inner.inRe.fill(0, length)
  inner.inIm.fill(0, length)
  transform(inner)
  for (let j = 0; j < inner.length; j++) {
    const re = inner.outRe[j] * kernelRe[j] - inner.outIm[j] * kernelIm[j]
    const im = inner.outRe[j] * kernelIm[j] + inner.outIm[j] * kernelRe[j]
    // Conjugate, so that the same transform goes back; its result is conjugated below.
    inner.inRe[j] = re
    inner.inIm[j] = -im
  }
  transform(inner)
  for (let k = 0; k < length; k++) {
    const re = inner.outRe[k]
    const im = -inner.outIm[k]
    inRe[k] = re * chirpRe[k] - im * chirpIm[k]
    inIm[k] = re * chirpIm[k] + im * chirpRe[k]
  }
}
