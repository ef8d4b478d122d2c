import { createHash, randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EVENT_GRACE_SECONDS } from '../../db/events.ts'
import { runComputeEvent } from '../../jobs/compute-event.ts'
import type { JobContext } from '../../jobs/context.ts'
import { runPrune } from '../../jobs/prune.ts'
import { runTick } from '../../jobs/tick.ts'
import { controlSeries } from '../../pipeline/control.ts'
import { EVENT_METHOD_VERSION, eventTest, type EventResult, type Hypothesis, type Tail } from '../../pipeline/event.ts'
import { networkSums, networkTests } from '../../pipeline/network.ts'
import { addNetworkSums, type Profile } from '../../pipeline/network-buckets.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'

const HOUR = 3600
/** A whole hour, so long ago that the grace of what follows it is over. */
const BASE = Math.floor(Date.now() / 1000 / HOUR) * HOUR - 6 * HOUR
const signal = new AbortController().signal
const NOTHING = () => {}

let pipeline: TestPipeline
let checkpoint: JobContext['checkpoint'] = NOTHING
beforeEach(async () => {
  checkpoint = NOTHING
  pipeline = await openPipeline({ chunkTargetBytes: 1024 ** 2, checkpoint: (step) => checkpoint(step) })
})
afterEach(() => pipeline.close())

interface Declared {
  hypothesis?: Hypothesis
  tail?: Tail
  profile?: Profile
  deviceIds?: string[] | null
  withdrawn?: boolean
}

/** A row that was declared in time: only without its trigger can one be made whose window is over. */
async function declarePast(from: number, to: number, declared: Declared = {}): Promise<string> {
  const id = randomUUID()
  await pipeline.db.query('alter table public.coherence_events disable trigger declare_events')
  await pipeline.db.query(
    `insert into public.coherence_events
       (id, name, hypothesis, tail, profile, event_start, event_end, device_ids, control_seed, declared_at,
        declared_before_start, withdrawn_at)
     values ($1::uuid, $1::uuid::text, $2, $3, $4, to_timestamp($5), to_timestamp($6), $7, 'seed', to_timestamp($5 - 60), true,
       case when $8 then to_timestamp($5 - 30) end)`,
    [
      id,
      declared.hypothesis ?? 'pair',
      declared.tail ?? 'upper',
      declared.profile ?? 'all_bits',
      from,
      to,
      declared.deviceIds ?? null,
      declared.withdrawn ?? false,
    ],
  )
  await pipeline.db.query('alter table public.coherence_events enable trigger declare_events')
  return id
}

/** One sample a second of each device in [from, to), of bytes that `seriesOf` knows. */
function samplesOf(devices: readonly TestDevice[], from: number, to: number, seed = '') {
  return devices.flatMap((device) =>
    makeSamples(device, to - from, {
      start: from * 1000,
      sequence: BigInt(from),
      seed: `${seed}${device.deviceId}`,
    }),
  )
}

/** The trials of samples in [from, to), counted here by hand. */
function seriesOf(samples: ReturnType<typeof makeSamples>, from: number, to: number, bits = Infinity): DeviceSeries[] {
  return [...Map.groupBy(samples, ({ deviceId }) => deviceId)].map(([deviceId, own]) => {
    const series = { deviceId, bits: new Uint32Array(to - from), ones: new Uint32Array(to - from) }
    for (const { timestamp, data } of own) {
      const t = Math.floor((timestamp as Date).getTime() / 1000) - from
      if (t < 0 || t >= to - from) continue
      const taken = [...data]
        .map((byte) => byte.toString(2).padStart(8, '0'))
        .join('')
        .slice(0, Math.min(bits, 8 * data.length))
      series.bits[t] += taken.length
      series.ones[t] += taken.replaceAll('0', '').length
    }
    return series
  })
}

async function store(samples: Parameters<TestPipeline['insert']>[0]): Promise<void> {
  await pipeline.insert(samples)
  await pipeline.pack()
  await pipeline.drain()
}

const compute = async (id: string, context = pipeline.context) =>
  (await runComputeEvent(context, { data: { event_id: id }, signal })).output

const rowOf = async (id: string) =>
  (await pipeline.db.query('select * from public.coherence_events where id = $1', [id])).rows[0]

const resultOf = async (id: string) => (await rowOf(id)).result as EventResult

const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as unknown

