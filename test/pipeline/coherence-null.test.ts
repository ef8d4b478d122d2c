/** What every statistic of the network does when there is nothing to find, and when there is something. */
import { createCipheriv } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { pairCoherence } from '../../pipeline/coherence.ts'
import { kolmogorovSmirnov } from '../../pipeline/kolmogorov-smirnov.ts'
import { networkStats } from '../../pipeline/network.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { type SecondBytes, trialsOfSeconds, xorMatch } from '../../pipeline/xor-match.ts'

const TRIAL_BYTES = 25

/** Networks of fair trials of 200 bits, one after another from one keystream (AES-256-CTR). */
function fairNetworks(key: number, devices: number, seconds: number): () => SecondBytes[] {
  const stream = createCipheriv('aes-256-ctr', Buffer.alloc(32, key), Buffer.alloc(16))
  const zeros = Buffer.alloc(TRIAL_BYTES * seconds)
  const offsets = Int32Array.from({ length: seconds + 1 }, (_, t) => TRIAL_BYTES * t)
  const none = new Uint8Array(seconds)
  return () =>
    Array.from({ length: devices }, (_, i) => {
      const data = new Uint8Array(stream.update(zeros))
      return { deviceId: `device ${String(i).padStart(2, '0')}`, offsets, data, mixed: none, failed: none }
    })
}

const trialsOf = (network: readonly SecondBytes[]) => network.map((device) => trialsOfSeconds(device, 'all_bits'))

/** Uniform on (0, 1). */
function uniforms(key: number): () => number {
  const stream = createCipheriv('aes-256-ctr', Buffer.alloc(32, key), Buffer.alloc(16))
  let words = new Uint32Array(0)
  let next = 0
  return () => {
    if (next === words.length) {
      words = new Uint32Array(new Uint8Array(stream.update(Buffer.alloc(65_536))).buffer)
      next = 0
    }
    return (words[next++] + 0.5) / 2 ** 32
  }
}

/** In every second all devices' p is 1/2 + eps g(t), g standard normal (Box-Muller); `late` devices follow by a second. */
function commonSignal(
  uniform: () => number,
  { devices, seconds, eps, late = 0 }: { devices: number; seconds: number; eps: number; late?: number },
): DeviceSeries[] {
  const p = Array.from({ length: seconds }, () => {
    return 0.5 + eps * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform())
  })
  return Array.from({ length: devices }, (_, i) => {
    const ones = new Uint32Array(seconds)
    for (let t = 0; t < seconds; t++) {
      const threshold = p[i < devices - late ? t : Math.max(0, t - 1)]
      for (let bit = 0; bit < 200; bit++) if (uniform() < threshold) ones[t]++
    }
    return { deviceId: `device ${i}`, bits: new Uint32Array(seconds).fill(200), ones }
  })
}

function okOf<Numbers>(tested: ({ status: 'ok' } & Numbers) | { status: string; reason: string }): Numbers {
  if ('reason' in tested) throw new Error(tested.reason)
  return tested
}

describe('under the null', () => {
  it('every P-value is calibrated: 2,000 networks of 12 devices and 3,600 seconds', { timeout: 180_000 }, () => {
    const nextNetwork = fairNetworks(1, 12, 3600)
    const found: Record<string, number[]> = {}
    const note = (name: string, p: number | undefined) => (found[name] ??= []).push(p ?? Number.NaN)
    for (let run = 0; run < 2000; run++) {
      const bytes = nextNetwork()
      const series = trialsOf(bytes)
      const network = networkStats(series, 0)
      note('netvar upper', okOf(network.netvar).p_upper)
      note('netvar two-sided', okOf(network.netvar).p_two)
      note('pair', okOf(network.pair).p)
      note('pair upper', okOf(network.pair).p_upper)
      note('devvar', okOf(network.devvar).p)
      note('covar', okOf(network.covar).p)
      const [i, j] = [run % 11, 11]
      const { product, pearson, lag_scan: lag, mutual_info: mi, msc } = pairCoherence(series[i], series[j]).tests
      note('product', product?.p)
      note('pearson', pearson && 'p' in pearson ? pearson.p : undefined)
      note('lag scan', lag && 'p_sidak' in lag ? lag.p_sidak : undefined)
      note('mutual information', mi && 'p' in mi ? mi.p : undefined)
      note('coherence of spectra', msc && 'p_sidak' in msc ? msc.p_sidak : undefined)
      const xor = xorMatch(bytes[i], bytes[j])
      note('xor match', 'p' in xor ? xor.p : undefined)
      note('xor match, centred', 'p' in xor ? xor.centred_p : undefined)
    }
    const verdicts = Object.entries(found).map(([name, p]) => {
      const rejected = p.filter((value) => value < 0.01).length
      // The 99.9 % interval of binomial(2000, .01).
      return `${name}: ${rejected >= 7 && rejected <= 36 && kolmogorovSmirnov(p).p > 0.001 ? 'calibrated' : `${rejected} rejected, KS ${kolmogorovSmirnov(p).p}`}`
    })
    expect(verdicts).toHaveLength(13)
    expect(verdicts.filter((verdict) => !verdict.endsWith(': calibrated'))).toEqual([])
  })
})

describe('a signal common to all devices', () => {
  // Of a standard normal shifted by lambda: the chance to leave (-2.576, 2.576).
  it.each([
    [3, 0.664],
    [4, 0.923],
    [5, 0.992],
  ])('of lambda %f is found by the network with power %f', { timeout: 60_000 }, (lambda, power) => {
    const [devices, seconds, runs] = [8, 400, 200]
    // lambda = rho sqrt(T N (N - 1) / 2), rho = (eps 200 / sqrt 50)^2 = 800 eps^2.
    const eps = Math.sqrt(lambda / (800 * Math.sqrt((seconds * devices * (devices - 1)) / 2)))
    const uniform = uniforms(10 * lambda)
    let byNetwork = 0
    let byPair = 0
    for (let run = 0; run < runs; run++) {
      const series = commonSignal(uniform, { devices, seconds, eps })
      if (okOf(networkStats(series, 0).pair).p < 0.01) byNetwork++
      if ((pairCoherence(series[0], series[1]).tests.product?.p ?? 1) < 0.01) byPair++
    }
    // Within 3.3 standard errors of a binomial, the 99.9 % interval; and no worse than a tenth off for so few seconds.
    const error = 3.3 * Math.sqrt((power * (1 - power)) / runs) + 0.02
    expect(Math.abs(byNetwork / runs - power)).toBeLessThan(error)
    // A pair alone has 1/28 of the information.
    expect(byPair / runs).toBeLessThan(0.15)
  })

  it('is hidden from the sums where half the clocks are a second late, and found by the lag scan', () => {
    const series = commonSignal(uniforms(7), { devices: 6, seconds: 3600, eps: 0.015, late: 3 })
    const scans = [0, 1, 2].flatMap((early) =>
      [3, 4, 5].map((late) => {
        const { tests, correlation_metrics: metrics } = pairCoherence(series[early], series[late])
        return { lag: metrics.lag?.best_lag, p: tests.product?.p ?? 0 }
      }),
    )
    expect(scans.map(({ lag }) => lag)).toEqual(Array.from({ length: 9 }, () => 1))
    expect(scans.filter(({ p }) => p < 0.01).length).toBeLessThan(3)
    expect(pairCoherence(series[0], series[1]).correlation_metrics.lag?.best_lag).toBe(0)
  })
})
