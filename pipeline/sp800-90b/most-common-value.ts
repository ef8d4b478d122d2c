import { type Estimate, minEntropy, noEstimate, upperProportion } from './estimate.ts'

/** How often each of the 256 byte values occurs. */
export function countSymbols(symbols: Uint8Array): Uint32Array {
  const counts = new Uint32Array(256)
  for (let i = 0; i < symbols.length; i++) counts[symbols[i]]++
  return counts
}

/** Most common value estimate of n symbols, the most frequent of which occurs `mode` times. SP 800-90B, 6.3.1. */
export function estimateMostCommonValue(mode: number, n: number): Estimate {
  if (n < 2) return noEstimate(`needs at least 2 symbols, given ${n}`)
  const upper = upperProportion(mode / n, n)
  return { min_entropy: minEntropy(upper), details: { n, mode, p_hat: mode / n, p_u: upper } }
}
