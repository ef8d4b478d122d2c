import { bitWords, wordAt } from './bit-words.ts'
import { neighbourPrefixes } from './suffix-array.ts'

/** How often the substrings of a sequence repeat, by their length. */
export interface Repeats {
  /** Length of the longest substring that occurs twice; 0 if no symbol does. */
  readonly longest: number
  /** most[w], 1 <= w <= longest: occurrences of the most frequent substring of w symbols. */
  readonly most: Int32Array
  /** pairs[w]: pairs of places where equal substrings of w symbols begin. Exact below 2^53, so up to 2^27 symbols. */
  readonly pairs: Float64Array
}

/** Suffixes in a bucket, on average over ideal data, as a power of 2: small enough to sort by insertion. */
const BUCKET_LOG = 2
const MOST_BUCKET_BITS = 22
/** Larger sets are sorted by the engine. */
const INSERTION_MOST = 48
/** Words looked at beyond the first of each suffix, per suffix, before the data count as repetitive. */
const EFFORT = 4
/** Bits that more than INSERTION_MOST suffixes share before the data count as repetitive. */
const MOST_DEPTH = 4096

/**
 * Counts the repeated substrings of n symbols of `bitsPerSymbol` bits, packed in `bytes` from bit 0 on. Sorts all
 * suffixes: by their first bits into buckets, within a bucket by the next word, and seldom further; data that repeat
 * themselves at length go to the linear suffix sort instead.
 */
export function countRepeats(bytes: Uint8Array, n: number, bitsPerSymbol: number): Repeats {
  return repeatsOf(sortInBuckets(bytes, n, bitsPerSymbol) ?? sortLinearly(bytes, n, bitsPerSymbol))
}

function sortLinearly(bytes: Uint8Array, n: number, bitsPerSymbol: number): Int32Array {
  const words = bitWords(bytes, n * bitsPerSymbol)
  const text = new Uint8Array(n)
  for (let i = 0, at = 0; i < n; i++, at += bitsPerSymbol) text[i] = wordAt(words, at) >>> (32 - bitsPerSymbol)
  return neighbourPrefixes(text, 1 << bitsPerSymbol)
}

/**
 * From the common prefixes of neighbours in suffix order. All suffixes that share w symbols are neighbours, so the
 * groups nest; each is closed once, and counts for the lengths from its own prefix down to that of the group around it.
 */
export function repeatsOf(prefixes: Int32Array): Repeats {
  let longest = 0
  for (let i = 0; i < prefixes.length; i++) if (prefixes[i] > longest) longest = prefixes[i]
  const most = new Int32Array(longest + 2)
  const pairs = new Float64Array(longest + 2)
  // As deep as prefixes nest: few tens in ordinary data, as many as symbols in constant ones.
  let openPrefix = new Int32Array(64)
  let openFrom = new Int32Array(64)
  let top = 0
  for (let i = 0; i <= prefixes.length; i++) {
    const prefix = i < prefixes.length ? prefixes[i] : 0
    let from = i
    let closing = openPrefix[top]
    while (closing > prefix) {
      from = openFrom[top--]
      const around = openPrefix[top] > prefix ? openPrefix[top] : prefix
      const size = i - from + 1
      if (size > most[closing]) most[closing] = size
      const ways = (size * (size - 1)) / 2
      pairs[closing] += ways
      pairs[around] -= ways
      closing = openPrefix[top]
    }
    if (prefix > closing) {
      if (++top === openPrefix.length) {
        openPrefix = enlarged(openPrefix)
        openFrom = enlarged(openFrom)
      }
      openPrefix[top] = prefix
      openFrom[top] = from
    }
  }
  for (let w = longest; w > 0; w--) {
    pairs[w] += pairs[w + 1]
    if (most[w + 1] > most[w]) most[w] = most[w + 1]
  }
  return { longest, most, pairs }
}

function enlarged(array: Int32Array): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(2 * array.length)
  larger.set(array)
  return larger
}

