import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeChunk, encodeChunk } from '../../pipeline/chunk-format.ts'
import { isCoherenceError } from '../../pipeline/errors.ts'
import { orderSamples, sortSamples } from '../../pipeline/merge-samples.ts'
import { uuidAt } from '../../pipeline/samples.ts'
import { columnsOf, fixedRows, sampleRows } from './samples-arbitrary.ts'

const META = { chunkId: '0198c0de-0000-7000-8000-00000000000a', libraryVersion: '1.2.3' }

/** Decodes, and if that works, holds the result against itself; the error's code if it does not. */
function outcome(bytes: Uint8Array): string {
  try {
    const { samples, meta } = decodeChunk(bytes)
    const { rows } = samples
    const lengths = [samples.id, samples.deviceId, samples.profileId].map((column) => column.length / 16)
    lengths.push(samples.timestamp.length, samples.sequence.length, samples.byteLength.length, meta.rows)
    const ends = samples.dataOffsets[0] === 0 && samples.dataOffsets[rows] === samples.data.length
    const consistent = ends && samples.dataOffsets.every((offset, row, all) => row === 0 || offset >= all[row - 1])
    return consistent && lengths.every((length) => length === rows) ? `${rows} rows` : 'inconsistent'
  } catch (error) {
    return isCoherenceError(error) ? error.code : String(error)
  }
}

describe('a chunk', () => {
  test('comes back exactly, every column, whatever the rows', () => {
    fc.assert(
      fc.property(sampleRows, fc.nat(9), (rows, lead) => {
        const { samples, meta } = decodeChunk(encodeChunk(columnsOf(rows, lead), META))
        expect(samples).toEqual(columnsOf(rows))
        expect(meta).toEqual({ ...META, formatVersion: 1, bitOrder: 'msb', rows: rows.length })
      }),
      { numRuns: 300 },
    )
  })

  test('comes back with two thousand devices', () => {
    const samples = columnsOf(fixedRows(6000, 2000))
    expect(decodeChunk(encodeChunk(samples, META)).samples).toEqual(samples)
  })

  test('comes back with no rows', () => {
    const { samples, meta } = decodeChunk(encodeChunk(columnsOf([]), META))
    expect(samples).toEqual(columnsOf([]))
    expect(meta.rows).toBe(0)
  })

  test('comes back when columns share their memory', () => {
    const shared = BigInt64Array.of(7n, 8n)
    const samples = { ...columnsOf(fixedRows(2, 1)), timestamp: shared, sequence: shared }
    expect(decodeChunk(encodeChunk(samples, META)).samples).toEqual(samples)
  })

  test('is decoded at any alignment of the file in memory', () => {
    const bytes = encodeChunk(columnsOf(fixedRows(20, 3)), META)
    for (let shift = 1; shift < 8; shift++) {
      const shifted = new Uint8Array(bytes.length + shift).subarray(shift)
      shifted.set(bytes)
      expect(decodeChunk(shifted).samples).toEqual(columnsOf(fixedRows(20, 3)))
    }
  })

  test('has the same bytes for the same input', () => {
    fc.assert(
      fc.property(sampleRows, (rows) => {
        expect(encodeChunk(columnsOf(rows, 3), META)).toEqual(encodeChunk(columnsOf(rows), META))
      }),
      { numRuns: 50 },
    )
  })

  test('has the bytes of the sorted samples when it is written in their order, into memory that was used before', () => {
    const allocate = (bytes: number) => new Uint8Array(bytes + 8).fill(0xa5).subarray(8)
    fc.assert(
      fc.property(sampleRows, fc.nat(3), (rows, lead) => {
        const samples = columnsOf(rows, lead)
        const file = encodeChunk(samples, META, { order: orderSamples(samples), allocate })
        expect(Buffer.from(file).equals(encodeChunk(sortSamples(samples), META))).toBe(true)
      }),
      { numRuns: 300 },
    )
  })

  test('is refused with a RangeError when its columns do not fit together', () => {
    const samples = columnsOf(fixedRows(4, 1))
    const wrong = [
      { rows: 3 },
      { id: samples.id.subarray(16) },
      { timestamp: samples.timestamp.subarray(1) },
      { dataOffsets: Int32Array.of(0, 2, 1, 3, 6) },
      { dataOffsets: Int32Array.of(-1, 2, 2, 3, 6) },
      { dataOffsets: Int32Array.of(0, 2, 2, 3, 7) },
    ]
    for (const change of wrong) expect(() => encodeChunk({ ...samples, ...change }, META)).toThrow(RangeError)
    expect(() => encodeChunk(samples, { ...META, chunkId: META.chunkId.toUpperCase() })).toThrow(RangeError)
    expect(() => encodeChunk(samples, META, { order: Uint32Array.of(0, 1, 2) })).toThrow(RangeError)
    // Only a view of address space: nothing touches these pages.
    const data = new Uint8Array(2 ** 31)
    expect(() => encodeChunk({ ...samples, data }, META)).toThrow(/2 GiB/)
  })
})

describe('bytes that are not a chunk', () => {
  const small = encodeChunk(columnsOf(fixedRows(9, 2)), META)

  test('random bytes are CHUNK_FORMAT', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const dressed = Buffer.concat([Buffer.from('ARROW1\0\0'), bytes, Buffer.from('ARROW1')])
        expect([outcome(bytes), outcome(dressed)]).toEqual(['CHUNK_FORMAT', 'CHUNK_FORMAT'])
      }),
      { numRuns: 2000 },
    )
  })

  test('every truncation is CHUNK_FORMAT, and so is anything appended', () => {
    for (let length = 0; length < small.length; length++)
      expect(outcome(small.subarray(0, length))).toBe('CHUNK_FORMAT')
    expect(outcome(Buffer.concat([small, Buffer.alloc(8)]))).toBe('CHUNK_FORMAT')
  })

  test('every flipped bit gives CHUNK_FORMAT or as many rows as before', () => {
    const seen = new Map<string, number>()
    for (let bit = 0; bit < 8 * small.length; bit++) {
      const damaged = small.slice()
      damaged[bit >> 3] ^= 1 << (bit & 7)
      const result = outcome(damaged)
      seen.set(result, (seen.get(result) ?? 0) + 1)
    }
    expect([...seen.keys()].toSorted()).toEqual(['9 rows', 'CHUNK_FORMAT'])
    expect(seen.get('CHUNK_FORMAT')).toBeGreaterThan(1000)
  })

  test('many damaged bytes at once never do anything else', () => {
    const places = fc.array(fc.tuple(fc.nat(small.length - 1), fc.integer({ min: 0, max: 255 })), { maxLength: 12 })
    fc.assert(
      fc.property(places, (changes) => {
        const damaged = small.slice()
        for (const [at, value] of changes) damaged[at] = value
        expect(['9 rows', 'CHUNK_FORMAT']).toContain(outcome(damaged))
      }),
      { numRuns: 3000 },
    )
  })

  test('the error says what is wrong', () => {
    expect(() => decodeChunk(small.subarray(0, 100))).toThrow(/ARROW1 \(cut short\?\)/)
    expect(() => decodeChunk(new Uint8Array(0))).toThrow(/0 bytes/)
    expect(uuidAt(decodeChunk(small).samples.deviceId, 0)).toBe('00000000-0000-0000-0000-000000000000')
  })
})
