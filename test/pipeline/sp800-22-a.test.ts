import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { planFft, transform } from '../../pipeline/fft.ts'
import { bitPowerSpectrum, realPowerSpectrum } from '../../pipeline/power-spectrum.ts'
import { binomialUpper, chiSquareUpper } from '../../pipeline/special.ts'
import { addMatrixRanks, rank, binaryRank, matrixRankStatistic, rankProbabilities } from '../../pipeline/tests/rank.ts'
import { blockDeviations, blockFrequency, blockFrequencyStatistic } from '../../pipeline/tests/block-frequency.ts'
import {
  cumulativeSums,
  cumulativeSumsPValue,
  farthestPointProbability,
  walkExtremes,
} from '../../pipeline/tests/cumulative-sums.ts'
import type { TestDefinition, TestParams } from '../../pipeline/tests/definition.ts'
import {
  addLongestRuns,
  classesStatistic,
  LONGEST_RUN_CLASSES,
  longestRun,
  longestRunProbabilities,
} from '../../pipeline/tests/longest-run.ts'
import {
  addOverlappingCounts,
  compoundPoissonProbabilities,
  overlappingProbabilities,
  overlappingTemplate,
} from '../../pipeline/tests/overlapping-template.ts'
import { excursionVisitsPValue, randomExcursionsVariant } from '../../pipeline/tests/random-excursions-variant.ts'
import {
  countExcursions,
  cyclesNeeded,
  excursionProbabilities,
  excursionStatistic,
  randomExcursions,
} from '../../pipeline/tests/random-excursions.ts'
import { countPeaksBelow, expectedPeaks, dft, spectralStatistic } from '../../pipeline/tests/dft.ts'
import { universal, universalBlockBits, universalMean, universalPValue } from '../../pipeline/tests/universal.ts'
import { aesStream, namedStream } from '../fixtures/streams.ts'

interface Fixture {
  streams: Record<string, { bytes: number; sha256: string }>
  standard: {
    pi100: string
    blockFrequency: { bits: string; M: number; chi2: number; p: number }[]
    longestRun: { bits: string; M: number; nu: number[]; chi2: number; p: number }
    rank: { bits: string; size: number; p32: number; p3: number }
    rankOfE: { bits: number; counts: number[]; chi2: number; p: number }
    spectral: { bits: string; p: number }[]
    overlappingOfE: { counts: number[]; recomputed_old_pi: number; recomputed_exact_pi: number }
    overlapping50: { bits: string; m: number; M: number; counts: number[]; chi2: number; p: number }
    universal: { bits: string; L: number; Q: number; fn: number; variance: number; p: number }
    cumulativeSums: { bits: string; z: number[]; p: number[] }[]
    excursions: { bits: string; J: number; x: number; p: number; visits: number; variantP: number }
    excursionsOfE: { J: number; p: number[]; variantP: number[] }
  }
  overlappingProbabilities: { m: number; M: number; pi: number[] }
  longestRunProbabilities: { M: number; pi: number[] }
  sts: { stream: string; fromByte: number; bytes: number; p: Record<string, number[] | null> }[]
  corrected: { stream: string; bytes: number; test: string; chi2: number; p: number; counts: number[] }[]
}
const path = new URL('../fixtures/sp800-22-a.json', import.meta.url)
const fixture: Fixture = JSON.parse(readFileSync(path, 'utf8'))
const { standard } = fixture
const streams = new Map(Object.entries(fixture.streams).map(([name, { bytes }]) => [name, namedStream(name, bytes)]))

const TESTS: readonly TestDefinition[] = [
  blockFrequency,
  longestRun,
  rank,
  cumulativeSums,
  randomExcursions,
  randomExcursionsVariant,
  dft,
  overlappingTemplate,
  universal,
]
const testNamed = (name: string) => TESTS.find((test) => test.name === name)!

function sts(name: string): TestParams {
  const { defaults } = testNamed(name)
  return 'variant' in defaults ? { ...defaults, variant: 'nist212' } : defaults
}

function streamPart(name: string, from: number, bytes: number): Uint8Array {
  if (name === '00' || name === '55') return new Uint8Array(bytes).fill(Number.parseInt(name, 16))
  return streams.get(name)!.subarray(from, from + bytes)
}

/** The bytes of a string of bits; what is left of the last byte is ones, so that a kernel that reads it is found out. */
function pack(text: string): [Uint8Array, number] {
  const bits = text === 'pi100' ? standard.pi100 : text
  const padded = bits.padEnd(8 * Math.ceil(bits.length / 8), '1')
  return [
    Uint8Array.from({ length: padded.length / 8 }, (_, i) => Number.parseInt(padded.slice(8 * i, 8 * i + 8), 2)),
    bits.length,
  ]
}
const unpack = (bytes: Uint8Array, bits: number) =>
  Array.from({ length: bits }, (_, i) => (bytes[Math.floor(i / 8)] >>> (7 - (i % 8))) & 1)

