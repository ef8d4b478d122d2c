import { execFileSync, spawn } from 'node:child_process'
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { countOnes } from '../../pipeline/bits.ts'
import { coherencePairs } from '../../pipeline/coherence.ts'
import { networkSums } from '../../pipeline/network.ts'
import { networkBuckets, trialSeries } from '../../pipeline/network-buckets.ts'
import { pearsonR } from '../../pipeline/pair-coherence.ts'
import { pairSums } from '../../pipeline/pair-sums.ts'
import { allocateSamples } from '../../pipeline/samples.ts'
import { decodePartial, encodePartial } from '../../pipeline/slice-codec.ts'
import { mergePartials, slicePartials } from '../../pipeline/slice.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

const DEVICES = 1000
const SECONDS = 3600

/**
 * The pairs and the network of an hour of 1,000 devices of 200 bits a second, as a ratio to numpy.corrcoef on the same matrix;
 * and the rollup of 60 devices from what slices keep, with samples of 32 bytes and of 4 KB.
 */
export async function benchCoherence({ quick, signal }: BenchOptions): Promise<Measured> {
  const rounds = quick ? 3 : 7
  showProgress('making trials')
  const series = fairSeries(DEVICES, SECONDS)
  const pairs = Array.from({ length: (DEVICES * (DEVICES - 1)) / 2 }, (_, k) => k)
  const correlations = (of: readonly DeviceSeries[]) => {
    const sums = pairSums(of)
    const r = new Float64Array(pairs.length)
    for (const k of pairs) {
      const ofPair = { n_seconds: sums.n[k], sum_xy: sums.sumXY[k], sum_x: sums.sumX[k], sum_y: sums.sumY[k] }
      r[k] = pearsonR({ ...ofPair, sum_x2: sums.sumX2[k], sum_y2: sums.sumY2[k] }) ?? 0
    }
    return r
  }
  const withGaps = (every: number) =>
    series.map((device, i) => ({
      ...device,
      bits: device.bits.map((n, t) => ((t + 37 * i) % every === 0 ? 0 : n)),
    }))
  const [gappy, sparse] = [withGaps(100), withGaps(5)]
  const uneven = series.map((device, i) => ({
    ...device,
    bits: device.bits.map((n, t) => ((t + i) % 50 === 0 ? 2 * n : n)),
  }))
  const lines: Line[] = []
  const none = (): number[] => []
  const times = { whole: none(), gappy: none(), sparse: none(), uneven: none(), network: none() }
  const notes: string[] = []
  const rivals = await Promise.all(['/usr/bin/python3', 'python3'].map((python) => startNumpy(python, series)))
  const present = rivals.filter((rival) => rival !== null)
  const distinct = present.filter(({ name }, i) => present.findIndex((other) => other.name === name) === i)
  try {
    correlations(series)
    for (let round = 0; round < rounds; round++) {
      signal.throwIfAborted()
      showProgress(`pairs, round ${round + 1} of ${rounds}`)
      let r = new Float64Array(0)
      times.whole.push(measure(() => (r = correlations(series))))
      times.gappy.push(measure(() => correlations(gappy)))
      times.sparse.push(measure(() => correlations(sparse)))
      times.uneven.push(measure(() => correlations(uneven)))
      times.network.push(measure(() => networkSums(series, 0)))
      for (const rival of distinct) await rival.run(r)
    }
  } finally {
    await Promise.all(present.map((rival) => rival.stop()))
  }
  const milliseconds = (values: readonly number[]) => values.map((value) => value * 1000)
  lines.push(
    toLine('all pairs: product and r', 'ms', milliseconds(times.whole)),
    toLine('all pairs, 1 % missing', 'ms', milliseconds(times.gappy)),
    toLine('all pairs, 20 % missing', 'ms', milliseconds(times.sparse)),
    toLine('all pairs, sizes vary', 'ms', milliseconds(times.uneven)),
    toLine('network row', 'ms', milliseconds(times.network)),
  )
  if (distinct.length === 0) notes.push('There is no numpy here to compare with: apt-get install python3-numpy.')
  for (const { name, seconds } of distinct) {
    const goal = name === distinct[0].name
    const ratio = (of: readonly number[]) => of.map((value, round) => seconds[round] / value)
    lines.push(
      toLine(name, 'ms', milliseconds(seconds)),
      toLine(`pairs to ${name}`, 'ratio', ratio(times.whole), { goal: goal ? 1 : null, ratio_to: name }),
      toLine(`pairs to ${name}, 1 % missing`, 'ratio', ratio(times.gappy), { goal: goal ? 1 : null, ratio_to: name }),
      toLine(`pairs to ${name}, 20 % missing`, 'ratio', ratio(times.sparse), { ratio_to: name }),
      toLine(`pairs to ${name}, sizes vary`, 'ratio', ratio(times.uneven), { goal: goal ? 1 : null, ratio_to: name }),
      toLine(`${name} to the network row`, 'ratio', ratio(times.network), { goal: goal ? 100 : null, ratio_to: name }),
    )
  }
  const [small, large] = [32, 4096].map((bytes) => hourOfSlices(60, bytes))
  const rollups = { small: none(), large: none() }
  for (let round = 0; round < rounds; round++) {
    signal.throwIfAborted()
    showProgress(`rollup, round ${round + 1} of ${rounds}`)
    rollups.small.push(measure(() => rollUp(small)))
    rollups.large.push(measure(() => rollUp(large)))
  }
  lines.push(
    toLine('rollup of 60 devices, 32-byte samples', 'ms', milliseconds(rollups.small)),
    toLine('rollup of 60 devices, 4-KB samples', 'ms', milliseconds(rollups.large)),
    toLine(
      'speed of 4-KB to 32-byte samples',
      'ratio',
      rollups.small.map((value, round) => value / rollups.large[round]),
      { goal: 0.83, ratio_to: 'rollup of 60 devices, 32-byte samples' },
    ),
  )
  return { lines, more: notes.join('\n') }
}

