import { totalmem } from 'node:os'
import type { Config } from './config.ts'

/** A worker that holds more than this part of its memory takes no new job. */
const CEILING_PART = 0.8
/** What is no analysis: the program itself, and the chunk of a job beside it. */
const BESIDE_BYTES = 256 * 1024 ** 2
/** Of a worker with hardly any memory, so that small analyses are answered by it too. */
const LEAST_PART = 0.25

/** What this process may use, in bytes: WORK_MEMORY, else the limit of its container; undefined where nothing limits it but the machine. */
export function memoryLimit({ workMemoryBytes }: Pick<Config, 'workMemoryBytes'>): number | undefined {
  if (workMemoryBytes !== undefined) return workMemoryBytes
  const limit = process.constrainedMemory()
  return limit > 0 && limit < totalmem() ? limit : undefined
}

/** Above this a worker takes no new job. */
export function memoryCeiling(limit: number | undefined): number | undefined {
  return limit === undefined ? undefined : CEILING_PART * limit
}

/** What an analysis or export may take; a worker does one at a time. */
export function analysisMemory(limit: number = totalmem()): number {
  return Math.max(limit - BESIDE_BYTES, LEAST_PART * limit)
}
