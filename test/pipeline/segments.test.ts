import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type SampleColumns, uuidBytes } from '../../pipeline/samples.ts'
import { forEachContiguous, segmentByDevice } from '../../pipeline/segments.ts'

interface Row {
  device?: number
  profile?: number
  time: number
  sequence: number
  data?: number[]
  claimed?: number
}

const uuid = (kind: string, n: number) => `${kind.repeat(8)}-0000-4000-8000-${String(n).padStart(12, '0')}`

function columnsOf(rows: Row[]): SampleColumns {
  const payloads = rows.map((row) => row.data ?? [row.sequence & 0xff])
  const dataOffsets = new Int32Array(rows.length + 1)
  payloads.forEach((payload, i) => (dataOffsets[i + 1] = dataOffsets[i] + payload.length))
  const ids = (kind: string, pick: (row: Row) => number) =>
    Uint8Array.from(rows.flatMap((row) => [...uuidBytes(uuid(kind, pick(row)))]))
  return {
    rows: rows.length,
    id: new Uint8Array(16 * rows.length),
    deviceId: ids('d', (row) => row.device ?? 1),
    profileId: ids('a', (row) => row.profile ?? 1),
    timestamp: BigInt64Array.from(rows, (row) => BigInt(row.time)),
    sequence: BigInt64Array.from(rows, (row) => BigInt(row.sequence)),
    byteLength: Int32Array.from(rows, (row, i) => row.claimed ?? payloads[i].length),
    dataOffsets,
    data: Uint8Array.from(payloads.flat()),
  }
}

/** [first row, rows, bytes] of every segment of the first device. */
const outline = (rows: Row[]) =>
  segmentByDevice(columnsOf(rows))[0].segments.map((segment) => [segment.firstRow, segment.rows, [...segment.bytes]])

describe('segmentByDevice', () => {
  it('keeps consecutive sequence numbers together, without copying', () => {
    const samples = columnsOf([1, 2, 3].map((n) => ({ time: 10 * n, sequence: n, data: [n, n] })))
    const [device] = segmentByDevice(samples)
    expect(device).toMatchObject({ deviceId: uuid('d', 1), samples: 3, bytes: 6, gaps: 0, missing: 0, duplicates: 0 })
    expect(device.segments).toHaveLength(1)
    const [segment] = device.segments
    expect(segment).toMatchObject({
      profileId: uuid('a', 1),
      firstRow: 0,
      rows: 3,
      startTimestamp: 10n,
      endTimestamp: 30n,
    })
    expect(segment.bytes.buffer).toBe(samples.data.buffer)
    expect([...segment.bytes]).toEqual([1, 1, 2, 2, 3, 3])
  })

  it('breaks at a missing sequence number and counts how many are missing', () => {
    const rows = [1, 2, 5, 6, 8].map((n) => ({ time: n, sequence: n }))
    expect(outline(rows)).toEqual([
      [0, 2, [1, 2]],
      [2, 2, [5, 6]],
      [4, 1, [8]],
    ])
    expect(segmentByDevice(columnsOf(rows))[0]).toMatchObject({ gaps: 2, missing: 3, restarts: 0 })
  })

  it('breaks at a restart, which is no gap', () => {
    const rows = [7, 8, 0, 1, 1].map((sequence, time) => ({ time, sequence }))
    expect(outline(rows).map(([first]) => first)).toEqual([0, 2, 4])
    expect(segmentByDevice(columnsOf(rows))[0]).toMatchObject({ gaps: 0, missing: 0, restarts: 2 })
  })

  it('leaves duplicates out of every number, without a break', () => {
    const rows = [
      { time: 1, sequence: 1, data: [1] },
      { time: 2, sequence: 2, data: [2] },
      { time: 2, sequence: 2, data: [], claimed: 9 },
      { time: 2, sequence: 2, data: [99] },
      { time: 3, sequence: 3, data: [3] },
    ]
    expect(outline(rows)).toEqual([[0, 3, [1, 2, 3]]])
    const counts = { duplicates: 2, samples: 3, bytes: 3, gaps: 0, restarts: 0, emptySamples: 0, lengthMismatches: 0 }
    expect(segmentByDevice(columnsOf(rows))[0]).toMatchObject(counts)
  })

  it('orders equal timestamps by sequence', () => {
    expect(
      outline([
        { time: 5, sequence: 2 },
        { time: 5, sequence: 1 },
        { time: 6, sequence: 3 },
      ]),
    ).toEqual([[1, 3, [1, 2, 3]]])
  })

  it('keeps profiles apart, so that interleaved ones neither break nor join', () => {
    const rows = [
      { profile: 1, time: 1, sequence: 1 },
      { profile: 2, time: 1, sequence: 1, data: [201] },
      { profile: 1, time: 2, sequence: 2 },
      { profile: 2, time: 3, sequence: 3, data: [203] },
      { profile: 1, time: 3, sequence: 3 },
    ]
    expect(outline(rows)).toEqual([
      [0, 3, [1, 2, 3]],
      [1, 1, [201]],
      [3, 1, [203]],
    ])
    expect(segmentByDevice(columnsOf(rows))[0]).toMatchObject({ gaps: 1, missing: 1, duplicates: 0 })
  })

  it('does not break at an empty sample, and notices a wrong byte_length', () => {
    const rows = [
      { time: 1, sequence: 1 },
      { time: 2, sequence: 2, data: [] },
      { time: 3, sequence: 3, claimed: 4 },
    ]
    expect(outline(rows)).toEqual([[0, 3, [1, 3]]])
    expect(segmentByDevice(columnsOf(rows))[0]).toMatchObject({ emptySamples: 1, lengthMismatches: 1, samples: 3 })
  })

  it('answers for each device in order, and refuses a device in two places', () => {
    const rows = [
      { device: 2, time: 1, sequence: 1 },
      { device: 1, time: 0, sequence: 2 },
    ]
    expect(segmentByDevice(columnsOf(rows)).map((device) => [device.deviceId, device.gaps, device.samples])).toEqual([
      [uuid('d', 2), 0, 1],
      [uuid('d', 1), 0, 1],
    ])
    expect(() => segmentByDevice(columnsOf([...rows, rows[0]]))).toThrow(/d{8}.* not adjacent/)
    expect(segmentByDevice(columnsOf([]))).toEqual([])
  })

  it('takes sequence numbers beyond the doubles', () => {
    const samples = columnsOf([
      { time: 1, sequence: 0 },
      { time: 2, sequence: 0 },
    ])
    samples.sequence.set([2n ** 60n, 2n ** 60n + 2n])
    expect(segmentByDevice(samples)[0]).toMatchObject({ gaps: 1, missing: 1 })
  })
})