describe('the worked examples of SP 800-22', () => {
  it.each(standard.blockFrequency)('2.2 block frequency of $bits, M = $M', ({ bits, M, chi2, p }) => {
    const { blocks, sum } = blockDeviations(...pack(bits), M)
    const found = blockFrequencyStatistic(blocks, sum, M)
    expect(found.chi2).toBeCloseTo(chi2, 12)
    expect(found.p).toBeCloseTo(p, 13)
  })

  it('2.4 longest run of 128 bits', () => {
    const { bits, nu, chi2, p } = standard.longestRun
    const found = longestRun.run([pack(bits)[0]], longestRun.defaults)
    expect(found.metrics).toMatchObject({ blocks: 16, block_bits: 8, counts: nu })
    expect(found.statistic).toBeCloseTo(chi2, 12)
    expect(found.p_values).toEqual([expect.closeTo(p, 13)])
  })

  it('2.5 rank of two 3 by 3 matrices, and of 100,000 bits of e', () => {
    const { bits, size, p32, p3 } = standard.rank
    const counts = new Float64Array(3)
    addMatrixRanks(...pack(bits), size, counts)
    expect([...counts]).toEqual([1, 1, 0])
    // The document takes the rounded probabilities of 32 by 32 matrices for its 3 by 3 ones.
    expect(matrixRankStatistic(counts, [0.2888, 0.5776, 0.1336]).p).toBeCloseTo(p32, 13)
    expect(matrixRankStatistic(counts, rankProbabilities(3)).p).toBeCloseTo(p3, 6)
    const ofE = rank.run([streamPart('e', 0, standard.rankOfE.bits / 8)], {})
    expect(ofE.metrics).toMatchObject({ matrices: 97, counts: standard.rankOfE.counts })
    expect(ofE.statistic).toBeCloseTo(standard.rankOfE.chi2, 7)
    expect(ofE.p_values[0]).toBeCloseTo(standard.rankOfE.p, 12)
  })

  it.each(standard.spectral)('2.6 spectral test of $bits, the correct transform', ({ bits, p }) => {
    const [bytes, n] = pack(bits)
    expect(spectralStatistic(countPeaksBelow(bytes, n), n, 'nist212').p).toBeCloseTo(p, 13)
  })

  it('2.8 overlapping template of 50 bits, counted right, and of e', () => {
    const { bits, m, M, counts, chi2, p } = standard.overlapping50
    const found = new Float64Array(6)
    addOverlappingCounts(...pack(bits), m, M, found)
    expect([...found]).toEqual(counts)
    const statistic = classesStatistic(found, compoundPoissonProbabilities(m, M))
    expect(statistic.chi2).toBeCloseTo(chi2, 4)
    expect(statistic.p).toBeCloseTo(p, 6)
    const { counts: countsOfE, recomputed_old_pi, recomputed_exact_pi } = standard.overlappingOfE
    const e = streams.get('e')!
    const corrected = overlappingTemplate.run([e], overlappingTemplate.defaults)
    expect(corrected.metrics).toMatchObject({ blocks: 968, counts: countsOfE })
    expect(corrected.p_values[0]).toBeCloseTo(recomputed_exact_pi, 12)
    expect(overlappingTemplate.run([e], sts('overlapping_template')).p_values[0]).toBeCloseTo(recomputed_old_pi, 12)
  })

  it('2.9 universal test of 20 bits', () => {
    const { bits, L, Q, fn, variance, p } = standard.universal
    const found = universalMean(...pack(bits), L, Q)
    expect(found).toEqual({ fn: expect.closeTo(fn, 6), K: 6 })
    // The document leaves the factor c / sqrt(K) out here.
    expect(universalPValue(found.fn, L, Math.sqrt(variance))).toBeCloseTo(p, 12)
  })

  it.each(standard.cumulativeSums)('2.13 cumulative sums of $bits', ({ bits, z, p }) => {
    const [bytes, n] = pack(bits)
    const { sum, max, min } = walkExtremes(bytes, n)
    const found = [Math.max(max, -min), Math.max(max - sum, sum - min)].slice(0, z.length)
    expect(found).toEqual(z)
    expect(found.map((far) => cumulativeSumsPValue(far, n))).toEqual(p.map((value) => expect.closeTo(value, 13)))
  })

  it('2.14 and 2.15 excursions of ten bits, and of e', () => {
    const { bits, J, x, p, visits, variantP } = standard.excursions
    const found = countExcursions(...pack(bits))
    expect(found.cycles).toBe(J)
    expect(
      excursionStatistic(found.cyclesByVisits.subarray(24, 30), excursionProbabilities(x, 'corrected')).p,
    ).toBeCloseTo(p, 12)
    expect(found.visits[x + 9]).toBe(visits)
    expect(excursionVisitsPValue(visits, J, x)).toBeCloseTo(variantP, 13)
    const { excursionsOfE } = standard
    const e = [streams.get('e')!]
    const [near, far] = [randomExcursions.run(e, randomExcursions.defaults), randomExcursionsVariant.run(e, {})]
    expect([near.statistic, far.statistic]).toEqual([excursionsOfE.J, excursionsOfE.J])
    expect(near.p_values).toEqual(excursionsOfE.p.map((value) => expect.closeTo(value, 6)))
    expect(far.p_values).toEqual(excursionsOfE.variantP.map((value) => expect.closeTo(value, 6)))
  })
})

