/**
 * Products of the rows of a matrix, a tile of 4 by 2 rows at a time: in WebAssembly with 128-bit vectors, and a plain path that
 * adds in the same order and so gives the same numbers.
 */
import {
  add,
  addDoubles,
  addWords,
  type Code,
  compileKernels,
  constant,
  dotWords,
  get,
  I32,
  type Kernel,
  lane,
  lessThan,
  load,
  multiplyDoubles,
  repeatWhile,
  reserveMemory,
  set,
  storeDouble,
  storeWord,
  sumOfDoubles,
  V128,
} from './wasm.ts'

/** Rows of a tile: of the left and of the right operand. */
export const TILE_LEFT = 4
export const TILE_RIGHT = 2
/** Rows begin behind the results of a tile, and are padded with zeros to whole vectors. */
export const ROWS_AT = 64
export const VECTOR_BYTES = 16

/**
 * Each call multiplies rows at `left`, left + stride, … with rows at `right`, right + stride over their first `bytes` bytes, a
 * multiple of 16, and leaves the sums of left i and right j at index 2 i + j of the memory.
 */
export interface DotProducts {
  /** Of 16-bit integers; sums are 32-bit and must not leave them. */
  words(left: number, right: number, stride: number, bytes: number): void
  /** Of doubles: even and odd columns apart, in order, then both. */
  doubles(left: number, right: number, stride: number, bytes: number): void
  /** At least so many bytes, what was there before is lost. */
  reserve(bytes: number): ArrayBuffer
}

/** In WebAssembly where the host has it. */
export function dotProducts(): DotProducts {
  return (shared ??= simdDotProducts() ?? plainDotProducts())
}

let shared: DotProducts | undefined

/** Null where the host cannot run it. */
export function simdDotProducts(): DotProducts | null {
  const compiled = compileKernels<Pick<DotProducts, 'words' | 'doubles'>>([wordsKernel(), doublesKernel()], 1)
  if (!compiled) return null
  const { functions, memory } = compiled
  return {
    ...functions,
    reserve: (bytes) => reserveMemory(memory, bytes),
  }
}

export function plainDotProducts(): DotProducts {
  let buffer = new ArrayBuffer(0)
  let [words, sums, doubles] = [new Int16Array(0), new Int32Array(0), new Float64Array(0)]
  return {
    words(left, right, stride, bytes) {
      forEachInTile((i, j) => {
        const [x, y] = [(left + i * stride) / 2, (right + j * stride) / 2]
        let sum = 0
        for (let at = 0; at < bytes / 2; at++) sum += words[x + at] * words[y + at]
        sums[TILE_RIGHT * i + j] = sum
      })
    },
    doubles(left, right, stride, bytes) {
      forEachInTile((i, j) => {
        const [x, y] = [(left + i * stride) / 8, (right + j * stride) / 8]
        let [even, odd] = [0, 0]
        for (let at = 0; at < bytes / 8; at += 2) {
          even += doubles[x + at] * doubles[y + at]
          odd += doubles[x + at + 1] * doubles[y + at + 1]
        }
        doubles[TILE_RIGHT * i + j] = even + odd
      })
    },
    reserve(bytes) {
      if (buffer.byteLength < bytes) {
        buffer = new ArrayBuffer(Math.ceil(bytes / 8) * 8)
        words = new Int16Array(buffer)
        sums = new Int32Array(buffer)
        doubles = new Float64Array(buffer)
      }
      return buffer
    },
  }
}

function forEachInTile(visit: (i: number, j: number) => void): void {
  for (let i = 0; i < TILE_LEFT; i++) for (let j = 0; j < TILE_RIGHT; j++) visit(i, j)
}

/** Sums of the four lanes, one result of 4 bytes after the other. */
const wordsKernel = () =>
  tileKernel('words', {
    accumulate: (sum, a, b) => addWords(sum, dotWords(a, b)),
    result: (sum, index) => storeWord(constant(0), 4 * index, [0, 1, 2, 3].map((i) => lane(sum, i)).reduce(add)),
  })

const doublesKernel = () =>
  tileKernel('doubles', {
    accumulate: (sum, a, b) => addDoubles(sum, multiplyDoubles(a, b)),
    result: (sum, index) => storeDouble(constant(0), 8 * index, sumOfDoubles(sum)),
  })

interface Arithmetic {
  accumulate(sum: Code, a: Code, b: Code): Code
  result(sum: Code, index: number): Code
}

function tileKernel<Name extends string>(name: Name, arithmetic: Arithmetic): Kernel<Name> {
  const [left, right, stride, bytes] = [0, 1, 2, 3]
  // Pointers to every row, the end, then vectors: the right rows, a left row, the sums.
  const rowOfLeft = (i: number) => (i === 0 ? left : 3 + i)
  const rowOfRight = (j: number) => (j === 0 ? right : 2 + TILE_LEFT + j)
  const end = 2 + TILE_LEFT + TILE_RIGHT
  const vectorOfRight = (j: number) => end + 1 + j
  const vectorOfLeft = end + 1 + TILE_RIGHT
  const sumOf = (i: number, j: number) => vectorOfLeft + 1 + TILE_RIGHT * i + j
  const [lefts, rights] = [TILE_LEFT, TILE_RIGHT].map((count) => Array.from({ length: count }, (_, i) => i))
  const step = (row: number) => set(row, add(get(row), constant(VECTOR_BYTES)))
  const body = [
    ...lefts.slice(1).flatMap((i) => set(rowOfLeft(i), add(get(rowOfLeft(i - 1)), get(stride)))),
    ...rights.slice(1).flatMap((j) => set(rowOfRight(j), add(get(rowOfRight(j - 1)), get(stride)))),
    ...set(end, add(get(left), get(bytes))),
    ...repeatWhile(lessThan(get(left), get(end)), [
      ...rights.flatMap((j) => [...set(vectorOfRight(j), load(get(rowOfRight(j)), 0)), ...step(rowOfRight(j))]),
      ...lefts.flatMap((i) => [
        ...set(vectorOfLeft, load(get(rowOfLeft(i)), 0)),
        ...step(rowOfLeft(i)),
        ...rights.flatMap((j) =>
          set(sumOf(i, j), arithmetic.accumulate(get(sumOf(i, j)), get(vectorOfLeft), get(vectorOfRight(j)))),
        ),
      ]),
    ]),
    ...lefts.flatMap((i) => rights.flatMap((j) => arithmetic.result(get(sumOf(i, j)), TILE_RIGHT * i + j))),
  ]
  const pointers = TILE_LEFT + TILE_RIGHT - 2 + 1
  const vectors = TILE_RIGHT + 1 + TILE_LEFT * TILE_RIGHT
  const locals = [...Array.from({ length: pointers }, () => I32), ...Array.from({ length: vectors }, () => V128)]
  return { name, parameters: 4, results: [], locals, body }
}