describe('the result', () => {
  it('is that of exactly the seconds of the window, though it begins and ends within minutes', async () => {
    const devices = await pipeline.addDevices(3)
    const [from, to] = [BASE + 95, BASE + 341]
    const samples = samplesOf(devices, BASE, BASE + 600)
    await store(samples)
    const id = await declarePast(from, to)
    await compute(id)
    const row = await rowOf(id)
    const sums = networkSums(seriesOf(samples, from, to), from)
    expect(sums).toMatchObject({ seconds: 246, sum_n: 738, devices: 3, missing: 0 })
    const { pair } = networkTests(sums)
    const { rows: chunks } = await pipeline.db.query('select id, sha256, verified_at from public.storj_chunks')
    const hash = (lines: string[]) => createHash('sha256').update(lines.join('\n')).digest('hex')
    expect(row).toMatchObject({
      status: 'computed',
      method_version: EVENT_METHOD_VERSION,
      computed_at: expect.any(Date),
    })
    expect(row.result).toEqual({
      p: pair.status === 'ok' && pair.p_upper,
      statistic: pair.status === 'ok' && pair.z,
      tests: plain(networkTests(sums)),
      sums: plain(sums),
      normalization: 'theoretical',
      device_set_hash: hash(devices.map(({ deviceId }) => deviceId).toSorted()),
      control: expect.objectContaining({ seed: 'seed' }),
      chunks: 1,
      chunk_set_hash: hash([`${chunks[0].id} ${chunks[0].sha256}`]),
      last_verified_at: chunks[0].verified_at.toISOString(),
    })
  })

  it('of several hours adds them in their order, and counts devices and gaps over all', async () => {
    const [a, b, c, stuck] = await pipeline.addDevices(4)
    const [from, to] = [BASE + HOUR - 50, BASE + HOUR + 45]
    const samples = [
      ...samplesOf([a], from, to),
      ...samplesOf([b], from, BASE + HOUR),
      ...samplesOf([c], BASE + HOUR, to),
      ...samplesOf([stuck], from, to).map((sample) => ({ ...sample, data: new Uint8Array(64) })),
    ]
    await store(samples)
    const id = await declarePast(from, to)
    await compute(id)
    const parts = [
      networkSums(seriesOf(samples, from, BASE + HOUR), from),
      networkSums(seriesOf(samples, BASE + HOUR, to), BASE + HOUR),
    ]
    const { sums } = await resultOf(id)
    expect(sums).toEqual(plain({ ...addNetworkSums(parts), devices: 3, missing: 95 }))
    const whole = networkSums(seriesOf(samples, from, to), from)
    expect(whole).toMatchObject({ devices: 3, missing: 95, seconds: 95, failed: 95 })
    expect(sums.sum_c).toBeCloseTo(whole.sum_c, 9)
  })

  it('is of the declared devices and profile alone', async () => {
    const devices = await pipeline.addDevices(3)
    const samples = samplesOf(devices, BASE, BASE + 120)
    await store(samples)
    const two = devices.slice(1)
    const deviceIds = two.map(({ deviceId }) => deviceId)
    const id = await declarePast(BASE, BASE + 120, { deviceIds, profile: 'gcp200' })
    await compute(id)
    const own = samples.filter(({ deviceId }) => deviceIds.includes(deviceId))
    expect((await resultOf(id)).sums).toEqual(plain(networkSums(seriesOf(own, BASE, BASE + 120, 200), BASE)))
  })

  it('has the P-value of its hypothesis in its tail', async () => {
    const samples = samplesOf(await pipeline.addDevices(2), BASE, BASE + 60)
    await store(samples)
    const tests = networkTests(networkSums(seriesOf(samples, BASE, BASE + 60), BASE)) as unknown as {
      [name in Hypothesis]: Record<'z' | 'p' | 'chi2' | 'p_upper' | 'p_two', number>
    }
    const upperOf = ({ z, p }: { z: number; p: number }) => (z > 0 ? p / 2 : 1 - p / 2)
    const expected: [Hypothesis, Tail, number, number][] = [
      ['pair', 'upper', tests.pair.z, tests.pair.p_upper],
      ['pair', 'two_sided', tests.pair.z, tests.pair.p],
      ['netvar', 'upper', tests.netvar.chi2, tests.netvar.p_upper],
      ['netvar', 'two_sided', tests.netvar.chi2, tests.netvar.p_two],
      ['devvar', 'upper', tests.devvar.z, upperOf(tests.devvar)],
      ['devvar', 'two_sided', tests.devvar.z, tests.devvar.p],
      ['covar', 'upper', tests.covar.z, upperOf(tests.covar)],
      ['covar', 'two_sided', tests.covar.z, tests.covar.p],
    ]
    expect(new Set(expected.map(([, , , p]) => p.toFixed(6))).size).toBe(8)
    for (const [hypothesis, tail, statistic, p] of expected) {
      const id = await declarePast(BASE, BASE + 60, { hypothesis, tail })
      await compute(id)
      const result = await resultOf(id)
      expect(result.statistic, hypothesis).toBe(statistic)
      expect(result.p, `${hypothesis} ${tail}`).toBeCloseTo(p, 12)
    }
  })

  it('of a window in which too little came has no P-value, for good', async () => {
    const id = await declarePast(BASE, BASE + 60)
    await compute(id)
    expect(await resultOf(id)).toMatchObject({
      p: null,
      statistic: null,
      reason: '30 seconds with two devices needed',
      sums: { devices: 0, seconds: 0, missing: 0 },
      chunks: 0,
      last_verified_at: null,
    })
    await store(samplesOf(await pipeline.addDevices(2), BASE, BASE + 60))
    expect(await compute(id)).toEqual({ skipped: 'computed already, withdrawn, or gone' })
    expect((await resultOf(id)).p).toBeNull()
  })

  it('has a control that anybody can make again from its seed', async () => {
    const devices = await pipeline.addDevices(2)
    const samples = samplesOf(devices, BASE, BASE + 90).filter((_, i) => i % 7 !== 0)
    await store(samples)
    const id = await declarePast(BASE + 5, BASE + 90)
    await compute(id)
    const real = seriesOf(samples, BASE + 5, BASE + 90)
    const tests = networkTests(networkSums(controlSeries(real, { seed: 'seed', seconds: BASE + 5 }), BASE + 5))
    const { control, p } = await resultOf(id)
    expect(control).toEqual(plain({ ...control, tests, ...eventTest(tests, 'pair', 'upper') }))
    expect(control.p).not.toBe(p)
  })
})

