/**
 * Philox4x32-10 (J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC11): a random function
 * of a counter and a key, so that any number of a sequence can be had without those before it.
 */
const ROUNDS = 10
/** The multipliers, and what is added to the key between rounds. */
const [M0, M1] = [0xd2511f53, 0xcd9e8d57]
const [W0, W1] = [0x9e3779b9, 0xbb67ae85]

/** Replaces the four words of `block`, the counter, by four uniform 32-bit words. */
export function philox(block: Uint32Array, key0: number, key1: number): void {
  let [a, b, c, d] = [block[0] | 0, block[1] | 0, block[2] | 0, block[3] | 0]
  let [k0, k1] = [key0 | 0, key1 | 0]
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = multiplyHigh(M0, a)
    const high1 = multiplyHigh(M1, c)
    const low0 = Math.imul(M0, a)
    const low1 = Math.imul(M1, c)
    a = high1 ^ b ^ k0
    b = low1
    c = high0 ^ d ^ k1
    d = low0
    k0 = (k0 + W0) | 0
    k1 = (k1 + W1) | 0
  }
  block[0] = a
  block[1] = b
  block[2] = c
  block[3] = d
}

/** The upper 32 bits of the product of two unsigned 32-bit numbers, from products of their halves. */
function multiplyHigh(x: number, y: number): number {
  const x0 = x & 0xffff
  const x1 = x >>> 16
  const y0 = y & 0xffff
  const y1 = y >>> 16
  // Neither sum leaves 32 bits; as integers they need no doubles.
  const middle = (Math.imul(x1, y0) + (Math.imul(x0, y0) >>> 16)) | 0
  const rest = (Math.imul(x0, y1) + (middle & 0xffff)) | 0
  return (Math.imul(x1, y1) + (middle >>> 16) + (rest >>> 16)) | 0
}

/** 128 bits of a text: its UTF-16 units go through Philox one after the other, as blocks go through a cipher in a chain. */
export function mixText(text: string): Uint32Array {
  const block = Uint32Array.of(text.length, 0, 0, 0)
  philox(block, 0, 0)
  for (let i = 0; i < text.length; i++) {
    block[0] ^= text.charCodeAt(i)
    philox(block, 0, 0)
  }
  return block
}
