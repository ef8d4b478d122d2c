import { readFileSync } from 'node:fs'

/** Resident memory in bytes, now and at most; null if it is gone or there is no /proc. */
export function memoryOf(pid: number): { now: number; most: number } | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'latin1')
    const read = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1]) * 1024
    return { now: read('VmRSS'), most: read('VmHWM') }
  } catch {
    return null
  }
}

/**
 * The most memory that this process has held, in bytes. Not `maxRSS` where it can be helped: Linux counts into that what the parent
 * held when it made the process.
 */
export function peakMemory(): number {
  return memoryOf(process.pid)?.most ?? 1024 * process.resourceUsage().maxRSS
}
