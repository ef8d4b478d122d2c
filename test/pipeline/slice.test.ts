import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type SampleColumns, sampleData, uuidAt, uuidBytes } from '../../pipeline/samples.ts'
import { decodePartial, encodePartial } from '../../pipeline/slice-codec.ts'
import { emptyPartial, mergePartials, SLICE_LAGS, type SlicePartial, slicePartials } from '../../pipeline/slice.ts'
import { aesStream } from '../fixtures/streams.ts'
import { columnsOf, type Sample } from './samples-arbitrary.ts'

const DEVICES = ['00000000-0000-4000-8000-00000000000a', 'f0000000-0000-4000-8000-000000000001']
const MINUTE = 60_000_000n

function sample(device: string, profile: number, timestamp: bigint, sequence: bigint, data: Uint8Array): Sample {
  const profileId = new Uint8Array(16).fill(profile)
  const ids = { id: new Uint8Array(16), deviceId: uuidBytes(device), profileId }
  return { ...ids, timestamp, sequence, byteLength: data.length, data }
}

/** A device that sends `size` bytes every second, all of it one segment. */
function steadyDevice(device: string, size: number, seconds: number, start = 1_763_670_000): Sample[] {
  const bytes = aesStream(`slice ${device} ${size}`, size * seconds)
  return Array.from({ length: seconds }, (_, t) =>
    sample(device, 1, BigInt(start + t) * 1_000_000n, BigInt(t), bytes.subarray(size * t, size * (t + 1))),
  )
}

/** Rows of up to two devices around a minute before 1970: gaps, restarts, duplicates, two profiles, empty payloads. */
const deviceRows = (device: string): fc.Arbitrary<Sample[]> =>
  fc
    .array(
      fc.record({
        wait: fc.constantFrom(0n, 1n, 400_000n, 1_000_000n, 59_000_000n),
        step: fc.constantFrom(0n, 1n, 1n, 1n, 1n, 2n, -3n),
        profile: fc.constantFrom(1, 1, 1, 2),
        data: fc.uint8Array({ maxLength: 9 }),
      }),
      { maxLength: 25 },
    )
    .map((steps) => {
      let timestamp = -2n * MINUTE - 3n
      const sequence = [0n, 0n, 0n]
      return steps.map(({ wait, step, profile, data }) => {
        timestamp += wait
        sequence[profile] += step
        return sample(device, profile, timestamp, sequence[profile], data)
      })
    })
    .map((rows) => rows.toSorted((a, b) => Number(a.timestamp - b.timestamp) || Number(a.sequence - b.sequence)))
const chunks = fc
  .tuple(deviceRows(DEVICES[1]), deviceRows(DEVICES[0]))
  .chain(([a, b]) => fc.nat(5).map((lead) => columnsOf([...a, ...b], lead)))

const bySlice = (a: SlicePartial, b: SlicePartial) =>
  a.deviceId === b.deviceId ? a.sliceStart - b.sliceStart : a.deviceId < b.deviceId ? -1 : 1

/** What does not depend on how the rows were cut into chunks. */
const additive = ({ samples, bytes, ones, gaps, histogram, secondBits, secondOnes }: SlicePartial) => {
  return { samples, bytes, ones, gaps, histogram, secondBits, secondOnes }
}

const roundTrip = (slice: SlicePartial) => decodePartial(encodePartial(slice), slice.deviceId, slice.sliceStart)

/** [sliceStart, second] that a sample of this timestamp goes to. */
function placeOf(timestamp: bigint): [number, number] {
  const [slice] = slicePartials(columnsOf([sample(DEVICES[0], 1, timestamp, 0n, Uint8Array.of(1))]))
  return [slice.sliceStart, slice.secondBits.indexOf(8)]
}

/** Undefined if the damage shows; otherwise what was read. */
function readDamaged(encoded: Uint8Array): SlicePartial | undefined {
  try {
    return decodePartial(encoded, 'a', 0)
  } catch (error) {
    if (error instanceof RangeError) return undefined
    throw error
  }
}

