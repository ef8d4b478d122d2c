import { chiSquareUpper, logGamma } from './special.ts'

/** Steps that end it; from the start below three or four are usual. */
const MOST_STEPS = 100

/**
 * The x that a chi-square of `df` degrees of freedom is below with probability p: Newton's steps, held within a bracket.
 * To 1e-11 relative for p from 1e-5 to 1 - 1e-10. Throws RangeError unless 0 < p < 1 and df > 0.
 */
export function chiSquareQuantile(p: number, df: number): number {
  if (!(p > 0 && p < 1 && df > 0 && df < Infinity)) {
    throw new RangeError(`chiSquareQuantile needs 0 < p < 1 and df > 0, not p=${p}, df=${df}`)
  }
  const upper = 1 - p
  let [least, most] = [0, Infinity]
  let x = startOf(p, df)
  for (let step = 0; step < MOST_STEPS; step++) {
    const excess = chiSquareUpper(x, df) - upper
    if (excess === 0) return x
    if (excess > 0) least = x
    else most = x
    let next = x + excess / density(x, df)
    if (!(next > least && next < most)) next = most === Infinity ? 2 * x : (least + most) / 2
    if (Math.abs(next - x) <= 1e-13 * x) return next
    x = next
  }
  return x
}

/** Wilson and Hilferty's cube (Abramowitz & Stegun 26.4.17); near 0, where it fails, the first term of the series (6.5.29). */
function startOf(p: number, df: number): number {
  const a = df / 2
  const first = 2 * Math.exp((Math.log(p) + logGamma(a + 1)) / a)
  const cube = 1 - 2 / (9 * df) + normalQuantile(p) * Math.sqrt(2 / (9 * df))
  return first < 0.1 * df || cube <= 0 ? first : df * cube ** 3
}

/** To 4.5e-4: Abramowitz & Stegun 26.2.23. */
function normalQuantile(p: number): number {
  const t = Math.sqrt(-2 * Math.log(Math.min(p, 1 - p)))
  const z = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1 + t * (1.432788 + t * (0.189269 + t * 0.001308)))
  return p < 0.5 ? -z : z
}

function density(x: number, df: number): number {
  return Math.exp((df / 2 - 1) * Math.log(x / 2) - x / 2 - logGamma(df / 2)) / 2
}
