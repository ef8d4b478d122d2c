import { wordsOf } from './gather-rows.ts'

/** A column of uuids as the distinct ones, in order of first appearance, and each row's position among them. */
export interface UuidDictionary {
  /** 16 bytes per distinct uuid. */
  readonly entries: Uint8Array
  readonly positions: Int32Array
}

/** Indexes a column of 16-byte ids. Runs of equal ids are cheap; each change of id costs one look-up. */
export function indexUuids(column: Uint8Array): UuidDictionary {
  const words = wordsOf(column)
  const rows = column.length / 16
  const positions = new Int32Array(rows)
  const firstRows: number[] = []
  // Open addressing: the position of the uuid whose hash leads to the slot, or -1.
  let slots = new Int32Array(64).fill(-1)
  for (let row = 0; row < rows; row++) {
    if (row > 0 && sameWords(words, row - 1, row)) {
      positions[row] = positions[row - 1]
      continue
    }
    let slot = findSlot(slots, words, firstRows, row)
    if (slots[slot] < 0) {
      firstRows.push(row)
      if (2 * firstRows.length > slots.length) {
        slots = new Int32Array(4 * slots.length).fill(-1)
        for (let known = 0; known < firstRows.length - 1; known++)
          slots[findSlot(slots, words, firstRows, firstRows[known])] = known
        slot = findSlot(slots, words, firstRows, row)
      }
      slots[slot] = firstRows.length - 1
    }
    positions[row] = slots[slot]
  }
  const entries = new Uint8Array(16 * firstRows.length)
  for (const [position, row] of firstRows.entries())
    entries.set(column.subarray(16 * row, 16 * row + 16), 16 * position)
  return { entries, positions }
}

/** The dictionary of the same column with its `rows` in another order. */
export function reorderDictionary({ entries, positions }: UuidDictionary, rows: Uint32Array): UuidDictionary {
  const renamed = new Int32Array(entries.length / 16).fill(-1)
  const reordered = { entries: new Uint8Array(entries.length), positions: new Int32Array(rows.length) }
  let known = 0
  for (let index = 0; index < rows.length; index++) {
    const position = positions[rows[index]]
    if (renamed[position] < 0) {
      reordered.entries.set(entries.subarray(16 * position, 16 * position + 16), 16 * known)
      renamed[position] = known++
    }
    reordered.positions[index] = renamed[position]
  }
  return reordered
}

/** The slot of the uuid in `row`, or the empty one where it belongs. */
function findSlot(slots: Int32Array, words: Int32Array, firstRows: readonly number[], row: number): number {
  const mask = slots.length - 1
  const at = 4 * row
  let hash = Math.imul(words[at] ^ Math.imul(words[at + 1], 0x9e3779b1), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 15) ^ words[at + 2], 0xc2b2ae35) ^ Math.imul(words[at + 3], 0x27d4eb2f)
  let slot = (hash ^ (hash >>> 16)) & mask
  while (slots[slot] >= 0 && !sameWords(words, firstRows[slots[slot]], row)) slot = (slot + 1) & mask
  return slot
}

function sameWords(words: Int32Array, a: number, b: number): boolean {
  return (
    words[4 * a] === words[4 * b] &&
    words[4 * a + 1] === words[4 * b + 1] &&
    words[4 * a + 2] === words[4 * b + 2] &&
    words[4 * a + 3] === words[4 * b + 3]
  )
}
