import { benjaminiHochberg, sidak } from '../multiple-testing.ts'
import { pearsonR, productZ } from '../pair-coherence.ts'
import { pairSums } from '../pair-sums.ts'
import { MAX_LAG } from '../pair-tests.ts'
import { normalTwoSided, studentTwoSided } from '../special.ts'
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
        p: r === null ? null : studentTwoSided(r * Math.sqrt((seconds - 2) / (1 - r * r)), seconds - 2),
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

/** As `lagScan`, with the z of every lag. */
function lagProfile(a: DeviceSeries, b: DeviceSeries): Omit<LagProfile, 'q'> {
  const [x, y] = [trialScores(a), trialScores(b)]
  const [inA, inB] = [a, b].map(({ bits, ones }) => Uint8Array.from(bits, (n, t) => (isTrial(n, ones[t]) ? 1 : 0)))
  const lags = Array.from({ length: 2 * MAX_LAG + 1 }, (_, i) => i - MAX_LAG)
  const z = lags.map((lag) => {
    let [sum, n] = [0, 0]
    for (let t = Math.max(0, -lag); t < Math.min(x.length, x.length - lag); t++) {
      sum += x[t] * y[t + lag]
      n += inA[t] & inB[t + lag]
    }
    return n < MIN_SECONDS ? null : sum / Math.sqrt(n)
  })
  // Of equals the one nearest to 0 seconds.
  const nearest = lags.toSorted((p, q) => Math.abs(p) - Math.abs(q))
  const size = (lag: number) => Math.abs(z[lag + MAX_LAG] ?? 0)
  const best = nearest.reduce((most, lag) => (size(lag) > size(most) ? lag : most), 0)
  const count = z.filter((value) => value !== null).length
  return {
    a: a.deviceId,
    b: b.deviceId,
    lags,
    z,
    best_lag: best,
    p_sidak: count === 0 ? 1 : sidak(normalTwoSided(size(best)), count),
  }
}
