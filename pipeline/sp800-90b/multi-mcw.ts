import { bitWords, onesInWord, wordAt } from './bit-words.ts'
import { type Estimate, noEstimate } from './estimate.ts'
import { estimatePrediction, type Predictions } from './prediction.ts'
import { createScoreboard, scoreWord } from './scoreboard.ts'

/** Window sizes, SP 800-90B, 6.3.7. All odd, so two symbols never tie in a full window. */
const WINDOWS = [63, 255, 1023, 4095] as const

/** Symbols that fill the longest window and leave one to predict. */
const MINIMUM_SYMBOLS = WINDOWS[3] + 1

/** Multi most common in window estimate of the first `bits` bits. SP 800-90B, 6.3.7. */
export function estimateBitsMultiMcw(bytes: Uint8Array, bits: number): Estimate {
  if (bits < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${bits}`)
  return estimatePrediction(predictBits(bitWords(bytes, bits), bits), 2)
}

/** The same of symbols 0..k-1, one an element. */
export function estimateMultiMcw(symbols: Uint8Array, k: number): Estimate {
  const n = symbols.length
  if (n < MINIMUM_SYMBOLS) return noEstimate(`needs at least ${MINIMUM_SYMBOLS} symbols, given ${n}`)
  return estimatePrediction(predictSymbols(symbols, k), k)
}

function predictBits(words: Int32Array, bits: number): Predictions {
  const board = createScoreboard(WINDOWS.length)
  const hits = new Int32Array(WINDOWS.length)
  // Ones in each window, less half of it: negative predicts 0, positive 1.
  const excess = Int32Array.from(WINDOWS, (size) => -(size + 1) / 2)
  for (let at = 0; at < bits; at += 32) {
    const word = words[at >>> 5]
    const steps = Math.min(32, bits - at)
    const valid = -1 << (32 - steps)
    for (let j = 0; j < WINDOWS.length; j++) {
      const size = WINDOWS[j]
      const from = at - size
      // The first window ends in the middle of a word, at a bit 31: no predictions before.
      const leaving = from >= 0 ? wordAt(words, from) : from > -32 ? wordAt(words, 0) >>> -from : 0
      let sum = excess[j]
      if (sum > 32 || sum < -33) {
        hits[j] = from > -32 ? (sum > 0 ? word : ~word) : 0
        sum += onesInWord(word) - onesInWord(leaving)
      } else {
        let zeros = 0
        for (let bit = 31; bit >= 0; bit--) {
          zeros = (zeros << 1) | (sum >>> 31)
          sum += ((word >>> bit) & 1) - ((leaving >>> bit) & 1)
        }
        hits[j] = zeros ^ word
      }
      excess[j] = sum
      hits[j] &= from >= 0 ? valid : from > -32 ? valid & (-1 >>> -from) : 0
    }
    scoreWord(board, hits, steps)
  }
  return { predictions: bits - WINDOWS[0], correct: board.correct, longestRun: board.longestRun }
}

function predictSymbols(symbols: Uint8Array, k: number): Predictions {
  const n = symbols.length
  const counts = WINDOWS.map(() => new Int32Array(k))
  // How many symbols occur so often in the window.
  const withCount = WINDOWS.map((size) => new Int32Array(size + 1))
  const largest = new Int32Array(WINDOWS.length)
  const commonest = new Int32Array(WINDOWS.length)
  const lastSeen = new Int32Array(k)
  const scores = new Int32Array(WINDOWS.length)
  let winner = 0
  let correct = 0
  let run = 0
  let longestRun = 0
  for (let i = 0; i < n; i++) {
    const symbol = symbols[i]
    if (i >= WINDOWS[0]) {
      if (commonest[winner] === symbol) {
        correct++
        if (++run > longestRun) longestRun = run
      } else run = 0
    }
    lastSeen[symbol] = i
    for (let j = 0; j < WINDOWS.length; j++) {
      const count = counts[j]
      const tally = withCount[j]
      const full = i >= WINDOWS[j]
      const leaving = full ? symbols[i - WINDOWS[j]] : -1
      if (full && commonest[j] === symbol && ++scores[j] >= scores[winner]) winner = j
      if (leaving === symbol) {
        // The symbol that came last wins every tie.
        if (count[symbol] === largest[j]) commonest[j] = symbol
        continue
      }
      if (full) {
        tally[count[leaving]--]--
        tally[count[leaving]]++
      }
      tally[count[symbol]++]--
      tally[count[symbol]]++
      if (count[symbol] > largest[j]) largest[j] = count[symbol]
      else if (tally[largest[j]] === 0) largest[j]--
      if (count[symbol] === largest[j]) commonest[j] = symbol
      else if (leaving === commonest[j] && (count[leaving] < largest[j] || tally[largest[j]] > 1)) {
        commonest[j] = latestWith(count, largest[j], lastSeen)
      }
    }
  }
  return { predictions: n - WINDOWS[0], correct, longestRun }
}

/** Of the symbols with that count the one seen last. */
function latestWith(counts: Int32Array, count: number, lastSeen: Int32Array): number {
  let latest = -1
  for (let symbol = 0; symbol < counts.length; symbol++) {
    if (counts[symbol] === count && (latest < 0 || lastSeen[symbol] > lastSeen[latest])) latest = symbol
  }
  return latest
}
