import { approximateEntropy } from './approximate-entropy.ts'
import { autocorrelation } from './autocorrelation.ts'
import { rank } from './rank.ts'
import { blockFrequency } from './block-frequency.ts'
import { byteChiSquare } from './byte-chi-square.ts'
import { cumulativeSums } from './cumulative-sums.ts'
import type { TestDefinition, TestParams, TestResult, TestSuite } from './definition.ts'
import { ent } from './ent.ts'
import { fips1402 } from './fips-140-2.ts'
import { frequency } from './frequency.ts'
import { adaptiveProportion, repetitionCount } from './health.ts'
import { linearComplexityTest } from './linear-complexity.ts'
import { longestRun } from './longest-run.ts'
import { mostCommonValue } from './most-common-value.ts'
import { nonOverlappingTemplate } from './non-overlapping-template.ts'
import { overlappingTemplate } from './overlapping-template.ts'
import { randomExcursionsVariant } from './random-excursions-variant.ts'
import { randomExcursions } from './random-excursions.ts'
import { runs } from './runs.ts'
import { serial } from './serial.ts'
import { shannonEntropy } from './shannon-entropy.ts'
import { sp80090bChiSquare, sp80090bLrs, sp80090bPermutation } from './sp800-90b-iid.ts'
import { sp80090bNonIid } from './sp800-90b.ts'
import { dft } from './dft.ts'
import { universal } from './universal.ts'

/** Stored beside every result. Raise it whenever a change can alter a number or a status. */
export const BATTERY_VERSION = '2'

/**
 * Every randomness test, in the order of reports. Documentation, CLI help and the schema of test names come from here.
 */
export const TESTS: readonly TestDefinition[] = [
  frequency,
  blockFrequency,
  cumulativeSums,
  runs,
  longestRun,
  rank,
  dft,
  nonOverlappingTemplate,
  overlappingTemplate,
  universal,
  approximateEntropy,
  randomExcursions,
  randomExcursionsVariant,
  serial,
  linearComplexityTest,
  autocorrelation,
  byteChiSquare,
  shannonEntropy,
  mostCommonValue,
  repetitionCount,
  adaptiveProportion,
  sp80090bNonIid,
  sp80090bChiSquare,
  sp80090bLrs,
  sp80090bPermutation,
  ent,
  fips1402,
]

/** The names of TESTS, in the same order. */
export const testNames: readonly string[] = TESTS.map((test) => test.name)

export interface RunTestsOptions {
  /** Parameters by test name, over the test's defaults. */
  readonly params?: Readonly<Record<string, TestParams>>
}

/** The test of that name. Throws RangeError, listing the names, if there is none. */
export function findTest(name: string): TestDefinition {
  const test = TESTS.find((candidate) => candidate.name === name)
  if (test) return test
  throw new RangeError(`no test is named ${JSON.stringify(name)}; the tests are ${testNames.join(', ')}`)
}

/** The tests of a battery, with the parameters they have there. */
export function suiteTests(suite: TestSuite): { test: TestDefinition; params: TestParams }[] {
  return TESTS.flatMap((test) => {
    const own = test.suites[suite]
    return own === undefined ? [] : [{ test, params: { ...test.defaults, ...own } }]
  })
}

/** Runs a battery on the contiguous byte segments of one device. */
export function runSuite(suite: TestSuite, segments: readonly Uint8Array[]): TestResult[] {
  return suiteTests(suite).map(({ test, params }) => test.run(segments, params))
}

/**
 * Runs the named tests, in the order given, on the contiguous byte segments of one device.
 * Throws RangeError for an unknown test or parameter, or a value out of range; too few data is a status, not an error.
 */
export function runTests(
  names: readonly string[],
  segments: readonly Uint8Array[],
  options: RunTestsOptions = {},
): TestResult[] {
  for (const name of Object.keys(options.params ?? {})) findTest(name)
  return names.map(findTest).map((test) => test.run(segments, withDefaults(test, options.params?.[test.name])))
}

function withDefaults(test: TestDefinition, given: TestParams = {}): TestParams {
  for (const key of Object.keys(given)) {
    if (Object.hasOwn(test.defaults, key)) continue
    const known = Object.keys(test.defaults).join(', ') || 'none'
    throw new RangeError(`test ${test.name} has no parameter ${JSON.stringify(key)}; its parameters: ${known}`)
  }
  return { ...test.defaults, ...given }
}
