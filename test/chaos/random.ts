import { mixText, philox } from '../../pipeline/philox.ts'

/** Numbers that are the same in every run with the same seed. */
export interface Random {
  /** Uniform in [0, 1). */
  next(): number
  between(low: number, high: number): number
  pick<T>(list: readonly T[]): T
  shuffle<T>(list: readonly T[]): T[]
  bytes(length: number): Uint8Array
  /** Another such, which does not depend on how much of this one was used. */
  fork(name: string): Random
}

export function createRandom(seed: string): Random {
  const key = mixText(seed)
  let counter = 0
  const words = (): Uint32Array => {
    const block = Uint32Array.of(counter++, 0, key[2], key[3])
    philox(block, key[0], key[1])
    return block
  }
  const next = () => words()[0] / 2 ** 32
  return {
    next,
    between: (low, high) => low + (high - low) * next(),
    pick: (list) => list[Math.floor(next() * list.length)],
    shuffle: (list) =>
      list
        .map((item) => ({ item, order: next() }))
        .toSorted((a, b) => a.order - b.order)
        .map(({ item }) => item),
    bytes: (length) => {
      const out = new Uint8Array(Math.ceil(length / 16) * 16)
      for (let at = 0; at < length; at += 16) out.set(new Uint8Array(words().buffer), at)
      return out.subarray(0, length)
    },
    fork: (name) => createRandom(`${seed}/${name}`),
  }
}
