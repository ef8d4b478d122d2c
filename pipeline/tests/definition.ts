/** The shape of a randomness test, its parameters and its result, and what all tests share. */

export type TestParams = Readonly<Record<string, number | string | readonly number[]>>

export type TestStatus = 'ok' | 'insufficient' | 'not_applicable'

export interface TestResult {
  test: string
  status: TestStatus
  /** Present unless status is 'ok': what was needed and what was given. */
  reason?: string
  /** In the order the test documents. Empty for estimators, and whenever status is not 'ok'. */
  p_values: number[]
  statistic: number | null
  /** The parameters the result was computed with. */
  params: Record<string, number | string | number[]>
  metrics?: Record<string, number | string | number[] | null>
}

/** The batteries: what runs on every chunk, and those of the standards and tools whose names they bear. */
export const SUITES = ['chunk', 'sp800-22', 'sp800-90b', 'sp800-90b-iid', 'ent', 'fips140-2'] as const
export type TestSuite = (typeof SUITES)[number]

/**
 * One test. `run` takes the byte segments of one device: bits are contiguous within a segment and unknown between two;
 * an empty segment counts as none. With one segment the result is the standard's; with several, counts are summed and
 * nothing is read across a break.
 */
export interface TestDefinition {
  readonly name: string
  readonly title: string
  /** One line of plain text. */
  readonly formula: string
  readonly source: string
  /** Where the numbers part from a well-known program's, and why. */
  readonly notes?: string
  /** Fewest bits, over all segments, for the default parameters. */
  readonly minimumBits: number
  readonly defaults: TestParams
  /** It may take minutes for the samples of an hour. */
  readonly slow?: true
  /** Bytes of memory that it takes for a longest segment of so many bytes, where that is a multiple of them; measured. */
  readonly memory?: (bytes: number) => number
  /** The batteries it belongs to, and the parameters it has there, over the defaults. */
  readonly suites: Readonly<Partial<Record<TestSuite, TestParams>>>
  run(segments: readonly Uint8Array[], params: TestParams): TestResult
  /** For tests that need no more memory for more data: the same result as `run` on all bytes as one segment. */
  readonly open?: (params: TestParams) => TestStream
}

/** A test that takes a contiguous input piece by piece. */
export interface TestStream {
  add(bytes: Uint8Array): void
  finish(): TestResult
}

/** What a test has to say of itself in its result. */
type Subject = Pick<TestDefinition, 'name'>

/** A finished result. Throws RangeError if a p-value is not a number of [0, 1]: that is a bug of the test. */
export function okResult(
  subject: Subject,
  params: TestParams,
  found: Pick<TestResult, 'p_values' | 'statistic' | 'metrics'>,
): TestResult {
  for (const p of found.p_values) {
    if (!(p >= 0 && p <= 1)) throw new RangeError(`${subject.name}: p-value ${p} is outside [0, 1]`)
  }
  return { test: subject.name, status: 'ok', ...found, params: plainParams(params) }
}

/** Too few data: no p-value, no statistic, and a sentence that says how many would do. */
export function insufficientResult(subject: Subject, params: TestParams, needed: number, given: number): TestResult {
  const reason = `needs at least ${needed} bits, given ${given}`
  return declined(subject, 'insufficient', params, reason)
}

/** Enough data, but a prerequisite of the test does not hold. */
export function notApplicableResult(
  subject: Subject,
  params: TestParams,
  reason: string,
  metrics?: TestResult['metrics'],
): TestResult {
  return { ...declined(subject, 'not_applicable', params, reason), ...(metrics && { metrics }) }
}

function declined(subject: Subject, status: TestStatus, params: TestParams, reason: string): TestResult {
  return { test: subject.name, status, reason, p_values: [], statistic: null, params: plainParams(params) }
}

function plainParams(params: TestParams): TestResult['params'] {
  return Object.fromEntries(
    Object.entries(params).map(([key, value]) => [key, typeof value === 'object' ? [...value] : value]),
  )
}

/** Sum of the lengths of all segments, in bytes. */
export function totalBytes(segments: readonly Uint8Array[]): number {
  return segments.reduce((sum, segment) => sum + segment.length, 0)
}

/** The integer parameter `key`, which must lie in [low, high]. Throws RangeError otherwise. */
export function integerParam(params: TestParams, key: string, low: number, high: number): number {
  const value = params[key]
  if (typeof value === 'number' && Number.isInteger(value) && value >= low && value <= high) return value
  throw new RangeError(`parameter ${key} must be an integer from ${low} to ${high}, not ${JSON.stringify(value)}`)
}

/** The parameter `key`, a list of distinct integers in [low, high]. Throws RangeError otherwise. */
export function integersParam(params: TestParams, key: string, low: number, high: number): number[] {
  const value = params[key]
  if (typeof value === 'object' && value.length > 0 && new Set(value).size === value.length) {
    if (value.every((item) => Number.isInteger(item) && item >= low && item <= high)) return [...value]
  }
  throw new RangeError(
    `parameter ${key} must list distinct integers from ${low} to ${high}, not ${JSON.stringify(value)}`,
  )
}