describe('NIST STS 2.1.2', () => {
  it.each(Object.keys(fixture.streams))('stream %s is the one the numbers were made from', (name) => {
    expect(createHash('sha256').update(streams.get(name)!).digest('hex')).toBe(fixture.streams[name].sha256)
  })

  it.each(fixture.sts)('$bytes bytes of $stream from $fromByte', ({ stream, fromByte, bytes, p }) => {
    const part = streamPart(stream, fromByte, bytes)
    for (const [name, expected] of Object.entries(p)) {
      const found = testNamed(name).run([part], sts(name))
      const far = found.p_values.map((value, i) => Math.abs(value - (expected?.[i] ?? Number.NaN)))
      expect([found.status, found.p_values.length], name).toEqual(
        expected ? ['ok', expected.length] : ['not_applicable', 0],
      )
      expect(Math.max(0, ...far), name).toBeLessThan(1e-9)
    }
  })

  it.each(fixture.corrected)('with exact probabilities: $test, $bytes bytes of $stream', (row) => {
    const test = testNamed(row.test)
    const found = test.run([streamPart(row.stream, 0, row.bytes)], test.defaults)
    expect(found.metrics?.counts).toEqual(row.counts)
    expect(found.statistic! / row.chi2).toBeCloseTo(1, 11)
    expect(found.p_values[0]).toBeCloseTo(row.p, 11)
  })
})

describe('probabilities are exact', () => {
  it('of the longest run', () => {
    expect(longestRunProbabilities(8, 1, 4)).toEqual([55, 94, 59, 48].map((count) => count / 256))
    const byRun = Array.from({ length: 13 }, () => 0)
    for (let word = 0; word < 4096; word++) {
      const runs = word.toString(2).split('0')
      byRun[Math.max(...runs.map((run) => run.length))]++
    }
    const classes = [...byRun.slice(0, 3).reduce((sums, count) => [sums[0] + count], [0]), ...byRun.slice(3, 6)]
    const rest = byRun.slice(6).reduce((sum, count) => sum + count, 0)
    expect(longestRunProbabilities(12, 2, 6)).toEqual(
      [...classes, rest].map((count) => expect.closeTo(count / 4096, 15)),
    )
    const { M, pi } = fixture.longestRunProbabilities
    expect(longestRunProbabilities(M, 10, 16)).toEqual(pi.map((p) => expect.closeTo(p, 8)))
    // STS's nine digits for blocks of 128 bits.
    longestRunProbabilities(128, 4, 9).forEach((p, i) => expect(p).toBeCloseTo(LONGEST_RUN_CLASSES[1].nist212[i], 8))
  })

  it('of overlapping templates', () => {
    const { m, M, pi } = fixture.overlappingProbabilities
    expect(overlappingProbabilities(m, M)).toEqual(pi.map((p) => expect.closeTo(p, 14)))
    const counts = new Float64Array(6)
    for (let word = 0; word < 1024; word++)
      addOverlappingCounts(...pack(word.toString(2).padStart(10, '0')), 2, 10, counts)
    expect(overlappingProbabilities(2, 10)).toEqual([...counts].map((count) => count / 1024))
  })

  it('of ranks and of excursions', () => {
    const counts = new Float64Array(3)
    for (let word = 0; word < 512; word++) addMatrixRanks(...pack(word.toString(2).padStart(9, '0')), 3, counts)
    expect(rankProbabilities(3)).toEqual([...counts].map((count) => expect.closeTo(count / 512, 15)))
    for (const x of [-4, -3, -2, -1, 1, 2, 3, 4]) {
      const exact = excursionProbabilities(x, 'corrected')
      expect(exact.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 14)
      excursionProbabilities(x, 'nist212').forEach((p, k) => expect(Math.abs(p - exact[k])).toBeLessThan(1.1e-10))
    }
  })

  it('of the farthest point of a walk, in the tails too', () => {
    // P(max |S_k| >= z) = 4 Q(z / sqrt n) there, but for terms of higher order: Q(10) and Q(30).
    expect(cumulativeSumsPValue(10_000, 1_000_000) / (4 * 7.61985302416052e-24)).toBeCloseTo(1, 12)
    expect(cumulativeSumsPValue(30_000, 1_000_000) / (4 * 4.90671392714821e-198)).toBeCloseTo(1, 12)
    expect(cumulativeSumsPValue(1, 1_000_000)).toBe(1)
    expect(farthestPointProbability(4, 10)).toBe(0.453125)
    expect(farthestPointProbability(1, 1)).toBe(1)
    const short = cumulativeSums.run([random.subarray(0, 16)], {})
    const { z_forward: forward, z_reverse: reverse } = short.metrics!
    expect(short.metrics?.p_exact).toEqual([forward, reverse].map((z) => farthestPointProbability(Number(z), 128)))
    expect(cumulativeSums.run([random.subarray(0, 125)], {}).metrics).not.toHaveProperty('p_exact')
    expect(farthestPointProbability(30, 900) / cumulativeSumsPValue(30.5, 900)).toBeCloseTo(1.03, 1)
    expect(cumulativeSumsPValue(Math.sqrt(2 ** 32), 2 ** 32)).toBeCloseTo(0.6292, 3)
  })
})

