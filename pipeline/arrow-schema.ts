import { DictionaryKind } from 'apache-arrow/fb/dictionary-kind'
import { Endianness } from 'apache-arrow/fb/endianness'
import type { Field } from 'apache-arrow/fb/field'
import { FixedSizeBinary } from 'apache-arrow/fb/fixed-size-binary'
import { Int } from 'apache-arrow/fb/int'
import type { Schema } from 'apache-arrow/fb/schema'
import { TimeUnit } from 'apache-arrow/fb/time-unit'
import { Timestamp } from 'apache-arrow/fb/timestamp'
import { Type } from 'apache-arrow/fb/type'
import { type Column, type ColumnKind, dictionaryColumns, FORMAT_VERSION } from './arrow-layout.ts'
import { CoherenceError } from './errors.ts'

/** The error for bytes that are not a file of ours. */
export function formatError(problem: string, cause?: unknown): CoherenceError {
  return new CoherenceError('CHUNK_FORMAT', `not a readable Arrow chunk: ${problem}`, { cause })
}

/**
 * The schema's own metadata, which must be of the format version this build reads. `limit` bounds the number of entries: a
 * damaged length must not become a loop. CHUNK_FORMAT otherwise.
 */
export function readMetadata(schema: Schema, limit: number): Map<string, string> {
  const metadata = new Map<string, string>()
  const entries = schema.customMetadataLength()
  if (entries < 0 || entries > limit) throw formatError('its metadata is damaged')
  for (let i = 0; i < entries; i++) {
    const entry = schema.customMetadata(i)
    metadata.set(entry?.key() ?? '', entry?.value() ?? '')
  }
  const version = metadata.get('format_version')
  if (version === undefined) throw formatError('its metadata has no format_version')
  if (version !== String(FORMAT_VERSION)) {
    throw formatError(`format version ${JSON.stringify(version)}; this build reads ${FORMAT_VERSION}`)
  }
  return metadata
}

/** Checks that the file has exactly these columns, and returns the dictionary id of each dictionary column. */
export function readDictionaryIds(schema: Schema, columns: readonly Column[]): bigint[] {
  if (schema.endianness() !== Endianness.Little) throw formatError('big-endian')
  const width = schema.fieldsLength()
  if (width !== columns.length) throw formatError(`${width} columns instead of ${columns.length}`)
  for (const [index, { name, kind }] of columns.entries()) {
    const field = schema.fields(index)
    if (field?.name() !== name) throw formatError(`column ${index} is not ${name}`)
    if (!HAS_KIND[kind](field)) throw formatError(`column ${name} is not of type ${kind}`)
  }
  return dictionaryColumns(columns).map((index) => schema.fields(index)!.dictionary()!.id())
}

const HAS_KIND: Readonly<Record<ColumnKind, (field: Field) => boolean>> = {
  uuid: (field) => isUuid(field) && field.dictionary() === null,
  uuid_dictionary: (field) => isUuid(field) && hasInt32Index(field),
  timestamp_us: (field) => isTimestamp(field, TimeUnit.MICROSECOND),
  timestamp_s: (field) => isTimestamp(field, TimeUnit.SECOND),
  int64: (field) => isInt(field, 64),
  int32: (field) => isInt(field, 32),
  binary: (field) => field.typeType() === Type.Binary && field.dictionary() === null,
}

function isUuid(field: Field): boolean {
  return field.typeType() === Type.FixedSizeBinary && field.type(new FixedSizeBinary())?.byteWidth() === 16
}

function hasInt32Index(field: Field): boolean {
  const dictionary = field.dictionary()
  if (dictionary === null || dictionary.dictionaryKind() !== DictionaryKind.DenseArray) return false
  // The format says that an index type left out is int32.
  const index = dictionary.indexType()
  return index === null || (index.isSigned() && index.bitWidth() === 32)
}

function isTimestamp(field: Field, unit: TimeUnit): boolean {
  if (field.typeType() !== Type.Timestamp || field.dictionary() !== null) return false
  const type: Timestamp | null = field.type(new Timestamp())
  return type?.unit() === unit && type.timezone() === 'UTC'
}

function isInt(field: Field, bits: number): boolean {
  if (field.typeType() !== Type.Int || field.dictionary() !== null) return false
  const type: Int | null = field.type(new Int())
  return type !== null && type.isSigned() && type.bitWidth() === bits
}
