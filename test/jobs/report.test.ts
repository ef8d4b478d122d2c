import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readNetworkBuckets } from '../../db/report.ts'
import { collectReport, DAY, defaultWindow } from '../../jobs/report-data.ts'
import { linkNewestReport } from '../../jobs/report-link.ts'
import { renderReport, runReport } from '../../jobs/report.ts'
import { controlSeries } from '../../pipeline/control.ts'
import { networkTests } from '../../pipeline/network.ts'
import { windowSums } from '../../pipeline/network-buckets.ts'
import { coherencePairs } from '../../pipeline/coherence.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { createCli } from '../infra/run-cli.ts'
import { fairBytes, storeNetworkHours } from '../fixtures/network-hours.ts'
import { runAsUser } from '../harness/database.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const HOUR = 3600
const NOW = new Date()
const TODAY = Math.floor(NOW.getTime() / 1000 / DAY) * DAY
const YESTERDAY = { from: TODAY - DAY, to: TODAY, deviceIds: null }
const signal = new AbortController().signal
const options = { now: NOW, signal }

let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
})
afterEach(() => pipeline.close())

const idsOf = async (count: number) => (await pipeline.addDevices(count)).map(({ deviceId }) => deviceId)
const collect = (window = YESTERDAY) => collectReport(pipeline.context, window, options)

/** 64 bytes; device 0 sends nothing in every seventh second. */
const withGaps = (device: number, second: number, fair: Uint8Array) => (device === 0 && second % 7 === 0 ? null : fair)
const countGaps = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, t) => from + t).filter((second) => second % 7 === 0).length

/** The ones of each second, counted here from what was sent. */
function trialsOf(deviceIds: readonly string[], from: number, to: number): DeviceSeries[] {
  return deviceIds.map((deviceId, device) => {
    const series = { deviceId, bits: new Uint32Array(to - from), ones: new Uint32Array(to - from) }
    for (let chunk = from; chunk < to; chunk += 300) {
      const fair = fairBytes(`${device} ${chunk}`, 64 * 300)
      for (let second = chunk; second < chunk + 300; second++) {
        const data = withGaps(device, second, fair.subarray(64 * (second - chunk), 64 * (second - chunk + 1)))
        if (data === null) continue
        series.bits[second - from] = 512
        for (const byte of data) series.ones[second - from] += byte.toString(2).replaceAll('0', '').length
      }
    }
    return series
  })
}

