import { MetadataVersion, type Schema } from 'apache-arrow'
import { FileBlock, Footer } from 'apache-arrow/ipc/metadata/file'
import { BufferRegion, DictionaryBatch, FieldNode, Message, RecordBatch } from 'apache-arrow/ipc/metadata/message'
import {
  ARROW_MAGIC,
  arrowSchema,
  type Batch,
  type Column,
  dictionaryColumns,
  type FileMeta,
  FORMAT_VERSION,
  MAX_FILE_BYTES,
  type Source,
} from './arrow-layout.ts'

// apache-arrow makes the flatbuffers; the framing around them is ours. Its RecordBatchFileWriter leaves out the schema
// message with which the file format begins (readers of the stream form need it), and its final join silently drops bytes
// when two columns are views of the same memory.

const CONTINUATION = 0xffffffff
const CANONICAL_UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

interface Part {
  readonly at: number
  readonly source: Source
}

/**
 * The bytes of an Arrow IPC file: `dictionaries[n]` holds the uuids (16 bytes each) of the n-th dictionary column. Every
 * dictionary is written once and whole, before the first batch: the file format knows no replacement. The same input gives
 * the same bytes. Each input buffer is copied once, into the memory that `allocate` gives: as many bytes as asked for, of any
 * contents, aligned to 8. RangeError for a chunk id that is not a uuid in lower case, or a file of 2 GiB or more.
 */
export function writeArrowFile(
  columns: readonly Column[],
  meta: FileMeta,
  extra: ReadonlyMap<string, string>,
  dictionaries: readonly Uint8Array[],
  batches: readonly Batch[],
  allocate: (bytes: number) => Uint8Array<ArrayBuffer> = (bytes) => new Uint8Array(bytes),
): Uint8Array<ArrayBuffer> {
  if (!CANONICAL_UUID.test(meta.chunkId)) throw new RangeError(`not a uuid in lower case: ${meta.chunkId}`)
  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0)
  const metadata = new Map([
    ['format_version', String(FORMAT_VERSION)],
    ['chunk_id', meta.chunkId],
    ...extra,
    ['library_version', meta.libraryVersion],
    ['row_count', String(rows)],
  ])
  const schema = arrowSchema(columns, metadata)
  const parts: Part[] = [{ at: 0, source: ARROW_MAGIC }]
  let end = 8

  const append = (header: Schema | RecordBatch | DictionaryBatch, body: Body): FileBlock => {
    const flatbuffer = Message.encode(Message.from(header, body.byteLength))
    const start = end
    const head = align(8 + flatbuffer.byteLength)
    parts.push({ at: start, source: words(CONTINUATION, head - 8) }, { at: start + 8, source: flatbuffer })
    for (const part of body.parts) parts.push({ at: start + head + part.at, source: part.source })
    end = start + head + body.byteLength
    return new FileBlock(head, body.byteLength, start)
  }

  append(schema, { parts: [], regions: [], byteLength: 0 })
  const dictionaryBlocks = dictionaryColumns(columns).map((_, id) => {
    const batch: Batch = { rows: dictionaries[id].byteLength / 16, columns: [[dictionaries[id]]] }
    const body = layOut(batch)
    return append(new DictionaryBatch(recordBatch(batch, body), id), body)
  })
  const batchBlocks = batches.map((batch) => {
    const body = layOut(batch)
    return append(recordBatch(batch, body), body)
  })

  const footer = Footer.encode(new Footer(schema, MetadataVersion.V5, batchBlocks, dictionaryBlocks))
  parts.push({ at: end, source: words(CONTINUATION, 0) }, { at: end + 8, source: footer })
  end += 8 + footer.byteLength
  parts.push({ at: end, source: words(footer.byteLength) }, { at: end + 4, source: ARROW_MAGIC })
  end += 4 + ARROW_MAGIC.byteLength
  if (end > MAX_FILE_BYTES)
    throw new RangeError(`the Arrow file would take ${end} bytes; the limit is ${MAX_FILE_BYTES}`)

  const file = allocate(end)
  let filled = 0
  for (const { at, source } of parts) {
    // What lies between the parts is padding.
    file.fill(0, filled, at)
    filled = at + source.byteLength
    if ('writeTo' in source) source.writeTo(file.subarray(at, filled))
    else file.set(new Uint8Array(source.buffer, source.byteOffset, source.byteLength), at)
  }
  return file
}

interface Body {
  readonly parts: readonly Part[]
  readonly regions: readonly BufferRegion[]
  readonly byteLength: number
}

/** Places the buffers of a batch one after the other, each at a multiple of 8 bytes, each column's empty validity first. */
function layOut(batch: Batch): Body {
  const parts: Part[] = []
  const regions: BufferRegion[] = []
  let at = 0
  for (const buffers of batch.columns) {
    regions.push(new BufferRegion(at, 0))
    for (const source of buffers) {
      regions.push(new BufferRegion(at, source.byteLength))
      parts.push({ at, source })
      at = align(at + source.byteLength)
    }
  }
  return { parts, regions, byteLength: at }
}

function recordBatch(batch: Batch, body: Body): RecordBatch {
  const nodes = batch.columns.map(() => new FieldNode(batch.rows, 0))
  return new RecordBatch(batch.rows, nodes, [...body.regions], null)
}

function align(bytes: number): number {
  return Math.ceil(bytes / 8) * 8
}

function words(...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  const view = new DataView(bytes.buffer)
  for (const [index, value] of values.entries()) view.setUint32(4 * index, value, true)
  return bytes
}
