import type { PipelineHealth } from '../db/health.ts'
import { formatAge } from './output.ts'

export interface HealthProblem {
  readonly code: 'dead_letters' | 'failed_chunks' | 'lag' | 'tick_missing'
  /** What is wrong and what to do, for the person who is woken. */
  readonly message: string
}

/** A sample is late, and a tick missing, after so many seconds. */
export interface HealthLimits {
  readonly lagSeconds: number
  readonly tickSeconds: number
}

/** What needs a person; nothing while the pipeline heals itself. */
export function findHealthProblems(health: PipelineHealth, deadLetters: number, limits: HealthLimits): HealthProblem[] {
  const { chunks, oldestWaitingSeconds, oldestUnverifiedSeconds, secondsSinceTick } = health
  const problems: HealthProblem[] = []
  if (deadLetters > 0) {
    problems.push({
      code: 'dead_letters',
      message: `${deadLetters} dead letters: remove what their errors name, then run \`coherence backfill redrive\`.`,
    })
  }
  if (chunks.failed > 0) {
    problems.push({
      code: 'failed_chunks',
      message: `${chunks.failed} failed chunks: their samples stay in Postgres; remove what their errors name, then run \`coherence backfill chunks\`.`,
    })
  }
  const lag = Math.max(oldestWaitingSeconds ?? 0, oldestUnverifiedSeconds ?? 0)
  if (lag > limits.lagSeconds) {
    const what = lag === oldestWaitingSeconds ? 'the oldest waiting sample' : 'the oldest unverified chunk'
    problems.push({
      code: 'lag',
      message: `${what} is ${formatAge(lag)} old, more than ${formatAge(limits.lagSeconds)}: start more \`coherence work\`, or look at their log.`,
    })
  }
  if (secondsSinceTick === null || secondsSinceTick > limits.tickSeconds) {
    const last =
      secondsSinceTick === null ? 'no tick has ever run' : `the last tick was ${formatAge(secondsSinceTick)} ago`
    problems.push({ code: 'tick_missing', message: `${last}: schedule \`coherence tick\` every few minutes.` })
  }
  return problems
}
