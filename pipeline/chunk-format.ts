import { binaryColumn, fixedColumn, uuidColumn } from './arrow-columns.ts'
import { type Batch, type Column, type FileMeta, FORMAT_VERSION, MAX_FILE_BYTES, type Source } from './arrow-layout.ts'
import { readArrowFile } from './arrow-read.ts'
import { formatError } from './arrow-schema.ts'
import { writeArrowFile } from './arrow-write.ts'
import { gatherFixed, gatherOffsets, gatherPayload, payloadOf } from './gather-rows.ts'
import type { SampleColumns } from './samples.ts'
import { indexUuids, reorderDictionary } from './uuid-dictionary.ts'

const COLUMNS: readonly Column[] = [
  { name: 'id', kind: 'uuid' },
  { name: 'device_id', kind: 'uuid_dictionary' },
  { name: 'profile_id', kind: 'uuid_dictionary' },
  { name: 'timestamp', kind: 'timestamp_us' },
  { name: 'sequence', kind: 'int64' },
  { name: 'byte_length', kind: 'int32' },
  { name: 'sample_data', kind: 'binary' },
]

export interface ChunkMeta extends FileMeta {
  readonly formatVersion: number
  /** Bit 7 of each byte comes first. */
  readonly bitOrder: 'msb'
  readonly rows: number
}

/**
 * Packs samples into an Arrow chunk, format v1: one record batch for each run of rows of one device, so rows sorted by device
 * give one batch a device. The rows are written in `order` (`orderSamples`; null: as they are), as if they had been sorted
 * first. The same rows in the same order and the same meta give the same bytes. `allocate` is that of `writeArrowFile`.
 * RangeError for columns of unequal length, offsets that go back, a chunk id that is not a uuid in lower case, or 2 GiB and more.
 */
export function encodeChunk(
  samples: SampleColumns,
  meta: FileMeta,
  {
    order = null,
    allocate,
  }: { order?: Uint32Array | null; allocate?: (bytes: number) => Uint8Array<ArrayBuffer> } = {},
): Uint8Array<ArrayBuffer> {
  assertColumns(samples)
  let devices = indexUuids(samples.deviceId)
  let profiles = indexUuids(samples.profileId)
  if (order !== null) {
    if (order.length !== samples.rows) throw new RangeError(`an order of ${order.length} rows for ${samples.rows}`)
    devices = reorderDictionary(devices, order)
    profiles = reorderDictionary(profiles, order)
  }
  const batches = deviceRuns(devices.positions).map(([start, end]): Batch => {
    const positions = [[devices.positions.subarray(start, end)], [profiles.positions.subarray(start, end)]]
    const [id, timestamp, sequence, byteLength, data] =
      order === null ? rowsFrom(samples, start, end) : rowsInOrder(samples, order.subarray(start, end))
    return { rows: end - start, columns: [id, ...positions, timestamp, sequence, byteLength, data] }
  })
  const bitOrder = new Map([['bit_order', 'msb']])
  return writeArrowFile(COLUMNS, meta, bitOrder, [devices.entries, profiles.entries], batches, allocate)
}

/** The buffers of id, timestamp, sequence, byte_length and sample_data, of the rows from `start` to before `end`, where they are. */
function rowsFrom(samples: SampleColumns, start: number, end: number): Source[][] {
  const dataStart = samples.dataOffsets[start]
  const offsets = samples.dataOffsets.slice(start, end + 1)
  for (let i = 0; i < offsets.length; i++) offsets[i] -= dataStart
  return [
    [samples.id.subarray(16 * start, 16 * end)],
    [samples.timestamp.subarray(start, end)],
    [samples.sequence.subarray(start, end)],
    [samples.byteLength.subarray(start, end)],
    [offsets, samples.data.subarray(dataStart, samples.dataOffsets[end])],
  ]
}

/** These rows, gathered into the file itself. */
function rowsInOrder(samples: SampleColumns, rows: Uint32Array): Source[][] {
  const fixed = (column: ArrayBufferView, width: 4 | 8 | 16): Source[] => [
    { byteLength: width * rows.length, writeTo: (target) => gatherFixed(column, width, rows, target) },
  ]
  return [
    fixed(samples.id, 16),
    fixed(samples.timestamp, 8),
    fixed(samples.sequence, 8),
    fixed(samples.byteLength, 4),
    [
      { byteLength: 4 * rows.length + 4, writeTo: (target) => gatherOffsets(samples, rows, target) },
      { byteLength: payloadOf(samples, rows), writeTo: (target) => gatherPayload(samples, rows, target) },
    ],
  ]
}

/**
 * The samples of an Arrow chunk, format v1, in memory of their own, with `dataOffsets` from 0. Throws CHUNK_FORMAT for
 * anything that is not such a chunk; whether the payload is the one written is for the sha256 to say.
 */
export function decodeChunk(bytes: Uint8Array): { samples: SampleColumns; meta: ChunkMeta } {
  const file = readArrowFile(bytes, COLUMNS)
  const bitOrder = file.metadata.get('bit_order')
  if (bitOrder !== 'msb') throw formatError(`bit_order is ${JSON.stringify(bitOrder)}, not "msb"`)
  const { offsets, data } = binaryColumn(file, 6)
  const samples: SampleColumns = {
    rows: file.rows,
    id: fixedColumn(file, 0),
    deviceId: uuidColumn(file, 1, 0),
    profileId: uuidColumn(file, 2, 1),
    timestamp: new BigInt64Array(fixedColumn(file, 3).buffer),
    sequence: new BigInt64Array(fixedColumn(file, 4).buffer),
    byteLength: new Int32Array(fixedColumn(file, 5).buffer),
    dataOffsets: offsets,
    data,
  }
  return { samples, meta: { ...file.meta, formatVersion: FORMAT_VERSION, bitOrder, rows: file.rows } }
}

/** [start, end) of each run of rows of one device; one empty run for no rows, as readers want at least one batch. */
function deviceRuns(positions: Int32Array): [start: number, end: number][] {
  const runs: [number, number][] = []
  let start = 0
  for (let row = 1; row < positions.length; row++) {
    if (positions[row] === positions[row - 1]) continue
    runs.push([start, row])
    start = row
  }
  runs.push([start, positions.length])
  return runs
}

function assertColumns(samples: SampleColumns): void {
  const { rows, dataOffsets, data } = samples
  const lengths: [string, number, number][] = [
    ['id', samples.id.length, 16 * rows],
    ['deviceId', samples.deviceId.length, 16 * rows],
    ['profileId', samples.profileId.length, 16 * rows],
    ['timestamp', samples.timestamp.length, rows],
    ['sequence', samples.sequence.length, rows],
    ['byteLength', samples.byteLength.length, rows],
    ['dataOffsets', dataOffsets.length, rows + 1],
  ]
  for (const [name, length, wanted] of lengths) {
    if (length !== wanted) throw new RangeError(`${name} has ${length} elements; ${rows} rows need ${wanted}`)
  }
  // Longer data would have needed offsets that wrapped around.
  if (data.length > MAX_FILE_BYTES) throw new RangeError(`${data.length} payload bytes; a chunk holds less than 2 GiB`)
  if (dataOffsets[0] < 0 || dataOffsets[rows] > data.length) throw new RangeError('dataOffsets reach outside of data')
  for (let row = 0; row < rows; row++) {
    if (dataOffsets[row + 1] < dataOffsets[row]) throw new RangeError(`dataOffsets go back at row ${row}`)
  }
}
