/** What a P-value is worth among many. */
import { requirePValues } from './kolmogorov-smirnov.ts'

/**
 * Benjamini-Hochberg q-values, in the order of `p`: q of the i-th smallest of m is min over j >= i of m p_(j) / j, at most 1
 * (Benjamini & Hochberg 1995; as R's p.adjust). `tests` is m if more were made than are given: the others count as P = 1.
 * Throws RangeError on a p outside [0, 1].
 */
export function benjaminiHochberg(p: readonly number[], tests: number = p.length): number[] {
  requirePValues(p)
  const descending = Array.from(p.keys()).toSorted((a, b) => p[b] - p[a])
  const q = Array.from(p, () => 1)
  let least = 1
  descending.forEach((index, above) => {
    least = Math.min(least, (tests / (p.length - above)) * p[index])
    q[index] = least
  })
  return q
}

/**
 * P-values adjusted by Holm's step-down method, in the order of `p`: any that is alpha or less may be called false with
 * at most probability alpha of one false call among them all, however the tests depend on each other (Holm 1979; as R's
 * p.adjust). Throws RangeError on a p outside [0, 1].
 */
export function holm(p: readonly number[]): number[] {
  requirePValues(p)
  const adjusted = Array.from(p, () => 1)
  let largest = 0
  Array.from(p.keys())
    .toSorted((a, b) => p[a] - p[b])
    .forEach((index, below) => {
      largest = Math.min(1, Math.max(largest, (p.length - below) * p[index]))
      adjusted[index] = largest
    })
  return adjusted
}

/** P-value of the least of `count` independent ones: 1 - (1 - p)^count, exact for small p too (Sidak 1967). */
export function sidak(p: number, count: number): number {
  return -Math.expm1(count * Math.log1p(-p))
}
