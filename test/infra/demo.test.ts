import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { decodeChunk } from '../../pipeline/chunk-format.ts'
import { testNames } from '../../pipeline/tests/registry.ts'
import { type Cli, createCli } from './run-cli.ts'

const SAMPLE_BYTES = 512
const LIVE = ['os-generator', 'clock-jitter', 'biased', 'shared-a', 'shared-b']
/** All but that which takes longer than the rest of a demo. */
const ASKED = testNames.filter((name) => name !== 'sp800_90b_permutation').toSorted()

let cli: Cli
/** Where this test's servers have their data; nobody else's have. */
let temporary: string

beforeEach(() => {
  cli = createCli()
  temporary = join(cli.directory, 'tmp')
  mkdirSync(temporary)
  // The server's account has to get through.
  chmodSync(cli.directory, 0o755)
})

afterEach(() => cli.remove())

/** Processes that work in this test's folder: servers, watchdogs, initdb. */
function listLeftOver(): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      } catch {
        // It has ended meanwhile.
        return ''
      }
    })
    .filter((line) => line.includes(temporary))
}

test('a demo of 3 s tells what it stored, proved and found, and its chunks are there', async () => {
  const outcome = await cli.run(['demo', '--seconds', '3', '--json'], { env: { TMPDIR: temporary } })
  expect(outcome).toMatchObject({ code: 0, stderr: '' })
  const report = outcome.json()

  expect(report.seconds).toBeGreaterThan(3)
  expect(report.unproved).toEqual({ samples: 0, reasons: [] })
  expect(report.bytes).toBe(report.samples * SAMPLE_BYTES)
  expect(report.samples).toBeGreaterThan(600)
  let rows = 0
  let bytes = 0
  for (const chunk of report.chunks) {
    const file = readFileSync(join(cli.directory, chunk.path))
    expect(createHash('sha256').update(file).digest('hex')).toBe(chunk.sha256)
    const { samples } = decodeChunk(file)
    expect(samples.rows).toBe(chunk.rows)
    rows += samples.rows
    bytes += samples.data.length
  }
  expect({ rows, bytes }).toEqual({ rows: report.samples, bytes: report.bytes })

  expect(report.devices.map((device: { name: string }) => device.name)).toEqual(LIVE)
  for (const device of report.devices) {
    expect(device.bytes).toBe(device.samples * SAMPLE_BYTES)
    expect(device.results.map((result: { test: string }) => result.test).toSorted()).toEqual(ASKED)
  }
  // The jitter shows in three seconds and the bias may; for pairs they are too few.
  const subjects = report.findings.map((finding: { subject: string }) => finding.subject)
  expect(subjects).toContain('clock-jitter')
  expect(['clock-jitter', 'biased']).toEqual(expect.arrayContaining(subjects))
  expect(report.pairs).toHaveLength(10)
  // What is sure of so few bytes: the archive sent none of late.
  expect(readFileSync(join(cli.directory, report.report), 'utf8')).toMatch(/class="verdict">5 devices, .*archive/)
  expect(new Set(report.pairs.map((pair: { status: string }) => pair.status))).toEqual(new Set(['insufficient']))
  expect(report.pruned).toMatchObject({ rows: 600, partitions: [expect.stringMatching(/^entropy_samples_\d{8}$/)] })

  expect(readdirSync(temporary)).toEqual([])
  await vi.waitFor(() => expect(listLeftOver()).toEqual([]), { timeout: 5000, interval: 20 })
})

test('a demo whose uploads fail says what is not proved and why, prunes nothing, and exits with 1', async () => {
  const { child, finished } = cli.start(['demo', '--seconds', '1'], { env: { TMPDIR: temporary } })
  const demos = join(cli.directory, '.coherence', 'demo')
  const bucket = await vi.waitFor(
    () => {
      const found = join(demos, readdirSync(demos)[0], 'entropy-chunks')
      expect(existsSync(found)).toBe(true)
      return found
    },
    { timeout: 20_000, interval: 5 },
  )
  // Where the chunks' folder would be.
  writeFileSync(join(bucket, 'v1'), '')
  const { code, stdout } = await finished
  expect(code).toBe(1)
  expect(stdout).toMatch(
    /^620 samples, 310.0 KiB were stored; 620 of them are NOT proved, 0 are in 0\nverified chunks\.$/m,
  )
  expect(stdout).toMatch(/^ {4}an object itself; a folder cannot have its name$/m)
  expect(stdout).toContain('Pruned: nothing that is proved was old enough.')
  expect(stdout.split('\n').filter((line) => line.length > 80 && !/Report, for a browser|\.arrow/.test(line))).toEqual(
    [],
  )
  child.kill()
}, 60_000)

test.each([
  ['while the database is made', () => readdirSync(temporary).length > 0],
  ['once the devices are about to sample', () => existsSync(join(cli.directory, '.coherence', 'demo'))],
])('Ctrl-C %s ends with 130 within seconds and leaves nothing', async (_when, begun) => {
  const { child, finished } = cli.start(['demo', '--seconds', '60', '--json'], {
    detached: true,
    env: { TMPDIR: temporary },
  })
  await vi.waitFor(() => expect(begun()).toBe(true), { timeout: 20_000, interval: 10 })
  const interrupted = performance.now()
  // As the terminal does it: to the whole process group.
  process.kill(-(child.pid as number), 'SIGINT')
  const outcome = await finished
  expect(outcome.code).toBe(130)
  expect(performance.now() - interrupted).toBeLessThan(10_000)
  expect(outcome.json().error.code).toBe('INTERRUPTED')
  expect(readdirSync(temporary)).toEqual([])
  const kept = join(cli.directory, '.coherence', 'demo')
  expect(existsSync(kept) ? readdirSync(kept) : []).toEqual([])
  await vi.waitFor(() => expect(listLeftOver()).toEqual([]), { timeout: 5000, interval: 20 })
})
