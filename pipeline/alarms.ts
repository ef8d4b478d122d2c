import type { TestResult } from './tests/definition.ts'

/**
 * A P-value below this is an alarm. Every P-value is that of an ideal source at the number of bits it was computed from, so
 * short data need no other threshold. Some fifteen P-values a chunk and device: 1,000 good devices and 288 chunks a day
 * raise one in half a year.
 */
export const ALARM_P = 1e-9

export interface Alarm {
  readonly test: string
  /** Null for a health test, which has a count and a cut-off instead. */
  readonly p: number | null
  readonly reason: string
}

/** What of a device's results an ideal source does not do in a lifetime. */
export function findAlarms(results: readonly TestResult[]): Alarm[] {
  return results.flatMap(({ test, status, p_values, statistic, metrics }): Alarm[] => {
    if (status !== 'ok') return []
    if (test === 'repetition_count' || test === 'adaptive_proportion') {
      if (metrics?.alarms === 0) return []
      return [{ test, p: null, reason: `count ${statistic} of one symbol, cut-off ${String(metrics?.cutoff)}` }]
    }
    // Where the count is small the exact P-value is given beside that of the standard's approximation.
    const exact = typeof metrics?.p_exact === 'number' ? [metrics.p_exact] : p_values
    const p = Math.min(1, ...exact)
    return p < ALARM_P ? [{ test, p, reason: `P = ${p.toPrecision(3)}` }] : []
  })
}
