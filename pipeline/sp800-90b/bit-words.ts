/** Packed bits as 32-bit words in reading order: bit i is bit 31 - i % 32 of word floor(i / 32). */

/** The first `bits` bits of `bytes` as big-endian words, zeros past the end, and two more zero words behind them. */
export function bitWords(bytes: Uint8Array, bits: number): Int32Array {
  const words = new Int32Array(Math.ceil(bits / 32) + 2)
  const whole = Math.floor(bits / 32)
  for (let i = 0, at = 0; i < whole; i++, at += 4) {
    words[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]
  }
  for (let at = 4 * whole; 8 * at < bits; at++) words[whole] |= bytes[at] << (24 - 8 * (at & 3))
  if (bits % 32 !== 0) words[whole] &= -1 << (32 - (bits % 32))
  return words
}

/** The 32 bits that begin at bit `at`; `at` + 32 must not pass the words' end by more than they are padded. */
export function wordAt(words: Int32Array, at: number): number {
  const first = at >>> 5
  // Two shifts, because JavaScript takes x >>> 32 for x >>> 0.
  return (words[first] << (at & 31)) | ((words[first + 1] >>> 1) >>> (~at & 31))
}

/** Number of one bits in a 32-bit word. */
export function onesInWord(word: number): number {
  let x = word - ((word >>> 1) & 0x55555555)
  x = (x & 0x33333333) + ((x >>> 2) & 0x33333333)
  x = (x + (x >>> 4)) & 0x0f0f0f0f
  return Math.imul(x, 0x01010101) >>> 24
}

/** Symbols of `bitsPerSymbol` (1 to 8) bits, one an element, packed without gaps; the last byte is filled with zeros. */
export function packSymbols(symbols: Uint8Array, bitsPerSymbol: number): Uint8Array {
  if (bitsPerSymbol === 8) return symbols
  const packed = new Uint8Array(Math.ceil((symbols.length * bitsPerSymbol) / 8))
  let held = 0
  let pending = 0
  let at = 0
  for (let i = 0; i < symbols.length; i++) {
    pending = ((pending << bitsPerSymbol) | symbols[i]) & 0xffff
    held += bitsPerSymbol
    if (held >= 8) packed[at++] = pending >>> (held -= 8)
  }
  if (held > 0) packed[at] = pending << (8 - held)
  return packed
}

/** The floor(8 * bytes.length / bitsPerSymbol) symbols of `bitsPerSymbol` (1 to 8) bits that `bytes` hold, in order. */
export function unpackSymbols(bytes: Uint8Array, bitsPerSymbol: number): Uint8Array {
  if (bitsPerSymbol === 8) return bytes
  const symbols = new Uint8Array(Math.floor((8 * bytes.length) / bitsPerSymbol))
  const mask = (1 << bitsPerSymbol) - 1
  let held = 0
  let pending = 0
  let at = 0
  for (let i = 0; i < symbols.length; i++) {
    if (held < bitsPerSymbol) {
      pending = ((pending << 8) | bytes[at++]) & 0xffff
      held += 8
    }
    symbols[i] = (pending >>> (held -= bitsPerSymbol)) & mask
  }
  return symbols
}