/** The definition, bit by bit: one list of bits per segment, and every pair looked at on its own. */
function naivePartials(samples: SampleColumns): SlicePartial[] {
  const slices = new Map<string, SlicePartial>()
  const last = new Map<string, { row: number; bits: number[] }>()
  const trials = new Map<string, { stream: string; slice: SlicePartial; at: number; payload: Uint8Array }[]>()
  for (let row = 0; row < samples.rows; row++) {
    const deviceId = uuidAt(samples.deviceId, row)
    const second = Number((samples.timestamp[row] + 1000n * MINUTE) / 1_000_000n) - 60_000
    const start = second - ((second + 60_000) % 60)
    const slice = slices.get(`${deviceId}${start}`) ?? emptyPartial(deviceId, start)
    slices.set(`${deviceId}${start}`, slice)
    const stream = `${deviceId} ${uuidAt(samples.profileId, row)}`
    const before = last.get(stream)
    const step = before && samples.sequence[row] - samples.sequence[before.row]
    if (before && step === 0n && samples.timestamp[row] === samples.timestamp[before.row]) {
      slice.duplicates++
      continue
    }
    const bits = before && step === 1n ? before.bits : []
    last.set(stream, { row, bits })
    slice.samples++
    if (step !== undefined && step > 1n) slice.gaps++
    const payload = sampleData(samples, row)
    const key = `${deviceId} ${second}`
    if (payload.length > 0)
      trials.set(key, [...(trials.get(key) ?? []), { stream, slice, at: second - start, payload }])
    for (const byte of sampleData(samples, row)) {
      slice.bytes++
      slice.histogram[byte]++
      for (let place = 7; place >= 0; place--) {
        const bit = (byte >> place) & 1
        slice.ones += bit
        slice.secondBits[second - start]++
        slice.secondOnes[second - start] += bit
        SLICE_LAGS.forEach((lag, i) => {
          if (bits.length < lag) return
          slice.lagPairs[i]++
          if (bits[bits.length - lag] === bit) slice.lagAgreements[i]++
          else if (lag === 1) slice.transitions++
        })
        bits.push(bit)
      }
    }
    slice.pairs = slice.lagPairs[0]
  }
  for (const parts of trials.values()) {
    const bits = parts.flatMap(({ payload }) =>
      [...payload].flatMap((byte) => byte.toString(2).padStart(8, '0').split('')),
    )
    if (new Set(parts.map(({ stream }) => stream)).size > 1 || bits.length < 200) continue
    parts[0].slice.gcpTrials[parts[0].at] = 1 + bits.slice(0, 200).filter((bit) => bit === '1').length
  }
  return [...slices.values()].toSorted(bySlice)
}

describe('slicePartials', () => {
  it('counts what a count bit by bit does, across sample boundaries, gaps, profiles and minutes', () => {
    fc.assert(
      fc.property(chunks, (samples) => {
        expect(slicePartials(samples)).toEqual(naivePartials(samples))
      }),
      { numRuns: 500, seed: 1 },
    )
  })

  it('does not take joined bytes for their neighbours in the data, in a file whose rows are out of order', () => {
    const bytes = aesStream('out of order', 15)
    const row = (profile: number, time: bigint, from: number, to: number) =>
      sample(DEVICES[0], profile, time, time, bytes.subarray(from, to))
    // In order of time the first profile's payloads lie at 8, 11 and 6: 6 is also the length of the first two together.
    const rows = [row(2, 9n, 0, 6), row(1, 3n, 6, 8), row(1, 1n, 8, 10), row(2, 8n, 10, 11), row(1, 2n, 11, 15)]
    const sorted = rows.toSorted((a, b) => Number(a.timestamp - b.timestamp))
    expect(slicePartials(columnsOf(rows))).toEqual(naivePartials(columnsOf(sorted)))
  })

  it('finds the pairs at lag 32 among samples of one byte', () => {
    const rows = Array.from({ length: 6 }, (_, i) => sample(DEVICES[0], 1, BigInt(i), BigInt(i), Uint8Array.of(0xf0)))
    const [slice] = slicePartials(columnsOf(rows))
    expect(slice.lagPairs).toEqual([47, 46, 45, 44, 40, 32, 16])
    // 11110000 repeated: bits 4 apart never agree, bits 8, 16 and 32 apart always do.
    expect(slice.lagAgreements.slice(3)).toEqual([0, 40, 32, 16])
    expect(slice.transitions).toBe(11)
  })

  it('gives a sample to the second and minute it falls in, on both sides of 1970 and past the year 2255', () => {
    expect(placeOf(0n)).toEqual([0, 0])
    expect(placeOf(-1n)).toEqual([-60, 59])
    expect(placeOf(-60_000_000n)).toEqual([-60, 0])
    expect(placeOf(-60_000_001n)).toEqual([-120, 59])
    expect(placeOf(59_999_999n)).toEqual([0, 59])
    const late = 60n * 10n ** 12n * 10n
    expect(placeOf(late - 1n)).toEqual([600_000_000 - 60, 59])
    expect(placeOf(9_007_199_280_000_000n - 1n)).toEqual([9_007_199_220, 59])
    expect(placeOf(-9_007_199_280_000_000n - 1n)).toEqual([-9_007_199_340, 59])
  })

  it('sorts by device, then minute', () => {
    const rows = [...steadyDevice(DEVICES[1], 4, 130), ...steadyDevice(DEVICES[0], 4, 130)]
    const keys = slicePartials(columnsOf(rows)).map(({ deviceId, sliceStart }) => [deviceId, sliceStart])
    const starts = [1_763_670_000, 1_763_670_060, 1_763_670_120]
    expect(keys).toEqual(DEVICES.flatMap((device) => starts.map((start) => [device, start])))
  })
})