/** Seconds. */
function measure(run: () => unknown): number {
  const start = performance.now()
  run()
  return (performance.now() - start) / 1000
}

function fairSeries(devices: number, seconds: number): DeviceSeries[] {
  const bytes = new Uint8Array(25 * seconds)
  return Array.from({ length: devices }, (_, i) => {
    randomFillSync(bytes)
    const ones = Uint32Array.from({ length: seconds }, (_value, t) => countOnes(bytes.subarray(25 * t, 25 * (t + 1))))
    return { deviceId: `device ${String(i).padStart(4, '0')}`, bits: new Uint32Array(seconds).fill(200), ones }
  })
}

/** The encoded slices of an hour: what a rollup reads from the database. */
function hourOfSlices(devices: number, bytes: number): { deviceId: string; start: number; partial: Uint8Array }[] {
  return Array.from({ length: devices }, (_, n) => {
    const samples = allocateSamples(SECONDS, bytes * SECONDS)
    randomFillSync(samples.data)
    samples.deviceId.fill(n + 1)
    for (let row = 0; row < SECONDS; row++) {
      samples.timestamp[row] = BigInt(row) * 1_000_000n
      samples.sequence[row] = BigInt(row)
      samples.byteLength[row] = bytes
      samples.dataOffsets[row + 1] = bytes * (row + 1)
    }
    return slicePartials(samples).map((partial) => {
      return { deviceId: partial.deviceId, start: partial.sliceStart, partial: encodePartial(partial) }
    })
  }).flat()
}

function rollUp(slices: ReturnType<typeof hourOfSlices>): void {
  const partials = slices.map(({ deviceId, start, partial }) => decodePartial(partial, deviceId, start))
  const merged = [...Map.groupBy(partials, ({ deviceId }) => deviceId).values()].map((parts) =>
    mergePartials(parts, 0, SECONDS),
  )
  const series = trialSeries(merged, 'all_bits')
  networkBuckets(series, 0)
  networkBuckets(trialSeries(merged, 'gcp200'), 0)
  coherencePairs(series)
}

const PROGRAM = `
import os, re, sys, time, numpy
counts = numpy.fromfile(sys.argv[1], dtype=numpy.uint32).reshape(int(sys.argv[2]), -1)
x = (2.0 * counts - 200) / 200 ** 0.5
upper = numpy.triu_indices(len(x), 1)
numpy.corrcoef(x)
loaded = os.path.exists('/proc/self/maps') and open('/proc/self/maps').read() or ''
print(numpy.__version__, *sorted(set(re.findall(r'lib[a-z_]*(?:blas|mkl)', loaded))), flush=True)
for line in sys.stdin:
    start = time.perf_counter()
    r = numpy.corrcoef(x)
    seconds = time.perf_counter() - start
    ours = numpy.fromfile(sys.argv[3])
    print(seconds, abs(r[upper] - ours).max(), flush=True)
`

interface Rival {
  readonly name: string
  /** Seconds, round by round. */
  readonly seconds: number[]
  /** One more round, in which our correlations must equal its own. */
  readonly run: (ours: Float64Array) => Promise<void>
  readonly stop: () => Promise<void>
}

/** numpy.corrcoef of that Python on the same matrix; null if it has no numpy. */
async function startNumpy(python: string, series: readonly DeviceSeries[]): Promise<Rival | null> {
  try {
    execFileSync(python, ['-c', 'import numpy'], { stdio: 'ignore' })
  } catch {
    return null
  }
  const folder = await mkdtemp(join(tmpdir(), 'coherence-bench-'))
  const [matrix, ours] = [join(folder, 'counts'), join(folder, 'r')]
  writeFileSync(matrix, Buffer.concat(series.map(({ ones }) => new Uint8Array(ones.buffer))))
  const child = spawn(python, ['-c', PROGRAM, matrix, String(series.length), ours], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const [version, ...libraries] = String((await lines.next()).value).split(' ')
  const seconds: number[] = []
  return {
    name: [`numpy ${version}`, ...libraries].join(' '),
    seconds,
    async run(r) {
      writeFileSync(ours, r)
      child.stdin.write('again\n')
      const { value } = await lines.next()
      const [taken, difference] = String(value).split(' ').map(Number)
      if (!(difference < 1e-10)) throw new Error(`a correlation differs from numpy's by ${difference}`)
      seconds.push(taken)
    },
    async stop() {
      child.stdin.end()
      if (child.exitCode === null) await once(child, 'exit')
      await rm(folder, { recursive: true, force: true })
    },
  }
}