describe('the numbers of a report', () => {
  it('of 60 devices are those of `coherence network` on the same trial sums, control included', async () => {
    const deviceIds = await idsOf(60)
    const [from, to] = [YESTERDAY.from, YESTERDAY.from + HOUR]
    await storeNetworkHours(pipeline.context, { deviceIds, from, to, bytesAt: withGaps })
    const report = await collect({ from, to, deviceIds: null })
    const series = trialsOf(deviceIds, from, to)
    const lines = Array.from({ length: to - from }, (_, t) =>
      [from + t, ...series.map(({ bits, ones }) => (bits[t] === 0 ? '' : ones[t]))].join(','),
    )
    const csv = [['second', ...deviceIds].join(','), ...lines, ''].join('\n')
    const cli = createCli()
    const { seed } = report.network.control as { seed: string }
    const args = ['network', '-', '--bits', '512', '--control', seed, '--json']
    const said = (await cli.run(args, { input: csv })).json()
    cli.remove()

    const { network } = report
    expect({ devices: network.devices, missing: network.missing, seconds: network.sums?.seconds }).toEqual({
      devices: said.devices,
      missing: said.missing,
      seconds: said.seconds,
    })
    expect(said).toMatchObject({ devices: 60, missing: countGaps(from, to) })
    const control = (network.control as { tests: object }).tests
    for (const [ours, theirs] of [
      [network.tests, said],
      [control, said.control],
    ] as [object, Record<string, object>][]) {
      for (const [test, numbers] of Object.entries(ours)) {
        for (const [name, value] of Object.entries(numbers as Record<string, number>)) {
          if (name === 'status') continue
          expect(value / (theirs[test] as Record<string, number>)[name], `${test}.${name}`).toBeCloseTo(1, 9)
        }
      }
    }
    const last = network.trace.at(-1)!
    expect(last.netvar).toBeCloseTo(said.netvar.chi2 - said.netvar.df, 6)
    expect(last.pair).toBeCloseTo(said.sums.sum_c, 6)
  }, 180_000)

  it('say of each device and pair what their bytes say', async () => {
    const deviceIds = await idsOf(4)
    const [from, to] = [YESTERDAY.from + 5 * HOUR, YESTERDAY.from + 7 * HOUR]
    const biased = (device: number, second: number, fair: Uint8Array) => {
      if (device !== 1) return withGaps(device, second, fair)
      return Uint8Array.from(fair, (byte, i) => (i < 8 ? byte | 1 : byte))
    }
    await storeNetworkHours(pipeline.context, { deviceIds, from, to, bytesAt: biased })
    const report = await collect()
    expect(report.devices.map(({ name }) => name)).toEqual(['device 1', 'device 2', 'device 3', 'device 4'])
    const [gappy, odd, fair] = report.devices
    const missing = countGaps(from, to)
    expect(gappy).toMatchObject({ samples: 2 * HOUR - missing, rate_hz: 1, coverage: (2 * HOUR - missing) / DAY })
    // Eight of 512 bits are always ones.
    expect(odd.z).toBeCloseTo((8 / Math.sqrt(512)) * Math.sqrt(2 * HOUR), -1)
    expect(Math.abs(fair.z!)).toBeLessThan(4)
    expect(Math.abs(fair.entropy!.z)).toBeLessThan(4)
    expect(fair.byte_chi_square).toMatchObject({ df: 510 })
    expect(
      report.findings.every((finding) => finding.device_id === deviceIds[1] || finding.subject === 'the network'),
    ).toBe(true)
    expect(report.verdict).toMatch(/^4 devices, \d\d\.\d k samples: device 2( and the network)? stands? out\.$/)

    // The window's pairs are those of its seconds as one bucket.
    const whole = trialsOf(deviceIds, from, to)
    const known = coherencePairs(whole).pairs
    const unbiased = report.pairs.rows.filter(({ a, b }) => a !== deviceIds[1] && b !== deviceIds[1])
    expect(unbiased).toHaveLength(3)
    for (const pair of unbiased) {
      const same = known.find((row) => row.device_a_id === pair.a && row.device_b_id === pair.b)!
      expect(pair).toMatchObject({ seconds: same.correlation_metrics.n_seconds })
      expect(pair.r).toBeCloseTo(same.correlation_metrics.pearson_r!, 10)
      expect(pair.p).toBeCloseTo((same.tests.pearson as { p: number }).p, 10)
    }
  }, 60_000)

  it('of chosen devices are those of their network alone', async () => {
    const deviceIds = await idsOf(5)
    const [from, to] = [YESTERDAY.from, YESTERDAY.from + HOUR]
    await storeNetworkHours(pipeline.context, { deviceIds, from, to, bytesAt: withGaps })
    const report = await collectReport(pipeline.context, { from, to, deviceIds: deviceIds.slice(0, 3) }, options)
    const sums = windowSums()
    sums.add(trialsOf(deviceIds, from, to).slice(0, 3), from, HOUR)
    const tests = networkTests(sums.finish().sums)
    expect(report.devices).toHaveLength(3)
    expect(report.pairs.tested).toBe(3)
    const z = (of: typeof tests | null) => (of?.pair.status === 'ok' ? of.pair.z : Number.NaN)
    expect(z(report.network.tests)).toBeCloseTo(z(tests), 9)
  })

  it('count the chunk tests of the chunks that begin in the window', async () => {
    const deviceIds = await idsOf(2)
    const [from, to] = [YESTERDAY.to - HOUR, YESTERDAY.to + HOUR]
    await storeNetworkHours(pipeline.context, { deviceIds, from, to })
    const { tests, provenance, devices } = await collect()
    expect(tests.chunks).toBe(12)
    const frequency = tests.rows.find(({ test }) => test === 'frequency')!
    const { rows } = await pipeline.db.query<{ p: number }>(
      `select (r -> 'p_values' ->> 0)::float8 as p
       from public.storj_chunks c join public.chunk_analysis a on a.chunk_id = c.id,
         jsonb_array_elements(a.tests -> 'devices') d, jsonb_array_elements(d -> 'results') r
       where r ->> 'test' = 'frequency' and c.min_timestamp < to_timestamp($1)`,
      [YESTERDAY.to],
    )
    expect(frequency.proportion).toMatchObject({ tested: 24, passed: rows.filter(({ p }) => p >= 0.01).length })
    const bins = Array.from({ length: 10 }, (_, i) => rows.filter(({ p }) => Math.floor(10 * p) === i).length)
    expect(frequency.bins).toEqual(bins)
    // Thirteen P-values a chunk.
    expect(devices.map((device) => device.chunk_tests.tested)).toEqual([156, 156])
    expect(tests.p_values).toBe(288)
    const lines = provenance.chunks.map(({ id, sha256 }) => `${id} ${sha256}`)
    expect(lines).toHaveLength(12)
    expect(provenance.chunk_set_hash).toBe(createHash('sha256').update(lines.toSorted().join('\n')).digest('hex'))
  })

  it('make sense without devices, and without data', async () => {
    const nothing = await collect()
    expect(nothing).toMatchObject({ verdict: 'There are no devices yet.', samples: 0, findings: [], devices: [] })
    expect(nothing.network).toMatchObject({ sums: null, tests: null, trace: [] })
    expect(await renderReport(nothing)).toContain('There are no devices yet.')
    await idsOf(2)
    expect((await collect()).verdict).toBe('No samples came from 2 devices.')
  })

  it('of more devices than can be gone through second by second come from the rollups alone', async () => {
    await pipeline.db.query(
      `insert into public.devices (user_id, name, device_token)
       select $1, 'device ' || n, gen_random_uuid() from generate_series(1, 1000) n`,
      [pipeline.userId],
    )
    const hours = `select d.id, to_timestamp($1) + h * interval '1 hour' as start from public.devices d, generate_series(0, 23) h`
    await pipeline.db.query(
      `insert into public.device_timeslice_stats (device_id, bucket_start, bucket_end, sample_count, byte_count, entropy_estimate,
         uniformity_chi_square, extra, method_version)
       select id, start, start + interval '1 hour', 3600, 230400, 7.9992, '{"statistic": 255}',
         '{"frequency": {"ones": 921600, "n_bits": 1843200}, "gaps": 0, "duplicates": 0, "seconds_covered": 3600}', 'slice-1'
       from (${hours}) t`,
      [YESTERDAY.from],
    )
    await pipeline.db.query(
      `insert into public.device_trials (device_id, bucket_start, profile, trials, failed, sum_z, sum_z2, method_version)
       select id, start, 'all_bits', 3600, 0, 0, 3600, 'network-2' from (${hours}) t`,
      [YESTERDAY.from],
    )
    await pipeline.db.query(
      `insert into public.coherence_stats (bucket_start, bucket_end, device_a_id, device_b_id, correlation_metrics, tests, method_version)
       select to_timestamp($1), to_timestamp($1) + interval '1 hour', a.id, b.id,
         '{"n_seconds": 3600, "pearson_r": 0.5, "product_z": 30, "lag": {"best_lag": 2}}',
         '{"pearson": {"p": 1e-20, "q_value": 1e-15}, "product": {"p": 1e-20, "q_value": 1e-15, "n_tests": 499500}}', 'coherence-2'
       from public.devices a, public.devices b where a.name = 'device 1' and b.name = 'device 2'`,
      [YESTERDAY.from],
    )
    const report = await collect()
    expect(report.devices).toHaveLength(1000)
    expect(report.samples).toBe(86_400_000)
    expect(report.pairs).toMatchObject({ kind: 'hours', tested: 499_500, rows: [{ r: 0.5, best_lag: 2 }] })
    expect(report.findings.map(({ subject }) => subject)).toEqual(['device 1 × device 2'])
    expect(report.network.control).toEqual({ reason: expect.stringContaining('1000 devices are too many') })
    expect(Buffer.byteLength(await renderReport(report))).toBeLessThan(5e6)
  }, 60_000)
})