describe('mergePartials', () => {
  const rows = steadyDevice(DEVICES[0], 32, 3600)
  const whole = slicePartials(columnsOf(rows))
  const start = whole[0].sliceStart
  const hour = mergePartials(whole, start, start + 3600)

  it('makes of the minutes the whole hour, no pair lost between them', () => {
    expect(whole).toHaveLength(60)
    expect(hour).toMatchObject({ samples: 3600, bytes: 115_200, pairs: 8 * 115_200 - 1, gaps: 0 })
    expect(hour.lagPairs).toEqual(SLICE_LAGS.map((lag) => 8 * 115_200 - lag))
    expect([...hour.secondBits]).toEqual(Array.from({ length: 3600 }, () => 256))
    expect([...hour.secondOnes]).toEqual(whole.flatMap(({ secondOnes }) => [...secondOnes]))
    expect(hour.ones).toBe(whole.reduce((ones, slice) => ones + slice.ones, 0))
  })

  it('does not care how rows were cut into chunks, but for the pairs across the cut', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 3599 }), (cut) => {
        const parts = [rows.slice(cut), rows.slice(0, cut)].flatMap((part) => slicePartials(columnsOf(part)))
        const merged = mergePartials(parts, start, start + 3600)
        const lost = merged.lagPairs.map((pairs, i) => hour.lagPairs[i] - pairs)
        expect(lost).toEqual(SLICE_LAGS)
        merged.lagAgreements.forEach((count, i) => {
          expect(hour.lagAgreements[i] - count).toBeGreaterThanOrEqual(0)
          expect(hour.lagAgreements[i] - count).toBeLessThanOrEqual(SLICE_LAGS[i])
        })
        expect(additive(merged)).toEqual(additive(hour))
      }),
      { numRuns: 30, seed: 2 },
    )
  })

  it('is the same in any order and merges merged ones', () => {
    expect(mergePartials(whole.toReversed(), start, start + 3600)).toEqual(hour)
    const halves = [0, 30].map((i) => {
      const from = start + 60 * i
      return mergePartials(whole.slice(i, i + 30), from, from + 1800)
    })
    expect(mergePartials(halves, start, start + 3600)).toEqual(hour)
  })

  it('refuses nothing at all, strangers, slices outside the bucket and counts past 32 bits', () => {
    expect(() => mergePartials([], 0, 60)).toThrow(/no slice partials/)
    expect(() => mergePartials([emptyPartial('a', 0), emptyPartial('b', 0)], 0, 60)).toThrow(/devices a and b/)
    expect(() => mergePartials([emptyPartial('a', 60)], 0, 60)).toThrow(/outside the bucket/)
    expect(() => mergePartials([emptyPartial('a', -60)], 0, 60)).toThrow(/outside the bucket/)
    const full = emptyPartial('a', 0)
    full.histogram[0] = 2 ** 31
    expect(() => mergePartials([full, full], 0, 60)).toThrow(/32 bits/)
  })
})

