import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runSuite, suiteTests } from '../../pipeline/tests/registry.ts'
import { aesStream } from '../fixtures/streams.ts'
import { type Cli, createCli } from './run-cli.ts'

/** 0, 1, 2, … 255 over and over: as even as bytes can be, and as far from random. */
const KNOWN = Buffer.from(Array.from({ length: 25_600 }, (_, i) => i & 255))

let cli: Cli

beforeAll(() => {
  cli = createCli()
  writeFileSync(join(cli.directory, 'known'), KNOWN)
  writeFileSync(join(cli.directory, 'good'), GOOD)
  writeFileSync(join(cli.directory, 'empty'), '')
  mkdirSync(join(cli.directory, 'folder'))
})

afterAll(() => cli.remove())

interface Result {
  test: string
  status: string
  p_values: number[]
  statistic: number | null
}

test.concurrent('a known file has known results', async () => {
  const outcome = await cli.run(['analyze', 'known', '--suite', 'chunk', '--json'])
  expect(outcome).toMatchObject({ code: 0, stderr: '' })
  const { results, ...rest } = outcome.json()
  expect(rest).toMatchObject({
    file: 'known',
    bytes: KNOWN.length,
    sha256: createHash('sha256').update(KNOWN).digest('hex'),
    bit_order: 'msb',
    suite: 'chunk',
  })
  const of = (name: string) => results.find((result: Result) => result.test === name) as Result
  // As many ones as zeros; every byte 100 times; log2(256) bits a byte.
  expect(of('frequency')).toMatchObject({ status: 'ok', p_values: [1], statistic: 0 })
  expect(of('byte_chi_square')).toMatchObject({ status: 'ok', statistic: 0 })
  expect(of('shannon_entropy').statistic).toBeCloseTo(8, 10)
  expect(Math.min(...of('autocorrelation').p_values)).toBeLessThan(1e-300)
})

test.concurrent('a pipe gives the same as the file', async () => {
  const fromFile = (await cli.run(['analyze', 'known', '--json'])).json()
  const fromPipe = (await cli.run(['analyze', '-', '--json'], { input: KNOWN })).json()
  expect(fromPipe).toEqual({ ...fromFile, file: '-' })
})

test.concurrent('an empty file has no P-value, only reasons', async () => {
  const outcome = await cli.run(['analyze', 'empty', '--json'])
  expect(outcome.code).toBe(0)
  const { bytes, results } = outcome.json()
  expect(bytes).toBe(0)
  expect(results.length).toBeGreaterThan(5)
  for (const result of results as Result[]) {
    expect(result).toMatchObject({ status: 'insufficient', p_values: [], statistic: null })
  }
  const { stdout } = await cli.run(['analyze', 'empty'])
  expect(stdout).toMatch(/frequency +insufficient +needs at least 100 bits, given 0/)
})

test.concurrent('the table for people is aligned and fits', async () => {
  const { stdout } = await cli.run(['analyze', 'known'])
  const [table, verdict] = stdout.trimEnd().split('\n\n')
  expect(verdict).toMatch(
    /^Smallest of \d+ P-values: <1e-300 \(\w+\); <1e-300 when corrected for their number \(Holm\)\.$/,
  )
  const [title, head, ...rows] = table.split('\n')
  expect(title).toMatch(/^known: 25\.0 KiB, sha256 [\da-f]{64}$/)
  const column = head.indexOf('status')
  for (const row of rows) {
    expect(row.slice(column - 1)).toMatch(/^ (ok|insufficient|not_applicable)\b/)
    expect(row.length).toBeLessThanOrEqual(100)
  }
})

test.concurrent.each(['missing', 'folder'])('a %s file is INPUT_INVALID and exit code 2', async (file) => {
  const outcome = await cli.run(['analyze', file, '--json'])
  expect(outcome.code).toBe(2)
  expect(outcome.json().error).toMatchObject({
    code: 'INPUT_INVALID',
    message: expect.stringContaining(`cannot read ${file}: E`),
  })
  expect(outcome.stderr).not.toMatch(/\n {4}at /)
})

/** Good bytes: whatever is said of them, it is not what is said of KNOWN. */
const GOOD = aesStream('analyze', 1_000_000)

test.concurrent('sequences are tested apart and judged together, by threads as by one', async () => {
  const cut = ['--suite', 'sp800-22', '--sequences', '8', '--json']
  const outcome = await cli.run(['analyze', 'good', ...cut])
  expect(outcome).toMatchObject({ code: 0, stderr: '' })
  const document = outcome.json()
  expect(document.sequences).toEqual({ count: 8, length_bits: 1_000_000, left_out_bytes: 0 })
  expect(document.results).toHaveLength(8 * 15)
  const first = runSuite('sp800-22', [GOOD.subarray(0, 125_000)])
  for (const [i, result] of first.entries()) {
    expect(document.results[i]).toMatchObject({ test: result.test, p_values: result.p_values, sequence: 0 })
  }
  const frequency = document.second_level.find((row: { test: string }) => row.test === 'frequency')
  expect(frequency).toMatchObject({ results: { ok: 8 }, proportion: { tested: 8 }, uniformity: { p: null } })
  const again = (
    await cli.run(['analyze', '-', ...cut, '--length', '1000000', '--threads', '1'], { input: GOOD })
  ).json()
  expect(again).toEqual({ ...document, file: '-' })
  const table = await cli.run(['analyze', 'good', '--suite', 'sp800-22', '--length', '2000000', '--sequences', '3'])
  expect(table.stdout).toMatch(/^3 sequences of 2,000,000 bits/m)
  expect(table.stdout).toMatch(/ ---- +3\/3 +frequency$/m)
})

