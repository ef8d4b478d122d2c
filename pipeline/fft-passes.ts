/** The butterflies of fft.ts: Stockham passes of radix 2, 3, 4 and 5. */

/** One pass: `groups` butterflies of `radix` points with twiddles of their own, each repeated for `stride` neighbours. */
export interface Pass {
  readonly radix: number
  readonly groups: number
  readonly stride: number
  /** exp(-2 pi i j k / (radix groups)) for k < groups, j = 1, ..., radix - 1, real and imaginary part in turn. */
  readonly twiddles: Float64Array
  readonly fromRe: Float64Array
  readonly fromIm: Float64Array
  readonly toRe: Float64Array
  readonly toIm: Float64Array
}

const SQRT_3_4 = Math.sqrt(0.75)
const COS_72 = Math.cos((2 * Math.PI) / 5)
const COS_144 = Math.cos((4 * Math.PI) / 5)
const SIN_72 = Math.sin((2 * Math.PI) / 5)
const SIN_144 = Math.sin((4 * Math.PI) / 5)

export function passOf2({ groups, stride, twiddles, fromRe, fromIm, toRe, toIm }: Pass): void {
  const half = groups * stride
  for (let k = 0; k < groups; k++) {
    const wr = twiddles[2 * k]
    const wi = twiddles[2 * k + 1]
    let to = 2 * k * stride
    for (let at = k * stride; at < (k + 1) * stride; at++, to++) {
      const ar = fromRe[at]
      const ai = fromIm[at]
      const br = fromRe[at + half]
      const bi = fromIm[at + half]
      toRe[to] = ar + br
      toIm[to] = ai + bi
      const dr = ar - br
      const di = ai - bi
      toRe[to + stride] = dr * wr - di * wi
      toIm[to + stride] = dr * wi + di * wr
    }
  }
}

export function passOf3({ groups, stride, twiddles, fromRe, fromIm, toRe, toIm }: Pass): void {
  const third = groups * stride
  for (let k = 0; k < groups; k++) {
    const w1r = twiddles[4 * k]
    const w1i = twiddles[4 * k + 1]
    const w2r = twiddles[4 * k + 2]
    const w2i = twiddles[4 * k + 3]
    let to = 3 * k * stride
    for (let at = k * stride; at < (k + 1) * stride; at++, to++) {
      const ar = fromRe[at]
      const ai = fromIm[at]
      const sr = fromRe[at + third] + fromRe[at + 2 * third]
      const si = fromIm[at + third] + fromIm[at + 2 * third]
      const dr = SQRT_3_4 * (fromRe[at + third] - fromRe[at + 2 * third])
      const di = SQRT_3_4 * (fromIm[at + third] - fromIm[at + 2 * third])
      toRe[to] = ar + sr
      toIm[to] = ai + si
      const mr = ar - 0.5 * sr
      const mi = ai - 0.5 * si
      const y1r = mr + di
      const y1i = mi - dr
      const y2r = mr - di
      const y2i = mi + dr
      toRe[to + stride] = y1r * w1r - y1i * w1i
      toIm[to + stride] = y1r * w1i + y1i * w1r
      toRe[to + 2 * stride] = y2r * w2r - y2i * w2i
      toIm[to + 2 * stride] = y2r * w2i + y2i * w2r
    }
  }
}

