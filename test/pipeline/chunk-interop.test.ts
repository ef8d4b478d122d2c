import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Data,
  Dictionary,
  Field,
  FixedSizeBinary,
  Int32,
  Int64,
  makeData,
  RecordBatch,
  RecordBatchFileWriter,
  RecordBatchReader,
  Schema,
  Struct,
  type Table,
  tableFromIPC,
  Vector,
} from 'apache-arrow'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodeChunk, encodeChunk } from '../../pipeline/chunk-format.ts'
import { sampleData, type SampleColumns } from '../../pipeline/samples.ts'
import { columnsOf, fixedRows } from './samples-arbitrary.ts'

const META = { chunkId: '0198c0de-0000-7000-8000-00000000000a', libraryVersion: '1.2.3' }
const polars: typeof import('nodejs-polars') = createRequire(import.meta.url)('nodejs-polars')

const rows = fixedRows(60, 4)
rows[1].timestamp = -1n
rows[2].timestamp = -62_135_596_800_000_000n
rows[3].sequence = 2n ** 63n - 1n
rows[4].sequence = -(2n ** 63n)
rows[5].data = new Uint8Array(3000).fill(0xa5)
const samples = columnsOf(rows)
const chunk = encodeChunk(samples, META)

type Row = Record<string, unknown>

function hex(bytes: unknown): string {
  if (!(bytes instanceof Uint8Array)) throw new TypeError(`not bytes: ${String(bytes)}`)
  return Buffer.from(bytes).toString('hex')
}

function expectedRows(columns: SampleColumns): Row[] {
  return Array.from({ length: columns.rows }, (_, row) => ({
    id: hex(columns.id.subarray(16 * row, 16 * row + 16)),
    device_id: hex(columns.deviceId.subarray(16 * row, 16 * row + 16)),
    profile_id: hex(columns.profileId.subarray(16 * row, 16 * row + 16)),
    timestamp: columns.timestamp[row],
    sequence: columns.sequence[row],
    byte_length: columns.byteLength[row],
    sample_data: hex(sampleData(columns, row)),
  }))
}

/** The rows of an Arrow file as apache-arrow reads them; timestamps as the raw int64, which its own getter makes a float. */
function arrowRows(table: Table): Row[] {
  const binary = (name: string): string[] => Array.from(table.getChild(name)!, hex)
  const raw = (name: string): bigint[] =>
    table.getChild(name)!.data.flatMap((data) => {
      const values: BigInt64Array = data.values
      return [...values.subarray(0, data.length)]
    })
  const [id, device, profile, payload] = ['id', 'device_id', 'profile_id', 'sample_data'].map(binary)
  const timestamp = raw('timestamp')
  const sequence = raw('sequence')
  return id.map((_, row) => ({
    id: id[row],
    device_id: device[row],
    profile_id: profile[row],
    timestamp: timestamp[row],
    sequence: sequence[row],
    byte_length: table.getChild('byte_length')!.get(row) as unknown,
    sample_data: payload[row],
  }))
}

function write(batches: RecordBatch[]): Uint8Array {
  const writer = new RecordBatchFileWriter()
  for (const batch of batches) writer.write(batch)
  return writer.finish().toUint8Array(true)
}

describe('other software', () => {
  let folder = ''
  beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'chunk-interop-'))))
  afterAll(() => rmSync(folder, { recursive: true }))

  test('polars finds the same rows in every column', () => {
    // It takes a path only if it ends in .ipc, and gives out binary columns only as a file of its own.
    const path = join(folder, 'chunk.ipc')
    writeFileSync(path, chunk)
    const frame = polars.readIPC(path)
    expect(frame.height).toBe(60)
    expect(arrowRows(tableFromIPC(frame.writeIPC()))).toEqual(expectedRows(samples))
    const micros = frame.select(polars.col('timestamp').cast(polars.Int64)).toRecords()
    expect(micros.map((record) => record.timestamp)).toEqual(Array.from(samples.timestamp, Number))
  })

  test('polars opens a chunk without rows', () => {
    const path = join(folder, 'empty.ipc')
    writeFileSync(path, encodeChunk(columnsOf([]), META))
    expect(polars.readIPC(path).shape).toEqual({ height: 0, width: 7 })
  })

  test('apache-arrow finds the same rows, one batch a device, and the metadata', () => {
    const table = tableFromIPC(chunk)
    expect(arrowRows(table)).toEqual(expectedRows(samples))
    expect(table.batches.map((batch) => batch.numRows)).toEqual([15, 15, 15, 15])
    expect(Object.fromEntries(table.schema.metadata)).toEqual({
      format_version: '1',
      chunk_id: META.chunkId,
      bit_order: 'msb',
      library_version: '1.2.3',
      row_count: '60',
    })
    expect(table.schema.fields.map((field) => `${field.name} ${field.type} ${field.nullable}`)).toEqual([
      'id FixedSizeBinary[16] false',
      'device_id Dictionary<Int32, FixedSizeBinary[16]> false',
      'profile_id Dictionary<Int32, FixedSizeBinary[16]> false',
      'timestamp Timestamp<MICROSECOND, UTC> false',
      'sequence Int64 false',
      'byte_length Int32 false',
      'sample_data Binary false',
    ])
  })

  test('a reader of the stream form finds the same rows after the first 8 bytes', () => {
    const reader = RecordBatchReader.from([chunk.subarray(8)])
    expect(reader.isStream()).toBe(true)
    expect([...reader].map((batch) => batch.numRows)).toEqual([15, 15, 15, 15])
  })
})

