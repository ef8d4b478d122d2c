import { CoherenceError } from '../pipeline/errors.ts'
import { TESTS } from '../pipeline/tests/registry.ts'
import type { PipelineSettings } from './context.ts'

/** The samples as they were read, together, in order, and as the thread that tests them has them. */
const COPIES = 4
/** What the columns of a sample hold beside its payload: three ids, times, sequence and lengths. */
const BYTES_PER_SAMPLE = 72

const MIB = 1024 ** 2

/** Memory that so many samples of so many payload bytes take while an analysis or export is at work on them. */
export function samplesMemory(samples: number, bytes: number): number {
  return COPIES * (bytes + BYTES_PER_SAMPLE * samples)
}

/** Memory that the hungriest of these tests takes besides, for its longest segment of `bytes`. */
export function testsMemory(names: readonly string[], bytes: number): number {
  const needs = TESTS.filter(({ name }) => names.includes(name)).map(({ memory }) => memory?.(bytes) ?? 0)
  return Math.max(0, ...needs)
}

/** Throws ANALYSIS_INVALID if a worker has less for an analysis than `bytes`: killed for it, it would be killed again at each try. */
export function requireMemory({ analysisMemoryBytes: most }: PipelineSettings, bytes: number, advice: string): void {
  if (bytes <= most) return
  throw new CoherenceError(
    'ANALYSIS_INVALID',
    `This takes ${Math.ceil(bytes / MIB)} MiB of memory or more; a worker has ${Math.floor(most / MIB)} for it. ${advice}`,
  )
}
