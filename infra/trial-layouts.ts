import { CoherenceError } from '../pipeline/errors.ts'
import { parseSecond } from './trial-second.ts'
import { openTrialRows, type TrialRows, type TrialRowsBuilder } from './trial-rows.ts'

/** A table of one row a second, or what the Global Consciousness Project's basketran writes. */
export type TrialLayout = 'table' | 'basket'

export interface LaidOutTrials extends TrialRows {
  readonly layout: TrialLayout
  /** Bits of a trial. */
  readonly bits: number
  readonly deviceIds: readonly string[]
  /** Where the file is not what it says of itself. */
  readonly notes: readonly string[]
}

/** Takes the records of a CSV file one by one; `line` is that on which a record ends. Throws INPUT_INVALID, as `finish` does. */
export interface TrialReader {
  add(record: readonly string[], line: number): void
  finish(): LaidOutTrials
}

/** Bits of a trial in the Global Consciousness Project, and of one whose number nobody says. */
const DEFAULT_BITS = 200

interface ReaderOptions {
  /** How messages call the file. */
  readonly name: string
  /** Bits of a trial as the user said. */
  readonly bits?: number
}

/** Finds out by the first record which layout it is. */
export function openTrialReader(options: ReaderOptions): TrialReader {
  let reader: TrialReader | undefined
  return {
    add(record, line) {
      reader ??= /^1[0-3]$/.test(record[0].trim()) ? openBasket(options) : openTable(options)
      reader.add(record, line)
    },
    finish() {
      if (!reader) throw new CoherenceError('INPUT_INVALID', `${options.name} is empty. ${EXPECTED}`)
      return reader.finish()
    },
  }
}

const EXPECTED = 'Give it a first line "second,<device>,…" and then one line a second, each cell the ones of a device.'

/** `second,<device>,…`, then rows. */
function openTable({ name, bits = DEFAULT_BITS }: ReaderOptions): TrialReader {
  let devices: readonly string[] | undefined
  let rows: TrialRowsBuilder
  const readHeader = (record: readonly string[], line: number) => {
    if (record.length < 2) throw invalid(`${name}, line ${line}: there is no device. ${EXPECTED}`)
    if (parseSecond(record[0]) !== null) {
      throw invalid(`${name}, line ${line} is the first and names no devices: it begins with a time. ${EXPECTED}`)
    }
    devices = namesOf(record.slice(1), name, line)
    rows = openTrialRows(name, devices, bits)
  }
  return {
    add(record, line) {
      if (!devices) return readHeader(record, line)
      requireCells(record.length - 1, devices, name, line)
      rows.add({ second: readSecond(record[0], name, line), line, cells: record, at: 1 })
    },
    finish() {
      if (!devices || rows.length === 0) throw invalid(`${name} has no row of trials. ${EXPECTED}`)
      return { layout: 'table', bits, deviceIds: devices, notes: [], ...rows.finish() }
    },
  }
}

/**
 * The CSV of basketran: type 10 records describe the protocol, 11 the content, 12 names the columns, 13 is a second's row
 * (Global Consciousness Project, "Basket Data CSV File Format").
 */
function openBasket({ name, bits: said }: ReaderOptions): TrialReader {
  let bits: number | undefined
  let declaredSeconds: number | undefined
  let devices: readonly string[] | undefined
  let rows: TrialRowsBuilder | undefined
  const readTrialSize = (cell: string, line: number) => {
    bits = Number(cell)
    if (!(Number.isInteger(bits) && bits > 0)) throw invalid(`${name}, line ${line}: ${cell} is no number of bits.`)
    if (said !== undefined && said !== bits) {
      throw invalid(`${name}, line ${line}: its trials have ${bits} bits, not the ${said} of --bits. Leave --bits out.`)
    }
  }
  const readColumns = (record: readonly string[], line: number) => {
    if (rows) throw invalid(`${name}, line ${line}: a second record of type 12. Analyse one file at a time.`)
    if (record.length < 4) throw invalid(`${name}, line ${line}: the record of type 12 names no egg.`)
    bits ??= said
    if (bits === undefined) {
      throw invalid(
        `${name}, line ${line}: no record 10,4 before it says how many bits a trial has. Say it with --bits.`,
      )
    }
    devices = namesOf(record.slice(3), name, line)
    rows = openTrialRows(name, devices, bits)
  }
  return {
    add(record, line) {
      const [type, item = '', value = ''] = record.slice(0, 3).map((cell) => cell.trim())
      if (type === '13') {
        if (!devices || !rows) throw invalid(`${name}, line ${line}: no record of type 12 before it names the columns.`)
        requireCells(record.length - 3, devices, name, line)
        rows.add({ second: readSecond(item, name, line), line, cells: record, at: 3 })
      } else if (type === '12') readColumns(record, line)
      else if (type === '11') {
        if (item === '4') declaredSeconds = Number(value)
      } else if (type !== '10') {
        throw invalid(
          `${name}, line ${line}: ${JSON.stringify(type)} is no type of record; there are 10, 11, 12 and 13.`,
        )
      } else if (item === '4') readTrialSize(value, line)
    },
    finish() {
      if (!devices || !rows || bits === undefined || rows.length === 0) {
        throw invalid(`${name} has no record of type 13, which hold the trials. Was it cut short? Fetch it again.`)
      }
      const found = rows.length
      const notes =
        declaredSeconds === undefined || declaredSeconds === found
          ? []
          : [`The file says it has ${declaredSeconds} seconds of data, and has ${found}.`]
      return { layout: 'basket', bits, deviceIds: devices, notes, ...rows.finish() }
    },
  }
}

function invalid(message: string): CoherenceError {
  return new CoherenceError('INPUT_INVALID', message)
}

function namesOf(cells: readonly string[], name: string, line: number): string[] {
  const names = cells.map((cell) => cell.trim())
  const seen = new Set<string>()
  names.forEach((device, i) => {
    if (device === '') throw invalid(`${name}, line ${line}: device ${i + 1} of ${names.length} has no name.`)
    if (seen.has(device)) throw invalid(`${name}, line ${line}: two devices are named ${JSON.stringify(device)}.`)
    seen.add(device)
  })
  return names
}

function requireCells(cells: number, devices: readonly string[], name: string, line: number): void {
  if (cells === devices.length) return
  throw invalid(`${name}, line ${line} has ${cells} cells for ${devices.length} devices. Leave a missing trial empty.`)
}

function readSecond(cell: string, name: string, line: number): number {
  const second = parseSecond(cell)
  if (second !== null) return second
  throw invalid(
    `${name}, line ${line}: ${JSON.stringify(cell)} is no second. Write a whole number of seconds, as 1767225600, or a time, ` +
      'as 2026-01-01T00:00:00Z.',
  )
}
