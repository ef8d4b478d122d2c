import { readSlices } from '../db/slices.ts'
import type { JobContext } from '../jobs/context.ts'
import { mergeByDevice } from '../jobs/rollup-coherence.ts'
import { coherencePairs } from '../pipeline/coherence.ts'
import { networkStats } from '../pipeline/network.ts'
import { trialSeries } from '../pipeline/network-buckets.ts'
import { decodePartial } from '../pipeline/slice-codec.ts'
import type { TestResult } from '../pipeline/tests/definition.ts'
import type { LiveDevice } from './live-devices.ts'

/** Rare enough that a good device is not called bad in a lifetime of demos: some 15 P-values a device. */
export const DEVICE_ALPHA = 1e-6
/** Over the pairs of one run. */
export const PAIR_Q = 1e-3

export interface DeviceFinding {
  readonly id: string
  readonly name: string
  readonly title: string
  readonly samples: number
  readonly bytes: number
  readonly results: { test: string; status: string; p_values: number[]; statistic: number | null }[]
}

export interface PairFinding {
  readonly a: string
  readonly b: string
  readonly seconds: number
  readonly status: string
  readonly r: number | null
  readonly p: number | null
  readonly q: number | null
}

export interface Findings {
  readonly chunks: { objectKey: string; sha256: string; rows: number }[]
  readonly devices: DeviceFinding[]
  readonly pairs: PairFinding[]
  readonly network: { netvar: object; pair: object }
  readonly findings: { subject: string; finding: string; p: number | null }[]
  readonly pruned: { rows: number; bytes: number; partitions: string[] }
}

/** Reads from the tables what the run has shown, and says what stands out by the thresholds above. */
export async function readFindings(
  context: JobContext,
  devices: readonly LiveDevice[],
  from: Date,
  to: Date,
): Promise<Findings> {
  const { pool } = context
  const chunks = await pool.query(
    `select object_key as "objectKey", sha256, sample_count::int as rows from public.storj_chunks
     where verified_at is not null order by created_at, id`,
  )
  const pruned = await pool.query(
    `select coalesce(sum(rows_affected), 0)::float8 as rows, coalesce(sum(bytes_freed), 0)::float8 as bytes,
            coalesce(array_agg(details ->> 'partition'), '{}') as partitions
     from public.maintenance_log where operation_type = 'prune'`,
  )
  const deviceFindings = await Promise.all(devices.map((device) => readDevice(context, device)))
  const { pairs, network } = await comparePairs(context, devices, from, to)
  return {
    chunks: chunks.rows,
    devices: deviceFindings,
    pairs,
    network,
    findings: [...deviceFindings.flatMap(describeDevice), ...pairs.flatMap(describePair)],
    pruned: pruned.rows[0],
  }
}

async function readDevice({ pool }: JobContext, device: LiveDevice): Promise<DeviceFinding> {
  const { rows } = await pool.query<{
    test: string
    summary: Omit<TestResult, 'test'>
    data: { samples: number; bytes: number }
  }>(
    `select r.test_name as test, r.summary, r.metrics -> 'data' as data
     from public.analysis_results r where r.device_id = $1 order by r.created_at, r.test_name`,
    [device.id],
  )
  return {
    id: device.id,
    name: device.source.name,
    title: device.source.title,
    samples: rows[0]?.data.samples ?? 0,
    bytes: rows[0]?.data.bytes ?? 0,
    results: rows.map(({ test, summary: { status, p_values, statistic } }) => ({ test, status, p_values, statistic })),
  }
}

/** Pairs over exactly the live window, so that the turn of an hour cannot cut it in two. */
async function comparePairs(
  { pool }: JobContext,
  devices: readonly LiveDevice[],
  from: Date,
  to: Date,
): Promise<{ pairs: PairFinding[]; network: Findings['network'] }> {
  const start = Math.floor(from.getTime() / 60_000) * 60
  const end = Math.ceil(to.getTime() / 60_000) * 60
  const nameOf = new Map(devices.map((device) => [device.id, device.source.name]))
  const slices = (await readSlices(pool, start, end)).filter((slice) => nameOf.has(slice.deviceId))
  const partials = slices.map((slice) => decodePartial(slice.partial, slice.deviceId, slice.sliceStart))
  const series = trialSeries(mergeByDevice(partials, start, end), 'all_bits')
  const { netvar, pair } = networkStats(series, start)
  const pairs = coherencePairs(series).pairs.map(
    ({ device_a_id, device_b_id, correlation_metrics, tests }): PairFinding => {
      const pearson = tests.pearson && 'p' in tests.pearson ? tests.pearson : undefined
      return {
        a: nameOf.get(device_a_id) as string,
        b: nameOf.get(device_b_id) as string,
        seconds: correlation_metrics.n_seconds,
        status: tests.status,
        r: correlation_metrics.pearson_r,
        p: pearson?.p ?? null,
        q: pearson?.q_value ?? null,
      }
    },
  )
  return { pairs, network: { netvar, pair } }
}

function describeDevice(device: DeviceFinding): Findings['findings'] {
  return device.results.flatMap(({ test, p_values, statistic }) => {
    const p = p_values.length === 0 ? 1 : Math.min(...p_values)
    if (p >= DEVICE_ALPHA) return []
    const finding =
      test === 'most_common_value'
        ? `low entropy: ${statistic?.toFixed(2)} bits of min-entropy a byte, where 8 is ideal`
        : `fails ${test}`
    return [{ subject: device.name, finding, p }]
  })
}

function describePair(pair: PairFinding): Findings['findings'] {
  if (pair.q === null || pair.q >= PAIR_Q) return []
  return [
    {
      subject: `${pair.a} and ${pair.b}`,
      finding: `move together: r = ${pair.r?.toFixed(3)} over ${pair.seconds} s`,
      p: pair.p,
    },
  ]
}