/** Common prefixes, in symbols, of neighbours in suffix order; null once it has become too much work. */
function sortInBuckets(bytes: Uint8Array, n: number, bitsPerSymbol: number): Int32Array | null {
  const bits = n * bitsPerSymbol
  const words = bitWords(bytes, bits)
  const bucketBits = Math.max(1, Math.min(MOST_BUCKET_BITS, Math.floor(Math.log2(n)) - BUCKET_LOG))
  const starts = new Int32Array((1 << bucketBits) + 1)
  const shift = 32 - bucketBits
  for (let at = 0; at < bits; at += bitsPerSymbol) starts[(wordAt(words, at) >>> shift) + 1]++
  let crowded = 0
  for (let bucket = 1; bucket < starts.length; bucket++) {
    if (starts[bucket] > INSERTION_MOST) crowded += starts[bucket]
    starts[bucket] += starts[bucket - 1]
  }
  if (crowded > n / 2) return null
  const sorted = new Int32Array(n)
  for (let at = 0; at < bits; at += bitsPerSymbol) sorted[starts[wordAt(words, at) >>> shift]++] = at
  const sorter: Sorter = { words, bits, sorted, keys: new Int32Array(INSERTION_MOST), effort: EFFORT * n }
  // Every start has moved to its bucket's end.
  for (let bucket = 0, from = 0; bucket < 1 << bucketBits; bucket++) {
    const to = starts[bucket]
    sortRange(sorter, from, to, bucketBits)
    if (sorter.effort < 0) return null
    from = to
  }
  return prefixesOf(sorter, bitsPerSymbol)
}

interface Sorter {
  readonly words: Int32Array
  readonly bits: number
  /** Bit positions of the suffixes. */
  readonly sorted: Int32Array
  /** Work space of sortFew. */
  readonly keys: Int32Array
  /** Sinks with every word looked at beyond the first; below 0 the sort is given up. */
  effort: number
}

/** Sorts the suffixes sorted[from..to), which share `depth` bits. */
function sortRange(sorter: Sorter, from: number, to: number, depth: number): void {
  if (to - from < 2) return
  if (to - from <= INSERTION_MOST) sortFew(sorter, from, to, depth)
  else sortMany(sorter, from, to, depth)
}

function sortFew(sorter: Sorter, from: number, to: number, depth: number): void {
  const { words, bits, sorted, keys } = sorter
  for (let i = from; i < to; i++) {
    const at = sorted[i]
    // Flipping the sign bit lets signed comparison order unsigned words.
    const key = at + depth < bits ? wordAt(words, at + depth) ^ 0x80000000 : 0x80000000 | 0
    let j = i - from
    while (j > 0 && keys[j - 1] >= key) {
      const other = sorted[from + j - 1]
      if (keys[j - 1] === key && !isAfter(sorter, other, at, depth + 32)) break
      keys[j] = keys[j - 1]
      sorted[from + j] = other
      j--
    }
    keys[j] = key
    sorted[from + j] = at
  }
}

/**
 * True if suffix a, which shares `depth` bits with suffix b, is the greater one. The zeros past the end stand for the
 * smallest continuation, so only suffixes equal up to the end of one need more: the shorter one comes first.
 */
function isAfter(sorter: Sorter, a: number, b: number, depth: number): boolean {
  const { words, bits } = sorter
  const end = bits - Math.max(a, b)
  for (let d = depth; d < end; d += 32) {
    sorter.effort--
    const wordA = wordAt(words, a + d)
    const wordB = wordAt(words, b + d)
    if (wordA !== wordB) return wordA >>> 0 > wordB >>> 0
  }
  return a < b
}

function sortMany(sorter: Sorter, from: number, to: number, depth: number): void {
  const { words, bits, sorted } = sorter
  sorter.effort -= to - from
  if (depth > MOST_DEPTH) sorter.effort = -1
  if (sorter.effort < 0) return
  // A double holds 26 bits of text and 27 of index.
  const keyed = new Float64Array(to - from)
  const places = sorted.slice(from, to)
  for (let i = 0; i < keyed.length; i++) {
    const key = places[i] + depth < bits ? wordAt(words, places[i] + depth) >>> 6 : 0
    keyed[i] = key * 2 ** 27 + i
  }
  keyed.sort()
  let first = from
  for (let i = 0, before = 0; i < keyed.length; i++) {
    const key = Math.floor(keyed[i] / 2 ** 27)
    sorted[from + i] = places[keyed[i] - key * 2 ** 27]
    if (key !== before) {
      sortRange(sorter, first, from + i, depth + 26)
      first = from + i
      before = key
    }
  }
  sortRange(sorter, first, to, depth + 26)
}

/** Common prefixes, in symbols, of neighbours among the sorted suffixes; takes the place of these. */
function prefixesOf({ words, bits, sorted }: Sorter, bitsPerSymbol: number): Int32Array {
  const last = sorted.length - 1
  for (let rank = 0; rank < last; rank++) {
    const a = sorted[rank]
    const b = sorted[rank + 1]
    const end = bits - (a > b ? a : b)
    let shared = Math.clz32(wordAt(words, a) ^ wordAt(words, b))
    for (let d = 32; d === shared && d < end; d += 32) shared += Math.clz32(wordAt(words, a + d) ^ wordAt(words, b + d))
    if (shared > end) shared = end
    sorted[rank] = (shared / bitsPerSymbol) | 0
  }
  return sorted.subarray(0, last)
}
