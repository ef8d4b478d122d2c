import { onesInWord } from './bit-words.ts'

/**
 * Several predictors of one binary sequence, the best of which so far predicts, as SP 800-90B, 6.3.7 to 6.3.9 have it:
 * every right predictor scores, in their order, and becomes the winner when its score reaches the winner's. Fed with
 * 32 steps at a time.
 */
export interface Scoreboard {
  readonly scores: Int32Array
  /** Work space: the predictors that could win within the word, their hits and scores. */
  readonly rivals: Int32Array
  readonly rivalHits: Int32Array
  readonly rivalScores: Int32Array
  winner: number
  correct: number
  run: number
  longestRun: number
}

/** A scoreboard of `predictors`, all at 0, the first the winner. */
export function createScoreboard(predictors: number): Scoreboard {
  return {
    scores: new Int32Array(predictors),
    rivals: new Int32Array(predictors),
    rivalHits: new Int32Array(predictors),
    rivalScores: new Int32Array(predictors),
    winner: 0,
    correct: 0,
    run: 0,
    longestRun: 0,
  }
}

/**
 * Counts `steps` (1 to 32) predictions. hits[d]: bit 31 is the first step, 1 where predictor d was right, 0 past the
 * steps. nulls[d], if given: 1 where d predicted nothing; a step whose winner is silent neither adds to a run nor ends
 * it.
 */
export function scoreWord(board: Scoreboard, hits: Int32Array, steps: number, nulls?: Int32Array): void {
  const { scores, rivals } = board
  const winner = board.winner
  const lead = scores[winner]
  let count = 0
  for (let d = 0; d < hits.length; d++) {
    const hit = hits[d]
    const score = scores[d]
    const after = score + onesInWord(hit)
    scores[d] = after
    // Who cannot reach the score the winner begins with cannot win.
    if (after >= lead && d !== winner && hit !== 0) rivals[count++] = d
  }
  if (count === 0) {
    tally(board, hits[winner], nulls ? nulls[winner] : 0, steps)
    return
  }
  playOut(board, hits, count, steps, nulls)
}

/** Decides a word step by step among the winner and `count` rivals. */
function playOut(board: Scoreboard, hits: Int32Array, count: number, steps: number, nulls?: Int32Array): void {
  const { rivals, rivalHits, rivalScores } = board
  const kept = keepRivals(board, hits, count)
  let at = 0
  while (rivals[at] !== board.winner) at++
  for (let step = 0; step < steps; step++) {
    const bit = 31 - step
    if ((rivalHits[at] >>> bit) & 1) {
      board.correct++
      if (++board.run > board.longestRun) board.longestRun = board.run
    } else if (!nulls || ((nulls[rivals[at]] >>> bit) & 1) === 0) board.run = 0
    for (let i = 0; i < kept; i++) {
      if ((rivalHits[i] >>> bit) & 1 && ++rivalScores[i] >= rivalScores[at]) at = i
    }
  }
  board.winner = rivals[at]
}

/**
 * Brings the winner among the rivals and drops those that another one with the same hits shuts out: of equals the
 * later one wins a tie. Without it, periodic data would keep all predictors in play. Returns how many are left.
 */
function keepRivals(board: Scoreboard, hits: Int32Array, count: number): number {
  const { scores, rivals, rivalHits, rivalScores, winner } = board
  let given = 0
  let kept = 0
  let winnerDone = false
  const list = rivals.slice(0, count)
  while (given < count || !winnerDone) {
    const isWinner: boolean = !winnerDone && (given === count || winner < list[given])
    const d = isWinner ? winner : list[given++]
    if (isWinner) winnerDone = true
    const score = scores[d] - onesInWord(hits[d])
    let same = 0
    while (same < kept && !(rivalHits[same] === hits[d] && rivals[same] !== winner)) same++
    if (same < kept) {
      if (rivalScores[same] > score && !isWinner) continue
      if (rivalScores[same] <= score) {
        // Close the gap, so that the order of the predictors stays.
        for (let i = same + 1; i < kept; i++) {
          rivals[i - 1] = rivals[i]
          rivalHits[i - 1] = rivalHits[i]
          rivalScores[i - 1] = rivalScores[i]
        }
        kept--
      }
    }
    rivals[kept] = d
    rivalHits[kept] = hits[d]
    rivalScores[kept++] = score
  }
  return kept
}

/** Counts `steps` predictions of one predictor: how many were right, and the runs of right ones. */
export function tally(board: Scoreboard, hits: number, nulls: number, steps: number): void {
  board.correct += onesInWord(hits)
  if (nulls !== 0) {
    for (let bit = 31; bit > 31 - steps; bit--) {
      if ((hits >>> bit) & 1) {
        if (++board.run > board.longestRun) board.longestRun = board.run
      } else if (((nulls >>> bit) & 1) === 0) board.run = 0
    }
    return
  }
  const leading = Math.clz32(~hits)
  if (leading >= steps) {
    board.run += steps
    if (board.run > board.longestRun) board.longestRun = board.run
    return
  }
  if (board.run + leading > board.longestRun) board.longestRun = board.run + leading
  let runs = hits
  let longest = 0
  for (; runs !== 0; longest++) runs &= runs << 1
  if (longest > board.longestRun) board.longestRun = longest
  // Ones at the end of the steps.
  const open = ~(hits >>> (32 - steps))
  board.run = 31 - Math.clz32(open & -open)
}
