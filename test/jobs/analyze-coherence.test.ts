import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { COHERENCE_TEST_NAMES } from '../../jobs/analyze-coherence.ts'
import { coherencePairs } from '../../pipeline/coherence.ts'
import { controlSeries } from '../../pipeline/control.ts'
import { networkSums, networkTests } from '../../pipeline/network.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { countOnes } from '../../pipeline/bits.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

const START = Date.UTC(2026, 5, 1, 12)
const SECONDS = 660
let pipeline: TestPipeline
let devices: TestDevice[]
let series: DeviceSeries[]
beforeEach(async () => {
  pipeline = await openPipeline()
  devices = (await pipeline.addDevices(3)).toSorted((a, b) => (a.deviceId < b.deviceId ? -1 : 1))
  const samples = devices.map((device, i) => makeSamples(device, SECONDS, { start: START, bytes: 32, seed: String(i) }))
  // A third in chunks, the rest still rows.
  await pipeline.insert(samples.flatMap((ofDevice) => ofDevice.slice(0, 220)))
  await pipeline.pack()
  await pipeline.drain()
  await pipeline.insert(samples.flatMap((ofDevice) => ofDevice.slice(220)))
  series = samples.map((ofDevice, i) => ({
    deviceId: devices[i].deviceId,
    bits: new Uint32Array(SECONDS).fill(256),
    ones: Uint32Array.from(ofDevice, ({ data }) => countOnes(data)),
  }))
})
afterEach(() => pipeline.close())

interface Answer {
  status: string
  error_message: string | null
  results: { test_name: string; device_id: string | null; summary: object; metrics: Record<string, unknown> }[]
}

async function ask(tests: readonly string[], options: { parameters?: object; devices?: string[]; to?: number } = {}) {
  const { rows } = await pipeline.db.query<{ id: string }>(
    `insert into public.analysis_jobs (user_id, device_ids, time_range_start, time_range_end, test_names, parameters)
     values ($1, $2, $3, $4, $5, $6) returning id`,
    [
      pipeline.userId,
      options.devices ?? [],
      new Date(START).toISOString(),
      new Date(options.to ?? START + SECONDS * 1000).toISOString(),
      tests,
      JSON.stringify(options.parameters ?? {}),
    ],
  )
  await pipeline.drain(['run-analysis'])
  const { rows: jobs } = await pipeline.db.query(
    'select status, error_message from public.analysis_jobs where id = $1',
    [rows[0].id],
  )
  const { rows: results } = await pipeline.db.query(
    'select test_name, device_id, summary, metrics from public.analysis_results where job_id = $1 order by created_at, test_name',
    [rows[0].id],
  )
  return { ...jobs[0], results } as Answer
}

/** As jsonb gives it back. */
const json = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown

describe('an analysis job of coherence', () => {
  it('answers for the network from chunks and rows alike, with a control', async () => {
    const answer = await ask(['network'], { parameters: { coherence: { control_seed: '7' } } })
    const sums = networkSums(series, START / 1000)
    const control = controlSeries(series, { seed: '7', seconds: START / 1000 })
    expect(answer).toMatchObject({ status: 'completed', error_message: null })
    expect(answer.results).toMatchObject([
      {
        test_name: 'network',
        device_id: null,
        summary: json({ status: 'ok', seconds: SECONDS, devices: 3, missing: 0, ...networkTests(sums) }),
        metrics: json({
          sums,
          profile: 'all_bits',
          control: { seed: '7', ...networkTests(networkSums(control, START / 1000)) },
        }),
      },
    ])
  })

  it('answers for every pair, its bits too, beside tests of single devices', async () => {
    const answer = await ask(['frequency', ...COHERENCE_TEST_NAMES])
    expect(answer.status).toBe('completed')
    const byName = Map.groupBy(answer.results, ({ test_name: name }) => name)
    expect(byName.get('frequency')).toHaveLength(3)
    expect([...byName.keys()].toSorted()).toEqual(['frequency', ...COHERENCE_TEST_NAMES].toSorted())
    const { pairs } = coherencePairs(series)
    for (const [name, kind] of [
      ['pair_product', 'product'],
      ['pair_pearson', 'pearson'],
      ['pair_lag_scan', 'lag_scan'],
      ['pair_mutual_info', 'mutual_info'],
      ['pair_msc', 'msc'],
    ] as const) {
      const [result] = byName.get(name)!
      expect(result.summary).toMatchObject({ status: 'ok', pairs: 3, n_tests: 3 })
      const found = result.metrics.pairs as { device_a_id: string; device_b_id: string }[]
      expect(found).toHaveLength(3)
      for (const pair of pairs) {
        const same = found.find((one) => one.device_a_id === pair.device_a_id && one.device_b_id === pair.device_b_id)
        expect(same).toMatchObject(json(pair.tests[kind]) as object)
      }
    }
    const [xor] = byName.get('pair_xor_match')!
    expect(xor.summary).toMatchObject({ status: 'ok', n_tests: 3 })
    expect((xor.metrics.pairs as object[])[0]).toMatchObject({ n_bits: 256 * SECONDS, n_seconds: SECONDS })
  })

  it('takes 200 bits a second where profile gcp200 is asked for', async () => {
    const answer = await ask(['network'], { parameters: { coherence: { profile: 'gcp200' } } })
    const { sums } = answer.results[0].metrics as { sums: { sum_n: number; sum_z2_variance: number } }
    expect(sums.sum_n).toBe(3 * SECONDS)
    expect(sums.sum_z2_variance).toBeCloseTo(3 * SECONDS * (2 - 2 / 200), 6)
  })

  it('says what cannot be answered', async () => {
    expect(await ask(['pair_product'], { devices: [devices[0].deviceId] })).toMatchObject({
      status: 'completed',
      results: [{ summary: { status: 'insufficient', reason: 'it takes two devices with data', pairs: 0 } }],
    })
    const year = START + 366 * 86_400_000
    expect(await ask(['network'], { to: year })).toMatchObject({
      status: 'failed',
      error_message: expect.stringMatching(/Ask for a shorter range or fewer devices/),
    })
    expect(await ask(['pair_telepathy'])).toMatchObject({
      status: 'failed',
      error_message: expect.stringMatching(/No test is named "pair_telepathy".*pair_lag_scan/),
    })
    expect(await ask(['network'], { parameters: { coherence: { profile: 'all' } } })).toMatchObject({
      status: 'failed',
      error_message: expect.stringMatching(/profile/),
    })
    expect(await ask(['network'], { devices: [randomUUID()] })).toMatchObject({
      status: 'failed',
      error_message: expect.stringMatching(/not devices of yours/),
    })
  })
})
