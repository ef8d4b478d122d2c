import { z } from 'zod'
import type { AnalysisResult } from '../db/analysis.ts'
import { coherencePairs } from '../pipeline/coherence.ts'
import { CONTROL_GENERATOR, controlSeries } from '../pipeline/control.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { NETWORK_METHOD_VERSION, networkSums, networkTests } from '../pipeline/network.ts'
import { type DeviceSeries, hasTrials } from '../pipeline/trials.ts'
import { PROFILES } from '../pipeline/network-buckets.ts'
import { COHERENCE_METHOD_VERSION, type PairCoherence } from '../pipeline/pair-coherence.ts'
import { bytesBySecond, trialsOfSeconds } from '../pipeline/xor-match.ts'
import { collectSamples, type TimeRange } from './collect-samples.ts'
import type { JobContext } from './context.ts'

/** What `test_names` may ask of several devices together, and which test of a pair's row answers it. */
const PAIR_TESTS = {
  pair_product: 'product',
  pair_pearson: 'pearson',
  pair_xor_match: 'xor_match',
  pair_lag_scan: 'lag_scan',
  pair_mutual_info: 'mutual_info',
  pair_msc: 'msc',
} as const

export const COHERENCE_TEST_NAMES: readonly string[] = ['network', ...Object.keys(PAIR_TESTS)]

/** The key `coherence` of an analysis job's parameters. */
export const COHERENCE_PARAMETERS = z.strictObject({
  profile: z.enum(PROFILES).default('all_bits'),
  control_seed: z.string().min(1).max(200).optional(),
})

/** What one job may hold and compute within minutes: seconds times devices, and times pairs. */
const MOST_DEVICE_SECONDS = 16_000_000
const MOST_PAIR_SECONDS = 100_000_000

/** The network and the pairs of these devices over the seconds of a range, from their bytes. */
export async function analyzeCoherence(
  context: JobContext,
  request: { names: readonly string[]; devices: readonly string[]; range: TimeRange },
  options: z.output<typeof COHERENCE_PARAMETERS>,
  signal: AbortSignal,
): Promise<AnalysisResult[]> {
  const { names, devices, range } = request
  const start = Number(range.fromUs / 1_000_000n)
  const seconds = Number((range.toUs + 999_999n) / 1_000_000n) - start
  const wantsPairs = names.some((name) => name !== 'network')
  const pairs = (devices.length * (devices.length - 1)) / 2
  if (devices.length * seconds > MOST_DEVICE_SECONDS || (wantsPairs && pairs * seconds > MOST_PAIR_SECONDS)) {
    throw new CoherenceError(
      'ANALYSIS_INVALID',
      `${seconds} seconds of ${devices.length} devices are more than one job computes. Ask for a shorter range or fewer devices.`,
    )
  }
  const samples = await collectSamples(context, devices, range, signal)
  const bytes = new Map(
    [...samples].map(([deviceId, columns]) => [deviceId, bytesBySecond(deviceId, columns, start, seconds)]),
  )
  const series = [...bytes.values()].map((ofDevice) => trialsOfSeconds(ofDevice, options.profile))
  const { pairs: rows } = wantsPairs ? coherencePairs(series.filter(hasTrials), { bytes }) : { pairs: [] }
  return names.map((name) =>
    name === 'network'
      ? networkResult(series, start, options)
      : pairResult(name as keyof typeof PAIR_TESTS, rows, options.profile),
  )
}

function networkResult(
  series: readonly DeviceSeries[],
  start: number,
  { profile, control_seed: seed }: z.output<typeof COHERENCE_PARAMETERS>,
): AnalysisResult {
  const sums = networkSums(series, start)
  const control =
    seed === undefined
      ? {}
      : {
          control: {
            seed,
            generator: CONTROL_GENERATOR,
            ...testsOf(controlSeries(series, { seed, seconds: start }), start),
          },
        }
  const { seconds, devices, missing, failed, max_abs_stouffer } = sums
  return {
    testName: 'network',
    deviceId: null,
    summary: { status: 'ok', seconds, devices, missing, failed, max_abs_stouffer, ...networkTests(sums) },
    metrics: { sums, profile, normalization: 'theoretical', method_version: NETWORK_METHOD_VERSION, ...control },
  }
}

function testsOf(series: readonly DeviceSeries[], start: number) {
  return networkTests(networkSums(series, start))
}

/** The pairs by the strength of their evidence, those without a test last. */
function pairResult(name: keyof typeof PAIR_TESTS, rows: readonly PairCoherence[], profile: string): AnalysisResult {
  const kind = PAIR_TESTS[name]
  const none = { status: 'insufficient', reason: 'fewer than 30 seconds in common' }
  const pairs = rows
    .map(({ device_a_id, device_b_id, correlation_metrics, tests }) => {
      const test = tests[kind] ?? none
      return { device_a_id, device_b_id, n_seconds: correlation_metrics.n_seconds, ...test }
    })
    .toSorted((a, b) => pOf(a) - pOf(b))
  const tested = pairs.filter((pair) => pOf(pair) <= 1)
  const reason = rows.length === 0 ? 'it takes two devices with data' : 'no pair has data enough'
  return {
    testName: name,
    deviceId: null,
    summary: {
      ...(tested.length > 0 ? { status: 'ok' } : { status: 'insufficient', reason }),
      pairs: rows.length,
      n_tests: tested.length,
      strongest: tested[0] ?? null,
    },
    metrics: { pairs, profile, normalization: 'theoretical', method_version: COHERENCE_METHOD_VERSION },
  }
}

function pOf(test: object): number {
  if ('p_sidak' in test) return test.p_sidak as number
  return 'p' in test ? (test.p as number) : 2
}
