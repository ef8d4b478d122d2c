import { spawnSync } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { addByteHistogram } from '../../pipeline/bits.ts'
import type { TestParams } from '../../pipeline/tests/definition.ts'
import { findTest, suiteTests } from '../../pipeline/tests/registry.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

const LARGE = 16 * 1024 ** 2
const MBIT = 125_000
const MB = 1_000_000

/** Tests that read every bit once and keep a few counts: memory is what limits them. */
const BY_MEMORY = ['frequency', 'block_frequency', 'runs', 'cumulative_sums', 'byte_chi_square']

/**
 * Randomness tests by one thread: the light ones as a ratio to copying the same bytes in memory, the batteries of the standards
 * in milliseconds.
 */
export async function benchBattery({ quick, signal }: BenchOptions): Promise<Measured> {
  const rounds = quick ? 3 : 9
  const large = randomFillSync(new Uint8Array(LARGE))
  const target = new Uint8Array(LARGE)
  const copy = measure(rounds, () => target.set(large))
  const lines: Line[] = [toLine('copy in memory', 'GB/s', rates(copy, LARGE / 1e9))]
  for (const name of BY_MEMORY) {
    signal.throwIfAborted()
    showProgress(name)
    const times = measure(rounds, () => run(name, large))
    lines.push(toLine(name, 'GB/s', rates(times, LARGE / 1e9), { goal: 1 }))
    const ratios = times.map((time, round) => copy[round] / time)
    lines.push(toLine(`${name} to copy`, 'ratio', ratios, { ratio_to: 'copy in memory' }))
  }
  const histogram = new Uint32Array(256)
  lines.push(
    toLine(
      'byte histogram',
      'GB/s',
      rates(
        measure(rounds, () => addByteHistogram(large, histogram)),
        LARGE / 1e9,
      ),
    ),
  )

  const bits = randomFillSync(new Uint8Array(MBIT))
  const totals = Array.from({ length: rounds }, () => 0)
  for (const { test, params } of suiteTests('sp800-22')) {
    signal.throwIfAborted()
    showProgress(test.name)
    const times = measure(rounds, () => run(test.name, bits, params))
    times.forEach((time, round) => (totals[round] += time))
    lines.push(toLine(`${test.name}, 1 Mbit`, 'ms', times.map(milliseconds)))
  }
  lines.push(toLine('SP 800-22, all of it, 1 Mbit', 'ms', totals.map(milliseconds), { goal: 100 }))
  const bytes = randomFillSync(new Uint8Array(MB))
  // The NIST tool needs 10 to 14 s here; a fifth of that is aimed at.
  const nonIid = measure(quick ? 2 : 5, () => run('sp800_90b_non_iid', bytes)).map(milliseconds)
  lines.push(toLine('sp800_90b_non_iid, 1 MB', 'ms', nonIid, { goal: 2000 }))
  for (const [name, program, flags] of PROGRAMS) {
    signal.throwIfAborted()
    showProgress(name)
    const times = measure(rounds, () => run(name, large))
    lines.push(toLine(name, 'MB/s', rates(times, LARGE / 1e6)))
    const theirs = timeProgram(program, flags, large, rounds)
    if (theirs === null) continue
    const ratios = times.map((time, round) => theirs[round] / time)
    lines.push(toLine(`${name} to ${program}`, 'ratio', ratios, { goal: name === 'ent' ? 4 : null, ratio_to: program }))
  }
  return { lines }
}

const PROGRAMS = [
  ['ent', 'ent', []],
  ['fips_140_2', 'rngtest', []],
] as const

/** Seconds of the program on the same bytes through a pipe, start and all; null if there is none here. */
function timeProgram(program: string, flags: readonly string[], bytes: Uint8Array, rounds: number): number[] | null {
  if (spawnSync(program, ['--version']).error) return null
  return Array.from({ length: rounds }, () => {
    const started = performance.now()
    spawnSync(program, flags, { input: bytes })
    return (performance.now() - started) / 1000
  })
}

function run(name: string, bytes: Uint8Array, params: TestParams = {}): void {
  const test = findTest(name)
  test.run([bytes], { ...test.defaults, ...params })
}

/** Seconds of each round, after a few that compile. */
function measure(rounds: number, work: () => void): number[] {
  for (let i = 0; i < 3; i++) work()
  return Array.from({ length: rounds }, () => {
    const started = performance.now()
    work()
    return (performance.now() - started) / 1000
  })
}

function rates(seconds: readonly number[], amount: number): number[] {
  return seconds.map((one) => amount / one)
}

function milliseconds(seconds: number): number {
  return 1000 * seconds
}
