import { type Estimate, minEntropy, upperProportion } from './estimate.ts'

const LOG_ALPHA = Math.log(0.99)

/** What a predictor did: `correct` of `predictions` came true, `longestRun` of them in a row at most. */
export interface Predictions {
  readonly predictions: number
  readonly correct: number
  readonly longestRun: number
}

/** Min-entropy from a predictor's performance over an alphabet of k symbols. SP 800-90B, 6.3.7. */
export function estimatePrediction({ predictions: n, correct, longestRun }: Predictions, k: number): Estimate {
  const share = correct / n
  const global = correct > 0 ? upperProportion(share, n) : 1 - 0.01 ** (1 / n)
  const r = longestRun + 1
  const floor = Math.max(1 / k, global)
  const local = floor < 1 ? findLocal(floor, r, n) : floor
  return {
    min_entropy: minEntropy(Math.max(floor, local)),
    details: { n, correct, r, p_global: share, p_global_upper: global, p_local: local },
  }
}

/**
 * The p at which a run of r successes is missing from n trials with probability .99, or `floor` if it is smaller: only
 * a larger one changes the estimate.
 */
function findLocal(floor: number, r: number, n: number): number {
  if (!(logWithoutRun(floor, r, n) > LOG_ALPHA)) return floor
  let low = floor
  let high = 1
  for (;;) {
    const p = (low + high) / 2
    if (p <= low || p >= high) return high
    if (logWithoutRun(p, r, n) > LOG_ALPHA) low = p
    else high = p
  }
}

/**
 * ln of the probability that n trials of success p hold no run of r successes: (1 - p x) / ((r + 1 - r x) q x^(n+1)),
 * x the root near 1 of 1 - x + q p^r x^(r+1) (Feller I, XIII.7). Written in y = x - 1: x itself would lose n digits.
 */
export function logWithoutRun(p: number, r: number, n: number): number {
  // The other root is 1/p; the two meet here, and beyond, the run is as good as certain.
  if (p >= r / (r + 1)) return -Infinity
  const q = 1 - p
  const first = q * p ** r
  let y = 0
  for (let turn = 0; turn < 1000; turn++) {
    const next = first * Math.exp((r + 1) * Math.log1p(y))
    if (next - y <= 1e-17 * next) break
    y = next
  }
  return Math.log1p(-(p / q) * y) - Math.log1p(-r * y) - (n + 1) * Math.log1p(y)
}
