import { readFileSync } from 'node:fs'

/**
 * The most memory that this process has held, in bytes. Not `maxRSS` where it can be helped: Linux counts into that what the parent
 * held when it made the process.
 */
export function peakMemory(): number {
  try {
    return 1024 * Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1])
  } catch {
    return 1024 * process.resourceUsage().maxRSS
  }
}
