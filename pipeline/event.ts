/** Events: a window of the network and the one hypothesis that was declared for it. */
import { NETWORK_METHOD_VERSION, networkSums, type NetworkSums, type NetworkTests } from './network.ts'
import { addNetworkSums } from './network-buckets.ts'
import { normalUpper } from './special.ts'
import { type DeviceSeries, isTrial } from './trials.ts'

/** Stored with every result; changes whenever a number would come out otherwise for the same trials. */
export const EVENT_METHOD_VERSION = `event-1 ${NETWORK_METHOD_VERSION}`

export const HYPOTHESES = ['pair', 'netvar', 'devvar', 'covar'] as const
export type Hypothesis = (typeof HYPOTHESES)[number]
export const TAILS = ['upper', 'two_sided'] as const
export type Tail = (typeof TAILS)[number]

/** The declared test alone. `statistic` is chi-square for netvar, z for the others; without data enough there is a reason. */
export interface EventTest {
  readonly p: number | null
  readonly statistic: number | null
  readonly reason?: string
}

/** What is kept of a computed event. */
export interface EventResult extends EventTest {
  /** All four, for information: only `p` counts. */
  readonly tests: NetworkTests
  readonly sums: NetworkSums
  readonly normalization: 'theoretical'
  /** SHA-256 of the ids of the devices that had a trial, a line each. */
  readonly device_set_hash: string
  readonly control: EventTest & { readonly seed: string; readonly generator: string; readonly tests: NetworkTests }
  /** The data: verified chunks that overlap the window, SHA-256 of their lines `id sha256`, and the last proof. */
  readonly chunks: number
  readonly chunk_set_hash: string
  readonly last_verified_at: Date | string | null
}

/** What the declared hypothesis says in the declared tail; the other tests have no part in it. */
export function eventTest(tests: NetworkTests, hypothesis: Hypothesis, tail: Tail): EventTest {
  const test = tests[hypothesis]
  if (test.status !== 'ok') return { p: null, statistic: null, reason: test.reason }
  if ('chi2' in test) return { p: tail === 'upper' ? test.p_upper : test.p_two, statistic: test.chi2 }
  return { p: tail === 'upper' ? normalUpper(test.z) : test.p, statistic: test.z }
}

/** A window that is summed piece by piece, in the order of time: one that lasts a month is too large to be held at once. */
export interface WindowSums {
  /** Adds the seconds that follow those before, `seconds` of them from `start` (since epoch). */
  add(series: readonly DeviceSeries[], start: number, seconds: number): void
  /** The sums of the pieces, with `devices` and `missing` of the whole, and the ids of its devices in order. */
  finish(): { sums: NetworkSums; deviceIds: string[] }
}

/** Of one piece the sums are exactly its `networkSums`. */
export function windowSums(): WindowSums {
  const parts: NetworkSums[] = []
  const seen = new Map<string, { sent: number; trials: number }>()
  let length = 0
  return {
    add(series, start, seconds) {
      parts.push(networkSums(series, start))
      length += seconds
      for (const { deviceId, bits, ones } of series) {
        const { sent, trials } = seen.get(deviceId) ?? { sent: 0, trials: 0 }
        const now = { sent, trials }
        for (let t = 0; t < bits.length; t++) {
          if (bits[t] > 0) now.sent++
          if (isTrial(bits[t], ones[t])) now.trials++
        }
        seen.set(deviceId, now)
      }
    },
    finish() {
      const present = [...seen].filter(([, { trials }]) => trials > 0)
      const missing = present.reduce((sum, [, { sent }]) => sum + length - sent, 0)
      const deviceIds = present.map(([deviceId]) => deviceId).toSorted()
      return { sums: { ...addNetworkSums(parts), devices: present.length, missing }, deviceIds }
    },
  }
}