describe('an event waits', () => {
  it('for its grace, then for nothing', async () => {
    const now = Math.floor(Date.now() / 1000)
    const ended = await declarePast(now - 120, now - 30)
    expect(await compute(ended)).toEqual({ waitsFor: [expect.stringMatching(/^late samples, until 20.*Z$/)] })
    const almost = await declarePast(now - HOUR, now - EVENT_GRACE_SECONDS + 300)
    expect(await compute(almost)).toMatchObject({ waitsFor: [expect.stringContaining('late samples')] })
    const over = await declarePast(now - 2 * HOUR, now - EVENT_GRACE_SECONDS - 1)
    expect(await compute(over)).toEqual({ p: null })
    const { rows } = await pipeline.db.query(
      `insert into public.coherence_events (name, hypothesis, event_start, event_end)
       values ('running', 'netvar', to_timestamp($1), to_timestamp($2)) returning id`,
      [now - 60, now + 600],
    )
    // As long as samples come anyway, those that nobody has claimed yet are not worth a word.
    await pipeline.insert(samplesOf(await pipeline.addDevices(1), now - 50, now - 40))
    expect(await compute(rows[0].id)).toEqual({ waitsFor: ['its window to end'] })
    expect((await runTick(pipeline.context)).sent).not.toContain('compute-event')
  })

  it('for every sample of the window to be claimed, and every chunk to be verified', async () => {
    const devices = await pipeline.addDevices(2)
    const id = await declarePast(BASE, BASE + 60)
    await pipeline.insert(samplesOf(devices, BASE - 10, BASE + 70))
    const steps: unknown[] = []
    const look = async () => {
      const { sent } = await runTick(pipeline.context)
      expect(sent).not.toContain('compute-event')
      steps.push(await compute(id))
    }
    await look()
    await pipeline.pack()
    await look()
    await pipeline.drain(['upload-chunk'])
    await look()
    await pipeline.db.query(`update public.storj_chunks set status = 'failed', last_error = 'the disk is full'`)
    await look()
    const { rows: chunks } = await pipeline.db.query(`update public.storj_chunks set status = 'uploaded' returning id`)
    const unverified = (state: string) => ({ waitsFor: [`chunk ${chunks[0].id}, which is not verified (${state})`] })
    expect(steps).toEqual([
      { waitsFor: ['120 samples that no chunk has claimed'] },
      unverified('pending'),
      unverified('uploaded'),
      unverified('failed: the disk is full'),
    ])
    expect((await rowOf(id)).status).toBe('declared')
    await pipeline.drain(['test-chunk'])
    expect((await runTick(pipeline.context)).sent).toContain('compute-event')
    // One job an event: the second tick finds it there.
    expect((await runTick(pipeline.context)).sent).toEqual([])
    const { completed } = await pipeline.drain(['compute-event'])
    expect(completed).toEqual({ 'compute-event': 1 })
    expect((await resultOf(id)).sums.seconds).toBe(60)
    expect((await runTick(pipeline.context)).sent).toEqual([])
  })

  it('for nothing that lies outside its window or is of other devices', async () => {
    const [a, b, other] = await pipeline.addDevices(3)
    await store(samplesOf([a, b], BASE, BASE + 60))
    await pipeline.insert([...samplesOf([other], BASE, BASE + 60), ...samplesOf([a], BASE + 60, BASE + 61)])
    await pipeline.insert(makeSamples(a, 1, { start: BASE * 1000 - 1, sequence: 1n }))
    const deviceIds = [a.deviceId, b.deviceId]
    const all = await declarePast(BASE, BASE + 60)
    const two = await declarePast(BASE, BASE + 60, { deviceIds })
    expect(await compute(all)).toEqual({ waitsFor: ['60 samples that no chunk has claimed'] })
    expect(await compute(two)).toEqual({ p: expect.any(Number) })
    await pipeline.pack()
    // In one chunk with a sample of one of them, which reaches from before the window to after it.
    const again = await declarePast(BASE, BASE + 60, { deviceIds })
    expect(await compute(again)).toMatchObject({ waitsFor: [expect.stringContaining('not verified')] })
    const third = await declarePast(BASE, BASE + 60, { deviceIds: [b.deviceId], hypothesis: 'netvar' })
    expect(await compute(third)).toEqual({ p: expect.any(Number) })
  })

  it('for no chunk that ends before it begins, or begins when it ends', async () => {
    const devices = await pipeline.addDevices(2)
    await store(samplesOf(devices, BASE, BASE + 60))
    for (const [from, to] of [
      [BASE - 10, BASE],
      [BASE + 60, BASE + 70],
    ]) {
      await pipeline.insert(samplesOf(devices, from, to))
      await pipeline.pack()
    }
    expect(await compute(await declarePast(BASE, BASE + 60))).toEqual({ p: expect.any(Number) })
    const longer = [await declarePast(BASE - 1, BASE + 60), await declarePast(BASE, BASE + 61)]
    for (const id of longer) {
      expect(await compute(id)).toEqual({ waitsFor: [expect.stringMatching(/^chunk .* not verified/)] })
    }
  })

  it('naming three chunks, and how many more', async () => {
    const [device] = await pipeline.addDevices(1)
    for (let i = 0; i < 5; i++) {
      await pipeline.insert(samplesOf([device], BASE + i, BASE + i + 1))
      await pipeline.pack()
    }
    const { waitsFor } = (await compute(await declarePast(BASE, BASE + 60))) as { waitsFor: string[] }
    expect(waitsFor).toHaveLength(4)
    expect(waitsFor[3]).toBe('and 2 more such chunks')
  })

  it('for nothing when it is withdrawn: it is not computed', async () => {
    const id = await declarePast(BASE, BASE + 60, { withdrawn: true })
    expect((await runTick(pipeline.context)).sent).not.toContain('compute-event')
    expect(await compute(id)).toEqual({ skipped: 'computed already, withdrawn, or gone' })
    expect((await rowOf(id)).status).toBe('declared')
  })

  it('for a person, when its computation was given up', async () => {
    const id = await declarePast(BASE, BASE + 60)
    expect((await runTick(pipeline.context)).sent).toContain('compute-event')
    checkpoint = (step) => {
      if (step === 'event: before commit') throw new Error('out of memory')
    }
    await pipeline.drain(['compute-event'])
    const { sent, deadLetters } = await runTick(pipeline.context)
    expect({ sent, deadLetters }).toEqual({ sent: [], deadLetters: 1 })
    expect((await rowOf(id)).status).toBe('declared')
  })
})

