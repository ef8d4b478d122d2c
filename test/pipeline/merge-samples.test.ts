import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cutSamples, mergeSamples, sortSamples } from '../../pipeline/merge-samples.ts'
import { sampleData, type SampleColumns, sampleExtents, uuidAt } from '../../pipeline/samples.ts'
import { indexUuids } from '../../pipeline/uuid-dictionary.ts'
import { columnsOf, sampleRows } from './samples-arbitrary.ts'

const samplesArbitrary = fc.tuple(sampleRows, fc.nat(3)).map(([rows, lead]) => columnsOf(rows, lead))

/** Each row as text that sorts as rows of a chunk do: device, timestamp, sequence, id. */
function rowsOf(samples: SampleColumns): string[] {
  const sortable = (value: bigint) => String(value + 2n ** 63n).padStart(20, '0')
  return Array.from({ length: samples.rows }, (_, row) =>
    [
      uuidAt(samples.deviceId, row),
      sortable(samples.timestamp[row]),
      sortable(samples.sequence[row]),
      uuidAt(samples.id, row),
      uuidAt(samples.profileId, row),
      samples.byteLength[row],
      Buffer.from(sampleData(samples, row)).toString('hex'),
    ].join(' '),
  )
}

describe('samples', () => {
  it('are sorted as a chunk is, each whole', () => {
    fc.assert(
      fc.property(samplesArbitrary, (samples) => {
        expect(rowsOf(sortSamples(samples))).toEqual(rowsOf(samples).toSorted())
      }),
    )
  })

  it('that are sorted are left as they are', () => {
    fc.assert(
      fc.property(samplesArbitrary, (samples) => {
        const sorted = sortSamples(samples)
        expect(sortSamples(sorted)).toBe(sorted)
      }),
    )
  })

  it('have the same extents in any order', () => {
    const timely = sampleRows
      .filter((rows) => rows.length > 0)
      .map((rows) => rows.map((row) => ({ ...row, timestamp: BigInt.asIntN(52, row.timestamp) })))
    fc.assert(
      fc.property(timely, (rows) => {
        const samples = columnsOf(rows)
        const { from, to, deviceIds } = sampleExtents(samples)
        expect(sampleExtents(sortSamples(samples))).toEqual({ from, to, deviceIds })
        const ids = rows.map((_, row) => uuidAt(samples.deviceId, row))
        expect(deviceIds).toEqual([...new Set(ids)].toSorted())
        const times = rows.map(({ timestamp }) => timestamp).toSorted((a, b) => (a < b ? -1 : 1))
        const milliseconds = (time: bigint) => Number((time - (((time % 1000n) + 1000n) % 1000n)) / 1000n)
        expect([Date.parse(from), Date.parse(to)]).toEqual([milliseconds(times[0]), milliseconds(times.at(-1)!)])
      }),
    )
  })

  it('of several parts are merged', () => {
    fc.assert(
      fc.property(fc.array(samplesArbitrary, { minLength: 1, maxLength: 4 }), (parts) => {
        expect(rowsOf(mergeSamples(parts))).toEqual(parts.flatMap(rowsOf).toSorted())
      }),
    )
  })

  it('are cut into parts of so many rows and bytes, or of one row, without a loss', () => {
    fc.assert(
      fc.property(samplesArbitrary, fc.integer({ min: 1, max: 9 }), fc.nat(40), (samples, rows, bytes) => {
        const parts = [...cutSamples(samples, { rows, bytes })]
        expect(parts.flatMap(rowsOf)).toEqual(rowsOf(samples))
        for (const part of parts) {
          const payload = part.dataOffsets[part.rows] - part.dataOffsets[0]
          expect(part.rows === 1 || (part.rows <= rows && payload <= bytes)).toBe(true)
        }
      }),
    )
  })
})

describe('a dictionary of uuids', () => {
  it('has each once, in order of first appearance, however many there are', () => {
    const uuid = fc.uint8Array({ minLength: 16, maxLength: 16 })
    const column = fc
      .uniqueArray(uuid, { minLength: 1, maxLength: 300, selector: String })
      .chain((ids) => fc.array(fc.constantFrom(...ids), { maxLength: 600 }))
    fc.assert(
      fc.property(column, fc.nat(3), (ids, offset) => {
        // In the middle of a buffer, aligned or not.
        const bytes = Buffer.concat([Buffer.alloc(offset), ...ids])
        const { entries, positions } = indexUuids(new Uint8Array(bytes).subarray(offset))
        const names = ids.map((id) => Buffer.from(id).toString('hex'))
        const distinct = [...new Set(names)]
        expect(Buffer.from(entries).toString('hex')).toBe(distinct.join(''))
        expect([...positions]).toEqual(names.map((name) => distinct.indexOf(name)))
      }),
      { numRuns: 300 },
    )
  })
})