describe('the window of a report', () => {
  it('is yesterday if it has data, else the 24 hours to the newest hour that has any', async () => {
    expect(await defaultWindow(pipeline.context.pool, NOW)).toEqual({ from: TODAY - DAY, to: TODAY })
    const deviceIds = await idsOf(1)
    const hour = TODAY - 9 * DAY + 5 * HOUR
    await storeNetworkHours(pipeline.context, { deviceIds, from: hour, to: hour + HOUR, chunkSeconds: HOUR })
    expect(await defaultWindow(pipeline.context.pool, NOW)).toEqual({ from: hour + HOUR - DAY, to: hour + HOUR })
    const late = TODAY - HOUR
    await storeNetworkHours(pipeline.context, { deviceIds, from: late, to: late + HOUR, chunkSeconds: HOUR })
    expect(await defaultWindow(pipeline.context.pool, NOW)).toEqual({ from: TODAY - DAY, to: TODAY })
  })

  it('is drawn by minutes, or by hours once the minutes are pruned, with the same end', async () => {
    const deviceIds = await idsOf(2)
    const [from, to] = [YESTERDAY.from, YESTERDAY.from + 2 * HOUR]
    await storeNetworkHours(pipeline.context, { deviceIds, from, to, chunkSeconds: HOUR })
    const before = (await collect()).network
    expect(before).toMatchObject({ bucket_seconds: 60 })
    expect(before.trace).toHaveLength(120)
    expect(await readNetworkBuckets(pipeline.context.pool, YESTERDAY, 60)).toHaveLength(120)
    await pipeline.db.query(`delete from public.network_stats where bucket_end - bucket_start < interval '1 hour'`)
    const after = (await collect()).network
    expect(after).toMatchObject({ bucket_seconds: HOUR })
    expect(after.trace).toHaveLength(2)
    expect(after.control.trace).toHaveLength(2)
    expect(after.trace[1].pair).toBeCloseTo(before.trace[119].pair, 9)
    expect(after.control.trace![1].pair).toBeCloseTo(before.control.trace![119].pair, 9)
  })

  it('of a few minutes is drawn second by second', async () => {
    const devices = await pipeline.addDevices(2)
    const start = 1000 * YESTERDAY.from
    await pipeline.insert(devices.flatMap((device, n) => makeSamples(device, 90, { start, seed: String(n) })))
    while ((await pipeline.pack()) > 0);
    await pipeline.drain()
    const { network } = await collect()
    expect(network.bucket_seconds).toBe(1)
    expect(network.trace).toHaveLength(90)
    expect(network.trace[89]).toMatchObject({ seconds: 90, end: new Date(start + 90_000).toISOString() })
    const netvar = network.tests?.netvar
    expect(netvar?.status === 'ok' && netvar.chi2 - netvar.df).toBeCloseTo(network.trace[89].netvar, 9)
    const control = (network.control as { tests: typeof network.tests }).tests?.netvar
    expect(control?.status === 'ok' && control.chi2 - control.df).toBeCloseTo(network.control.trace![89].netvar, 9)
  })
})

