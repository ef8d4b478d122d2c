import { addHealthBytes, openHealthTests, restartHealthTests, type HealthState } from '../health-tests.ts'
import {
  insufficientResult,
  integerParam,
  okResult,
  type TestDefinition,
  type TestParams,
  type TestResult,
} from './definition.ts'

/** 1 bit a symbol is little to claim: what fails it is stuck, or as good as that. */
const DEFAULTS = { bits_per_symbol: 8, min_entropy: 1, alpha_exponent: 20 } as const

function numberParam(params: TestParams, key: string): number {
  const value = params[key]
  if (typeof value === 'number') return value
  throw new RangeError(`parameter ${key} must be a number, not ${JSON.stringify(value)}`)
}

function openBy(params: TestParams): HealthState {
  return openHealthTests({
    bitsPerSymbol: integerParam(params, 'bits_per_symbol', 1, 8),
    minEntropy: numberParam(params, 'min_entropy'),
    alpha: 2 ** -numberParam(params, 'alpha_exponent'),
  })
}

function runOver(segments: readonly Uint8Array[], params: TestParams): HealthState {
  const state = openBy(params)
  for (const segment of segments) {
    restartHealthTests(state)
    addHealthBytes(state, segment)
  }
  return state
}

function repetitionResult({ counts, repetitionCutoff: cutoff }: HealthState, params: TestParams): TestResult {
  if (counts.symbols < cutoff) return tooShort(repetitionCount, params, cutoff, counts.symbols)
  const metrics = {
    n_symbols: counts.symbols,
    cutoff,
    alarms: counts.repetitionAlarms,
    first_alarm: counts.firstRepetitionAlarm,
  }
  return okResult(repetitionCount, params, { p_values: [], statistic: counts.longest, metrics })
}

function proportionResult({ counts, proportionCutoff: cutoff, window }: HealthState, params: TestParams): TestResult {
  if (counts.symbols < cutoff) return tooShort(adaptiveProportion, params, cutoff, counts.symbols)
  const metrics = {
    n_symbols: counts.symbols,
    cutoff,
    window,
    windows: counts.windows,
    alarms: counts.proportionAlarms,
    first_alarm: counts.firstProportionAlarm,
  }
  return okResult(adaptiveProportion, params, { p_values: [], statistic: counts.largest, metrics })
}

/** Fewer symbols than the cut-off could not raise an alarm whatever they are. */
function tooShort(test: TestDefinition, params: TestParams, cutoff: number, symbols: number): TestResult {
  const bits = Number(params.bits_per_symbol)
  return insufficientResult(test, params, cutoff * bits, symbols * bits)
}

/**
 * Repetition count test of each segment. The statistic is the longest run of one symbol; `alarms` counts the runs that
 * reached the cut-off.
 */
export const repetitionCount: TestDefinition = {
  name: 'repetition_count',
  title: 'Repetition count (health test)',
  formula: 'alarm at 1 + ceil(alpha_exponent / min_entropy) equal symbols on end',
  source: 'SP 800-90B, 4.4.1',
  notes: 'False alarms are no likelier than 2^-alpha_exponent a run for a source of the claimed min-entropy.',
  minimumBits: 8 * 21,
  defaults: DEFAULTS,
  suites: { chunk: {}, 'sp800-90b': {} },
  run: (segments, params) => repetitionResult(runOver(segments, params), params),
  open(params) {
    const state = openBy(params)
    return { add: (bytes) => addHealthBytes(state, bytes), finish: () => repetitionResult(state, params) }
  },
}

/**
 * Adaptive proportion test of each segment, in windows of 512 symbols (1,024 bits). The statistic is the largest count of a
 * window's first symbol; `alarms` counts the windows that reached the cut-off.
 */
export const adaptiveProportion: TestDefinition = {
  name: 'adaptive_proportion',
  title: 'Adaptive proportion (health test)',
  formula: 'alarm at 1 + CRITBINOM(W, 2^-min_entropy, 1 - 2^-alpha_exponent) of the first symbol in a window',
  source: 'SP 800-90B, 4.4.2',
  notes: 'False alarms are no likelier than 2^-alpha_exponent a window for a source of the claimed min-entropy.',
  minimumBits: 8 * 311,
  defaults: DEFAULTS,
  suites: { 'sp800-90b': {} },
  run: (segments, params) => proportionResult(runOver(segments, params), params),
  open(params) {
    const state = openBy(params)
    return { add: (bytes) => addHealthBytes(state, bytes), finish: () => proportionResult(state, params) }
  },
}
