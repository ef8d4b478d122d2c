import { createReadStream, statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { adjustPValues, formatSecondLevelTable, secondLevelRows } from '../../pipeline/second-level.ts'
import { ESTIMATORS } from '../../pipeline/sp800-90b/assess.ts'
import { SUITES, type TestParams, type TestResult, type TestSuite } from '../../pipeline/tests/definition.ts'
import { BATTERY_VERSION, findTest, runTests, suiteTests, testNames } from '../../pipeline/tests/registry.ts'
import { type Analyzed, analyzeInput } from '../analyze-input.ts'
import { usage, type Register } from '../command.ts'
import { readPieces } from '../input.ts'
import { formatBytes, formatList, formatP } from '../output.ts'
import { formatTable } from '../table.ts'
import { documentOf } from '../suite-document.ts'

interface Flags {
  suite: string
  tests?: string
  variant?: string
  param: string[]
  sequences?: string
  length?: string
  threads: string
}

const MIB = 1024 ** 2
/** The longest input that is one sequence, and the sequences that a longer one is cut into. What a test holds in memory decides. */
const LIMITS: Partial<Record<TestSuite, { mostBytes: number; longInputBytes: number }>> = {
  'sp800-22': { mostBytes: 16 * MIB, longInputBytes: 125_000 },
  'sp800-90b': { mostBytes: 8 * MIB, longInputBytes: 1_000_000 },
  'sp800-90b-iid': { mostBytes: 16 * MIB, longInputBytes: 1_000_000 },
}
const OTHER_LIMITS = { mostBytes: 64 * MIB, longInputBytes: MIB }
/** Of more sequences the results are told by the second level alone. */
const MOST_SEQUENCES_TOLD = 1000
const ALPHA = 0.01

export const analyzeCommand: Register = (command, bind) => {
  command
    .argument('<file>', 'the bytes to test; - for a pipe')
    .option('--suite <name>', `which battery: ${SUITES.join(', ')}`, 'chunk')
    .option('--tests <names>', `these tests instead, with commas between: ${testNames.join(', ')}`)
    .option('--variant <name>', 'corrected, or nist212 for the constants of NIST STS 2.1.2', 'corrected')
    .option('--param <test.name=value>', 'a parameter of a test, as serial.m=5; may be repeated', collect, [])
    .option('--sequences <n>', 'cut into n sequences, test each, and judge them together')
    .option('--length <bits>', 'bits of a sequence; a multiple of 8')
    .option('--threads <n>', 'threads that run tests', String(availableParallelism()))
    .action(
      bind(async ({ output, signal }, file: string, flags: Flags) => {
        const suite = parseSuite(flags.suite)
        const tests = parseTests(flags, suite)
        const cut = parseCut(flags, file)
        const threads = parseWhole('--threads', flags.threads, 256)
        if (file === '-' && process.stdin.isTTY) throw usage('name a file, or pipe bytes in.')
        const source = file === '-' ? process.stdin : createReadStream(file, { highWaterMark: MIB })
        const size = sizeOf(file)
        const progress = output.progress('testing')
        const analyzed = await analyzeInput(readPieces(source, { name: file === '-' ? 'the pipe' : file, signal }), {
          tests,
          ...cut,
          ...(LIMITS[suite] ?? OTHER_LIMITS),
          threads,
          signal,
          onProgress: (done) => {
            if ('tests' in done) progress.update(`${done.tests} of ${done.of} tests`, done.tests, done.of)
            else {
              const sequences = done.sequences > 0 ? `${done.sequences} sequences, ` : ''
              progress.update(`${sequences}${formatBytes(done.bytes)}`, done.bytes, size, 'bytes')
            }
          },
        })
        progress.end()
        const about = { file, bytes: analyzed.bytes, sha256: analyzed.sha256, bit_order: 'msb' }
        const how = {
          suite: flags.tests === undefined ? suite : null,
          variant: flags.variant,
          version: BATTERY_VERSION,
        }
        const document = { ...about, ...how, ...judge(analyzed) }
        const text = () => [
          `${file}: ${formatBytes(analyzed.bytes)}, sha256 ${analyzed.sha256}`,
          ...(analyzed.sequences ? describeSequences(analyzed) : describeOne(analyzed.results)),
        ]
        output.result(document, () => text().join('\n'))
      }),
    )
}

function collect(value: string, previous: string[]): string[] {
  return [...previous, value]
}

function parseSuite(name: string): TestSuite {
  const suite = SUITES.find((candidate) => candidate === name)
  if (!suite) throw usage(`no suite is named ${JSON.stringify(name)}; there are: ${SUITES.join(', ')}.`)
  return suite
}

/** The tests that were asked for, each with all its parameters; tried on no data, so that a bad value is told before any is read. */
function parseTests(
  { tests: asked, variant = '', param }: Flags,
  suite: TestSuite,
): { name: string; params: TestParams }[] {
  if (variant !== 'corrected' && variant !== 'nist212') throw usage('--variant is corrected or nist212.')
  try {
    const chosen = asked?.split(',').map((name) => ({ test: findTest(name.trim()), params: {} }))
    const given = param.map(parseParam)
    const found = (chosen ?? suiteTests(suite)).map(({ test, params }) => {
      const own = given.filter((one) => one.test === test.name).map(({ name, value }) => [name, value])
      const variants = 'variant' in test.defaults ? { variant } : {}
      return { name: test.name, params: { ...params, ...variants, ...Object.fromEntries(own) } as TestParams }
    })
    const stray = given.find((one) => !found.some(({ name }) => name === one.test))
    if (stray) throw new RangeError(`--param ${stray.test}.${stray.name} is for a test that is not run`)
    for (const { name, params } of found) runTests([name], [], { params: { [name]: params } })
    return found
  } catch (error) {
    if (error instanceof RangeError) throw usage(`${error.message}.`)
    throw error
  }
}

function parseParam(text: string): { test: string; name: string; value: TestParams[string] } {
  const [, test, name, value] = /^(\w+)\.(\w+)=(.+)$/.exec(text) ?? []
  if (test === undefined)
    throw new RangeError(`--param takes test.name=value, as serial.m=5, not ${JSON.stringify(text)}`)
  const numbers = value.split(',').map(Number)
  if (numbers.some(Number.isNaN)) return { test, name, value }
  return { test, name, value: numbers.length === 1 ? numbers[0] : numbers }
}

function parseCut({ sequences, length }: Flags, file: string): { mostSequences?: number; sequenceBytes?: number } {
  if (sequences === undefined && length === undefined) return {}
  const mostSequences = sequences === undefined ? undefined : parseWhole('--sequences', sequences, 1e9)
  if (length !== undefined) {
    const bits = parseWhole('--length', length, 2 ** 31)
    if (bits % 8 !== 0) throw usage('--length takes a multiple of 8 bits.')
    return { mostSequences, sequenceBytes: bits / 8 }
  }
  const size = sizeOf(file)
  if (size === undefined) throw usage('--sequences of a pipe needs --length, the bits of each.')
  const sequenceBytes = Math.floor(size / (mostSequences as number))
  if (sequenceBytes < 1) throw usage(`${file} has only ${size} bytes: too few for ${sequences} sequences.`)
  return { mostSequences, sequenceBytes }
}

function parseWhole(flag: string, text: string, most: number): number {
  const value = Number(text)
  if (!(Number.isInteger(value) && value >= 1 && value <= most))
    throw usage(`${flag} takes a whole number from 1 to ${most}.`)
  return value
}

/** Undefined for what has no size before it is read. */
function sizeOf(file: string): number | undefined {
  if (file === '-') return undefined
  const found = statSync(file, { throwIfNoEntry: false })
  return found?.isFile() ? found.size : undefined
}

/** What the results say together. */
function judge({ sequences, results }: Analyzed): object {
  if (!sequences) return { results, ...documentOf(results), multiple_testing: adjustAll(results) }
  const told = sequences.count <= MOST_SEQUENCES_TOLD
  return {
    sequences,
    results: told ? results : [],
    ...(told ? {} : { results_left_out: results.length }),
    second_level: secondLevelRows(results, ALPHA),
  }
}

/** The smallest of all P-values, and what is left of it among so many. */
function adjustAll(results: readonly TestResult[]) {
  const all = results.flatMap(({ test, p_values }) => p_values.map((p, index) => ({ test, index, p })))
  if (all.length === 0) return null
  const { holm, benjaminiHochberg } = adjustPValues(all.map(({ p }) => p))
  const least = all.reduce((best, one, i) => (one.p < all[best].p ? i : best), 0)
  const below = (adjusted: readonly (number | null)[]) =>
    all.filter((_, i) => (adjusted[i] ?? 1) < ALPHA).map(({ test, index }) => ({ test, index }))
  return {
    p_values: all.length,
    smallest: { ...all[least], holm: holm[least], benjamini_hochberg: benjaminiHochberg[least] },
    alpha: ALPHA,
    rejected_holm: below(holm),
    rejected_benjamini_hochberg: below(benjaminiHochberg),
  }
}

/** More P-values than this are told by their number, the smallest and how many are below alpha. */
const MOST_SHOWN = 4

function describeOne(results: readonly TestResult[]): string[] {
  const rows = results.map((result) => [
    result.test,
    result.status,
    describeP(result.p_values),
    result.reason ?? (result.statistic === null ? '' : result.statistic.toPrecision(6)),
  ])
  const adjusted = adjustAll(results)
  const verdict =
    adjusted === null
      ? []
      : [
          '',
          `Smallest of ${adjusted.p_values} P-values: ${formatP(adjusted.smallest.p)} (${adjusted.smallest.test}); ` +
            `${formatP(adjusted.smallest.holm)} when corrected for their number (Holm).`,
        ]
  return [
    formatTable(['test', 'status', 'P', 'statistic'], rows),
    ...results.flatMap(describeEstimates),
    ...results.flatMap(describeNumbers),
    ...verdict,
  ]
}

/** What a test that is known for its numbers, not for a P-value, found. */
function describeNumbers({ test, status, metrics = {} }: TestResult): string[] {
  if (!['ent', 'fips_140_2'].includes(test) || status !== 'ok') return []
  const shown = (value: unknown) =>
    typeof value === 'number' ? (Number.isInteger(value) ? String(value) : value.toFixed(6)) : '–'
  const entries = Object.entries(metrics).map(([name, value]) => [`  ${name}`, shown(value)] as const)
  return ['', formatList(entries)]
}

/** The ten estimates of a non-IID assessment. */
function describeEstimates({ test, status, metrics = {}, params }: TestResult): string[] {
  if (test !== 'sp800_90b_non_iid' || status !== 'ok') return []
  const bits = Number(params.bits_per_symbol)
  const shown = (name: string) => (typeof metrics[name] === 'number' ? metrics[name].toFixed(6) : '–')
  const rows = ESTIMATORS.map((name) => [name, shown(`bitstring_${name}`), shown(`original_${name}`)])
  return [
    '',
    `Min-entropy of ${String(metrics.n_symbols)} symbols; the least counts, from ${String(metrics.decided_by)}:`,
    formatTable(['estimator', 'per bit of the bitstring', `per ${bits}-bit symbol`], rows, 'lrr'),
  ]
}

function describeP(p: readonly number[]): string {
  if (p.length <= MOST_SHOWN) return p.map(formatP).join(' ')
  return `${p.length}: least ${formatP(Math.min(...p))}, ${p.filter((one) => one < ALPHA).length} < ${ALPHA}`
}

function describeSequences({ sequences, results }: Analyzed): string[] {
  const { count, length_bits, left_out_bytes } = sequences ?? { count: 0, length_bits: 0, left_out_bytes: 0 }
  const rest = left_out_bytes > 0 ? `, ${left_out_bytes} bytes at the end left out` : ''
  return [
    `${count} sequences of ${length_bits.toLocaleString('en-US')} bits${rest}; C1 to C10: P-values by tenths; * marks what an ideal source does not do`,
    '',
    formatSecondLevelTable(secondLevelRows(results, ALPHA)).trimEnd(),
  ]
}
