import { ESTIMATORS } from '../pipeline/sp800-90b/assess.ts'
import type { TestResult } from '../pipeline/tests/definition.ts'

/** What `analyze --json` says beside `results`, in the words of the tool whose numbers they are. Null where a test gave none. */
export function documentOf(results: readonly TestResult[]): object {
  const of = (name: string) => results.find(({ test }) => test === name)
  const [nonIid, ent, fips] = [of('sp800_90b_non_iid'), of('ent'), of('fips_140_2')]
  return {
    ...(nonIid && describeNonIid(nonIid)),
    ...(ent && pick(ent, ['entropy', 'chi_square', 'chi_square_p', 'mean', 'monte_carlo_pi', 'serial_correlation'])),
    ...(fips && pick(fips, ['blocks', 'failures', 'monobit', 'poker', 'runs', 'long_run', 'continuous_run'])),
  }
}

function describeNonIid({ metrics = {}, statistic }: TestResult): object {
  const estimates = (of: string) =>
    Object.fromEntries(
      ESTIMATORS.filter((name) => `${of}_${name}` in metrics).map((name) => [name, metrics[`${of}_${name}`]]),
    )
  return {
    estimates: { bitstring: estimates('bitstring'), literal: estimates('original') },
    ...pick({ metrics }, ['h_original', 'h_bitstring']),
    min_entropy: statistic,
  }
}

function pick({ metrics = {} }: Pick<TestResult, 'metrics'>, names: readonly string[]): object {
  return Object.fromEntries(names.map((name) => [name, metrics[name] ?? null]))
}
