import { z } from 'zod'
import {
  completeAnalysis,
  failAnalysis,
  listReadableDevices,
  startAnalysis,
  type AnalysisJob,
  type AnalysisResult,
} from '../db/analysis.ts'
import { inTransaction } from '../db/pool.ts'
import { CoherenceError, isCoherenceError } from '../pipeline/errors.ts'
import { segmentByDevice } from '../pipeline/segments.ts'
import { secondLevelRows } from '../pipeline/second-level.ts'
import { cutSegments } from '../pipeline/sequences.ts'
import { totalBytes, type TestParams, type TestResult } from '../pipeline/tests/definition.ts'
import { BATTERY_VERSION, runTests, testNames, TESTS } from '../pipeline/tests/registry.ts'
import { requireMemory, samplesMemory, testsMemory } from './analysis-memory.ts'
import { analyzeCoherence, COHERENCE_PARAMETERS, COHERENCE_TEST_NAMES } from './analyze-coherence.ts'
import { completeJob } from './boss.ts'
import { collectSamples, requireReadable, timeRange, type TimeRange } from './collect-samples.ts'
import type { ActiveJob, JobContext } from './context.ts'
import { runTask, type TestPool, type TestTask, withTestPool } from './test-pool.ts'

/** What a user wrote may be in it. */
const LONGEST_MESSAGE = 2000

/** More sequences than this say nothing more. */
const MOST_SEQUENCES = 100_000

/** An analysis that takes longer is given up: well before its job expires, after 15 minutes, and another worker begins it anew. */
const BUDGET_MS = 600_000

const ALL_NAMES = [...testNames, ...COHERENCE_TEST_NAMES]

/**
 * Parameters by test name, each a subset of that test's defaults (made from the registry, so it cannot fall behind it);
 * `sequences`, which cuts the data and asks for second-level tests over the parts; and `coherence`, of the tests of several devices.
 */
const PARAMETERS = z.strictObject({
  ...Object.fromEntries(
    TESTS.map((test) => [
      test.name,
      z.record(z.string(), z.union([z.number(), z.string(), z.array(z.number())])).optional(),
    ]),
  ),
  sequences: z
    .strictObject({
      length_bits: z
        .int()
        .min(128)
        .max(2 ** 31)
        .multipleOf(8),
    })
    .optional(),
  coherence: COHERENCE_PARAMETERS.optional(),
})

interface Parameters {
  readonly byTest: Record<string, TestParams>
  readonly sequenceBytes: number | null
  readonly coherence: z.output<typeof COHERENCE_PARAMETERS>
  readonly range: TimeRange
}

/** Answers one row of analysis_jobs; one that takes longer than `budgetMs` fails. */
export async function runAnalysis(context: JobContext, job: ActiveJob<'run-analysis'>, budgetMs = BUDGET_MS) {
  const request = await startAnalysis(context.pool, job.data.analysis_job_id)
  if (request === null) return { output: { skipped: 'done already, or deleted' } }
  const budget = AbortSignal.timeout(budgetMs)
  const signal = AbortSignal.any([job.signal, budget])
  try {
    const parameters = validate(request)
    const devices = await readableDevices(context, request)
    const names = [...new Set(request.testNames)]
    const together = names.filter((name) => COHERENCE_TEST_NAMES.includes(name))
    const alone = names.filter((name) => !COHERENCE_TEST_NAMES.includes(name))
    const reads = { alone: alone.length > 0, together: together.length > 0 }
    await requireReadable(context, devices, parameters.range, reads)
    const results: AnalysisResult[] = []
    await withTestPool(1, signal, async (pool) => {
      for (const deviceId of alone.length === 0 ? [] : devices) {
        signal.throwIfAborted()
        results.push(...(await analyzeDevice(context, { pool, signal, names: alone, deviceId }, parameters)))
      }
    })
    if (together.length > 0) {
      const asked = { names: together, devices, range: parameters.range }
      results.push(...(await analyzeCoherence(context, asked, parameters.coherence, signal)))
    }
    await inTransaction(context.pool, async (tx) => {
      await completeAnalysis(tx, request.id, results)
      if (!(await completeJob(context.boss, tx, job, { results: results.length }))) {
        throw new CoherenceError('CHUNK_STALE_ATTEMPT', `analysis ${request.id} is another worker's by now.`)
      }
    })
    return { completed: true }
  } catch (thrown) {
    const error = budget.aborted && !job.signal.aborted ? tooLong(budgetMs) : thrown
    if (!isCoherenceError(error, 'ANALYSIS_INVALID')) throw error
    // Asking again would not help: the row says what to change, and the queue has nothing to retry.
    const message = error.message.slice(0, LONGEST_MESSAGE)
    await failAnalysis(context.pool, request.id, message)
    return { output: { failed: message } }
  }
}

function invalid(message: string): CoherenceError {
  return new CoherenceError('ANALYSIS_INVALID', message)
}

function tooLong(budgetMs: number): CoherenceError {
  const time = budgetMs < 60_000 ? `${budgetMs / 1000} seconds` : `${budgetMs / 60_000} minutes`
  return invalid(
    `It took longer than ${time}. Ask for a shorter range, fewer devices or fewer tests: those that take long are ${SLOW_NAMES.join(', ')}.`,
  )
}

