import { tableFromIPC } from 'apache-arrow'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeChunk, encodeChunk } from '../../pipeline/chunk-format.ts'
import { isCoherenceError } from '../../pipeline/errors.ts'
import { decodeSlices, encodeSlices, type SliceRow } from '../../pipeline/slices-format.ts'
import { columnsOf } from './samples-arbitrary.ts'

const META = { chunkId: '0198c0de-0000-7000-8000-00000000000a', libraryVersion: '1.2.3' }

const row = fc.record({
  deviceId: fc.uuid(),
  sliceStart: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
  sampleCount: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  byteCount: fc.maxSafeNat(),
  ones: fc.maxSafeNat(),
  partial: fc.uint8Array({ maxLength: 50 }),
})
const rows = fc
  .uniqueArray(row, { maxLength: 30, selector: ({ deviceId, sliceStart }) => `${deviceId} ${sliceStart}` })
  .map((list) => list.toSorted(byDeviceThenSlice))

function byDeviceThenSlice(a: SliceRow, b: SliceRow): number {
  if (a.deviceId !== b.deviceId) return a.deviceId < b.deviceId ? -1 : 1
  return a.sliceStart - b.sliceStart
}

const two: SliceRow[] = [0, 60].map((sliceStart) => ({
  deviceId: META.chunkId,
  sliceStart,
  sampleCount: 60,
  byteCount: 15360,
  ones: 61440,
  partial: Uint8Array.of(1, 2, 3),
}))

/** What a decoder makes of it: 'read', or the error's code. */
function outcome(decode: () => unknown): string {
  try {
    decode()
    return 'read'
  } catch (error) {
    return isCoherenceError(error) ? error.code : String(error)
  }
}

test('slices come back exactly, and the same slices give the same bytes', () => {
  fc.assert(
    fc.property(rows, (list) => {
      const bytes = encodeSlices(list, META)
      expect(decodeSlices(bytes)).toEqual({ rows: list, meta: { ...META, formatVersion: 1, rows: list.length } })
      expect(encodeSlices(list, META)).toEqual(bytes)
    }),
  )
})

test('other software reads them', () => {
  const table = tableFromIPC(encodeSlices(two, META))
  expect(table.schema.fields.map((field) => `${field.name} ${field.type}`)).toEqual([
    'device_id Dictionary<Int32, FixedSizeBinary[16]>',
    'slice_start Timestamp<SECOND, UTC>',
    'sample_count Int32',
    'byte_count Int64',
    'ones Int64',
    'partial Binary',
  ])
  expect(table.getChild('slice_start')?.get(1)).toBe(60_000)
  expect(table.getChild('partial')?.get(1)).toEqual(Uint8Array.of(1, 2, 3))
})

test('rows out of order, there twice, or with broken numbers are refused', () => {
  expect(() => encodeSlices(two.toReversed(), META)).toThrow(/out of order/)
  expect(() => encodeSlices([two[0], two[0]], META)).toThrow(/there twice/)
  expect(() => encodeSlices([{ ...two[0], ones: 0.5 }], META)).toThrow(RangeError)
  expect(() => encodeSlices([{ ...two[0], sampleCount: 2 ** 31 }], META)).toThrow(RangeError)
})

test('truncated files and chunks are CHUNK_FORMAT, and a chunk reader refuses slices', () => {
  const bytes = encodeSlices(two, META)
  for (let length = 0; length < bytes.length; length++) {
    expect(outcome(() => decodeSlices(bytes.subarray(0, length)))).toBe('CHUNK_FORMAT')
  }
  expect(outcome(() => decodeChunk(bytes))).toBe('CHUNK_FORMAT')
  expect(outcome(() => decodeSlices(encodeChunk(columnsOf([]), META)))).toBe('CHUNK_FORMAT')
})