export function passOf4({ groups, stride, twiddles, fromRe, fromIm, toRe, toIm }: Pass): void {
  const quarter = groups * stride
  for (let k = 0; k < groups; k++) {
    const w1r = twiddles[6 * k]
    const w1i = twiddles[6 * k + 1]
    const w2r = twiddles[6 * k + 2]
    const w2i = twiddles[6 * k + 3]
    const w3r = twiddles[6 * k + 4]
    const w3i = twiddles[6 * k + 5]
    let to = 4 * k * stride
    for (let at = k * stride; at < (k + 1) * stride; at++, to++) {
      const ar = fromRe[at]
      const ai = fromIm[at]
      const br = fromRe[at + quarter]
      const bi = fromIm[at + quarter]
      const cr = fromRe[at + 2 * quarter]
      const ci = fromIm[at + 2 * quarter]
      const dr = fromRe[at + 3 * quarter]
      const di = fromIm[at + 3 * quarter]
      const evenSumR = ar + cr
      const evenSumI = ai + ci
      const evenDifferenceR = ar - cr
      const evenDifferenceI = ai - ci
      const oddSumR = br + dr
      const oddSumI = bi + di
      const oddDifferenceR = br - dr
      const oddDifferenceI = bi - di
      toRe[to] = evenSumR + oddSumR
      toIm[to] = evenSumI + oddSumI
      const y1r = evenDifferenceR + oddDifferenceI
      const y1i = evenDifferenceI - oddDifferenceR
      toRe[to + stride] = y1r * w1r - y1i * w1i
      toIm[to + stride] = y1r * w1i + y1i * w1r
      const y2r = evenSumR - oddSumR
      const y2i = evenSumI - oddSumI
      toRe[to + 2 * stride] = y2r * w2r - y2i * w2i
      toIm[to + 2 * stride] = y2r * w2i + y2i * w2r
      const y3r = evenDifferenceR - oddDifferenceI
      const y3i = evenDifferenceI + oddDifferenceR
      toRe[to + 3 * stride] = y3r * w3r - y3i * w3i
      toIm[to + 3 * stride] = y3r * w3i + y3i * w3r
    }
  }
}

export function passOf5({ groups, stride, twiddles, fromRe, fromIm, toRe, toIm }: Pass): void {
  const fifth = groups * stride
  for (let k = 0; k < groups; k++) {
    const w1r = twiddles[8 * k]
    const w1i = twiddles[8 * k + 1]
    const w2r = twiddles[8 * k + 2]
    const w2i = twiddles[8 * k + 3]
    const w3r = twiddles[8 * k + 4]
    const w3i = twiddles[8 * k + 5]
    const w4r = twiddles[8 * k + 6]
    const w4i = twiddles[8 * k + 7]
    let to = 5 * k * stride
    for (let at = k * stride; at < (k + 1) * stride; at++, to++) {
      const ar = fromRe[at]
      const ai = fromIm[at]
      const outerSumR = fromRe[at + fifth] + fromRe[at + 4 * fifth]
      const outerSumI = fromIm[at + fifth] + fromIm[at + 4 * fifth]
      const outerR = fromRe[at + fifth] - fromRe[at + 4 * fifth]
      const outerI = fromIm[at + fifth] - fromIm[at + 4 * fifth]
      const innerSumR = fromRe[at + 2 * fifth] + fromRe[at + 3 * fifth]
      const innerSumI = fromIm[at + 2 * fifth] + fromIm[at + 3 * fifth]
      const innerR = fromRe[at + 2 * fifth] - fromRe[at + 3 * fifth]
      const innerI = fromIm[at + 2 * fifth] - fromIm[at + 3 * fifth]
      toRe[to] = ar + outerSumR + innerSumR
      toIm[to] = ai + outerSumI + innerSumI
      const m1r = ar + COS_72 * outerSumR + COS_144 * innerSumR
      const m1i = ai + COS_72 * outerSumI + COS_144 * innerSumI
      const m2r = ar + COS_144 * outerSumR + COS_72 * innerSumR
      const m2i = ai + COS_144 * outerSumI + COS_72 * innerSumI
      const n1r = SIN_72 * outerR + SIN_144 * innerR
      const n1i = SIN_72 * outerI + SIN_144 * innerI
      const n2r = SIN_144 * outerR - SIN_72 * innerR
      const n2i = SIN_144 * outerI - SIN_72 * innerI
      const y1r = m1r + n1i
      const y1i = m1i - n1r
      toRe[to + stride] = y1r * w1r - y1i * w1i
      toIm[to + stride] = y1r * w1i + y1i * w1r
      const y2r = m2r + n2i
      const y2i = m2i - n2r
      toRe[to + 2 * stride] = y2r * w2r - y2i * w2i
      toIm[to + 2 * stride] = y2r * w2i + y2i * w2r
      const y3r = m2r - n2i
      const y3i = m2i + n2r
      toRe[to + 3 * stride] = y3r * w3r - y3i * w3i
      toIm[to + 3 * stride] = y3r * w3i + y3i * w3r
      const y4r = m1r - n1i
      const y4i = m1i + n1r
      toRe[to + 4 * stride] = y4r * w4r - y4i * w4i
      toIm[to + 4 * stride] = y4r * w4i + y4i * w4r
    }
  }
}
