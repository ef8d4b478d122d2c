/**
 * Kernels in WebAssembly with 128-bit vectors, for data that are long enough to pay for the way into its memory. Where the
 * host has no WebAssembly or no SIMD there are no kernels, and every caller has a plain path that gives the same numbers.
 */

import {
  type Code,
  compileKernels,
  type Kernel,
  PAGE_BYTES,
  I32,
  V128,
  add,
  addBytes,
  addWords,
  and,
  constant,
  dotWords,
  get,
  highBytes,
  isOdd,
  lane,
  lessThan,
  load,
  lowBytes,
  not,
  onesOfBytes,
  or,
  repeatWhile,
  select,
  set,
  shiftLanesLeft,
  shiftLanesRight,
  shiftLeft,
  splatByte,
  store,
  subtract,
  sumsOfFourBytes,
  when,
  without,
  xor,
} from './wasm.ts'

export interface SimdKernels {
  /** What the kernels work on: two areas of AREA_BYTES, and what BALANCE_AT says. */
  readonly memory: Uint8Array
  /** Ones in the first `bytes` bytes, a multiple of STEP_BYTES. */
  ones(bytes: number): number
  /**
   * Ones of a ^ ((b << shift) | (c >> (8 - shift))) over the first `bytes` bytes a, those of the second area b, and c the
   * neighbours of b; `bytes` a multiple of STEP_BYTES, at most AREA_BYTES - STEP_BYTES, 0 <= shift <= 7. `left` and
   * `right` are the bits that the two shifts leave in a byte.
   */
  disagreements(bytes: number, shift: number, left: number, right: number): number
  /**
   * Sum of the products of neighbours, memory[i] memory[i + 1] for i below `bytes`, a multiple of 16, at most
   * MOST_PRODUCTS.
   */
  products(bytes: number): number
  /**
   * Berlekamp-Massey on 128 sequences of `bits` bits side by side: vector i of either area holds their bits i. Both areas
   * are used up; the 16 vectors at BALANCE_AT then hold `bits` - 2 L, least significant bit first, two's complement.
   */
  complexities(bits: number): void
}

export const AREA_BYTES = 2 * PAGE_BYTES
/** What one round of the counting loops takes: 8 vectors, whose bytes can be added before they are widened. */
export const STEP_BYTES = 128
/** So many products of two bytes stay below 2^31. */
export const MOST_PRODUCTS = 32_768
const VECTOR_BYTES = 16
export const BALANCE_AT = 2 * AREA_BYTES
export const BALANCE_PLANES = 16
const MEMORY_PAGES = 5

/** The kernels, or null where the host cannot run them. Assembled and compiled once, in about four milliseconds. */
export function simdKernels(): SimdKernels | null {
  if (kernels === undefined) kernels = compileBitKernels()
  return kernels
}

let kernels: SimdKernels | null | undefined

function compileBitKernels(): SimdKernels | null {
  const all = [onesKernel(), disagreementsKernel(), productsKernel(), complexitiesKernel()]
  const compiled = compileKernels<Omit<SimdKernels, 'memory'>>(all, MEMORY_PAGES)
  return compiled && { ...compiled.functions, memory: new Uint8Array(compiled.memory.buffer) }
}

type BitKernel = Kernel<Exclude<keyof SimdKernels, 'memory'>>

/** Sums a count of every byte of `vectorAt(offset)` over the bytes [0, limit): `at` walks, `sum` holds four sums. */
function sumOnes(at: number, limit: number, sum: number, vectorAt: (offset: number) => Code): Code {
  const offsets = Array.from({ length: STEP_BYTES / VECTOR_BYTES }, (_, i) => i * VECTOR_BYTES)
  const bytes = offsets.map((offset) => onesOfBytes(vectorAt(offset))).reduce(addBytes)
  return [
    ...repeatWhile(lessThan(get(at), get(limit)), [
      ...set(sum, addWords(get(sum), sumsOfFourBytes(bytes))),
      ...set(at, add(get(at), constant(STEP_BYTES))),
    ]),
    ...[0, 1, 2, 3].map((index) => lane(get(sum), index)).reduce(add),
  ]
}

function onesKernel(): BitKernel {
  const [bytes, at, sum] = [0, 1, 2]
  const body = sumOnes(at, bytes, sum, (offset) => load(get(at), offset))
  return { name: 'ones', parameters: 1, results: [I32], locals: [I32, V128], body }
}