const anyRows = fc
  .array(
    fc.record({
      device: fc.nat(2),
      profile: fc.nat(1),
      time: fc.nat(6),
      sequence: fc.nat(8),
      data: fc.array(fc.nat(255), { maxLength: 3 }),
    }),
    {
      maxLength: 40,
    },
  )
  .map((rows) => rows.toSorted((a, b) => a.device - b.device || a.time - b.time || a.sequence - b.sequence))

describe('forEachContiguous', () => {
  it('visits every row once and agrees with segmentByDevice', () => {
    fc.assert(
      fc.property(anyRows, (rows) => {
        const samples = columnsOf(rows)
        const seen: number[] = []
        const lengths: number[] = []
        const steps = new Set<number>([1])
        let duplicates = 0
        forEachContiguous(samples, (row, isStart, isDuplicate, previous) => {
          seen.push(row)
          if (isStart) lengths.push(0)
          if (isDuplicate) duplicates++
          else lengths[lengths.length - 1]++
          if (!isStart && !isDuplicate) steps.add(rows[row].sequence - rows[previous].sequence)
        })
        expect(seen.toSorted((a, b) => a - b)).toEqual(rows.map((_, i) => i))
        expect([...steps]).toEqual([1])
        const devices = segmentByDevice(samples)
        expect(devices.flatMap((device) => device.segments.map((segment) => segment.rows))).toEqual(lengths)
        expect(devices.reduce((sum, device) => sum + device.duplicates, 0)).toBe(duplicates)
        for (const device of devices) {
          expect(device.bytes).toBe(device.segments.reduce((sum, segment) => sum + segment.bytes.length, 0))
          const series = new Set(device.segments.map((segment) => segment.profileId)).size
          expect(device.segments.length).toBe(device.gaps + device.restarts + series)
        }
      }),
    )
  })
})