/** The same counts bit by bit, at lengths that fill no word and no byte, from a byte that begins no word. */
describe('kernels agree with a bit by bit count', () => {
  const data = aesStream('sp800-22-kernels', 4001).subarray(1)
  // Something to find: long runs, and a walk that comes back.
  for (let i = 500; i < 520; i++) data[i] = 0xff
  for (let i = 520; i < 540; i++) data[i] = 0
  const lengths = [1, 7, 8, 10, 31, 32, 33, 63, 64, 65, 100, 127, 128, 1000, 1033, 4095, 4400, 31_999, 32_000]

  it.each(lengths)('%d bits', (n) => {
    const bits = unpack(data, n)
    let sum = 0
    const walk = bits.map((bit) => (sum += 2 * bit - 1))
    expect(walkExtremes(data, n)).toEqual({ sum, max: Math.max(0, ...walk), min: Math.min(0, ...walk) })

    const cycles = [[]] as number[][]
    for (const height of walk) {
      cycles.at(-1)!.push(height)
      if (height === 0) cycles.push([])
    }
    if (cycles.at(-1)!.length === 0) cycles.pop()
    const found = countExcursions(data, n)
    expect(found.cycles).toBe(cycles.length)
    ;[-4, -3, -2, -1, 1, 2, 3, 4].forEach((x, i) => {
      const visits = cycles.map((cycle) => Math.min(5, cycle.filter((height) => height === x).length))
      const histogram = [0, 1, 2, 3, 4, 5].map((k) => visits.filter((count) => count === k).length)
      expect([...found.cyclesByVisits.subarray(6 * i, 6 * i + 6)]).toEqual(histogram)
    })
    for (let x = -9; x <= 9; x++) {
      expect(found.visits[x + 9]).toBe(walk.filter((height) => height === x).length)
    }

    const blocksOf = (M: number) =>
      Array.from({ length: Math.floor(n / M) }, (_, block) => bits.slice(block * M, (block + 1) * M))
    for (const M of [3, 20, 32, 100, 128, 2048]) {
      const deviations = blocksOf(M).map((block) => 2 * block.reduce((ones, bit) => ones + bit, 0) - M)
      const squares = deviations.reduce((total, deviation) => total + deviation ** 2, 0)
      expect(blockDeviations(data, n, M)).toEqual({ blocks: deviations.length, sum: squares })
    }
    for (const row of LONGEST_RUN_CLASSES) {
      const counts = new Float64Array(row.high - row.low + 1)
      addLongestRuns(data, n, row, counts)
      const naive = new Float64Array(counts.length)
      for (const block of blocksOf(row.blockBits)) {
        const longest = Math.max(
          ...block
            .join('')
            .split('0')
            .map((run) => run.length),
        )
        naive[Math.min(Math.max(longest, row.low), row.high) - row.low]++
      }
      expect(counts).toEqual(naive)
    }
    for (const [m, M] of [
      [9, 1032],
      [2, 10],
      [3, 21],
      [4, 64],
      [2, 5],
    ]) {
      const counts = new Float64Array(6)
      addOverlappingCounts(data, n, m, M, counts)
      const naive = new Float64Array(6)
      for (const block of blocksOf(M)) {
        const hits = block.filter((_, i) => i + m <= M && block.slice(i, i + m).every((bit) => bit === 1)).length
        naive[Math.min(5, hits)]++
      }
      expect(counts).toEqual(naive)
    }
    for (const [L, Q] of [
      [2, 4],
      [5, 10],
      [6, 640],
      [11, 100],
    ]) {
      const patterns = blocksOf(L).map((block) => block.join(''))
      const K = patterns.length - Q
      if (K <= 0) continue
      const naive = patterns.map((pattern, i) => {
        const last = i === 0 ? -1 : patterns.lastIndexOf(pattern, i - 1)
        return Math.log2(last < 0 ? i + 1 : i - last)
      })
      const mean = naive.slice(Q).reduce((total, log) => total + log, 0) / K
      expect(universalMean(data, n, L, Q)).toEqual({ fn: expect.closeTo(mean, 11), K })
    }
  })

  it('at the ends of what words can hold', () => {
    expect(blockDeviations(new Uint8Array(2048).fill(0xff), 16_384, 4096)).toEqual({ blocks: 4, sum: 4 * 4096 ** 2 })
    // Far down, to 64, back by 2 to 64 in the next 64 bits, and 64 up again: a new height, be it by one step of two.
    for (let back = 2; back <= 64; back += 2) {
      const start = '0'.repeat(128) + '1'.repeat(192)
      const text = start + '0'.repeat(back) + '01'.repeat((64 - back) / 2) + '1'.repeat(64)
      expect(walkExtremes(...pack(text))).toEqual({ sum: 128 - back, max: 128 - back, min: -128 })
      const mirror = text.replaceAll(/./g, (bit) => (bit === '1' ? '0' : '1'))
      expect(walkExtremes(...pack(mirror))).toEqual({ sum: back - 128, max: 128, min: back - 128 })
    }
  })

  it('ranks', () => {
    expect(binaryRank(Int32Array.from({ length: 32 }, (_, i) => 1 << i))).toBe(32)
    expect(binaryRank(new Int32Array(32))).toBe(0)
    expect(binaryRank(new Int32Array(32).fill(-1))).toBe(1)
    expect(binaryRank(Int32Array.of(0b011, 0b101, 0b110))).toBe(2)
    // A product of 32 by r and r by 32 has rank r at most, and nearly always r.
    const words = new Int32Array(aesStream('sp800-22-rank', 256).buffer.slice(0, 256))
    for (const r of [1, 5, 20]) {
      const rows = Int32Array.from({ length: 32 }, (_, i) => {
        let row = 0
        for (let k = 0; k < r; k++) if ((words[i] >>> k) & 1) row ^= words[32 + k]
        return row
      })
      expect(binaryRank(rows)).toBe(r)
    }
  })
})

