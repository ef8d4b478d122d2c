import {
  Binary,
  type DataType,
  Dictionary,
  Field,
  FixedSizeBinary,
  Int32,
  Int64,
  Schema,
  TimestampMicrosecond,
  TimestampSecond,
} from 'apache-arrow'

/** What a column of one of our Arrow files holds. No column of ours is ever null. */
export type ColumnKind = 'uuid' | 'uuid_dictionary' | 'timestamp_us' | 'timestamp_s' | 'int64' | 'int32' | 'binary'

export interface Column {
  readonly name: string
  readonly kind: ColumnKind
}

/**
 * One record batch. `columns[c]` are the buffers of column c after its validity buffer: the values, `rows` times
 * COLUMN_WIDTH bytes; for `binary` rows + 1 int32 offsets that start at 0, then the bytes; for `uuid_dictionary` int32
 * positions in the column's dictionary.
 */
export interface Batch<Bytes = Source> {
  readonly rows: number
  readonly columns: readonly (readonly Bytes[])[]
}

/** Bytes that are there, or that `writeTo` writes, all of them, once their place in the file is known. */
export type Source = ArrayBufferView | { readonly byteLength: number; readonly writeTo: (target: Uint8Array) => void }

/** What every file of ours says of itself, in the metadata of its schema. */
export interface FileMeta {
  /** The chunk's uuid in lower case. */
  readonly chunkId: string
  /** The version of the software that wrote the file. */
  readonly libraryVersion: string
}

/** Bytes per row in a column's first buffer (for `binary` and `uuid_dictionary` that is the int32). */
export const COLUMN_WIDTH: Readonly<Record<ColumnKind, number>> = {
  uuid: 16,
  uuid_dictionary: 4,
  timestamp_us: 8,
  timestamp_s: 8,
  int64: 8,
  int32: 4,
  binary: 4,
}

const ARROW_TYPE: Readonly<Record<ColumnKind, (dictionaryId: number) => DataType>> = {
  uuid: () => new FixedSizeBinary(16),
  uuid_dictionary: (id) => new Dictionary(new FixedSizeBinary(16), new Int32(), id),
  timestamp_us: () => new TimestampMicrosecond('UTC'),
  timestamp_s: () => new TimestampSecond('UTC'),
  int64: () => new Int64(),
  int32: () => new Int32(),
  binary: () => new Binary(),
}

/** The first and last bytes of an Arrow file. */
export const ARROW_MAGIC: Uint8Array = Uint8Array.from('ARROW1', (letter) => letter.charCodeAt(0))

/** Offsets in a file and in its binary columns are int32. */
export const MAX_FILE_BYTES = 2 ** 31 - 1

/** The format written, and the only one read. */
export const FORMAT_VERSION = 1

/** The positions of the dictionary columns: the n-th of them uses dictionary id n. */
export function dictionaryColumns(columns: readonly Column[]): number[] {
  return columns.flatMap((column, index) => (column.kind === 'uuid_dictionary' ? [index] : []))
}

/** The Arrow schema of `columns`, with `metadata` in the order given. */
export function arrowSchema(columns: readonly Column[], metadata: ReadonlyMap<string, string>): Schema {
  const dictionaries = dictionaryColumns(columns)
  const fields = columns.map(
    ({ name, kind }, index) => new Field(name, ARROW_TYPE[kind](dictionaries.indexOf(index)), false),
  )
  return new Schema(fields, new Map(metadata))
}