test.concurrent('each suite says what its tool says, in one document', async () => {
  const of = async (suite: string) => (await cli.run(['analyze', 'good', '--suite', suite, '--json'])).json()
  const sts = await of('sp800-22')
  expect(sts.results.map((result: Result) => result.test)).toEqual(suiteTests('sp800-22').map((one) => one.test.name))
  expect(sts.variant).toBe('corrected')
  const nonIid = await of('sp800-90b')
  expect(Object.keys(nonIid.estimates.bitstring)).toHaveLength(10)
  expect(Object.keys(nonIid.estimates.literal)).toHaveLength(7)
  expect(nonIid.min_entropy).toBe(Math.min(nonIid.h_original, 8 * nonIid.h_bitstring))
  const ent = await of('ent')
  expect(ent).toMatchObject({
    entropy: expect.closeTo(8, 2),
    mean: expect.closeTo(127.5, 0),
    chi_square: expect.any(Number),
  })
  expect(ent).toMatchObject({ monte_carlo_pi: expect.closeTo(Math.PI, 1), serial_correlation: expect.closeTo(0, 2) })
  expect(ent.chi_square_p).toBe(ent.results[0].p_values[0])
  const fips = await of('fips140-2')
  expect(fips).toMatchObject({
    blocks: 399,
    long_run: expect.any(Number),
    continuous_run: 0,
    monobit: expect.any(Number),
  })
  expect(fips.failures).toBeLessThanOrEqual(fips.monobit + fips.poker + fips.runs + fips.long_run)
})

test.concurrent('variant and parameters reach the tests they are for, and are told', async () => {
  const run = async (...flags: string[]) =>
    (await cli.run(['analyze', 'good', '--tests', 'longest_run,serial', '--json', ...flags])).json()
  const [corrected, nist] = [await run(), await run('--variant', 'nist212', '--param', 'serial.m=9')]
  expect(nist.suite).toBeNull()
  expect(nist.results.map(({ params }: { params: object }) => params)).toEqual([{ variant: 'nist212' }, { m: 9 }])
  expect(nist.results[0].p_values[0]).not.toBe(corrected.results[0].p_values[0])
  expect(nist.results[0].p_values[0]).toBeCloseTo(corrected.results[0].p_values[0], 2)
})

test.concurrent.each([
  [['--suite', 'sp800_22'], /there are: chunk, sp800-22/],
  [['--tests', 'frequenzy'], /no test is named "frequenzy"/],
  [['--variant', 'mine'], /--variant is corrected or nist212/],
  [['--param', 'serial.m=99'], /m must be an integer from 2 to 16/],
  [['--param', 'serial'], /--param takes test\.name=value/],
  [['--param', 'rank.m=1'], /for a test that is not run/],
  [['--sequences', '0'], /--sequences takes a whole number/],
  [['--sequences', '30000'], /has only 25600 bytes/],
  [['--length', '12'], /multiple of 8 bits/],
  [['--threads', 'all'], /--threads takes a whole number/],
])('%j is bad usage, told before anything is read', async (flags, message) => {
  const outcome = await cli.run(['analyze', 'known', '--json', ...flags])
  expect(outcome.code).toBe(2)
  expect(outcome.json().error).toEqual({ code: 'USAGE', message: expect.stringMatching(message) })
})

test.concurrent('a pipe far longer than memory is wanted for is cut into sequences', async () => {
  const { child, finished } = cli.start(['analyze', '-', '--tests', 'frequency,byte_chi_square', '--json'])
  const piece = Buffer.from(GOOD)
  let peak = 0
  const watch = setInterval(() => {
    const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
    peak = Math.max(peak, Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024)
  }, 50)
  try {
    for (let n = 0; n < 1000; n++) {
      if (!child.stdin.write(piece)) await once(child.stdin, 'drain')
    }
  } finally {
    clearInterval(watch)
  }
  child.stdin.end()
  const { bytes, sequences, results, second_level } = (await finished).json()
  expect(bytes).toBe(1000 * piece.length)
  expect(sequences).toMatchObject({ count: 953, length_bits: 8 * 1024 ** 2 })
  expect(results).toHaveLength(2 * 953)
  expect(second_level[0]).toMatchObject({ test: 'frequency', proportion: { tested: 953 } })
  // 64 MiB are held before it is known that the input is longer, and then given out in sequences.
  expect(peak).toBeLessThan(450 * 1024 ** 2)
})

test.concurrent('Ctrl-C while a pipe is read gives no verdict on half of it', async () => {
  const { child, finished, seen } = cli.start(['analyze', '-', '--json'], { detached: true })
  child.stdin.write(KNOWN)
  // Writes more than a pipe holds are only done once it is being read.
  await new Promise((resolve) => child.stdin.write(Buffer.alloc(1 << 20), resolve))
  child.kill('SIGINT')
  await seen(/stopping/)
  const outcome = await finished
  expect(outcome.code).toBe(130)
  expect(outcome.json()).toEqual({ error: { code: 'INTERRUPTED', message: expect.stringContaining('SIGINT') } })
})
