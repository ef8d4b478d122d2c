import { type Estimate, minEntropy, noEstimate, upperProportion } from './estimate.ts'
import { countRepeats, type Repeats } from './repeats.ts'

/** A tuple that occurs less often is left to the estimate from the longest repeated substring. */
const CUTOFF = 35

/**
 * t-tuple and longest repeated substring estimates of n symbols of `bitsPerSymbol` bits, packed from bit 0 of `bytes`
 * on. SP 800-90B, 6.3.5 and 6.3.6.
 */
export function estimateTuples(
  bytes: Uint8Array,
  n: number,
  bitsPerSymbol: number,
): { tTuple: Estimate; lrs: Estimate } {
  const repeats = countRepeats(bytes, n, bitsPerSymbol)
  let u = 1
  while (u <= repeats.longest && repeats.most[u] >= CUTOFF) u++
  return { tTuple: estimateTTuple(repeats, u - 1, n), lrs: estimateLongestRepeat(repeats, u, n) }
}

function estimateTTuple({ most }: Repeats, t: number, n: number): Estimate {
  if (t === 0) return noEstimate(`no symbol occurs ${CUTOFF} times among ${n}`)
  return fromLogs(n, { t }, 1, t, (w) => (w < t && most[w + 1] === most[w] ? null : Math.log(most[w] / (n - w + 1))))
}

function estimateLongestRepeat({ longest: v, pairs }: Repeats, u: number, n: number): Estimate {
  if (v === 0) return noEstimate(`no symbol occurs twice among ${n}`)
  if (v < u) return noEstimate(`every repeated substring occurs ${CUTOFF} times`)
  return fromLogs(n, { u, v }, u, v, (w) => {
    const all = ((n - w + 1) * (n - w)) / 2
    return w < v && pairs[w + 1] === pairs[w] ? null : Math.log(pairs[w] / all)
  })
}

/**
 * The estimate from the largest P_w^(1/w) of the lengths w from..to, given ln P_w. Of a row of equal counts the last
 * is the largest, since P_w grows with w and the root with it, so the others may be null.
 */
function fromLogs(
  n: number,
  details: Record<string, number>,
  from: number,
  to: number,
  logOf: (w: number) => number | null,
): Estimate {
  let largest = -Infinity
  for (let w = from; w <= to; w++) {
    const log = logOf(w)
    if (log !== null && log / w > largest) largest = log / w
  }
  const p = Math.min(1, Math.exp(largest))
  const upper = upperProportion(p, n)
  return { min_entropy: minEntropy(upper), details: { n, ...details, p_hat: p, p_u: upper } }
}
