import { bitWords } from './bit-words.ts'
import { addLonger, countFollower, createContexts, findLonger } from './contexts.ts'
import { type Estimate, noEstimate } from './estimate.ts'
import { estimatePrediction, type Predictions } from './prediction.ts'
import { createScoreboard, scoreWord } from './scoreboard.ts'

/** Contexts of 1 to 16 symbols, and how many pairs of context and follower each length may count. 6.3.9. */
const DEPTHS = 16
const MOST_ENTRIES = 100_000
const MINIMUM_SYMBOLS = 3

/** Multi Markov model with counting estimate of the first `bits` bits. SP 800-90B, 6.3.9. */
export function estimateBitsMultiMmc(bytes: Uint8Array, bits: number): Estimate {
  if (bits < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${bits}`)
  return estimatePrediction(predictBits(bitWords(bytes, bits), bits), 2)
}

/** The same of symbols 0..k-1, one an element. */
export function estimateMultiMmc(symbols: Uint8Array, k: number): Estimate {
  const n = symbols.length
  if (n < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${n}`)
  return estimatePrediction(predictSymbols(symbols), k)
}

/**
 * Contexts of d bits stand at 2^d + context. Up to 15 bits there are at most 65,536 entries, so the limit never binds
 * and the ones less the zeros that followed say all; 16 bits need both counts.
 */
function predictBits(words: Int32Array, bits: number): Predictions {
  const board = createScoreboard(DEPTHS)
  const hits = new Int32Array(DEPTHS)
  const nulls = new Int32Array(DEPTHS)
  const balance = new Int32Array(1 << DEPTHS)
  const met = new Uint8Array(1 << DEPTHS)
  const unmet = Int32Array.from({ length: DEPTHS }, (_, d) => 1 << (d + 1))
  const longest: LongestContexts = { counts: new Int32Array(2 << DEPTHS), entries: 0 }
  const contexts = new Int32Array(32)
  const signs = new Int32Array(32)
  for (let at = 0; at < bits; at += 32) {
    const word = words[at >>> 5]
    const steps = Math.min(32, bits - at)
    let context = at === 0 ? 0 : words[(at >>> 5) - 1]
    for (let step = 0; step < steps; step++) {
      contexts[step] = context & 0xffff
      const bit = (word >>> (31 - step)) & 1
      signs[step] = bit + bit - 1
      context = (context << 1) | bit
    }
    for (let depth = 1; depth < DEPTHS; depth++) {
      const base = 1 << depth
      const mask = base - 1
      let zeros = 0
      let silent = 0
      if (unmet[depth - 1] === 0 && steps === 32) {
        for (let step = 0; step < 32; step++) {
          const place = base | (contexts[step] & mask)
          const value = balance[place]
          zeros = (zeros << 1) | (value >>> 31)
          balance[place] = value + signs[step]
        }
      } else {
        for (let step = 0; step < steps; step++) {
          const place = base | (contexts[step] & mask)
          zeros = (zeros << 1) | (balance[place] >>> 31)
          silent = (silent << 1) | (met[place] ^ 1)
          // The first context of this length is complete only here.
          if (at + step < depth) continue
          unmet[depth - 1] -= met[place] ^ 1
          met[place] = 1
          balance[place] += signs[step]
        }
        zeros <<= 32 - steps
        silent <<= 32 - steps
      }
      hits[depth - 1] = (zeros ^ word) & ~silent
      nulls[depth - 1] = silent
    }
    const from = Math.max(0, DEPTHS - at)
    predictLongest(longest, contexts, word, from, steps, hits, nulls)
    if (steps < 32) for (let d = 0; d < DEPTHS; d++) hits[d] &= -1 << (32 - steps)
    scoreWord(board, hits, steps, nulls)
  }
  return { predictions: bits - 2, correct: board.correct, longestRun: board.longestRun }
}

interface LongestContexts {
  /** At 2 * context + follower. */
  readonly counts: Int32Array
  entries: number
}

/** The same for contexts of 16 bits, from step `from` on, where the first of them is complete. */
function predictLongest(
  longest: LongestContexts,
  contexts: Int32Array,
  word: number,
  from: number,
  steps: number,
  hits: Int32Array,
  nulls: Int32Array,
): void {
  const { counts } = longest
  let zeros = 0
  let silent = 0
  for (let step = from; step < steps; step++) {
    const place = contexts[step] << 1
    const ones = counts[place + 1]
    const balance = ones - counts[place]
    zeros = (zeros << 1) | (balance >>> 31)
    if (balance === 0 && ones === 0) silent |= 0x80000000 >>> step
    const follower = place | ((word >>> (31 - step)) & 1)
    if (counts[follower] > 0) counts[follower]++
    else if (longest.entries < MOST_ENTRIES) {
      counts[follower] = 1
      longest.entries++
    }
  }
  if (from < steps) zeros <<= 32 - steps
  for (let step = 0; step < from && step < steps; step++) silent |= 0x80000000 >>> step
  hits[DEPTHS - 1] = (zeros ^ word) & ~silent
  nulls[DEPTHS - 1] = silent
}

/**
 * Where a context has not been met, no longer one has been either. As in NIST's tool, a step on which the winner has
 * nothing to say does not end its run; by the letter of 6.3.9 it would.
 */
function predictSymbols(symbols: Uint8Array): Predictions {
  const n = symbols.length
  const contexts = createContexts(symbols)
  const scores = new Int32Array(DEPTHS)
  const entries = new Int32Array(DEPTHS)
  let open = DEPTHS
  let winner = 0
  let correct = 0
  let run = 0
  let longestRun = 0
  for (let i = 1; i < n; i++) {
    const symbol = symbols[i]
    const predictor = winner
    let node = 0
    let depth = 0
    for (; depth < DEPTHS && depth < i; depth++) {
      const child = findLonger(contexts, node, depth, i)
      if (child === 0) break
      if (contexts.best[child] === symbol) {
        if (++scores[depth] >= scores[winner]) winner = depth
        if (depth === predictor) {
          correct++
          if (++run > longestRun) longestRun = run
        }
      } else if (depth === predictor) run = 0
      if (countFollower(contexts, child, symbol, entries[depth] < MOST_ENTRIES)) entries[depth]++
      node = child
    }
    // Once all longer lengths are full there is nothing to add.
    while (open > 0 && entries[open - 1] >= MOST_ENTRIES) open--
    const met = depth
    let longest = depth
    for (; depth < open && depth < i; depth++) {
      if (entries[depth] >= MOST_ENTRIES) continue
      entries[depth]++
      // Behind a context that found no room, none is ever reached.
      if (longest === depth) longest++
    }
    if (longest > met) addLonger(contexts, node, met, i, longest)
  }
  return { predictions: n - 2, correct, longestRun }
}
