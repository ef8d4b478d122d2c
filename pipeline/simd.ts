/**
 * Kernels in WebAssembly with 128-bit vectors, for data that are long enough to pay for the way into its memory. The code
 * is assembled here, on first use, from calls nested as the instructions are; where the host has no WebAssembly or no
 * SIMD there are no kernels, and every caller has a plain path that gives the same numbers.
 * Opcodes: WebAssembly Core Specification 2.0, 5.4.
 */

/** What is used of the WebAssembly interface, which the libraries of this project's TypeScript do not declare. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object) => { exports: Omit<SimdKernels, 'memory'> & { memory: { buffer: ArrayBuffer } } }
}

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

const PAGE_BYTES = 65_536
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
  if (kernels === undefined) kernels = compileKernels()
  return kernels
}

let kernels: SimdKernels | null | undefined

function compileKernels(): SimdKernels | null {
  try {
    const { memory, ...functions } = new WebAssembly.Instance(new WebAssembly.Module(assembleKernels())).exports
    return { ...functions, memory: new Uint8Array(memory.buffer) }
  } catch {
    // No WebAssembly, no SIMD, or code made at run time is forbidden: each is a reason for the plain path, not an error.
    return null
  }
}

type Code = readonly number[]

const I32 = 0x7f
const V128 = 0x7b

/** LEB128 of an unsigned integer. */
function unsigned(value: number): Code {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)]
}

/** LEB128 of a signed integer. */
function signed(value: number): Code {
  const fits = value >= -0x40 && value < 0x40
  return fits ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)]
}

const vector = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()]
const section = (id: number, items: readonly Code[]): Code => sized([id], vector(items))
const sized = (head: Code, body: Code): Code => [...head, ...unsigned(body.length), ...body]
const named = (name: string): Code =>
  sized(
    [],
    Array.from(name, (letter) => letter.codePointAt(0)!),
  )

const get = (local: number): Code => [0x20, ...unsigned(local)]
const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)]
const constant = (value: number): Code => [0x41, ...signed(value)]
const add = (a: Code, b: Code): Code => [...a, ...b, 0x6a]
const subtract = (a: Code, b: Code): Code => [...a, ...b, 0x6b]
const shiftLeft = (a: Code, b: Code): Code => [...a, ...b, 0x74]
const lessThan = (a: Code, b: Code): Code => [...a, ...b, 0x48]
const isOdd = (a: Code): Code => [...a, ...constant(1), 0x71]
/** Repeats `body` while `condition` holds after it. */
const repeatWhile = (condition: Code, body: Code): Code => [0x03, 0x40, ...body, ...condition, 0x0d, 0, 0x0b]
const when = (condition: Code, body: Code): Code => [...condition, 0x04, 0x40, ...body, 0x0b]

const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)]
// Alignment is a hint; 0 promises none.
const load = (at: Code, offset: number): Code => [...at, ...simd(0x00), 0, ...unsigned(offset)]
const store = (at: Code, offset: number, value: Code): Code => [...at, ...value, ...simd(0x0b), 0, ...unsigned(offset)]
const splatByte = (a: Code): Code => [...a, ...simd(0x0f)]
const lane = (a: Code, index: number): Code => [...a, ...simd(0x1b), index]
const not = (a: Code): Code => [...a, ...simd(0x4d)]
const and = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x4e)]
/** a & ~b */
const without = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x4f)]
const or = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x50)]
const xor = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x51)]
/** The bits of a where `mask` is 1, those of b where it is 0. */
const select = (a: Code, b: Code, mask: Code): Code => [...a, ...b, ...mask, ...simd(0x52)]
const onesOfBytes = (a: Code): Code => [...a, ...simd(0x62)]
const addBytes = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x6e)]
const addWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xae)]
/** Sixteen bytes as the sums of four each, i16x8 then i32x4 extadd_pairwise. */
const sumsOfFourBytes = (a: Code): Code => [...a, ...simd(0x7d), ...simd(0x7f)]
/** The lower or the upper eight bytes as 16-bit numbers. */
const lowBytes = (a: Code): Code => [...a, ...simd(0x89)]
const highBytes = (a: Code): Code => [...a, ...simd(0x8a)]
/** Sums of two neighbouring products of 16-bit lanes. */
const dotWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xba)]
/** Shifts of 16-bit lanes: there are none of bytes that are fast, so bits that cross are masked away. */
const shiftLanesLeft = (a: Code, by: Code): Code => [...a, ...by, ...simd(0x8b)]
const shiftLanesRight = (a: Code, by: Code): Code => [...a, ...by, ...simd(0x8d)]

interface Kernel {
  readonly name: Exclude<keyof SimdKernels, 'memory'>
  readonly parameters: number
  readonly results: Code
  /** Types of the locals after the parameters, all of which are i32. */
  readonly locals: Code
  readonly body: Code
}

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

function onesKernel(): Kernel {
  const [bytes, at, sum] = [0, 1, 2]
  const body = sumOnes(at, bytes, sum, (offset) => load(get(at), offset))
  return { name: 'ones', parameters: 1, results: [I32], locals: [I32, V128], body }
}

function productsKernel(): Kernel {
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

function disagreementsKernel(): Kernel {
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
function complexitiesKernel(): Kernel {
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

/** The module: one type, one function and one export a kernel, and the memory. */
function assembleKernels(): Uint8Array {
  const all = [onesKernel(), disagreementsKernel(), productsKernel(), complexitiesKernel()]
  const types = all.map(({ parameters, results }) => [
    0x60,
    ...vector(Array.from({ length: parameters }, () => [I32])),
    ...vector([results].filter((list) => list.length > 0)),
  ])
  const exported = all.map(({ name }, index) => [...named(name), 0x00, index])
  const functions = all.map(({ locals, body }) =>
    sized([], [...vector(locals.map((type) => [1, type])), ...body, 0x0b]),
  )
  return Uint8Array.of(
    0x00,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, types),
    ...section(
      3,
      all.map((_, index) => [index]),
    ),
    ...section(5, [[0, MEMORY_PAGES]]),
    ...section(7, [...exported, [...named('memory'), 0x02, 0]]),
    ...section(10, functions),
  )
}
