import { sameUuid, uuidAt } from './samples.ts'

/** A column of uuids as the distinct ones, in order of first appearance, and each row's position among them. */
export interface UuidDictionary {
  /** 16 bytes per distinct uuid. */
  readonly entries: Uint8Array
  readonly positions: Int32Array
}

/** Indexes a column of 16-byte ids. Runs of equal ids are cheap; each change of id costs one look-up. */
export function indexUuids(column: Uint8Array): UuidDictionary {
  const rows = column.length / 16
  const positions = new Int32Array(rows)
  const known = new Map<string, number>()
  const firstRows: number[] = []
  for (let row = 0; row < rows; row++) {
    if (row > 0 && sameUuid(column, row - 1, row)) {
      positions[row] = positions[row - 1]
      continue
    }
    const uuid = uuidAt(column, row)
    let position = known.get(uuid)
    if (position === undefined) {
      position = firstRows.length
      known.set(uuid, position)
      firstRows.push(row)
    }
    positions[row] = position
  }
  const entries = new Uint8Array(16 * firstRows.length)
  for (const [position, row] of firstRows.entries())
    entries.set(column.subarray(16 * row, 16 * row + 16), 16 * position)
  return { entries, positions }
}