describe('chunks written by other software', () => {
  const table = tableFromIPC(chunk)

  /** The chunk's first batch with its schema or columns changed. */
  function changed(change: {
    metadata?: [string, string][]
    drop?: number
    column?: { index: number; field: Field; data: Data }
  }): Uint8Array {
    const [batch] = table.batches
    const fields = [...table.schema.fields]
    const children = [...batch.data.children]
    if (change.column) fields[change.column.index] = change.column.field
    if (change.column) children[change.column.index] = change.column.data
    if (change.drop !== undefined) for (const list of [fields, children]) list.splice(change.drop, 1)
    const metadata = new Map([...table.schema.metadata, ['row_count', '15'], ...(change.metadata ?? [])] as const)
    const data = makeData({ type: new Struct(fields), length: 15, nullCount: 0, children })
    return write([new RecordBatch(new Schema(fields, metadata), data)])
  }

  test.each([[[60]], [[1, 59]], [[14, 2, 0, 44]], [Array.from({ length: 60 }, () => 1)]])(
    'are read with batches of %j rows',
    (lengths) => {
      const types = table.schema.fields
      const children = types.map((field) => new Vector([rechunked(field.name)]))
      let start = 0
      const batches = lengths.map((length) => {
        const parts = children.map((vector) => vector.data[0].slice(start, length))
        start += length
        return new RecordBatch(
          table.schema,
          makeData({ type: new Struct(types), length, nullCount: 0, children: parts }),
        )
      })
      expect(decodeChunk(write(batches)).samples).toEqual(samples)
    },
  )

  /** A column of the chunk in one piece: encoding the same rows as of one device makes one batch. */
  function rechunked(name: string): Data {
    const one = tableFromIPC(encodeChunk({ ...samples, deviceId: new Uint8Array(16 * 60) }, META)).getChild(name)!
      .data[0]
    if (name !== 'device_id') return one
    const [first] = table.getChild(name)!.data
    const positions = table.getChild(name)!.data.flatMap((data) => {
      const values: Int32Array = data.values
      return [...values]
    })
    return makeData({
      type: first.type,
      length: 60,
      nullCount: 0,
      data: Int32Array.from(positions),
      dictionary: first.dictionary,
    })
  }

  test('are refused for what this build does not read', () => {
    const [batch] = table.batches
    const sequence = batch.data.children[4]
    const nulls = makeData({
      type: new Int64(),
      length: 15,
      nullCount: 1,
      nullBitmap: Uint8Array.of(0xfe, 0x7f),
      data: sequence.values,
    })
    const int32 = new Int32()
    const narrow = makeData({ type: int32, length: 15, nullCount: 0, data: new Int32Array(15) })
    expect(decodeChunk(changed({})).samples.rows).toBe(15)
    expect(() => decodeChunk(changed({ metadata: [['format_version', '2']] }))).toThrow(
      /format version "2"; this build reads 1/,
    )
    expect(() => decodeChunk(changed({ metadata: [['row_count', '14']] }))).toThrow(
      /row_count says "14"; the file holds 15/,
    )
    expect(() => decodeChunk(changed({ metadata: [['bit_order', 'lsb']] }))).toThrow(/bit_order is "lsb"/)
    expect(() => decodeChunk(changed({ metadata: [['chunk_id', 'x']] }))).toThrow(/chunk_id is not a uuid/)
    expect(() => decodeChunk(changed({ drop: 5 }))).toThrow(/6 columns instead of 7/)
    const renamed = { index: 4, field: new Field('seq', sequence.type, false), data: sequence }
    expect(() => decodeChunk(changed({ column: renamed }))).toThrow(/column 4 is not sequence/)
    const retyped = { index: 4, field: new Field('sequence', int32, false), data: narrow }
    expect(() => decodeChunk(changed({ column: retyped }))).toThrow(/column sequence is not of type int64/)
    const devices = batch.data.children[1]
    const positions = new Int32Array(15).fill(4)
    const outside = makeData({
      type: new Dictionary(new FixedSizeBinary(16), new Int32(), 0),
      length: 15,
      nullCount: 0,
      data: positions,
      dictionary: devices.dictionary,
    })
    const astray = { index: 1, field: table.schema.fields[1], data: outside }
    expect(() => decodeChunk(changed({ column: astray }))).toThrow(/device_id: position 4 in a dictionary of 4/)
    const withNulls = { index: 4, field: new Field('sequence', sequence.type, true), data: nulls }
    expect(() => decodeChunk(changed({ column: withNulls }))).toThrow(/column sequence holds nulls/)
  })
})
