import { binaryColumn, fixedColumn, uuidColumn } from './arrow-columns.ts'
import { type Column, type FileMeta, FORMAT_VERSION } from './arrow-layout.ts'
import { readArrowFile } from './arrow-read.ts'
import { formatError } from './arrow-schema.ts'
import { writeArrowFile } from './arrow-write.ts'
import { uuidAt, uuidBytes } from './samples.ts'
import { indexUuids } from './uuid-dictionary.ts'

const COLUMNS: readonly Column[] = [
  { name: 'device_id', kind: 'uuid_dictionary' },
  { name: 'slice_start', kind: 'timestamp_s' },
  { name: 'sample_count', kind: 'int32' },
  { name: 'byte_count', kind: 'int64' },
  { name: 'ones', kind: 'int64' },
  { name: 'partial', kind: 'binary' },
]

/** The partial of one device and one slice of time within one chunk. There are few of them: objects do. */
export interface SliceRow {
  /** The device's uuid in lower case. */
  readonly deviceId: string
  /** Seconds since 1970-01-01T00:00:00Z. */
  readonly sliceStart: number
  readonly sampleCount: number
  readonly byteCount: number
  /** Bits that are 1 among the 8 * byteCount. */
  readonly ones: number
  /** The additive partial, encoded elsewhere; opaque here. */
  readonly partial: Uint8Array
}

export interface SlicesMeta extends FileMeta {
  readonly formatVersion: number
  readonly rows: number
}

/**
 * Packs the slice partials of a chunk into the Arrow file that lies beside it. Rows must be sorted by device, then slice, each
 * pair once. The same rows and meta give the same bytes. RangeError for rows out of order, numbers that are not whole, or 2 GiB
 * and more.
 */
export function encodeSlices(rows: readonly SliceRow[], meta: FileMeta): Uint8Array<ArrayBuffer> {
  assertSorted(rows)
  const deviceIds = new Uint8Array(16 * rows.length)
  const offsets = new Int32Array(rows.length + 1)
  const data = new Uint8Array(rows.reduce((sum, row) => sum + row.partial.length, 0))
  let at = 0
  for (const [index, row] of rows.entries()) {
    deviceIds.set(uuidBytes(row.deviceId), 16 * index)
    data.set(row.partial, at)
    at += row.partial.length
    offsets[index + 1] = at
  }
  const devices = indexUuids(deviceIds)
  const columns = [
    [devices.positions],
    [int64Column(rows, 'sliceStart')],
    [Int32Array.from(rows, (row) => whole(row.sampleCount, 'sampleCount', 2 ** 31 - 1))],
    [int64Column(rows, 'byteCount')],
    [int64Column(rows, 'ones')],
    [offsets, data],
  ]
  return writeArrowFile(COLUMNS, meta, new Map(), [devices.entries], [{ rows: rows.length, columns }])
}

/** The slice partials of such a file. Throws CHUNK_FORMAT for anything else, numbers past 2^53 included. */
export function decodeSlices(bytes: Uint8Array): { rows: SliceRow[]; meta: SlicesMeta } {
  const file = readArrowFile(bytes, COLUMNS)
  const deviceIds = uuidColumn(file, 0, 0)
  const sliceStarts = new BigInt64Array(fixedColumn(file, 1).buffer)
  const sampleCounts = new Int32Array(fixedColumn(file, 2).buffer)
  const byteCounts = new BigInt64Array(fixedColumn(file, 3).buffer)
  const ones = new BigInt64Array(fixedColumn(file, 4).buffer)
  const { offsets, data } = binaryColumn(file, 5)
  const rows = Array.from({ length: file.rows }, (_, row): SliceRow => ({
    deviceId: uuidAt(deviceIds, row),
    sliceStart: safeNumber(sliceStarts[row], 'slice_start'),
    sampleCount: sampleCounts[row],
    byteCount: safeNumber(byteCounts[row], 'byte_count'),
    ones: safeNumber(ones[row], 'ones'),
    partial: data.subarray(offsets[row], offsets[row + 1]),
  }))
  return { rows, meta: { ...file.meta, formatVersion: FORMAT_VERSION, rows: file.rows } }
}

function assertSorted(rows: readonly SliceRow[]): void {
  for (let index = 1; index < rows.length; index++) {
    const [before, row] = [rows[index - 1], rows[index]]
    // Lower-case uuids sort as their bytes do.
    if (before.deviceId < row.deviceId) continue
    if (before.deviceId === row.deviceId && before.sliceStart < row.sliceStart) continue
    throw new RangeError(`slice ${index} (${row.deviceId}, ${row.sliceStart}) is out of order or there twice`)
  }
}

function int64Column(rows: readonly SliceRow[], name: 'sliceStart' | 'byteCount' | 'ones'): BigInt64Array {
  return BigInt64Array.from(rows, (row) => BigInt(whole(row[name], name, Number.MAX_SAFE_INTEGER)))
}

function whole(value: number, name: string, limit: number): number {
  if (!Number.isInteger(value) || Math.abs(value) > limit)
    throw new RangeError(`${name} is ${value}, not a whole number`)
  return value
}

function safeNumber(value: bigint, name: string): number {
  if (!Number.isSafeInteger(Number(value))) throw formatError(`${name} is ${value}`)
  return Number(value)
}