describe('Fourier transform', () => {
  const lengths = [
    ...Array.from({ length: 66 }, (_, i) => i + 1),
    100,
    121,
    127,
    128,
    240,
    243,
    250,
    256,
    360,
    625,
    1001,
  ]

  it.each(lengths)('of %d points is the sum it stands for', (n) => {
    const bytes = aesStream(`sp800-22-fft-${n}`, Math.ceil(n / 8))
    const signal = Float64Array.from(unpack(bytes, n), (bit) => 2 * bit - 1)
    const plan = planFft(n)
    plan.inRe.set(signal)
    plan.inIm.set(signal.toReversed())
    transform(plan)
    const naive = new Float64Array(Math.floor(n / 2) + 1)
    for (let k = 0; k < n; k++) {
      let [re, im, bothRe, bothIm] = [0, 0, 0, 0]
      for (let j = 0; j < n; j++) {
        const [cos, sin] = [Math.cos((2 * Math.PI * ((j * k) % n)) / n), Math.sin((2 * Math.PI * ((j * k) % n)) / n)]
        const other = signal[n - 1 - j]
        re += signal[j] * cos
        im -= signal[j] * sin
        bothRe += signal[j] * cos + other * sin
        bothIm += other * cos - signal[j] * sin
      }
      if (k < naive.length) naive[k] = re * re + im * im
      expect(Math.hypot(plan.outRe[k] - bothRe, plan.outIm[k] - bothIm)).toBeLessThan(1e-12 * n)
    }
    for (const power of [bitPowerSpectrum(bytes, n), realPowerSpectrum(signal)]) {
      expect(power).toHaveLength(naive.length)
      power.forEach((value, k) => expect(Math.abs(value - naive[k])).toBeLessThan(1e-12 * n * n))
    }
  })

  it.each([1_000_000, 2 ** 17, 8 * 9973])('of %d bits keeps their power, and finds a tone', (n) => {
    const power = bitPowerSpectrum(aesStream('sp800-22-parseval', n / 8), n)
    const total = power.reduce((sum, value, k) => sum + (k === 0 || 2 * k === n ? value : 2 * value), 0)
    expect(total / n / n).toBeCloseTo(1, 12)
    const tone = realPowerSpectrum(Float64Array.from({ length: n }, (_, j) => Math.cos((2 * Math.PI * 8 * j) / n + 1)))
    expect(tone[8] / (n * n)).toBeCloseTo(0.25, 12)
    tone[8] = 0
    expect(Math.max(...[0, 1, 7, 9, 100, n / 4, n / 2].map((k) => tone[k])) / n).toBeLessThan(1e-14 * n)
  })
})

