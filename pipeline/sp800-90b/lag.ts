import { bitWords, wordAt } from './bit-words.ts'
import { type Estimate, noEstimate } from './estimate.ts'
import { estimatePrediction, type Predictions } from './prediction.ts'
import { createScoreboard, scoreWord } from './scoreboard.ts'

/** Predictor d says what came d symbols ago; SP 800-90B, 6.3.8. */
const LAGS = 128
const MINIMUM_SYMBOLS = 3

/** Lag estimate of the first `bits` bits. SP 800-90B, 6.3.8. */
export function estimateBitsLag(bytes: Uint8Array, bits: number): Estimate {
  if (bits < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${bits}`)
  return estimatePrediction(predictBits(bitWords(bytes, bits), bits), 2)
}

/** The same of symbols 0..k-1, one an element. */
export function estimateLag(symbols: Uint8Array, k: number): Estimate {
  const n = symbols.length
  if (n < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${n}`)
  return estimatePrediction(predictSymbols(symbols, k), k)
}

function predictBits(words: Int32Array, bits: number): Predictions {
  const board = createScoreboard(LAGS)
  const hits = new Int32Array(LAGS)
  for (let at = 0; at < bits; at += 32) {
    const index = at >>> 5
    const word = words[index]
    if (at < LAGS) compareAtStart(words, at, hits)
    else {
      for (let far = 0; far < LAGS; far += 32) {
        const near = words[index - (far >>> 5)]
        const before = words[index - (far >>> 5) - 1]
        for (let lag = 1; lag < 32; lag++) hits[far + lag - 1] = ~(word ^ ((near >>> lag) | (before << (32 - lag))))
        hits[far + 31] = ~(word ^ before)
      }
    }
    const steps = Math.min(32, bits - at)
    if (steps < 32) for (let d = 0; d < LAGS; d++) hits[d] &= -1 << (32 - steps)
    scoreWord(board, hits, steps)
  }
  return { predictions: bits - 1, correct: board.correct, longestRun: board.longestRun }
}

/** Hits in the word at bit `at` while the longer lags still reach before the start, where they are none. */
function compareAtStart(words: Int32Array, at: number, hits: Int32Array): void {
  for (let lag = 1; lag <= LAGS; lag++) {
    const from = at - lag
    if (from >= 0) hits[lag - 1] = ~(words[at >>> 5] ^ wordAt(words, from))
    else hits[lag - 1] = from > -32 ? ~(words[at >>> 5] ^ (words[0] >>> -from)) & (-1 >>> -from) : 0
  }
}

function predictSymbols(symbols: Uint8Array, k: number): Predictions {
  const scores = new Int32Array(LAGS + 1)
  const last = new Int32Array(k).fill(-1)
  // Where the symbol at i stood before, for the last 128 positions: only lags that hit are ever touched.
  const previous = new Int32Array(LAGS)
  let winner = 1
  let correct = 0
  let run = 0
  let longestRun = 0
  for (let i = 0; i < symbols.length; i++) {
    const symbol = symbols[i]
    if (i > 0) {
      if (symbols[i - winner] === symbol) {
        correct++
        if (++run > longestRun) longestRun = run
      } else run = 0
    }
    const oldest = i < LAGS ? 0 : i - LAGS
    for (let at = last[symbol]; at >= oldest; at = previous[at % LAGS]) {
      if (++scores[i - at] >= scores[winner]) winner = i - at
    }
    previous[i % LAGS] = last[symbol]
    last[symbol] = i
  }
  return { predictions: symbols.length - 1, correct, longestRun }
}
