import type { Block } from 'apache-arrow/fb/block'
import { DictionaryBatch } from 'apache-arrow/fb/dictionary-batch'
import { Footer } from 'apache-arrow/fb/footer'
import { Message } from 'apache-arrow/fb/message'
import { MessageHeader } from 'apache-arrow/fb/message-header'
import { RecordBatch } from 'apache-arrow/fb/record-batch'
import { ByteBuffer } from 'flatbuffers'
import { ARROW_MAGIC, type Batch, type Column, COLUMN_WIDTH, type FileMeta } from './arrow-layout.ts'
import { formatError, readDictionaryIds, readMetadata } from './arrow-schema.ts'
import { isCoherenceError } from './errors.ts'

// apache-arrow's own reader believes every length it finds: a flipped bit in a footer becomes a loop of 2^31 or an allocation
// of gigabytes. Here every length is checked against the bytes there are before it is used.

const BLOCK_BYTES = 24

/** A file taken apart. The buffers are views of the file's bytes, exactly as long as the rows need, of any alignment. */
export interface ArrowFile {
  readonly rows: number
  readonly meta: FileMeta
  readonly metadata: ReadonlyMap<string, string>
  readonly columns: readonly Column[]
  /** For each dictionary column its uuids, 16 bytes each. */
  readonly dictionaries: readonly Uint8Array[]
  readonly batches: readonly Batch<Uint8Array>[]
}

/**
 * Takes an Arrow IPC file of exactly these columns apart, whatever its batch boundaries. CHUNK_FORMAT for anything else: other
 * bytes, a file cut short, another format version, other columns, nulls, compression, delta dictionaries, a wrong row_count.
 */
export function readArrowFile(bytes: Uint8Array, columns: readonly Column[]): ArrowFile {
  try {
    return parse(bytes, columns)
  } catch (error) {
    if (isCoherenceError(error)) throw error
    throw formatError('its structure is damaged', error)
  }
}

function parse(bytes: Uint8Array, columns: readonly Column[]): ArrowFile {
  const size = bytes.byteLength
  if (size < 32 || !hasMagic(bytes, 0) || !hasMagic(bytes, size - ARROW_MAGIC.length)) {
    throw formatError(`${size} bytes that do not begin and end with ARROW1 (cut short?)`)
  }
  const footerEnd = size - ARROW_MAGIC.length - 4
  const footerLength = int32At(bytes, footerEnd)
  const bodyEnd = footerEnd - footerLength
  if (footerLength <= 0 || bodyEnd < 8) throw formatError('its footer is damaged')
  const footer = Footer.getRootAsFooter(new ByteBuffer(bytes.subarray(bodyEnd, footerEnd)))
  const schema = footer.schema()
  if (schema === null) throw formatError('no schema')
  const metadata = readMetadata(schema, footerLength / 4)
  const dictionaryIds = readDictionaryIds(schema, columns)

  const dictionaryCount = vectorLength(footer.dictionariesLength(), footerLength / BLOCK_BYTES)
  const batchCount = vectorLength(footer.recordBatchesLength(), footerLength / BLOCK_BYTES)
  const byId = new Map<bigint, Uint8Array>()
  const file = bytes.subarray(0, bodyEnd)
  for (let i = 0; i < dictionaryCount; i++) {
    const [id, dictionary] = readDictionary(openMessage(file, footer.dictionaries(i)))
    if (byId.has(id)) throw formatError(`dictionary ${id} is there twice`)
    byId.set(id, dictionary)
  }
  const messages: OpenMessage[] = []
  for (let i = 0; i < batchCount; i++) messages.push(openMessage(file, footer.recordBatches(i)))
  // Blocks laid over each other would let a small file claim any number of rows.
  if (messages.reduce((sum, message) => sum + message.body.byteLength, 0) > bodyEnd)
    throw formatError('batches overlap')
  const batches = messages.map(({ message, body }) => {
    if (message.headerType() !== MessageHeader.RecordBatch) throw formatError('a batch is not where the footer says')
    return readBatch(message.header(new RecordBatch()), body, columns)
  })

  const rows = batches.reduce((sum, batch) => sum + batch.rows, 0)
  const declared = metadata.get('row_count')
  if (declared !== String(rows))
    throw formatError(`row_count says ${JSON.stringify(declared)}; the file holds ${rows} rows`)
  const dictionaries = dictionaryIds.map((id) => {
    const dictionary = byId.get(id)
    if (dictionary === undefined && rows > 0) throw formatError(`dictionary ${id} is missing`)
    return dictionary ?? new Uint8Array(0)
  })
  return { rows, meta: readMeta(metadata), metadata, columns, dictionaries, batches }
}

