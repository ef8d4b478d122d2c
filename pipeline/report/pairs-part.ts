import { benjaminiHochberg, sidak } from '../multiple-testing.ts'
import { type OverlapSums, pearsonR, productZ, testPearson } from '../pair-coherence.ts'
import { pairSums } from '../pair-sums.ts'
import { MAX_LAG } from '../pair-tests.ts'
import { normalTwoSided } from '../special.ts'
import { type DeviceSeries, isTrial, MIN_SECONDS, sortByDevice, trialScores } from '../trials.ts'
import type { LagProfile, PairRow, PairsPart } from './report-data.ts'

/** Pairs whose lags are shown. */
const LAG_PAIRS = 6

/** Every pair over the whole window, in the order of the ids; q-values are of Benjamini and Hochberg among them all. */
export function pairsOfWindow(series: readonly DeviceSeries[]): PairsPart {
  const sorted = sortByDevice(series)
  const sums = pairSums(sorted)
  const found: Omit<PairRow & { productP: number | null }, 'q' | 'product_q'>[] = []
  for (let i = 0, k = 0; i < sorted.length; i++) {
    for (let j = i + 1; j < sorted.length; j++, k++) {
      const ofPair = {
        n_seconds: sums.n[k],
        sum_xy: sums.sumXY[k],
        sum_x: sums.sumX[k],
        sum_y: sums.sumY[k],
        sum_x2: sums.sumX2[k],
        sum_y2: sums.sumY2[k],
      }
      const seconds = sums.n[k]
      const enough = seconds >= MIN_SECONDS
      const r = enough ? pearsonR(ofPair) : null
      const z = enough ? productZ(ofPair) : null
      found.push({
        a: sorted[i].deviceId,
        b: sorted[j].deviceId,
        seconds,
        r,
        p: r === null ? null : testPearson(r, seconds).p,
        product_z: z,
        productP: z === null ? null : normalTwoSided(z),
      })
    }
  }
  const q = qValues(found.map(({ p }) => p))
  const productQ = qValues(found.map(({ productP }) => productP))
  const rows = found.map(({ productP: _productP, ...row }, k) => ({ ...row, q: q[k], product_q: productQ[k] }))
  return { tested: rows.filter(({ p }) => p !== null).length, kind: 'window', rows, lags: lagProfiles(sorted, rows) }
}

function qValues(p: readonly (number | null)[]): (number | null)[] {
  const present = benjaminiHochberg(p.filter((value) => value !== null)).values()
  return p.map((value) => (value === null ? null : present.next().value!))
}

/** Of the pairs with the smallest P of r; q-values count all other pairs as P = 1, so they err upward. */
function lagProfiles(series: readonly DeviceSeries[], rows: readonly PairRow[]): LagProfile[] {
  const strongest = rows
    .filter(({ p }) => p !== null)
    .toSorted((x, y) => (x.p ?? 1) - (y.p ?? 1) || Math.abs(y.r ?? 0) - Math.abs(x.r ?? 0))
    .slice(0, LAG_PAIRS)
  const byId = new Map(series.map((device) => [device.deviceId, device]))
  const profiles = strongest.map(({ a, b }) => lagProfile(byId.get(a)!, byId.get(b)!))
  const q = benjaminiHochberg(
    profiles.map(({ p_sidak }) => p_sidak),
    rows.filter(({ p }) => p !== null).length,
  )
  return profiles.map((profile, i) => ({ ...profile, q: q[i] }))
}

/** Scores, 0 where there is no trial, and 1 where there is one. */
interface Scores {
  readonly z: Float64Array
  readonly present: Uint8Array
}

function scoresOf(series: DeviceSeries): Scores {
  const { bits, ones } = series
  return { z: trialScores(series), present: Uint8Array.from(bits, (n, t) => (isTrial(n, ones[t]) ? 1 : 0)) }
}

/** Over the seconds in which x has a trial, and y has one `lag` seconds later. */
function sumsAtLag(x: Scores, y: Scores, lag: number): OverlapSums {
  let [n, xy, sumX, sumY, xx, yy] = [0, 0, 0, 0, 0, 0]
  const length = x.z.length
  for (let t = Math.max(0, -lag), end = Math.min(length, length - lag); t < end; t++) {
    if ((x.present[t] & y.present[t + lag]) === 0) continue
    const score = x.z[t]
    const later = y.z[t + lag]
    n++
    xy += score * later
    sumX += score
    sumY += later
    xx += score * score
    yy += later * later
  }
  return { n_seconds: n, sum_xy: xy, sum_x: sumX, sum_y: sumY, sum_x2: xx, sum_y2: yy }
}

/**
 * Pearson's r of one device's scores with the other's L seconds later, at every lag, in standard errors, r sqrt(n). Unlike
 * `lagScan` it takes the devices' means out: two biased devices would have a long bar at each lag. P of the largest is that of
 * Student's t, by Sidak for all the lags that were looked at.
 */
function lagProfile(a: DeviceSeries, b: DeviceSeries): Omit<LagProfile, 'q'> {
  const [x, y] = [scoresOf(a), scoresOf(b)]
  const lags = Array.from({ length: 2 * MAX_LAG + 1 }, (_, i) => i - MAX_LAG)
  const found = lags.map((lag) => {
    const sums = sumsAtLag(x, y, lag)
    const r = sums.n_seconds < MIN_SECONDS ? null : pearsonR(sums)
    return r === null ? null : { z: r * Math.sqrt(sums.n_seconds), ...testPearson(r, sums.n_seconds) }
  })
  // The smallest P may be less than a double can hold; of equals the longest bar, then the one nearest to 0 seconds.
  const size = (lag: number) => Math.abs(found[lag + MAX_LAG]?.z ?? 0)
  const [best] = lags.toSorted(
    (p, q) =>
      (found[p + MAX_LAG]?.p ?? 1) - (found[q + MAX_LAG]?.p ?? 1) || size(q) - size(p) || Math.abs(p) - Math.abs(q),
  )
  const count = found.filter((value) => value !== null).length
  return {
    a: a.deviceId,
    b: b.deviceId,
    lags,
    z: found.map((value) => value?.z ?? null),
    best_lag: count === 0 ? 0 : best,
    p_sidak: count === 0 ? 1 : sidak(found[best + MAX_LAG]!.p, count),
  }
}