const random = aesStream('sp800-22-segments', 500_000)

describe('segments', () => {
  it.each([blockFrequency, longestRun, rank, overlappingTemplate])('$name pools whole blocks', (test) => {
    // Breaks at multiples of every block length, so that the blocks are those of the whole.
    const block = test === longestRun ? 1250 : test === overlappingTemplate ? 129 : 128
    const breaks = [0, 37 * block, 38 * block, 150 * block, 150 * block, 1000 * block]
    const cut = breaks.slice(1).map((end, i) => random.subarray(breaks[i], end))
    const whole = random.subarray(0, 1000 * block)
    expect(test.run(cut, test.defaults)).toEqual(test.run([whole], test.defaults))
    const shorn = cut.map((segment) => Uint8Array.from({ length: segment.length + 3 }, (_, i) => segment[i] ?? 0xff))
    const left = { p_values: test.run([whole], test.defaults).p_values, metrics: { bits_left_out: 24 * cut.length } }
    expect(test.run(shorn, test.defaults)).toMatchObject(left)
  })

  it.each([cumulativeSums, randomExcursions, randomExcursionsVariant, dft, universal])(
    '$name takes the longest, and says what it left out',
    (test) => {
      const long = random.subarray(0, 130_000)
      const alone = test.run([long], test.defaults)
      const found = test.run([random.subarray(0, 500), long, random.subarray(1, 130_001)], test.defaults)
      expect({ ...found, metrics: {} }).toEqual({ ...alone, metrics: {} })
      expect(found.metrics).toEqual({ ...alone.metrics, n_bits: 1_040_000, bits_left_out: 8 * 130_500 })
    },
  )

  it('longest run takes the longest blocks of which there are enough', () => {
    const blockBits = (segments: Uint8Array[]) => longestRun.run(segments, longestRun.defaults).metrics?.block_bits
    expect(blockBits([random.subarray(0, 93_750)])).toBe(10_000)
    expect(blockBits([random.subarray(0, 93_749)])).toBe(128)
    expect(blockBits([random.subarray(0, 784)])).toBe(128)
    expect(blockBits([random.subarray(0, 783)])).toBe(8)
    expect(blockBits(Array.from({ length: 100 }, (_, i) => random.subarray(1000 * i, 1000 * i + 1000)))).toBe(128)
    expect(blockBits(Array.from({ length: 100 }, (_, i) => random.subarray(10 * i, 10 * i + 10)))).toBe(8)
  })
})