describe('encodePartial and decodePartial', () => {
  it('give back every partial', () => {
    fc.assert(
      fc.property(chunks, (samples) => {
        for (const slice of slicePartials(samples)) expect(roundTrip(slice)).toEqual(slice)
      }),
      { numRuns: 300, seed: 3 },
    )
  })

  it('give back extremes: nothing, an hour, one byte value only, counts near 2^32, lone outliers', () => {
    const rows = steadyDevice(DEVICES[0], 32, 3600)
    const hour = mergePartials(slicePartials(columnsOf(rows)), 1_763_670_000, 1_763_673_600)
    const stuck = emptyPartial('a', 0)
    Object.assign(stuck, { samples: 3, bytes: 2 ** 32 - 8, ones: 8 * (2 ** 32 - 8), duplicates: 2 ** 40, gaps: 1 })
    stuck.histogram[255] = 2 ** 32 - 8
    stuck.secondBits.fill(2 ** 32 - 8, 7, 15)
    stuck.secondOnes.fill(2 ** 32 - 8, 7, 15)
    SLICE_LAGS.forEach((lag, i) => (stuck.lagPairs[i] = stuck.lagAgreements[i] = 8 * stuck.bytes - lag))
    stuck.pairs = stuck.lagPairs[0]
    for (const slice of [emptyPartial('a', 0), hour, stuck]) expect(roundTrip(slice)).toEqual(slice)
  })

  it.each([
    [32, 215],
    [256, 285],
    [4096, 365],
  ])('a minute of %i B/s takes at most %i bytes', (size, limit) => {
    const [slice] = slicePartials(columnsOf(steadyDevice(DEVICES[0], size, 60)))
    expect(encodePartial(slice).length).toBeLessThanOrEqual(limit)
  })

  it('reads format 1, which had no trials of profile gcp200', () => {
    const rows = columnsOf(steadyDevice(DEVICES[0], 32, 3))
    const [slice] = slicePartials(rows)
    expect(slice.gcpTrials.filter((trial) => trial > 0)).toHaveLength(3)
    const hex =
      '011bc0b1f000003f93540eb439980319800c1ecd879b36306c18cc7bc0660c1b0c0c1800630cc66ccf6c33cd8300cccf303ccf00ccc61b6cdb78c1b330ccd98366003cd8186c626000db000000000000000788e8'
    const read = decodePartial(Uint8Array.from(Buffer.from(hex, 'hex')), slice.deviceId, slice.sliceStart)
    expect(read).toEqual({ ...slice, gcpTrials: new Uint8Array(60) })
  })

  it('a trial of profile gcp200 is lost where two chunks have samples of its second, whichever comes first', () => {
    const [first, second, later] = steadyDevice(DEVICES[0], 32, 3).map((row) => slicePartials(columnsOf([row]))[0])
    const again = { ...second, secondBits: first.secondBits, secondOnes: first.secondOnes, gcpTrials: first.gcpTrials }
    expect(later.gcpTrials[2]).toBeGreaterThan(0)
    for (const parts of [
      [first, again, later],
      [again, later, first],
      [later, first, again, again],
    ]) {
      const merged = mergePartials(parts, first.sliceStart, first.sliceStart + 60)
      expect([...merged.gcpTrials.subarray(0, 3)]).toEqual([0, 0, later.gcpTrials[2]])
    }
  })

  it('refuses other versions, damaged bytes and counts that contradict each other', () => {
    const [slice] = slicePartials(columnsOf(steadyDevice(DEVICES[0], 32, 60)))
    const encoded = encodePartial(slice)
    expect(encoded[0]).toBe(2)
    expect(() => decodePartial(encoded.with(0, 9), 'a', 0)).toThrow(/format 9/)
    expect(() => decodePartial(encoded.subarray(0, -2), 'a', 0)).toThrow(RangeError)
    expect(() => decodePartial(new Uint8Array(0), 'a', 0)).toThrow(RangeError)
    expect(() => encodePartial({ ...slice, ones: slice.ones + 1 })).toThrow(/contradict/)
    // Any flipped bit: a RangeError, or counts that are consistent (no checksum: the object's hash is above this).
    for (let bit = 8; bit < 8 * encoded.length; bit++) {
      const read = readDamaged(encoded.with(bit >> 3, encoded[bit >> 3] ^ (0x80 >> (bit & 7))))
      if (read) encodePartial(read)
    }
  })
})
