import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NewSample } from '../../db/samples.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runRollupSlice } from '../../jobs/rollup-slice.ts'
import { mergeByDevice, runRollupCoherence } from '../../jobs/rollup-coherence.ts'
import { HOUR } from '../../jobs/test-chunk.ts'
import { coherencePairs } from '../../pipeline/coherence.ts'
import { networkStats } from '../../pipeline/network.ts'
import { addNetworkSums, networkBuckets, PROFILES, trialSeries } from '../../pipeline/network-buckets.ts'
import { empiricalNormalization, normalize } from '../../pipeline/normalization.ts'
import { uuidBytes, type SampleColumns } from '../../pipeline/samples.ts'
import { sliceStats } from '../../pipeline/slice-stats.ts'
import { mergePartials, slicePartials } from '../../pipeline/slice.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

/** A whole hour, so that no test straddles two. */
const HOUR_START = Date.UTC(2026, 5, 1, 12) / 1000
const START = HOUR_START * 1000
const signal = new AbortController().signal
let pipeline: TestPipeline
beforeEach(async () => {
  // One chunk, whatever is inserted.
  pipeline = await openPipeline({ chunkTargetBytes: 1024 ** 2 })
})
afterEach(() => pipeline.close())

async function packAll(samples: readonly NewSample[]): Promise<void> {
  await pipeline.insert(samples)
  await pipeline.pack()
  await pipeline.drain()
}

/** Every column of every row, with the transaction that wrote it last: equal only if nothing was even rewritten. */
async function snapshot(table: string, order: string): Promise<string[]> {
  const { rows } = await pipeline.db.query<{ row: string }>(
    `select xmin::text || ' ' || t::text as row from ${table} t order by ${order}`,
  )
  return rows.map(({ row }) => row)
}

const timeslices = () => snapshot('public.device_timeslice_stats', 'device_id, bucket_start, bucket_end')
const pairs = () => snapshot('public.coherence_stats', 'device_a_id, device_b_id, bucket_start')
const networks = () => snapshot('public.network_stats', 'bucket_start, bucket_end, profile')

function columnsOf(samples: readonly NewSample[]): SampleColumns {
  const sorted = samples.toSorted((a, b) =>
    a.deviceId < b.deviceId ? -1 : a.deviceId > b.deviceId ? 1 : Number(a.sequence - b.sequence),
  )
  const join = (parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts))
  let at = 0
  return {
    rows: sorted.length,
    id: new Uint8Array(16 * sorted.length),
    deviceId: join(sorted.map((sample) => uuidBytes(sample.deviceId))),
    profileId: join(sorted.map((sample) => uuidBytes(sample.profileId))),
    timestamp: BigInt64Array.from(sorted, (sample) => BigInt((sample.timestamp as Date).getTime()) * 1000n),
    sequence: BigInt64Array.from(sorted, (sample) => sample.sequence),
    byteLength: Int32Array.from(sorted, (sample) => sample.data.length),
    dataOffsets: Int32Array.from([0, ...sorted.map((sample) => (at += sample.data.length))]),
    data: join(sorted.map((sample) => sample.data)),
  }
}