describe('results without a P-value', () => {
  it.each(TESTS.map((test) => [test.name, test] as const))('%s needs its least number of bits', (_, test) => {
    const enough = test.minimumBits / 8
    // Whether the excursions apply is up to the data, and no matter of length.
    expect(test.run([random.subarray(0, Math.ceil(enough))], test.defaults).status).not.toBe('insufficient')
    const few = Math.ceil(enough) - 1
    for (const segments of [[random.subarray(0, few)], [new Uint8Array(0), random.subarray(0, few)]]) {
      expect(test.run(segments, test.defaults)).toMatchObject({
        status: 'insufficient',
        reason: `needs at least ${test.minimumBits} bits, given ${8 * few}`,
        p_values: [],
        statistic: null,
      })
    }
    const crumbs = Array.from({ length: 200_000 }, (_unused, i) => random.subarray(2 * i, 2 * i + 1))
    const found = test.run(crumbs, test.defaults)
    expect(found.status).toBe(test === longestRun ? 'ok' : 'insufficient')
  })

  it('say so when the bits suffice but lie in pieces', () => {
    const halves = [random.subarray(0, 62_500), random.subarray(62_500, 125_000)]
    expect(randomExcursions.run(halves, randomExcursions.defaults).reason).toBe(
      'needs at least 1000000 bits without a break, given 500000 in the longest segment',
    )
    expect(overlappingTemplate.run([...halves, ...halves], overlappingTemplate.defaults).status).toBe('ok')
    const pieces = Array.from({ length: 2000 }, (_, i) => random.subarray(100 * i, 100 * i + 100))
    expect(rank.run(pieces, {}).reason).toBe('needs at least 38 unbroken blocks of 1024 bits, given 0')
  })

  it('excursions need 500 cycles, and more from 10^10 bits', () => {
    expect([cyclesNeeded(1e6), cyclesNeeded(1e10), cyclesNeeded(4e10)]).toEqual([500, 500, 1000])
    const up = new Uint8Array(125_000).fill(0xff)
    const found = randomExcursions.run([up], randomExcursions.defaults)
    expect(found).toMatchObject({ status: 'not_applicable', metrics: { J: 1, n_bits: 1_000_000, bits_left_out: 0 } })
    expect(found.reason).toBe('needs at least 500 cycles J of the walk, given 1')
  })

  it.each([0x00, 0xff, 0x55, 0x0f, 0x41])('no test fails on %d over and over', (byte) => {
    for (const bytes of [0, 1, 2, 13, 16, 125, 1000, 5000, 130_000]) {
      for (const test of TESTS) {
        const found = test.run([new Uint8Array(bytes).fill(byte)], test.defaults)
        for (const p of found.p_values) expect(p >= 0 && p <= 1).toBe(true)
        expect(found.p_values.length > 0).toBe(found.status === 'ok')
        expect(JSON.parse(JSON.stringify(found))).toEqual(found)
      }
    }
  })

  it('refuses parameters out of range', () => {
    const bytes = [random]
    for (const test of TESTS.filter((one) => 'variant' in one.defaults)) {
      expect(() => test.run(bytes, { ...test.defaults, variant: 'best' })).toThrow(
        /variant must be "corrected" or "nist212"/,
      )
    }
    for (const M of [19, 20.5, '128']) expect(() => blockFrequency.run(bytes, { M })).toThrow(/M must be an integer/)
    expect(() => overlappingTemplate.run(bytes, { m: 1, M: 1032, variant: 'corrected' })).toThrow(
      /m must be an integer/,
    )
    expect(() => overlappingTemplate.run(bytes, { m: 9, M: 17, variant: 'corrected' })).toThrow(/M must be an integer/)
    expect(() => planFft(0)).toThrow(RangeError)
  })

  it('overlapping templates need five blocks expected in every class', () => {
    const found = overlappingTemplate.run([random], { m: 9, M: 400_000, variant: 'corrected' })
    expect(found).toMatchObject({ status: 'insufficient', p_values: [] })
    expect(overlappingTemplate.run([random], { m: 10, M: 2068, variant: 'corrected' }).status).toBe('ok')
  })

  it('universal chooses L by the length', () => {
    expect([387_839, 387_840, 904_959, 904_960, 1_059_061_759, 1_059_061_760, 2 ** 33].map(universalBlockBits)).toEqual(
      [undefined, 6, 6, 7, 15, 16, 16],
    )
  })
})

/** P(D >= d) of Kolmogorov and Smirnov for uniform P-values, by the limit law with Stephens' correction. */
function ksUniform(values: readonly number[]): number {
  const n = values.length
  const distance = values
    .toSorted((a, b) => a - b)
    .reduce((most, value, i) => Math.max(most, (i + 1) / n - value, value - i / n), 0)
  const scaled = (Math.sqrt(n) + 0.12 + 0.11 / Math.sqrt(n)) * distance
  let p = 0
  for (let k = 1; k < 50; k++) p += 2 * (k % 2 === 1 ? 1 : -1) * Math.exp(-2 * (k * scaled) ** 2)
  return p
}

/** How often n ideal bits have a P-value below .01 by the normal limit. */
function exactLevelOfCumulativeSums(n: number): number {
  let z = 1
  while (cumulativeSumsPValue(z, n) >= 0.01) z++
  return farthestPointProbability(z, n)
}

/**
 * Null behaviour: rejections at .01 inside the 99.9 % binomial interval. Where P-values are dense enough they are also
 * tested for uniformity; of short sequences there are only some tens or hundreds of different ones (of the spectral test
 * 13 at 1,000 bits), which no Kolmogorov-Smirnov test takes for uniform. The streams are fixed, so the outcome is too.
 */
