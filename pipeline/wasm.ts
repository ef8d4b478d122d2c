/**
 * An assembler of small WebAssembly modules: code is made of calls nested as the instructions are, and compiled where the host
 * has WebAssembly and SIMD. Opcodes: WebAssembly Core Specification 2.0, 5.4.
 */

interface Memory {
  readonly buffer: ArrayBuffer
  grow(pages: number): number
}

/** What is used of the WebAssembly interface, which the libraries of this project's TypeScript do not declare. */
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object) => { exports: Record<string, unknown> & { memory: Memory } }
}

export const PAGE_BYTES = 65_536

export interface Kernel<Name extends string = string> {
  readonly name: Name
  /** How many; all are i32. */
  readonly parameters: number
  readonly results: Code
  /** Types of the locals after the parameters. */
  readonly locals: Code
  readonly body: Code
}

/** The functions, and the memory that they work on; null where the host cannot run them. */
export function compileKernels<Functions extends object>(
  kernels: readonly Kernel<keyof Functions & string>[],
  memoryPages: number,
): { functions: Functions; memory: Memory } | null {
  try {
    const { memory, ...functions } = new WebAssembly.Instance(new WebAssembly.Module(assemble(kernels, memoryPages)))
      .exports
    return { functions: functions as Functions, memory }
  } catch {
    // No WebAssembly, no SIMD, or code made at run time is forbidden: each is a reason for the plain path, not an error.
    return null
  }
}

/** The memory, with at least so many bytes. */
export function reserveMemory(memory: Memory, bytes: number): ArrayBuffer {
  const missing = bytes - memory.buffer.byteLength
  if (missing > 0) memory.grow(Math.ceil(missing / PAGE_BYTES))
  return memory.buffer
}

/** The module: one type, one function and one export a kernel, and the memory. */
function assemble(kernels: readonly Kernel[], memoryPages: number): Uint8Array {
  const types = kernels.map(({ parameters, results }) => [
    0x60,
    ...vector(Array.from({ length: parameters }, () => [I32])),
    ...vector([results].filter((list) => list.length > 0)),
  ])
  const exported = kernels.map(({ name }, index) => [...named(name), 0x00, index])
  const functions = kernels.map(({ locals, body }) =>
    sized([], [...vector(locals.map((type) => [1, type])), ...body, 0x0b]),
  )
  const header = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0]
  return Uint8Array.of(
    ...header,
    ...section(1, types),
    ...section(
      3,
      kernels.map((_, index) => [index]),
    ),
    ...section(5, [[0, ...unsigned(memoryPages)]]),
    ...section(7, [...exported, [...named('memory'), 0x02, 0]]),
    ...section(10, functions),
  )
}

export type Code = readonly number[]

export const I32 = 0x7f
export const V128 = 0x7b

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

export const get = (local: number): Code => [0x20, ...unsigned(local)]
export const set = (local: number, value: Code): Code => [...value, 0x21, ...unsigned(local)]
export const constant = (value: number): Code => [0x41, ...signed(value)]
export const add = (a: Code, b: Code): Code => [...a, ...b, 0x6a]
export const subtract = (a: Code, b: Code): Code => [...a, ...b, 0x6b]
export const shiftLeft = (a: Code, b: Code): Code => [...a, ...b, 0x74]
export const lessThan = (a: Code, b: Code): Code => [...a, ...b, 0x48]
export const isOdd = (a: Code): Code => [...a, ...constant(1), 0x71]
/** Repeats `body` while `condition` holds after it. */
export const repeatWhile = (condition: Code, body: Code): Code => [0x03, 0x40, ...body, ...condition, 0x0d, 0, 0x0b]
export const when = (condition: Code, body: Code): Code => [...condition, 0x04, 0x40, ...body, 0x0b]

export const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)]
// Alignment is a hint; 0 promises none.
export const load = (at: Code, offset: number): Code => [...at, ...simd(0x00), 0, ...unsigned(offset)]
export const store = (at: Code, offset: number, value: Code): Code => [
  ...at,
  ...value,
  ...simd(0x0b),
  0,
  ...unsigned(offset),
]
export const splatByte = (a: Code): Code => [...a, ...simd(0x0f)]
export const lane = (a: Code, index: number): Code => [...a, ...simd(0x1b), index]
export const not = (a: Code): Code => [...a, ...simd(0x4d)]
export const and = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x4e)]
/** a & ~b */
export const without = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x4f)]
export const or = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x50)]
export const xor = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x51)]
/** The bits of a where `mask` is 1, those of b where it is 0. */
export const select = (a: Code, b: Code, mask: Code): Code => [...a, ...b, ...mask, ...simd(0x52)]
export const onesOfBytes = (a: Code): Code => [...a, ...simd(0x62)]
export const addBytes = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x6e)]
export const addWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xae)]
/** Sixteen bytes as the sums of four each, i16x8 then i32x4 extadd_pairwise. */
export const sumsOfFourBytes = (a: Code): Code => [...a, ...simd(0x7d), ...simd(0x7f)]
/** The lower or the upper eight bytes as 16-bit numbers. */
export const lowBytes = (a: Code): Code => [...a, ...simd(0x89)]
export const highBytes = (a: Code): Code => [...a, ...simd(0x8a)]
/** Sums of two neighbouring products of 16-bit lanes. */
export const dotWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xba)]
/** Shifts of 16-bit lanes: there are none of bytes that are fast, so bits that cross are masked away. */
export const shiftLanesLeft = (a: Code, by: Code): Code => [...a, ...by, ...simd(0x8b)]
export const shiftLanesRight = (a: Code, by: Code): Code => [...a, ...by, ...simd(0x8d)]
export const addDoubles = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xf0)]
export const multiplyDoubles = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xf2)]
/** The sum of both lanes, as f64. */
export const sumOfDoubles = (a: Code): Code => [...a, ...simd(0x21), 0, ...a, ...simd(0x21), 1, 0xa0]
export const loadWord = (at: Code, offset: number): Code => [...at, 0x28, 0, ...unsigned(offset)]
export const storeWord = (at: Code, offset: number, value: Code): Code => [
  ...at,
  ...value,
  0x36,
  0,
  ...unsigned(offset),
]
export const storeDouble = (at: Code, offset: number, value: Code): Code => [
  ...at,
  ...value,
  0x39,
  0,
  ...unsigned(offset),
]
/** Of 32-bit lanes; comparisons give all ones or zero. */
export const splatWord = (a: Code): Code => [...a, ...simd(0x11)]
export const equalWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0x37)]
export const subtractWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xb1)]
export const multiplyWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xb5)]
/** Products of the lower or the upper two lanes as 64-bit integers. */
export const multiplyLowWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xdc)]
export const multiplyHighWords = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xdd)]
export const addLongs = (a: Code, b: Code): Code => [...a, ...b, ...simd(0xce)]
