import type { TestResult } from './tests/definition.ts'
import { runTests, TESTS } from './tests/registry.ts'

/**
 * Results of every test of suite 'chunk' on one contiguous byte string: the `results` of `coherence analyze --json`.
 */
export function analyzeChunkSuite(bytes: Uint8Array): TestResult[] {
  const names = TESTS.filter((test) => test.suites.includes('chunk')).map((test) => test.name)
  return runTests(names, [bytes])
}