describe('device time slices', () => {
  it('hold per minute and hour what the samples say', async () => {
    const [device] = await pipeline.addDevices(1)
    const samples = makeSamples(device, 150, { start: START, bytes: (index) => 60 + (index % 9) })
    await packAll(samples)
    const { rows } = await pipeline.db.query(
      `select extract(epoch from bucket_start)::float8 as start, extract(epoch from bucket_end)::float8 as end,
              sample_count::int, byte_count::int, entropy_estimate, uniformity_chi_square, runs_test, autocorrelation, extra
       from public.device_timeslice_stats where device_id = $1 order by bucket_end - bucket_start, bucket_start`,
      [device.deviceId],
    )
    const partials = slicePartials(columnsOf(samples))
    const expected = [
      ...partials.map((partial) => ({ start: partial.sliceStart, end: partial.sliceStart + 60, merged: partial })),
      { start: HOUR_START, end: HOUR_START + HOUR, merged: mergePartials(partials, HOUR_START, HOUR_START + HOUR) },
    ]
    expect(rows).toEqual(
      expected.map(({ start, end, merged }) => ({ start, end, ...JSON.parse(JSON.stringify(sliceStats(merged))) })),
    )
    expect(rows.map((row) => row.sample_count)).toEqual([60, 60, 30, 150])
  })

  it('are corrected by late data, and only where it belongs', async () => {
    const [device, other] = await pipeline.addDevices(2)
    await packAll([
      ...makeSamples(device, 120, { start: START }),
      ...makeSamples(other, 120, { start: START, seed: 'o' }),
    ])
    const before = await timeslices()
    await packAll(makeSamples(device, 10, { start: START + 5_500, sequence: 1000n, seed: 'late' }))
    const after = await timeslices()
    const counts = await pipeline.db.query(
      `select sample_count::int as n from public.device_timeslice_stats where device_id = $1 order by bucket_end - bucket_start, bucket_start`,
      [device.deviceId],
    )
    expect(counts.rows.map((row) => row.n)).toEqual([70, 60, 130])
    // The first minute and the hour of one device: two rows written, four untouched.
    expect(after.filter((row) => !before.includes(row))).toHaveLength(2)
  })

  it('are the same whether the data came in one chunk or in many, but for the pairs of bits at chunk edges', async () => {
    const [one, many] = await pipeline.addDevices(2)
    const samples = (device: typeof one) => makeSamples(device, 60, { start: START })
    await packAll(samples(one))
    for (const part of [samples(many).slice(40), samples(many).slice(0, 20), samples(many).slice(20, 40)])
      await packAll(part)
    const { rows } = await pipeline.db.query(
      `select sample_count, byte_count, entropy_estimate, uniformity_chi_square, extra -> 'frequency' as frequency
       from public.device_timeslice_stats where bucket_end - bucket_start = interval '1 hour' order by device_id`,
    )
    expect(rows[0]).toEqual(rows[1])
  })
})

describe('recomputing', () => {
  it('an unchanged hour writes nothing at all', async () => {
    const devices = await pipeline.addDevices(3)
    await packAll(devices.flatMap((device, n) => makeSamples(device, 90, { start: START, seed: String(n) })))
    const before = [await timeslices(), await pairs()]
    for (const device of devices) {
      const { output } = await runRollupSlice(pipeline.context, {
        data: { device_id: device.deviceId, hour: HOUR_START },
        signal,
      })
      expect(output.changed).toBe(0)
    }
    expect((await runRollupCoherence(pipeline.context, { data: { hour: HOUR_START }, signal })).output.changed).toBe(0)
    expect([await timeslices(), await pairs()]).toEqual(before)
    expect(before.map((rows) => rows.length)).toEqual([9, 3])
  })

  it('removes what no partial supports any more', async () => {
    const devices = await pipeline.addDevices(2)
    await packAll(makeSamples(devices[0], 60, { start: START }))
    await packAll(makeSamples(devices[1], 60, { start: START, seed: 'b' }))
    await pipeline.db.query(`delete from public.storj_chunks where $1 = any (device_ids)`, [devices[1].deviceId])
    await runRollupSlice(pipeline.context, { data: { device_id: devices[1].deviceId, hour: HOUR_START }, signal })
    await runRollupCoherence(pipeline.context, { data: { hour: HOUR_START }, signal })
    expect(await timeslices()).toHaveLength(2)
    expect(await pairs()).toEqual([])
    const { rows } = await pipeline.db.query(
      `select device_count from public.network_stats
       where profile = 'all_bits' and bucket_end - bucket_start = interval '1 hour'`,
    )
    expect(rows).toEqual([{ device_count: 1 }])
  })

  it('many times at once, while chunks arrive, ends with the newest data', async () => {
    const [device] = await pipeline.addDevices(1)
    const job = { data: { device_id: device.deviceId, hour: HOUR_START }, signal }
    const arriving = (async () => {
      for (let n = 0; n < 5; n++)
        await packAll(makeSamples(device, 10, { start: START + n * 10_000, sequence: BigInt(n * 10) }))
    })()
    await Promise.all([arriving, ...Array.from({ length: 12 }, () => runRollupSlice(pipeline.context, job))])
    const { rows } = await pipeline.db.query(
      `select sample_count::int as n from public.device_timeslice_stats order by bucket_end - bucket_start`,
    )
    expect(rows).toEqual([{ n: 50 }, { n: 50 }])
  })
})