describe.each([
  { test: blockFrequency, bytes: 16, repetitions: 2000, uniform: false },
  { test: blockFrequency, bytes: 1250, repetitions: 2000, uniform: true },
  { test: longestRun, bytes: 16, repetitions: 2000, uniform: false },
  { test: longestRun, bytes: 784, repetitions: 2000, uniform: true },
  { test: longestRun, bytes: 93_750, repetitions: 300, uniform: true },
  { test: rank, bytes: 4864, repetitions: 2000, uniform: false },
  { test: cumulativeSums, bytes: 13, repetitions: 2000, uniform: false, level: exactLevelOfCumulativeSums(104) },
  { test: cumulativeSums, bytes: 1250, repetitions: 2000, uniform: true },
  { test: randomExcursions, bytes: 125_000, repetitions: 300, uniform: true },
  { test: randomExcursionsVariant, bytes: 125_000, repetitions: 300, uniform: true },
  { test: dft, bytes: 125, repetitions: 2000, uniform: false },
  { test: dft, bytes: 4096, repetitions: 1000, uniform: true },
  { test: overlappingTemplate, bytes: 125_000, repetitions: 300, uniform: true },
  { test: universal, bytes: 48_480, repetitions: 500, uniform: true },
])('ideal data: $test.name of $bytes bytes', ({ test, bytes, repetitions, uniform, level = 0.01 }) => {
  const found: number[][] = []
  for (let r = 0; r < repetitions; r++) {
    const { p_values } = test.run([aesStream(`sp800-22-null-${bytes}-${r}`, bytes)], test.defaults)
    p_values.forEach((p, i) => (found[i] ??= []).push(p))
  }

  it.each(found.map((values, i) => [i, values] as const))('P-value %d', (_, values) => {
    const rejected = values.filter((p) => p < 0.01).length
    const message = `${rejected} of ${values.length}`
    expect(binomialUpper(values.length, rejected, level), message).toBeGreaterThan(0.0005)
    expect(1 - binomialUpper(values.length, rejected + 1, level), message).toBeGreaterThan(0.0005)
    expect(uniform ? ksUniform(values) : 1).toBeGreaterThan(0.001)
  })
})

describe('the spectral variance', () => {
  it.each([1000, 4096, 10_000])('of %d bits is what was derived, not the standard one', (n) => {
    const repetitions = 8000
    const { mean, variance } = expectedPeaks(n, 'corrected')
    let [sum, squares] = [0, 0]
    for (let r = 0; r < repetitions; r++) {
      const deviation = countPeaksBelow(aesStream(`sp800-22-variance-${n}-${r}`, n / 8), n) - mean
      sum += deviation
      squares += deviation ** 2
    }
    expect(Math.abs(sum) / Math.sqrt(repetitions * variance)).toBeLessThan(3.3)
    const fits = (assumed: number) => chiSquareUpper(squares / assumed, repetitions)
    expect(fits(variance)).toBeGreaterThan(0.0005)
    expect(fits(variance)).toBeLessThan(0.9995)
    expect(fits(expectedPeaks(n, 'nist212').variance)).toBeLessThan(0.01)
    expect((0.95 * 0.05 * n) / variance).toBeCloseTo(3.79, 2)
  })
})

describe('what is wrong with data is found', () => {
  it('each in its test', () => {
    const p = (test: TestDefinition, bytes: Uint8Array) => Math.min(...test.run([bytes], test.defaults).p_values)
    const good = random.subarray(0, 125_000)
    const cycle = good.map((_, i) => good[i % 1024])
    expect(p(dft, cycle)).toBeLessThan(1e-12)
    expect(p(universal, cycle)).toBeLessThan(1e-8)
    const repeatedRows = good.map((byte, i) => (i % 128 >= 124 ? good[i - 4] ^ good[i - 8] ^ good[i - 64] : byte))
    expect(p(rank, repeatedRows)).toBeLessThan(1e-12)
    const lumps = good.map((byte, i) =>
      (i >>> 4) % 8 === 0 ? byte | good[i + 1] : (i >>> 4) % 8 === 1 ? byte & good[i + 1] : byte,
    )
    expect(p(blockFrequency, lumps)).toBeLessThan(1e-12)
    const drift = good.map((byte, i) => (i % 40 === 0 ? byte | 0x11 : byte))
    expect(p(cumulativeSums, drift)).toBeLessThan(1e-4)
    const noLongRuns = good.map((byte) => ((byte & 0x7e) === 0x7e ? byte ^ 0x08 : byte))
    expect(p(longestRun, noLongRuns)).toBeLessThan(1e-12)
    expect(p(overlappingTemplate, noLongRuns)).toBeLessThan(1e-12)
    const paired = good.map((byte) => (byte & 0xaa) | (~(byte >>> 1) & 0x55))
    expect(p(randomExcursions, paired)).toBeLessThan(1e-12)
    expect(p(randomExcursionsVariant, paired)).toBeLessThan(1e-12)
  })
})
