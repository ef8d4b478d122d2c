/**
 * Special functions and the tail probabilities made from them, to about 1e-13 relative, deep tails included.
 * Every density is written as exp(-deviance) times a factor near 1: the textbook exp(-x + a ln x - lnGamma(a))
 * subtracts numbers near 1e5 and keeps no more than 10 digits.
 */

const EPSILON = 2 ** -54
/** Stands for 0 in the denominators of the modified Lentz algorithm. */
const TINY = 1e-300
const HALF_LOG_TWO_PI = 0.9189385332046728
/** From here the Stirling series below is exact to double precision; smaller arguments are shifted up to it. */
const STIRLING_FROM = 16

/** a (r - 1 - ln r) with r = x / a: how unlikely x is of a mean a (C. Loader 2000, `bd0`). */
function deviance(x: number, a: number): number {
  const mu = (x - a) / a
  if (Math.abs(mu) >= 0.5) return a * (mu - Math.log(x / a))
  // ln(1 + mu) = 2 atanh(r), so the terms of order mu, which would cancel, are never formed.
  const r = mu / (2 + mu)
  let power = r
  let tail = 0
  for (let k = 3; ; k += 2) {
    power *= r * r
    const next = tail + power / k
    if (next === tail) return a * (mu * r - 2 * tail)
    tail = next
  }
}

/** ln(Gamma(a) / (sqrt(2 pi / a) (a / e)^a)), the remainder of Stirling's formula (Abramowitz & Stegun 6.1.41). */
function stirlingRemainder(a: number): number {
  if (a < STIRLING_FROM) return logGamma(a) - (a - 0.5) * Math.log(a) + a - HALF_LOG_TWO_PI
  const s = 1 / (a * a)
  return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - (s * 691) / 360360))))) / a
}

/** ln Gamma(x) for x > 0, to 1e-14 absolute or relative, whichever is larger. Throws RangeError elsewhere. */
export function logGamma(x: number): number {
  if (!(x > 0)) throw new RangeError(`logGamma needs x > 0, not ${x}`)
  let shift = 1
  let a = x
  for (; a < STIRLING_FROM; a++) shift *= a
  return (a - 0.5) * Math.log(a) - a + HALF_LOG_TWO_PI + stirlingRemainder(a) - Math.log(shift)
}

/**
 * Gamma(a, x) x^-a e^x by its continued fraction (Abramowitz & Stegun 6.5.31; modified Lentz), for x >= a or x >= 1.
 */
function upperGammaFraction(a: number, x: number): number {
  let b = x + 1 - a
  let c = 1 / TINY
  let d = 1 / b
  let h = d
  for (let i = 1; ; i++) {
    const numerator = i * (a - i)
    b += 2
    d = numerator * d + b
    c = b + numerator / c
    if (d === 0) d = TINY
    if (c === 0) c = TINY
    d = 1 / d
    h *= c * d
    if (Math.abs(c * d - 1) <= 4 * EPSILON) return h
  }
}

/** Complementary error function, any real x. Throws RangeError on NaN. Source: Abramowitz & Stegun 7.1.6 and 7.1.14. */
export function erfc(x: number): number {
  if (Number.isNaN(x)) throw new RangeError('erfc of NaN')
  if (x < 0) return 2 - erfc(-x)
  if (x > 28) return 0
  // exp(-x^2) with x^2 split in two: the rounding of x^2 alone would cost 3 digits at x = 26.
  const head = Math.fround(x)
  const gauss = Math.exp(-head * head) * Math.exp((head - x) * (head + x))
  if (x >= 1.5) return (x * gauss * upperGammaFraction(0.5, x * x)) / Math.sqrt(Math.PI)
  let term = x
  let sum = x
  for (let k = 1; term > EPSILON * sum; k++) {
    term *= (2 * x * x) / (2 * k + 1)
    sum += term
  }
  return 1 - (2 / Math.sqrt(Math.PI)) * gauss * sum
}

/**
 * Regularised upper incomplete gamma Q(a, x), SP 800-22 rev 1a 5.5.3 `igamc`. a > 0, x >= 0; relative accuracy 1e-12
 * for a >= 0.5 (every chi-square has that) down to the smallest double, and 0 below it. Throws RangeError outside the
 * domain.
 */