function readMeta(metadata: ReadonlyMap<string, string>): FileMeta {
  const chunkId = metadata.get('chunk_id') ?? ''
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(chunkId)) throw formatError('its chunk_id is not a uuid')
  const libraryVersion = metadata.get('library_version')
  if (libraryVersion === undefined) throw formatError('its metadata has no library_version')
  return { chunkId, libraryVersion }
}

interface OpenMessage {
  readonly message: Message
  readonly body: Uint8Array
}

function openMessage(file: Uint8Array, block: Block | null): OpenMessage {
  if (block === null) throw formatError('its footer is damaged')
  const offset = count(block.offset(), file.byteLength)
  const head = block.metaDataLength()
  const bodyLength = count(block.bodyLength(), file.byteLength)
  if (offset < 8 || head < 16 || offset + head + bodyLength > file.byteLength) {
    throw formatError('a batch lies outside the file')
  }
  if (int32At(file, offset) !== -1) throw formatError('a batch is not where the footer says')
  const message = Message.getRootAsMessage(new ByteBuffer(file.subarray(offset + 8, offset + head)))
  if (message.bodyLength() !== BigInt(bodyLength)) throw formatError('a batch has another length than the footer says')
  return { message, body: file.subarray(offset + head, offset + head + bodyLength) }
}

function readDictionary({ message, body }: OpenMessage): [bigint, Uint8Array] {
  const header: DictionaryBatch | null =
    message.headerType() === MessageHeader.DictionaryBatch ? message.header(new DictionaryBatch()) : null
  if (header === null) throw formatError('a dictionary is not where the footer says')
  if (header.isDelta()) throw formatError('delta dictionaries')
  const batch = readBatch(header.data(), body, [{ name: 'dictionary', kind: 'uuid' }])
  return [header.id(), batch.columns[0][0]]
}

function readBatch(header: RecordBatch | null, body: Uint8Array, columns: readonly Column[]): Batch<Uint8Array> {
  if (header === null) throw formatError('an empty batch message')
  if (header.compression() !== null) throw formatError('compressed batches')
  // Every row has at least a fixed number of bytes in each column, so the body bounds the row count.
  const rows = count(header.length(), body.byteLength)
  const bufferCount = columns.reduce((sum, { kind }) => sum + (kind === 'binary' ? 3 : 2), 0)
  if (header.nodesLength() !== columns.length || header.buffersLength() !== bufferCount) {
    throw formatError('a batch has other columns than the schema')
  }
  let next = 0
  const takeBuffer = (length: number): Uint8Array => {
    const region = header.buffers(next++)!
    const offset = count(region.offset(), body.byteLength)
    const available = count(region.length(), body.byteLength - offset)
    if (available < length) throw formatError(`a buffer of ${available} bytes where ${length} are needed`)
    return body.subarray(offset, offset + length)
  }
  const taken = columns.map(({ name, kind }, index) => {
    const node = header.nodes(index)!
    if (node.length() !== BigInt(rows)) throw formatError(`column ${name} has another length than its batch`)
    if (node.nullCount() !== 0n) throw formatError(`column ${name} holds nulls`)
    next++ // the validity buffer: without nulls it says nothing
    if (kind !== 'binary') return [takeBuffer(rows * COLUMN_WIDTH[kind])]
    // The format lets a writer leave the offsets of an empty column out altogether.
    const offsets = rows === 0 ? (next++, new Uint8Array(4)) : takeBuffer((rows + 1) * 4)
    const start = int32At(offsets, 0)
    const end = int32At(offsets, rows * 4)
    if (start < 0 || end < start) throw formatError(`column ${name} has damaged offsets`)
    return [offsets, takeBuffer(end)]
  })
  return { rows, columns: taken }
}

function hasMagic(bytes: Uint8Array, at: number): boolean {
  return ARROW_MAGIC.every((byte, index) => bytes[at + index] === byte)
}

function int32At(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getInt32(at, true)
}

function count(value: bigint, limit: number): number {
  if (value < 0n || value > BigInt(Math.max(0, limit)))
    throw formatError(`a length of ${value} where at most ${limit} fit`)
  return Number(value)
}

function vectorLength(length: number, limit: number): number {
  if (length < 0 || length > limit) throw formatError('its footer is damaged')
  return length
}
