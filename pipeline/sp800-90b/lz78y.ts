import { bitWords, onesInWord, wordAt } from './bit-words.ts'
import { addLonger, addNode, countFollower, createContexts, findLonger } from './contexts.ts'
import { type Estimate, noEstimate } from './estimate.ts'
import { estimatePrediction, type Predictions } from './prediction.ts'
import { createScoreboard, type Scoreboard, tally } from './scoreboard.ts'

/** Contexts of 1 to 16 symbols, so many in all. SP 800-90B, 6.3.10. */
const DEPTHS = 16
const MOST_CONTEXTS = 65_536
/** One context with its follower, and one symbol to predict. */
const MINIMUM_SYMBOLS = DEPTHS + 2

/** LZ78Y estimate of the first `bits` bits. SP 800-90B, 6.3.10. */
export function estimateBitsLz78y(bytes: Uint8Array, bits: number): Estimate {
  if (bits < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${bits}`)
  return estimatePrediction(predictBits(bitWords(bytes, bits), bits), 2)
}

/** The same of symbols 0..k-1, one an element. */
export function estimateLz78y(symbols: Uint8Array, k: number): Estimate {
  const n = symbols.length
  if (n < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${n}`)
  return estimatePrediction(predictSymbols(symbols), k)
}

function predictSymbols(symbols: Uint8Array): Predictions {
  const n = symbols.length
  const contexts = createContexts(symbols)
  let room = MOST_CONTEXTS
  let correct = 0
  let run = 0
  let longestRun = 0
  for (let i = DEPTHS; i < n; i++) {
    const symbol = symbols[i]
    let node = 0
    let depth = 0
    let largest = 0
    let predicted = -1
    for (; depth < DEPTHS; depth++) {
      const child = findLonger(contexts, node, depth, i)
      if (child === 0) break
      node = child
      const count = contexts.bestCount[child]
      if (count === 0) continue
      // Of equal counts that of the longest context tells.
      if (count >= largest) {
        largest = count
        predicted = contexts.best[child]
      }
      countFollower(contexts, child, symbol, true)
    }
    if (predicted === symbol) {
      correct++
      if (++run > longestRun) longestRun = run
    } else run = 0
    if (room === 0) continue
    // The longest come first. Where they take the last room, the shorter ones are in the tree but count nothing.
    const crowded = Math.max(0, DEPTHS - depth - room)
    room -= DEPTHS - depth - crowded
    for (const end = depth + crowded; depth < end; depth++) node = addNode(contexts, node, symbols[i - depth - 1])
    if (depth < DEPTHS) addLonger(contexts, node, depth, i, DEPTHS)
  }
  return { predictions: n - DEPTHS - 1, correct, longestRun }
}

/** Counts of what followed each context of bits, at 2 * (2^length + context) + follower. */
interface BitContexts {
  readonly counts: Int32Array
  room: number
}

function predictBits(words: Int32Array, bits: number): Predictions {
  const board = createScoreboard(1)
  const contexts: BitContexts = { counts: new Int32Array(4 << DEPTHS), room: MOST_CONTEXTS }
  let at = DEPTHS
  while (at < bits && (at % 32 !== 0 || !shortestDecides(contexts.counts))) {
    tally(board, predictBit(contexts, words, at) ? 0x80000000 : 0, 0, 1)
    at++
  }
  predictFromLastBit(board, contexts.counts, words, at, bits)
  return { predictions: bits - DEPTHS - 1, correct: board.correct, longestRun: board.longestRun }
}

/** Predicts bit `at` and then counts it; true if the prediction was right. */
function predictBit(contexts: BitContexts, words: Int32Array, at: number): boolean {
  const { counts } = contexts
  const context = wordAt(words, at - DEPTHS) >>> (32 - DEPTHS)
  const bit = (words[at >>> 5] >>> (~at & 31)) & 1
  let largest = 0
  let predicted = -1
  for (let depth = DEPTHS; depth > 0; depth--) {
    const place = ((1 << depth) | (context & ((1 << depth) - 1))) << 1
    const zeros = counts[place]
    const ones = counts[place + 1]
    const most = zeros > ones ? zeros : ones
    // Only a larger count of a shorter context tells more.
    if (most > largest) {
      largest = most
      predicted = zeros > ones ? 0 : 1
    }
    if (most === 0) {
      if (contexts.room === 0) continue
      contexts.room--
    }
    counts[place | bit]++
  }
  return predicted === bit
}

/**
 * True once every pattern of three bits has been counted and the last bit alone has the larger count each time. A
 * longer context is never counted without the shorter ones in it, so from then on only the last bit tells.
 */
function shortestDecides(counts: Int32Array): boolean {
  for (let pattern = 0; pattern < 8; pattern++) {
    const inTwo = counts[8 + pattern]
    if (inTwo === 0 || inTwo >= counts[4 + (pattern & 3)]) return false
  }
  return true
}

/** Predicts each bit from the one before it, from bit `start`, the first of a word, to the end. */
function predictFromLastBit(
  board: Scoreboard,
  counts: Int32Array,
  words: Int32Array,
  start: number,
  bits: number,
): void {
  // Ones less zeros that followed a zero and a one.
  let afterZero = counts[5] - counts[4]
  let afterOne = counts[7] - counts[6]
  for (let at = start; at < bits; at += 32) {
    const word = words[at >>> 5]
    const before = (word >>> 1) | (words[(at >>> 5) - 1] << 31)
    const steps = Math.min(32, bits - at)
    let zeros = 0
    if (steps === 32 && Math.abs(afterZero) > 32 && Math.abs(afterOne) > 32) {
      zeros = (before & (afterOne >> 31)) | (~before & (afterZero >> 31))
      const ones = onesInWord(before)
      const oneOne = onesInWord(before & word)
      afterOne += 2 * oneOne - ones
      afterZero += 2 * (onesInWord(word) - oneOne) - (32 - ones)
    } else {
      for (let bit = 31; bit > 31 - steps; bit--) {
        const sign = 2 * ((word >>> bit) & 1) - 1
        if ((before >>> bit) & 1) {
          zeros |= (afterOne >>> 31) << bit
          afterOne += sign
        } else {
          zeros |= (afterZero >>> 31) << bit
          afterZero += sign
        }
      }
    }
    tally(board, (zeros ^ word) & (-1 << (32 - steps)), 0, steps)
  }
}
