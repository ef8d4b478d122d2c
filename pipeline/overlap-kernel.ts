/**
 * Sums of four devices' scores over a list of seconds: in WebAssembly with 128-bit vectors, and a plain path that adds in the same
 * order and so gives the same numbers.
 */
import {
  add,
  addDoubles,
  addWords,
  type Code,
  compileKernels,
  constant,
  get,
  I32,
  type Kernel,
  lessThan,
  load,
  loadWord,
  multiplyDoubles,
  repeatWhile,
  reserveMemory,
  set,
  store,
  V128,
} from './wasm.ts'

export const PANEL_DEVICES = 4
/** A second of the panel: four scores as doubles, 0 without a trial, then four 32-bit numbers, 1 with a trial and 0 without. */
export const PANEL_ROW_BYTES = 48
export const TRIALS_AT = 32
/** Results: of each device the sum of the scores, then of their squares, as doubles, then the trials, 32-bit. */
export const SUMS_AT = 0
export const SQUARES_AT = 32
export const COUNTS_AT = 64
/** Where the panel begins. Lists of seconds are wherever their reader puts them behind it. */
export const PANEL_AT = 128

export interface OverlapSummer {
  /** Over the seconds listed from byte `list` to `end`, at least one: each the 32-bit offset of its row in the panel. */
  overlap(list: number, end: number): void
  /** At least so many bytes, what was there before is lost. */
  reserve(bytes: number): ArrayBuffer
}

/** In WebAssembly where the host has it. */
export function overlapSummer(): OverlapSummer {
  return (shared ??= simdOverlapSummer() ?? plainOverlapSummer())
}

let shared: OverlapSummer | undefined

/** Null where the host cannot run it. */
export function simdOverlapSummer(): OverlapSummer | null {
  const compiled = compileKernels<Pick<OverlapSummer, 'overlap'>>([overlapKernel()], 1)
  if (!compiled) return null
  const { functions, memory } = compiled
  return {
    ...functions,
    reserve: (bytes) => reserveMemory(memory, bytes),
  }
}

export function plainOverlapSummer(): OverlapSummer {
  let buffer = new ArrayBuffer(0)
  let [words, doubles] = [new Uint32Array(0), new Float64Array(0)]
  return {
    overlap(list, end) {
      for (let device = 0; device < PANEL_DEVICES; device++) {
        let [sum, squares, count] = [0, 0, 0]
        for (let at = list / 4; at < end / 4; at++) {
          const row = PANEL_AT + words[at]
          const z = doubles[row / 8 + device]
          sum += z
          squares += z * z
          count += words[(row + TRIALS_AT) / 4 + device]
        }
        doubles[SUMS_AT / 8 + device] = sum
        doubles[SQUARES_AT / 8 + device] = squares
        words[COUNTS_AT / 4 + device] = count
      }
    },
    reserve(bytes) {
      if (buffer.byteLength < bytes) {
        buffer = new ArrayBuffer(Math.ceil(bytes / 8) * 8)
        words = new Uint32Array(buffer)
        doubles = new Float64Array(buffer)
      }
      return buffer
    },
  }
}

function overlapKernel(): Kernel<'overlap'> {
  const [list, end, row, z, trials] = [0, 1, 2, 3, 4]
  const sums = [5, 6]
  const squares = [7, 8]
  const accumulate = (half: number): Code => [
    ...set(z, load(get(row), PANEL_AT + 16 * half)),
    ...set(sums[half], addDoubles(get(sums[half]), get(z))),
    ...set(squares[half], addDoubles(get(squares[half]), multiplyDoubles(get(z), get(z)))),
  ]
  const results = [SUMS_AT, SQUARES_AT].flatMap((at, i) =>
    [0, 1].flatMap((half) => store(constant(0), at + 16 * half, get([sums, squares][i][half]))),
  )
  const body = [
    ...repeatWhile(lessThan(get(list), get(end)), [
      ...set(row, loadWord(get(list), 0)),
      ...accumulate(0),
      ...accumulate(1),
      ...set(trials, addWords(get(trials), load(get(row), PANEL_AT + TRIALS_AT))),
      ...set(list, add(get(list), constant(4))),
    ]),
    ...results,
    ...store(constant(0), COUNTS_AT, get(trials)),
  ]
  const locals = [I32, ...Array.from({ length: 6 }, () => V128)]
  return { name: 'overlap', parameters: 2, results: [], locals, body }
}
