/**
 * Sums over devices of d = 2 k - n and its powers, second by second, of trials of one size n: in WebAssembly with 128-bit vectors,
 * and a plain path. All are integers below 2^53, so that both give the same.
 */
import {
  add,
  addLongs,
  addWords,
  and,
  type Code,
  compileKernels,
  constant,
  equalWords,
  get,
  I32,
  type Kernel,
  lane,
  lessThan,
  load,
  multiplyHighWords,
  multiplyLowWords,
  multiplyWords,
  or,
  repeatWhile,
  set,
  splatWord,
  store,
  subtractWords,
  V128,
  without,
} from './wasm.ts'

/** Seconds whose sums stay in the nearest cache while all devices pass. */
export const BLOCK_SECONDS = 1024
/** What stays in 32 bits: sums of d^2 over so many devices of so many bits. */
const MOST_BITS = 1024
const MOST_DEVICES = 2047

/** By second of a block: regular trials, and the sums of d, d^2 and d^4 over them. */
export interface StepSums {
  readonly count: Float64Array
  readonly d1: Float64Array
  readonly d2: Float64Array
  readonly d4: Float64Array
}

type Counts = Uint32Array | Int32Array

/** Adds up the blocks of one device after the other; `finish` gives the sums and begins anew. */
export interface StepSummer {
  /**
   * Takes the regular trials of seconds [from, to), at most BLOCK_SECONDS: n bits, not all of them equal. Returns how many
   * there are.
   */
  add(bits: Counts, ones: Counts, from: number, to: number): number
  finish(): StepSums
}

/** In WebAssembly where the host has it and the sums fit. */
export function stepSummer(size: number, devices: number): StepSummer {
  const simd = size <= MOST_BITS && devices <= MOST_DEVICES ? simdStepSummer(size) : null
  return simd ?? plainStepSummer(size)
}

export function plainStepSummer(size: number): StepSummer {
  let sums = emptySums()
  return {
    add(bits, ones, from, to) {
      const { count, d1, d2, d4 } = sums
      let regular = 0
      for (let t = from; t < to; t++) {
        const k = ones[t]
        if (bits[t] !== size || k === 0 || k === size) continue
        const d = 2 * k - size
        const square = d * d
        const at = t - from
        regular++
        count[at]++
        d1[at] += d
        d2[at] += square
        d4[at] += square * square
      }
      return regular
    },
    finish() {
      const finished = sums
      sums = emptySums()
      return finished
    },
  }
}

function emptySums(): StepSums {
  const [count, d1, d2, d4] = Array.from({ length: 4 }, () => new Float64Array(BLOCK_SECONDS))
  return { count, d1, d2, d4 }
}

const WORDS_BYTES = 4 * BLOCK_SECONDS
const [BITS_AT, ONES_AT, COUNT_AT, D1_AT, D2_AT, D4_AT] = [0, 1, 2, 3, 4, 5].map((i) => i * WORDS_BYTES)
const END = D4_AT + 2 * WORDS_BYTES

let compiled: ReturnType<typeof compileStepSums> | undefined

const compileStepSums = () => compileKernels<{ sum(size: number, bytes: number): number }>([sumKernel()], 1)

/** Null where the host cannot run it. */
export function simdStepSummer(size: number): StepSummer | null {
  compiled ??= compileStepSums()
  if (!compiled) return null
  const { functions, memory } = compiled
  const words = new Int32Array(memory.buffer)
  words.fill(0, COUNT_AT / 4, END / 4)
  return {
    add(bits, ones, from, to) {
      // Whole vectors: what is left of the last one is of no size.
      const width = Math.ceil((to - from) / 4) * 4
      if (width > to - from) words.fill(-1, BITS_AT / 4 + width - 4, BITS_AT / 4 + width)
      words.set(bits.subarray(from, to), BITS_AT / 4)
      words.set(ones.subarray(from, to), ONES_AT / 4)
      return functions.sum(size, 4 * width)
    },
    finish() {
      const take = (at: number) => Float64Array.from(words.subarray(at / 4, (at + WORDS_BYTES) / 4))
      const d4 = new Float64Array(BLOCK_SECONDS)
      for (let t = 0; t < d4.length; t++) {
        const low = D4_AT / 4 + 2 * t
        d4[t] = words[low + 1] * 2 ** 32 + (words[low] >>> 0)
      }
      const sums = { count: take(COUNT_AT), d1: take(D1_AT), d2: take(D2_AT), d4 }
      words.fill(0, COUNT_AT / 4, END / 4)
      return sums
    },
  }
}

/** sum(size, bytes): adds the first `bytes` bytes of 32-bit bits and ones to the sums, and returns the trials it took. */
function sumKernel(): Kernel<'sum'> {
  const [size, bytes, at, sizes, ones, taken, d, square, trials] = [0, 1, 2, 3, 4, 5, 6, 7, 8]
  const zero = splatWord(constant(0))
  const accumulate = (offset: number, by: Code, how: typeof addWords) =>
    store(get(at), offset, how(load(get(at), offset), by))
  /** The sums of d^4 are twice as wide: `at` counts half of their bytes. */
  const wide = (half: number) => {
    const place = add(get(at), get(at))
    const offset = D4_AT + 16 * half
    const product = (half === 0 ? multiplyLowWords : multiplyHighWords)(get(square), get(square))
    return store(place, offset, addLongs(load(place, offset), product))
  }
  const irregular = or(equalWords(get(ones), zero), equalWords(get(ones), get(sizes)))
  const body = [
    ...set(sizes, splatWord(get(size))),
    ...repeatWhile(lessThan(get(at), get(bytes)), [
      ...set(ones, load(get(at), ONES_AT)),
      ...set(taken, without(equalWords(load(get(at), BITS_AT), get(sizes)), irregular)),
      ...set(d, and(subtractWords(addWords(get(ones), get(ones)), get(sizes)), get(taken))),
      ...set(square, multiplyWords(get(d), get(d))),
      // A taken lane is -1.
      ...set(trials, subtractWords(get(trials), get(taken))),
      ...accumulate(COUNT_AT, get(taken), subtractWords),
      ...accumulate(D1_AT, get(d), addWords),
      ...accumulate(D2_AT, get(square), addWords),
      ...wide(0),
      ...wide(1),
      ...set(at, add(get(at), constant(16))),
    ]),
    ...[0, 1, 2, 3].map((index) => lane(get(trials), index)).reduce(add),
  ]
  const locals = [I32, ...Array.from({ length: 6 }, () => V128)]
  return { name: 'sum', parameters: 2, results: [I32], locals, body }
}