export function igamc(a: number, x: number): number {
  if (!(a > 0 && a < Infinity && x >= 0)) throw new RangeError(`igamc needs a > 0 and x >= 0, not a=${a}, x=${x}`)
  if (x === 0) return 1
  if (x === Infinity) return 0
  const density = Math.sqrt(a / (2 * Math.PI)) * Math.exp(-deviance(x, a) - stirlingRemainder(a))
  if (x >= a && x >= 1) return density === 0 ? 0 : density * upperGammaFraction(a, x)
  let term = 1 / a
  let sum = term
  for (let k = 1; term > EPSILON * sum; k++) {
    term *= x / (a + k)
    sum += term
  }
  return 1 - density * sum
}

/** Continued fraction of the incomplete beta function (Abramowitz & Stegun 26.5.8; modified Lentz). */
function betaFraction(a: number, b: number, x: number): number {
  let c = 1
  let d = 1 / (1 - ((a + b) * x) / (a + 1) || TINY)
  let h = d
  for (let m = 1; ; m++) {
    let delta = 1
    for (const numerator of [
      (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)),
      (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1)),
    ]) {
      d = 1 / (1 + numerator * d || TINY)
      c = 1 + numerator / c || TINY
      delta = c * d
      h *= delta
    }
    if (Math.abs(delta - 1) <= 4 * EPSILON) return h
  }
}

/** I_x(a, b) with y = 1 - x given apart, so that neither end loses digits. */
function betaTail(a: number, b: number, x: number, y: number): number {
  if (x <= 0) return 0
  if (y <= 0) return 1
  const n = a + b
  const remainder = stirlingRemainder(n) - stirlingRemainder(a) - stirlingRemainder(b)
  const density = Math.sqrt((a * b) / (2 * Math.PI * n)) * Math.exp(remainder - deviance(n * x, a) - deviance(n * y, b))
  if (x < (a + 1) / (n + 2)) return (density * betaFraction(a, b, x)) / a
  return 1 - (density * betaFraction(b, a, y)) / b
}

/** Regularised incomplete beta I_x(a, b); a, b > 0, 0 <= x <= 1. Throws RangeError outside. A&S 26.5.1. */
export function incompleteBeta(a: number, b: number, x: number): number {
  if (!(a > 0 && b > 0 && a + b < Infinity && x >= 0 && x <= 1)) {
    throw new RangeError(`incompleteBeta needs a, b > 0 and 0 <= x <= 1, not a=${a}, b=${b}, x=${x}`)
  }
  return betaTail(a, b, x, 1 - x)
}

/**
 * P(chi-square of `df` degrees of freedom >= stat) = Q(df / 2, stat / 2). Throws RangeError for df <= 0 or stat < 0.
 */
export function chiSquareUpper(stat: number, df: number): number {
  return igamc(df / 2, stat / 2)
}

/** P(|Z| >= |z|) of a standard normal Z = erfc(|z| / sqrt 2). */
export function normalTwoSided(z: number): number {
  return erfc(Math.abs(z) / Math.SQRT2)
}

/** P(Z >= z) of a standard normal Z. */
export function normalUpper(z: number): number {
  return erfc(z / Math.SQRT2) / 2
}

/** P(|T| >= |t|) of Student's t with df > 0 degrees of freedom. Throws RangeError otherwise. A&S 26.7.1. */
export function studentTwoSided(t: number, df: number): number {
  if (!(df > 0 && df < Infinity) || Number.isNaN(t)) throw new RangeError(`studentTwoSided: t=${t}, df=${df}`)
  const square = t * t
  if (square === Infinity) return 0
  return betaTail(df / 2, 0.5, df / (df + square), square / (df + square))
}

/** P(X >= k), X binomial with n trials (n, k integers) of probability p, = I_p(k, n - k + 1). A&S 26.5.24. */
export function binomialUpper(n: number, k: number, p: number): number {
  if (!(Number.isInteger(n) && n >= 0 && Number.isInteger(k) && p >= 0 && p <= 1)) {
    throw new RangeError(`binomialUpper needs integers n >= 0, k and 0 <= p <= 1, not n=${n}, k=${k}, p=${p}`)
  }
  if (k <= 0) return 1
  return k > n ? 0 : betaTail(k, n - k + 1, p, 1 - p)
}

/** Exact two-sided p of k successes in n trials of probability 1/2: P(|2X - n| >= |2k - n|), 0 <= k <= n. */
export function binomialTwoSidedHalf(n: number, k: number): number {
  if (!(k >= 0 && k <= n)) throw new RangeError(`binomialTwoSidedHalf needs 0 <= k <= n, not n=${n}, k=${k}`)
  if (2 * k === n) return 1
  return Math.min(1, 2 * binomialUpper(n, Math.max(k, n - k), 0.5))
}