describe('an event is computed once', () => {
  it('and late samples change the network but not the event', async () => {
    const devices = await pipeline.addDevices(2)
    await store(samplesOf(devices, BASE, BASE + 60))
    const id = await declarePast(BASE, BASE + 60)
    await compute(id)
    const before = await rowOf(id)
    const hourOf = async () =>
      (
        await pipeline.db.query(
          `select sums from public.network_stats where profile = 'all_bits' and bucket_end - bucket_start = interval '1 hour'`,
        )
      ).rows
    const hours = await hourOf()
    const [late] = await pipeline.addDevices(1)
    await store(samplesOf([late], BASE, BASE + 60))
    expect(await hourOf()).not.toEqual(hours)
    expect(await compute(id)).toMatchObject({ skipped: expect.any(String) })
    await runTick(pipeline.context)
    await pipeline.drain()
    expect(await rowOf(id)).toEqual(before)
  })

  it('from one snapshot: what is proved while it computes has no part in it', async () => {
    const devices = await pipeline.addDevices(2)
    const samples = samplesOf(devices, BASE, BASE + 60)
    await store(samples)
    const id = await declarePast(BASE, BASE + 60)
    const [late] = await pipeline.addDevices(1)
    checkpoint = async (step) => {
      if (step !== 'event: snapshot') return
      checkpoint = NOTHING
      await store(samplesOf([late], BASE, BASE + 60))
    }
    await compute(id)
    expect(await resultOf(id)).toMatchObject({
      chunks: 1,
      sums: plain(networkSums(seriesOf(samples, BASE, BASE + 60), BASE)),
    })
  })

  it('and not at all from a snapshot that is no longer complete', async () => {
    const devices = await pipeline.addDevices(2)
    await store(samplesOf(devices, BASE, BASE + 60))
    const id = await declarePast(BASE, BASE + 60)
    checkpoint = async (step) => {
      if (step === 'event: restored') await pipeline.insert(samplesOf([devices[0]], BASE, BASE + 3, 'late'))
    }
    expect(await compute(id)).toEqual({ waitsFor: ['3 samples that no chunk has claimed'] })
    expect((await rowOf(id)).status).toBe('declared')
  })

  it('by one of two workers', async () => {
    await store(samplesOf(await pipeline.addDevices(2), BASE, BASE + 60))
    const id = await declarePast(BASE, BASE + 60)
    const other = await pipeline.openWorker()
    let second: unknown
    checkpoint = async (step) => {
      if (step === 'event: snapshot') second = await compute(id, other.context)
    }
    expect(await compute(id)).toEqual({ p: expect.any(Number) })
    expect(second).toEqual({ skipped: 'another worker computes it' })
  })

  it('also when the other has finished between looking and locking', async () => {
    await store(samplesOf(await pipeline.addDevices(2), BASE, BASE + 60))
    const id = await declarePast(BASE, BASE + 60)
    const other = await pipeline.openWorker()
    checkpoint = async (step) => {
      if (step === 'event: restored') await compute(id, other.context)
    }
    expect(await compute(id)).toMatchObject({ skipped: expect.any(String) })
    expect((await rowOf(id)).status).toBe('computed')
  })
})

describe('an event of a pruned day', () => {
  const OLD = BASE - 40 * 24 * HOUR

  it('is computed from the sidecars', async () => {
    const devices = await pipeline.addDevices(2)
    const samples = samplesOf(devices, OLD, OLD + 90)
    await store(samples)
    const job = { id: randomUUID(), name: 'prune' as const, data: {}, retryCount: 0, retryLimit: 0, signal }
    expect((await runPrune(pipeline.context, job)).output.evictedChunks).toBe(1)
    const { rows } = await pipeline.db.query('select count(*)::int as slices from public.chunk_slices')
    expect(rows).toEqual([{ slices: 0 }])
    const id = await declarePast(OLD + 5, OLD + 90)
    // Once more pruned in the middle: nothing is computed from what is left.
    checkpoint = async (step) => {
      if (step === 'event: restored') await runPrune({ ...pipeline.context, checkpoint: NOTHING }, job)
    }
    await expect(compute(id)).rejects.toMatchObject({ code: 'CHUNK_STALE_ATTEMPT' })
    checkpoint = NOTHING
    await compute(id)
    expect((await resultOf(id)).sums).toEqual(plain(networkSums(seriesOf(samples, OLD + 5, OLD + 90), OLD + 5)))
  })
})