function productsKernel(): BitKernel {
  const [bytes, at, left, right, sum] = [0, 1, 2, 3, 4]
  const body = [
    ...repeatWhile(lessThan(get(at), get(bytes)), [
      ...set(left, load(get(at), 0)),
      ...set(right, load(get(at), 1)),
      ...set(sum, addWords(get(sum), dotWords(lowBytes(get(left)), lowBytes(get(right))))),
      ...set(sum, addWords(get(sum), dotWords(highBytes(get(left)), highBytes(get(right))))),
      ...set(at, add(get(at), constant(VECTOR_BYTES))),
    ]),
    ...[0, 1, 2, 3].map((index) => lane(get(sum), index)).reduce(add),
  ]
  return { name: 'products', parameters: 1, results: [I32], locals: [I32, V128, V128, V128], body }
}

function disagreementsKernel(): BitKernel {
  const [bytes, shift, leftBits, rightBits, at, back, leftMask, rightMask, sum] = [0, 1, 2, 3, 4, 5, 6, 7, 8]
  const body = [
    ...set(leftMask, splatByte(get(leftBits))),
    ...set(rightMask, splatByte(get(rightBits))),
    ...set(back, subtract(constant(8), get(shift))),
    ...sumOnes(at, bytes, sum, (offset) => {
      const here = and(shiftLanesLeft(load(get(at), AREA_BYTES + offset), get(shift)), get(leftMask))
      const next = and(shiftLanesRight(load(get(at), AREA_BYTES + offset + 1), get(back)), get(rightMask))
      return xor(load(get(at), offset), or(here, next))
    }),
  ]
  const locals = [I32, I32, V128, V128, V128]
  return { name: 'disagreements', parameters: 4, results: [I32], locals, body }
}

/**
 * One step of Berlekamp-Massey on 128 sequences, by the discrepancies alone (see linear-complexity.ts): with d = ahead[0]
 * and s = d where the length changes, ahead[i] = ahead[i+1] ^ (d & earlier[i]), earlier[i] = s ? ahead[i+1] : earlier[i],
 * balance = s ? -balance - 1 : balance + 1. Two steps are done in one pass: half the loads and stores.
 */
function complexitiesKernel(): BitKernel {
  const [bits, at, end, first, firstChange, second, secondChange, old, carry, held, heldEarlier, next] = Array.from(
    { length: 12 },
    (_, local) => local,
  )
  const zero = constant(0)
  const balance = (plane: number) => load(zero, BALANCE_AT + plane * VECTOR_BYTES)
  /** Sets `change`, and the balance: ~balance where the length changes, elsewhere + 1 by its carry. */
  const count = (discrepancy: number, change: number): Code => [
    ...set(change, without(get(discrepancy), balance(BALANCE_PLANES - 1))),
    ...set(carry, not(get(change))),
    ...Array.from({ length: BALANCE_PLANES }, (_, plane) => [
      ...set(old, balance(plane)),
      ...store(zero, BALANCE_AT + plane * VECTOR_BYTES, xor(get(old), or(get(change), get(carry)))),
      ...set(carry, and(get(carry), get(old))),
    ]).flat(),
  ]
  const ahead = (i: number) => load(get(at), i * VECTOR_BYTES)
  const earlier = (i: number) => load(get(at), AREA_BYTES + i * VECTOR_BYTES)
  const pass = [
    ...set(at, zero),
    ...set(first, ahead(0)),
    ...count(first, firstChange),
    ...set(second, xor(ahead(1), and(get(first), earlier(0)))),
    ...count(second, secondChange),
    ...set(heldEarlier, select(ahead(1), earlier(0), get(firstChange))),
    ...repeatWhile(lessThan(get(at), get(end)), [
      ...set(next, ahead(2)),
      ...set(old, earlier(1)),
      ...set(held, xor(get(next), and(get(first), get(old)))),
      ...store(get(at), 0, xor(get(held), and(get(second), get(heldEarlier)))),
      ...store(get(at), AREA_BYTES, select(get(held), get(heldEarlier), get(secondChange))),
      ...set(heldEarlier, select(get(next), get(old), get(firstChange))),
      ...set(at, add(get(at), constant(VECTOR_BYTES))),
    ]),
    ...set(end, subtract(get(end), constant(2 * VECTOR_BYTES))),
  ]
  const body = [
    // `end` is where the vectors that are left will end after the pass.
    ...set(end, shiftLeft(subtract(get(bits), constant(2)), constant(4))),
    ...when(lessThan(constant(-1), get(end)), repeatWhile(lessThan(constant(-1), get(end)), pass)),
    ...when(isOdd(get(bits)), [...set(first, load(zero, 0)), ...count(first, firstChange)]),
  ]
  const locals = [I32, I32, ...Array.from({ length: 9 }, () => V128)]
  return { name: 'complexities', parameters: 1, results: [], locals, body }
}
