/** The statistics that the permutation test of SP 800-90B, 5.1, compares. Data are symbols, one an element. */

/** Largest |sum of the first i - i mean|. 5.1.1. */
export function excursion(data: Uint8Array, mean: number): number {
  let sum = 0
  let farthest = 0
  for (let i = 0; i < data.length; i++) {
    sum += data[i]
    const away = Math.abs(sum - (i + 1) * mean)
    if (away > farthest) farthest = away
  }
  return farthest
}

/** Runs of steps up (or level) and of steps down: how many, and the longest. 5.1.2 and 5.1.3. */
export function directionalRuns(data: Uint8Array): { runs: number; longest: number } {
  let [runs, longest, length, before] = [0, 0, 0, -1]
  for (let i = 0; i + 1 < data.length; i++) {
    const up = data[i] <= data[i + 1] ? 1 : 0
    if (up === before) length++
    else {
      runs++
      length = 1
      before = up
    }
    if (length > longest) longest = length
  }
  return { runs, longest }
}

/** The more of steps up (or level) and steps down. 5.1.4. */
export function increases(data: Uint8Array): number {
  let up = 0
  for (let i = 0; i + 1 < data.length; i++) if (data[i] <= data[i + 1]) up++
  return Math.max(up, data.length - 1 - up)
}

/** Runs at or above the median and below it: how many, and the longest. 5.1.5 and 5.1.6. */
export function medianRuns(data: Uint8Array, median: number): { runs: number; longest: number } {
  let [runs, longest, length, before] = [0, 0, 0, -1]
  for (let i = 0; i < data.length; i++) {
    const above = data[i] >= median ? 1 : 0
    if (above === before) length++
    else {
      runs++
      length = 1
      before = above
    }
    if (length > longest) longest = length
  }
  return { runs, longest }
}

/** Symbols until one comes again, from there on anew: on average, and at most; 0 if none does. 5.1.7 and 5.1.8. */
export function collisionGaps(data: Uint8Array): { average: number; maximum: number } {
  // In which search a symbol was seen last: nothing has to be cleared.
  const seen = new Int32Array(256)
  let [collisions, total, maximum, start] = [0, 0, 0, 0]
  for (let i = 0; i < data.length; i++) {
    const symbol = data[i]
    if (seen[symbol] !== collisions + 1) {
      seen[symbol] = collisions + 1
      continue
    }
    const gap = i - start + 1
    total += gap
    if (gap > maximum) maximum = gap
    collisions++
    start = i + 1
  }
  return { average: collisions === 0 ? 0 : total / collisions, maximum }
}

/** How often a symbol is that `lag` places on. 5.1.9. */
export function periodicity(data: Uint8Array, lag: number): number {
  let equal = 0
  for (let i = 0; i + lag < data.length; i++) if (data[i] === data[i + lag]) equal++
  return equal
}

/** Sum of the products of symbols `lag` places apart. 5.1.10. */
export function covariance(data: Uint8Array, lag: number): number {
  let sum = 0
  for (let i = 0; i + lag < data.length; i++) sum += data[i] * data[i + lag]
  return sum
}

/**
 * Length of the data in bits once compressed by the method of Lempel and Ziv (1978): each phrase is the longest one known and a
 * symbol more, written as the number of the known one and the symbol. For 5.1.11, which has bzip2 there.
 */
export function compressedBits(data: Uint8Array): number {
  const size = 2 ** Math.ceil(Math.log2(2 * data.length + 2))
  const keys = new Int32Array(size)
  const phrases = new Int32Array(size)
  let [known, phrase, bits] = [0, 0, 0]
  for (let i = 0; i < data.length; i++) {
    // Phrase and symbol as one number above 0, and its place in the table.
    const key = (phrase * 256 + data[i] + 1) | 0
    let at = (Math.imul(key, 0x9e3779b1) >>> 0) & (size - 1)
    while (keys[at] !== 0 && keys[at] !== key) at = (at + 1) & (size - 1)
    if (keys[at] === key) {
      phrase = phrases[at]
      continue
    }
    keys[at] = key
    phrases[at] = ++known
    bits += 8 + (32 - Math.clz32(known))
    phrase = 0
  }
  return bits
}
