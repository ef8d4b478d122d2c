/** Events: a window of the network and the one hypothesis that was declared for it. */
import { NETWORK_METHOD_VERSION, type NetworkSums, type NetworkTests } from './network.ts'
import { normalUpper } from './special.ts'

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
