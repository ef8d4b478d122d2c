/** What every estimator of SP 800-90B, 6.3 returns, and the confidence bound most of them share. */

/** Upper 0.5 % point of the normal distribution; the standard prints 2.576, its reference tool computes with this. */
export const Z_995 = 2.5758293035489008

export interface Estimate {
  /** Min-entropy per symbol in bits, or null if the estimator cannot work on these data; `reason` then says why. */
  readonly min_entropy: number | null
  readonly reason?: string
  /** What the estimate was made from, under the standard's names. */
  readonly details: Readonly<Record<string, number>>
}

/** An estimator that cannot work on these data. */
export function noEstimate(reason: string): Estimate {
  return { min_entropy: null, reason, details: {} }
}

/** -log2 p, and 0 rather than -0 for p = 1. */
export function minEntropy(p: number): number {
  return Math.log2(1 / p)
}

/**
 * Upper end of the 99 % interval of a proportion p of n: min(1, p + 2.576 sqrt(p (1 - p) / (n - 1))), 6.3.1; 1 if n is
 * 1, of which nothing follows.
 */
export function upperProportion(p: number, n: number): number {
  return n > 1 ? Math.min(1, p + Z_995 * Math.sqrt((p * (1 - p)) / (n - 1))) : 1
}