describe('coherence', () => {
  it('holds per hour the pairs and the network of the per-second series', async () => {
    const devices = await pipeline.addDevices(4)
    // The last two send the same bytes: they must stand out.
    const samples = devices.flatMap((device, n) =>
      makeSamples(device, 100, { start: START, seed: n < 2 ? String(n) : 'same' }),
    )
    await packAll(samples)
    const merged = mergeByDevice(slicePartials(columnsOf(samples)), HOUR_START, HOUR_START + HOUR)
    const series = trialSeries(merged, 'all_bits')
    const expected = coherencePairs(series)
    const { rows } = await pipeline.db.query(
      `select device_a_id, device_b_id, correlation_metrics, tests from public.coherence_stats order by device_a_id, device_b_id`,
    )
    expect(rows).toEqual(JSON.parse(JSON.stringify(expected.pairs)))
    const [a, b] = [devices[2].deviceId, devices[3].deviceId].toSorted()
    const telling = rows
      .filter((row) => row.tests.pearson.q_value < 0.001)
      .map((row) => [row.device_a_id, row.device_b_id])
    expect(telling).toEqual([[a, b]])

    // 64-byte samples are long enough for the 200 bits of a trial.
    for (const profile of PROFILES) {
      const { minutes, whole } = networkBuckets(trialSeries(merged, profile), HOUR_START)
      const expectedRows = [...minutes, ...(whole ? [whole, whole] : [])].map(
        ({ sums: { max_abs_stouffer, ...sums } }) => {
          return { device_count: 4, sums, max_abs_stouffer }
        },
      )
      const network = await pipeline.db.query(
        `select device_count, sums, max_abs_stouffer from public.network_stats where profile = $1
         order by bucket_end - bucket_start, bucket_start`,
        [profile],
      )
      // Two minutes, the hour, and the day that has but this hour.
      expect(network.rows).toEqual(expectedRows)
      expect(network.rows).toHaveLength(4)
    }
    const { rows: hours } = await pipeline.db.query(
      `select pair, netvar from public.network_stats
       where profile = 'all_bits' and bucket_end - bucket_start = interval '1 hour'`,
    )
    const { netvar, pair } = networkStats(series, HOUR_START)
    expect(hours[0].pair.z).toBeCloseTo(pair.status === 'ok' ? pair.z : Number.NaN, 10)
    expect(hours[0].netvar.df).toBe(netvar.status === 'ok' ? netvar.df : Number.NaN)
  })

  it('adds hours to the day they belong to, digit for digit, in whatever order they come', async () => {
    const [a, b] = await pipeline.addDevices(2)
    const hourOf = (device: typeof a, hour: number) =>
      makeSamples(device, 40, {
        start: (HOUR_START + hour * HOUR) * 1000,
        sequence: BigInt(100 * hour),
        seed: String(hour),
      })
    for (const hour of [3, 1, 2]) await packAll([...hourOf(a, hour), ...hourOf(b, hour)])
    const { rows } = await pipeline.db.query(
      `select sums, max_abs_stouffer, bucket_end - bucket_start = interval '1 day' as is_day from public.network_stats
       where profile = 'gcp200' and bucket_end - bucket_start >= interval '1 hour' order by is_day, bucket_start`,
    )
    const sums = rows.map((row) => ({ ...row.sums, max_abs_stouffer: row.max_abs_stouffer }))
    expect(sums).toHaveLength(4)
    expect(sums[3]).toEqual(addNetworkSums(sums.slice(0, 3)))
    expect(sums[3].seconds).toBe(120)
    // Late data of one hour change its minute, its hour and the day, and nothing else.
    const before = await networks()
    await packAll(makeSamples(a, 1, { start: (HOUR_START + 2 * HOUR + 50) * 1000, sequence: 999n }))
    expect((await networks()).filter((row) => !before.includes(row))).toHaveLength(6)
  })

  it('keeps the hours when retention takes the minutes, and brings these back on demand', async () => {
    const devices = await pipeline.addDevices(2)
    await packAll(devices.flatMap((device, n) => makeSamples(device, 150, { start: START, seed: String(n) })))
    const lengths = async (table: string) => {
      const { rows } = await pipeline.db.query(
        `select extract(epoch from bucket_end - bucket_start)::int as seconds, count(*)::int as n
         from public.${table} group by 1 order by 1`,
      )
      return rows.map(({ seconds, n }) => [seconds, n])
    }
    const before = await networks()
    expect(await lengths('network_stats')).toEqual([
      [60, 6],
      [3600, 2],
      [86_400, 2],
    ])
    await runPrune(pipeline.context, { signal })
    expect(await lengths('network_stats')).toEqual([
      [3600, 2],
      [86_400, 2],
    ])
    expect(await lengths('device_timeslice_stats')).toEqual([[3600, 2]])
    const { rows: log } = await pipeline.db.query(
      `select target_table as table, rows_affected::int as rows from public.maintenance_log
       where operation_type = 'drop_minute_stats' order by 1`,
    )
    expect(log).toEqual([
      { table: 'device_timeslice_stats', rows: 6 },
      { table: 'network_stats', rows: 6 },
    ])
    await runRollupCoherence(pipeline.context, { data: { hour: HOUR_START }, signal })
    const withoutTimes = (row: string) => row.replace(/^\d+ /, '').replace(/,"[^"]*"\)$/, '')
    expect((await networks()).map(withoutTimes)).toEqual(before.map(withoutTimes))
  })

  it('takes late data into the hour it belongs to', async () => {
    const [a, b] = await pipeline.addDevices(2)
    await packAll(makeSamples(a, 60, { start: START }))
    expect(await pairs()).toEqual([])
    await packAll(makeSamples(b, 60, { start: START, seed: 'b' }))
    const { rows } = await pipeline.db.query(
      `select (correlation_metrics ->> 'n_seconds')::int as n from public.coherence_stats`,
    )
    expect(rows).toEqual([{ n: 60 }])
  })

  it('behind the screen keeps the pairs that pass and those that are watched, and removes the others', async () => {
    const devices = (await pipeline.addDevices(5)).toSorted((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
    const samples = devices.flatMap((device, n) =>
      makeSamples(device, 100, { start: START, seed: n < 3 ? String(n) : 'same' }),
    )
    await packAll(samples)
    expect(await pairs()).toHaveLength(10)
    // Watched the other way round, and by somebody who owns neither, which counts for nothing.
    await pipeline.db.query(
      'insert into public.watched_pairs (user_id, device_a_id, device_b_id) values ($1, $2, $3)',
      [pipeline.userId, devices[1].deviceId, devices[0].deviceId],
    )
    const stranger = randomUUID()
    await pipeline.db.query('insert into auth.users (id, email) values ($1, $2)', [stranger, 'stranger@example.test'])
    await pipeline.db.query(
      'insert into public.watched_pairs (user_id, device_a_id, device_b_id) values ($1, $2, $3)',
      [stranger, devices[1].deviceId, devices[2].deviceId],
    )
    const settings = { ...pipeline.context.settings, pairsMaxDevices: 4 }
    const { output } = await runRollupCoherence(
      { ...pipeline.context, settings },
      { data: { hour: HOUR_START }, signal },
    )
    expect(output).toMatchObject({ devices: 5, tested: 10, pairs: 2 })
    const { rows } = await pipeline.db.query(
      `select device_a_id as a, device_b_id as b, tests -> 'product' -> 'n_tests' as tests from public.coherence_stats order by 1`,
    )
    expect(rows).toEqual([
      { a: devices[0].deviceId, b: devices[1].deviceId, tests: 10 },
      { a: devices[3].deviceId, b: devices[4].deviceId, tests: 10 },
    ])
  })

  it('normalises by the days before, if so configured, and says by what', async () => {
    const devices = await pipeline.addDevices(2)
    const before = devices.flatMap((device, n) =>
      makeSamples(device, 3600, { start: START - 3_600_000, seed: `before ${n}`, bytes: 32 }),
    )
    const now = devices.flatMap((device, n) =>
      makeSamples(device, 60, { start: START, seed: `now ${n}`, sequence: 3600n, bytes: 32 }),
    )
    await packAll([...before, ...now])
    const settings = { ...pipeline.context.settings, referenceDays: 2 }
    await runRollupCoherence({ ...pipeline.context, settings }, { data: { hour: HOUR_START }, signal })
    const seriesOf = (samples: NewSample[], hour: number) =>
      trialSeries(mergeByDevice(slicePartials(columnsOf(samples)), hour, hour + HOUR), 'all_bits')
    const references = empiricalNormalization(seriesOf(before, HOUR_START - HOUR))
    const { rows } = await pipeline.db.query(
      `select device_id as "deviceId", reference_trials::int as trials, reference_mean as mean, reference_variance as variance
       from public.device_trials
       where bucket_start = to_timestamp($1) and profile = 'all_bits' order by device_id`,
      [HOUR_START],
    )
    expect(rows).toEqual(references.toSorted((a, b) => (a.deviceId < b.deviceId ? -1 : 1)))
    const { whole } = networkBuckets(normalize(seriesOf(now, HOUR_START), references), HOUR_START)
    const { rows: hours } = await pipeline.db.query(
      `select profile, sums from public.network_stats
       where normalization = 'empirical' and bucket_end - bucket_start = interval '1 hour' order by profile`,
    )
    const { max_abs_stouffer: _, ...sums } = whole!.sums
    // 32 bytes a second have 200 bits, too.
    expect(hours.map(({ profile }) => profile)).toEqual(['all_bits', 'gcp200'])
    expect(hours.find(({ profile }) => profile === 'all_bits')?.sums).toEqual(sums)
    const { rows: days } = await pipeline.db.query(
      `select profile, normalization from public.network_stats where bucket_end - bucket_start = interval '1 day' order by 1, 2`,
    )
    expect(days.map(({ profile, normalization }) => `${profile} ${normalization}`)).toEqual([
      'all_bits empirical',
      'all_bits theoretical',
      'gcp200 empirical',
      'gcp200 theoretical',
    ])
    // Without it they go.
    await runRollupCoherence(pipeline.context, { data: { hour: HOUR_START }, signal })
    const { rowCount } = await pipeline.db.query(`select from public.network_stats where normalization = 'empirical'`)
    expect(rowCount).toBe(0)
  })

  it('is plotted from SQL: cumulative deviations with their pointwise envelopes', async () => {
    const devices = await pipeline.addDevices(3)
    await packAll(devices.flatMap((device, n) => makeSamples(device, 150, { start: START, seed: String(n) })))
    const { rows } = await pipeline.db.query(
      `select seconds::int, netvar_deviation, netvar_pointwise_95, pair_deviation, pair_pointwise_95
       from public.network_deviation(to_timestamp($1), to_timestamp($2))`,
      [HOUR_START, HOUR_START + HOUR],
    )
    const { rows: minutes } = await pipeline.db.query(
      `select sums from public.network_stats where profile = 'all_bits'
         and bucket_end - bucket_start = interval '1 minute' order by bucket_start`,
    )
    expect(rows.map(({ seconds }) => seconds)).toEqual([60, 120, 150])
    // Chi-square quantiles at .95 (R's qchisq), less their degrees of freedom.
    const quantiles = [79.08194448784874, 146.5673576014, 179.5806341541]
    let [s2, c, count] = [0, 0, 0]
    for (const [i, row] of rows.entries()) {
      const { sums } = minutes[i]
      s2 += sums.sum_s2 - sums.seconds
      c += sums.sum_c
      count += sums.sum_pairs
      expect(row.netvar_deviation).toBeCloseTo(s2, 9)
      expect(row.pair_deviation).toBeCloseTo(c, 9)
      expect(row.netvar_pointwise_95).toBeCloseTo(quantiles[i] - row.seconds, 3)
      expect(row.pair_pointwise_95).toBeCloseTo(1.959963984540054 * Math.sqrt(count), 9)
    }
  })
})
