import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { openSampleParser } from '../../db/copy-binary.ts'
import { type SampleColumns, sizeOfSamples } from '../../pipeline/samples.ts'
import { columnsOf, fixedRows, sampleRows, type Sample } from '../pipeline/samples-arbitrary.ts'

const POSTGRES_EPOCH_US = 946_684_800_000_000n

function field(bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeInt32BE(bytes.length)
  return Buffer.concat([length, bytes])
}

function bigEndian(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64BE(BigInt.asIntN(64, value))
  return bytes
}

/** As the server writes it (PostgreSQL documentation, COPY, Binary Format). */
function copyOf(samples: readonly Sample[], extension = 0): Buffer {
  const header = Buffer.alloc(19 + extension)
  header.write('PGCOPY\n\xff\r\n\0', 'latin1')
  header.writeInt32BE(extension, 15)
  const rows = samples.map((sample) => {
    const byteLength = Buffer.alloc(4)
    byteLength.writeInt32BE(sample.byteLength)
    const { id, deviceId, profileId, timestamp, sequence, data } = sample
    const values = [
      id,
      deviceId,
      profileId,
      bigEndian(timestamp - POSTGRES_EPOCH_US),
      bigEndian(sequence),
      byteLength,
      data,
    ]
    return Buffer.concat([Buffer.from([0, 7]), ...values.map(field)])
  })
  return Buffer.concat([header, ...rows, Buffer.from([0xff, 0xff])])
}

/** Parses the bytes, cut into pieces of these sizes in turn. Each piece is overwritten once it was taken, as a connection does. */
function parse(bytes: Buffer, sizes: readonly number[] = [65_536], expected = { rows: 1, bytes: 1 }): SampleColumns {
  // Memory that was used before, and is larger than need be.
  const memory = new Uint8Array(sizeOfSamples(expected.rows, expected.bytes) + 9).fill(0xa5)
  const parser = openSampleParser(expected, { memory })
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const piece = Buffer.from(bytes.subarray(at, at + sizes[i % sizes.length]))
    parser.push(piece)
    at += piece.length
    piece.fill(0xee)
  }
  return parser.end()
}

/** Timestamps that have room for the other epoch. */
const representable = (samples: readonly Sample[]) =>
  samples.map((sample) => ({ ...sample, timestamp: BigInt.asIntN(62, sample.timestamp) }))

const plain = (samples: SampleColumns) => ({ ...samples, data: Buffer.from(samples.data).toString('hex') })

describe('a binary COPY of samples', () => {
  it('is read whole, wherever it is cut, whatever was expected', () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 300 })), { minLength: 1 })
    const expected = fc.record({ rows: fc.nat(60), bytes: fc.nat(2000) })
    fc.assert(
      fc.property(sampleRows, sizes, expected, fc.nat(9), (rows, pieces, hint, extension) => {
        const samples = representable(rows)
        expect(plain(parse(copyOf(samples, extension), pieces, hint))).toEqual(plain(columnsOf(samples)))
      }),
      { numRuns: 300 },
    )
  })

  it('that is too much is refused before there is memory for it', () => {
    const samples = fixedRows(3000, 2).map((sample) => ({ ...sample, data: new Uint8Array(10) }))
    const told: number[] = []
    const parser = openSampleParser(
      { rows: 10, bytes: 100_000 },
      {
        admit: (rows, bytes) => {
          told.push(rows, bytes)
          if (rows > 2000) throw new RangeError('too much')
        },
      },
    )
    expect(() => parser.push(copyOf(samples))).toThrow(new RangeError('too much'))
    expect(told).toEqual([11, 110, 1025, 10_250, 2049, 20_490])
  })

  const [bytes] = fc
    .sample(
      sampleRows.filter((rows) => rows.length > 2),
      { numRuns: 1, seed: 1 },
    )
    .map((rows) => copyOf(representable(rows)))
  it.each([
    ['that breaks off', bytes.subarray(0, -5)],
    ['without its end', bytes.subarray(0, -2)],
    ['with bytes after its end', Buffer.concat([bytes, Buffer.from([0])])],
    ['with another signature', Buffer.concat([Buffer.from('X'), bytes.subarray(1)])],
    ['with another number of fields', Buffer.concat([bytes.subarray(0, 19), Buffer.from([0, 6]), bytes.subarray(21)])],
    ['of nothing', Buffer.alloc(0)],
  ])('%s is refused', (_, broken) => {
    for (const size of [1, 7, 65_536]) {
      expect(() => parse(broken, [size])).toThrow(expect.objectContaining({ code: 'CHUNK_FORMAT' }))
    }
  })
})
