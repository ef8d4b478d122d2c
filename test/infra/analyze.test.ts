import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Cli, createCli } from './run-cli.ts'

/** 0, 1, 2, … 255 over and over: as even as bytes can be, and as far from random. */
const KNOWN = Buffer.from(Array.from({ length: 25_600 }, (_, i) => i & 255))

let cli: Cli

beforeAll(() => {
  cli = createCli()
  writeFileSync(join(cli.directory, 'known'), KNOWN)
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
  const [title, head, ...rows] = stdout.trimEnd().split('\n')
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