function validate(request: AnalysisJob): Parameters {
  if (request.testNames.length === 0) {
    throw invalid(`test_names is empty. Name one or more of: ${ALL_NAMES.join(', ')}.`)
  }
  const unknown = [...new Set(request.testNames)].filter((name) => !ALL_NAMES.includes(name)).slice(0, 10)
  if (unknown.length > 0) {
    throw invalid(
      `No test is named ${unknown.map((name) => `"${name}"`).join(', ')}. The tests are: ${ALL_NAMES.join(', ')}.`,
    )
  }
  const range = timeRange(request.from, request.to)
  const parsed = PARAMETERS.safeParse(request.parameters)
  if (!parsed.success) {
    throw invalid(
      `parameters is an object of test names, each with that test's parameters: ${z.prettifyError(parsed.error)}`,
    )
  }
  const { sequences, coherence = COHERENCE_PARAMETERS.parse({}), ...rest } = parsed.data
  const byTest = withoutUndefined(rest as Record<string, TestParams | undefined>)
  try {
    // On no data every test answers "insufficient"; a parameter that does not exist or is out of range throws.
    const names = new Set([...request.testNames.filter((name) => testNames.includes(name)), ...Object.keys(byTest)])
    runTests([...names], [], { params: byTest })
  } catch (error) {
    throw invalid(`parameters: ${(error as Error).message}.`)
  }
  return { byTest, sequenceBytes: sequences === undefined ? null : sequences.length_bits / 8, coherence, range }
}

/** What the row asks for, cut down to what its user owns; an admin may ask for every device. */
async function readableDevices(context: JobContext, request: AnalysisJob): Promise<string[]> {
  const readable = await listReadableDevices(context.pool, request.userId)
  if (request.deviceIds.length === 0) {
    if (readable.length === 0) throw invalid('You have no devices to analyze.')
    return readable
  }
  const wanted = [...new Set(request.deviceIds.map((id) => String(id).toLowerCase()))].toSorted()
  const refused = wanted.filter((id) => !readable.includes(id))
  if (refused.length > 0) throw invalid(`These are not devices of yours: ${refused.slice(0, 10).join(', ')}.`)
  return wanted
}

async function analyzeDevice(
  context: JobContext,
  { pool, signal, names, deviceId }: { pool: TestPool; signal: AbortSignal; names: string[]; deviceId: string },
  { byTest, sequenceBytes, range }: Parameters,
): Promise<AnalysisResult[]> {
  const samples = await collectSamples(context, [deviceId], range, signal)
  const [device] = segmentByDevice(samples.get(deviceId)!)
  const { segments, ...counts } = device ?? { samples: 0, bytes: 0, segments: [] }
  const tests = names.map((name) => ({ name, params: byTest[name] ?? {} }))
  const bytes = segments.map((segment) => segment.bytes)
  const longest = Math.min(
    bytes.reduce((most, { length }) => Math.max(most, length), 0),
    sequenceBytes ?? Infinity,
  )
  const memory = samplesMemory(counts.samples, counts.bytes) + testsMemory(names, longest)
  requireMemory(context.settings, memory, 'Ask for a shorter range, or for `sequences`, which are tested one by one.')
  const about = { data: { ...counts, segments: segments.length }, battery_version: BATTERY_VERSION }
  if (sequenceBytes !== null) {
    const found = await testSequences(pool, bytes, sequenceBytes, tests)
    return found.map((one) => ({ ...one, deviceId, metrics: { ...one.metrics, ...about } }))
  }
  const task = { segments: bytes, tests }
  const results = isShort(task) ? runTask(task) : await pool.run(task)
  return results.map(({ test, status, reason, p_values, statistic, params, metrics }) => ({
    testName: test,
    deviceId,
    summary: { status, ...(reason === undefined ? {} : { reason }), p_values, statistic },
    metrics: { params, ...metrics, ...about },
  }))
}

const SLOW_NAMES = TESTS.filter((test) => test.slow).map((test) => test.name)
/** Below this many bytes a thread takes longer to start than most tests take with the parameters they have by default. */
const WORTH_A_THREAD = 256 * 1024

/** While a test runs in this thread nothing else does: no heartbeat, no signal is heard, other jobs stand still. */
function isShort({ segments, tests }: TestTask): boolean {
  const known = tests.every(({ name, params }) => !SLOW_NAMES.includes(name) && Object.keys(params).length === 0)
  return known && totalBytes(segments) < WORTH_A_THREAD
}

/** Every test on each sequence, and what the sequences say together: a row for each test. */
async function testSequences(
  pool: TestPool,
  segments: readonly Uint8Array[],
  sequenceBytes: number,
  tests: TestTask['tests'],
): Promise<Omit<AnalysisResult, 'deviceId'>[]> {
  const { sequences, leftOut } = cutSegments(segments, sequenceBytes)
  if (sequences.length > MOST_SEQUENCES) {
    throw invalid(
      `The data make ${sequences.length} sequences of ${8 * sequenceBytes} bits; ${MOST_SEQUENCES} are the most.`,
    )
  }
  const results: TestResult[] = []
  for (const sequence of sequences) {
    // A copy: of a view the thread would be given all the memory behind it.
    results.push(...(await pool.run({ segments: [sequence.slice()], tests })))
  }
  const facts = { sequences: sequences.length, length_bits: 8 * sequenceBytes, left_out_bytes: leftOut }
  return tests.map(({ name, params }) => {
    const rows = secondLevelRows(results.filter(({ test }) => test === name))
    const reason = `no unbroken sequence of ${8 * sequenceBytes} bits`
    const status = sequences.length === 0 ? { status: 'insufficient', reason } : { status: 'ok' }
    return { testName: name, summary: { ...status, ...facts, second_level: rows }, metrics: { params } }
  })
}

function withoutUndefined<T>(record: Record<string, T | undefined>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).filter((entry): entry is [string, T] => entry[1] !== undefined))
}