describe('the control', () => {
  it('of long trials is made of 512 bits a second', async () => {
    const deviceIds = await idsOf(2)
    const [from, to] = [YESTERDAY.from, YESTERDAY.from + HOUR]
    await storeNetworkHours(pipeline.context, { deviceIds, from, to, sampleBytes: 100, chunkSeconds: HOUR })
    const { control } = (await collect()).network
    const short = deviceIds.map((deviceId) => {
      return { deviceId, bits: new Uint32Array(HOUR).fill(512), ones: new Uint32Array(HOUR).fill(1) }
    })
    const sums = windowSums()
    sums.add(controlSeries(short, { seed: (control as { seed: string }).seed, seconds: from }), from, HOUR)
    expect(control.trace!.at(-1)!.pair).toBeCloseTo(sums.finish().sums.sum_c, 6)
  })
})

describe('the job', () => {
  const run = (now = new Date((TODAY + 2 * HOUR) * 1000)) => runReport(pipeline.context, { signal }, now)
  const store = (from: number, to: number, deviceIds: readonly string[]) =>
    storeNetworkHours(pipeline.context, { deviceIds, from, to, chunkSeconds: HOUR })

  it('writes yesterday’s report once, and again when late chunks change it', async () => {
    const deviceIds = await idsOf(2)
    await store(YESTERDAY.from, YESTERDAY.from + HOUR, deviceIds)
    const first = (await run()).output
    expect(first.key).toMatch(/^reports\/\d{4}\/\d\d\/\d\d-[0-9a-f]{16}\.html$/)
    expect(first.key).toContain(new Date(YESTERDAY.from * 1000).toISOString().slice(0, 10).replaceAll('-', '/'))
    const page = Buffer.from(await pipeline.store.get(first.key!)).toString()
    expect(page).toContain('2 devices, 7,200 samples: nothing stands out.')
    expect((await run()).output).toEqual({ skipped: 'written already', key: first.key })
    await store(YESTERDAY.from + HOUR, YESTERDAY.from + 2 * HOUR, deviceIds)
    const second = (await run()).output
    expect(second.key).not.toBe(first.key)
    const { rows } = await pipeline.db.query(
      `select details from public.maintenance_log where operation_type = 'report' order by executed_at`,
    )
    expect(rows.map(({ details }) => details.key)).toEqual([first.key, second.key])
    expect(rows[0].details.url).toMatch(/^file:\/\/.*\.html/)
    const linked = await linkNewestReport(pipeline.context, new Date(TODAY * 1000))
    expect(linked).toMatchObject({ key: second.key, verdict: rows[1].details.verdict })
    expect(linked!.url_expires_at).toBe(new Date((TODAY + 7 * DAY) * 1000).toISOString())
    await pipeline.store.delete(second.key!)
    await expect(linkNewestReport(pipeline.context, NOW)).rejects.toMatchObject({ code: 'STORE_NOT_FOUND' })
  })

  it('waits for an hour after midnight, for data, and for chunks to be verified or to fail', async () => {
    expect((await run()).output).toEqual({ skipped: 'no data' })
    const deviceIds = await idsOf(1)
    await store(YESTERDAY.from, YESTERDAY.from + HOUR, deviceIds)
    expect((await run(new Date((TODAY + HOUR / 2) * 1000))).output).toEqual({ skipped: 'no data' })
    await pipeline.db.query('update public.storj_chunks set verified_at = null')
    expect((await run()).output).toEqual({ skipped: 'chunks not verified yet: 1' })
    await pipeline.db.query(`update public.storj_chunks set status = 'failed'`)
    const { key } = (await run()).output
    expect(Buffer.from(await pipeline.store.get(key!)).toString()).toContain('1 more chunk is not verified yet')
  })

  it('tells nobody but admins where the report is', async () => {
    const deviceIds = await idsOf(1)
    await store(YESTERDAY.from, YESTERDAY.from + HOUR, deviceIds)
    await run()
    const read = (userId: string) =>
      runAsUser(
        pipeline.db,
        userId,
        async () => (await pipeline.db.query('select * from public.maintenance_log')).rowCount,
      )
    expect(await read(pipeline.userId)).toBe(0)
    await pipeline.db.query(`update public.profiles set role = 'admin' where id = $1`, [pipeline.userId])
    expect(await read(pipeline.userId)).toBe(1)
  })
})
