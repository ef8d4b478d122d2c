import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addCircularPatterns, addPatterns } from '../../pipeline/bits.ts'
import { kolmogorovSmirnov } from '../../pipeline/kolmogorov-smirnov.ts'
import { binomialUpper } from '../../pipeline/special.ts'
import { approximateEntropy, approximateEntropyStatistic } from '../../pipeline/tests/approximate-entropy.ts'
import type { TestDefinition, TestParams } from '../../pipeline/tests/definition.ts'
import { frequency } from '../../pipeline/tests/frequency.ts'
import {
  blockComplexities,
  complexityClasses,
  complexityStatistic,
  linearComplexity,
  linearComplexityTest,
} from '../../pipeline/tests/linear-complexity.ts'
import {
  aperiodicTemplates,
  countBlockPatterns,
  nonOverlappingStatistic,
  nonOverlappingTemplate,
} from '../../pipeline/tests/non-overlapping-template.ts'
import { runs } from '../../pipeline/tests/runs.ts'
import { serial } from '../../pipeline/tests/serial.ts'
import { aesStream, namedStream } from '../fixtures/streams.ts'

interface Sequence {
  stream: string
  fromByte: number
  bytes: number
  frequency: number
  runs: number
  approximateEntropy: number
  serial: number[]
  linearComplexity: number
  corrected?: { classes: number[]; chi2: number; p: number }
  nonOverlapping?: number[]
}
interface Fixture {
  standard: {
    pi100: string
    nonOverlapping: { bits: string; template: string; blockBits: number; found: number[]; chi2: number; p: number }
    linearComplexity: { bits: string; complexity: number }
    linearComplexityOfE: { M: number; classes: number[]; chi2: number; p: number }
    approximateEntropy: { bits: string; m: number; p: number; apEn?: number; chi2?: number }[]
  }
  streams: Record<string, { bytes: number; sha256: string }>
  sequences: Sequence[]
}
const path = new URL('../fixtures/sp800-22-b.json', import.meta.url)
const { standard, streams: listed, sequences }: Fixture = JSON.parse(readFileSync(path, 'utf8'))
const streams = new Map(Object.entries(listed).map(([name, { bytes }]) => [name, namedStream(name, bytes)]))

/** A test as it is in the battery of SP 800-22, with parameters over those. */
const run = (test: TestDefinition, segments: Uint8Array[], params: TestParams = {}) =>
  test.run(segments, { ...test.defaults, ...test.suites['sp800-22'], ...params })
const BATTERY = [frequency, runs, serial, approximateEntropy, nonOverlappingTemplate, linearComplexityTest]

/** Bits as text, most significant first in each byte. */
function packBits(bits: string): Uint8Array {
  return Uint8Array.from({ length: Math.ceil(bits.length / 8) }, (_, i) =>
    Number.parseInt(bits.slice(8 * i, 8 * i + 8).padEnd(8, '0'), 2),
  )
}
const textOf = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(2).padStart(8, '0')).join('')

/** Massey's algorithm as it is in the books, bit by bit. */
function textbookComplexity(bits: string): number {
  let connection = [1]
  let before = [1]
  let length = 0
  let since = 1
  for (let n = 0; n < bits.length; n++) {
    let discrepancy = 0
    for (let i = 0; i < connection.length; i++) discrepancy ^= connection[i] & Number(bits[n - i] ?? 0)
    if (discrepancy === 0) {
      since++
      continue
    }
    const shifted = [...Array.from({ length: since }, () => 0), ...before]
    const sum = Array.from({ length: Math.max(shifted.length, connection.length) }, (_, i) => {
      return (connection[i] ?? 0) ^ (shifted[i] ?? 0)
    })
    if (2 * length <= n) {
      before = connection
      length = n + 1 - length
      since = 1
    } else since++
    connection = sum
  }
  return length
}

/** The search of SP 800-22 rev 1a, 2.7.4 (2): after a hit it goes on behind it. */
function searchNonOverlapping(bits: string, template: string): number {
  let found = 0
  for (let at = 0; at + template.length <= bits.length; at++) {
    if (!bits.startsWith(template, at)) continue
    found++
    at += template.length - 1
  }
  return found
}

describe('the worked examples of SP 800-22', () => {
  it('2.7 non-overlapping template 001', () => {
    const { bits, template, blockBits, found, chi2, p } = standard.nonOverlapping
    const counts = countBlockPatterns(packBits(bits), blockBits, 2, template.length)
    const hits = counts.map((block) => block[Number.parseInt(template, 2)])
    expect(hits).toEqual(found)
    const statistic = nonOverlappingStatistic(hits, blockBits, template.length)
    expect(statistic.chi2).toBeCloseTo(chi2, 6)
    expect(statistic.p).toBeCloseTo(p, 13)
  })

  it('2.10 linear complexity of 13 bits, and of a million bits of e', () => {
    const { bits, complexity } = standard.linearComplexity
    expect(linearComplexity(packBits(bits), bits.length)).toBe(complexity)
    const { M, classes, chi2, p } = standard.linearComplexityOfE
    const found = run(linearComplexityTest, [streams.get('e')!], { M, variant: 'nist212' })
    expect(found.metrics?.classes).toEqual(classes)
    expect(found.statistic).toBeCloseTo(chi2, 6)
    expect(found.p_values[0]).toBeCloseTo(p, 6)
  })

  it.each(standard.approximateEntropy)('2.12 approximate entropy of $bits, m = $m', ({ bits, m, p, apEn, chi2 }) => {
    const text = bits === 'pi100' ? standard.pi100 : bits
    const counts = new Uint32Array(2 ** (m + 1))
    addCircularPatterns(packBits(text), m + 1, counts, text.length)
    const found = approximateEntropyStatistic(counts)
    expect(found.p).toBeCloseTo(p, 13)
    expect(found.apEn).toBeCloseTo(apEn ?? found.apEn, 6)
    // The standard computes chi2 with ApEn rounded to six digits.
    expect(Math.abs(found.chi2 - (chi2 ?? found.chi2))).toBeLessThan(2e-4)
  })
})

describe('NIST STS 2.1.2', () => {
  it.each(Object.keys(listed))('stream %s is the one the numbers were made from', (name) => {
    expect(createHash('sha256').update(streams.get(name)!).digest('hex')).toBe(listed[name].sha256)
  })

  it.each(sequences)('gives the same on $bytes bytes of $stream from $fromByte', (row) => {
    const bytes = streams.get(row.stream)!.subarray(row.fromByte, row.fromByte + row.bytes)
    const templates = run(nonOverlappingTemplate, [bytes]).p_values
    // STS does not ask for a million bits, and so has numbers for shorter sequences too.
    const classes = complexityClasses(blockComplexities(bytes, 500, Math.floor((8 * bytes.length) / 500)), 500)
    const corrected = complexityStatistic(classes, 'corrected').p
    expect(classes).toEqual(row.corrected?.classes ?? classes)
    const pairs = [
      [run(frequency, [bytes]).p_values, [row.frequency]],
      [run(runs, [bytes]).p_values, [row.runs]],
      [run(serial, [bytes]).p_values, row.serial],
      [run(approximateEntropy, [bytes]).p_values, [row.approximateEntropy]],
      [templates, row.nonOverlapping ?? templates],
      [[complexityStatistic(classes, 'nist212').p], [row.linearComplexity]],
      [[corrected], [row.corrected?.p ?? corrected]],
    ]
    for (const [found, expected] of pairs) {
      expect(found).toHaveLength(expected.length)
      expect(Math.max(...found.map((p, i) => Math.abs(p - expected[i])))).toBeLessThan(1e-9)
    }
  })

  it.each(sequences.filter(({ bytes }) => bytes === 125_000))(
    'linear complexity of $stream from $fromByte, in either variant',
    ({ stream, fromByte, bytes, linearComplexity: nist212, corrected }) => {
      const sequence = streams.get(stream)!.subarray(fromByte, fromByte + bytes)
      const [p] = run(linearComplexityTest, [sequence]).p_values
      expect(p).toBeCloseTo(corrected?.p ?? p, 10)
      expect(run(linearComplexityTest, [sequence], { variant: 'nist212' }).p_values[0]).toBeCloseTo(nist212, 10)
      expect(p).not.toBeCloseTo(nist212, 10)
    },
  )
})

describe('pattern counts', () => {
  const naive = (bits: string, from: number, to: number, m: number) => {
    const counts = new Uint32Array(2 ** m)
    for (let at = from; at < to; at++) counts[Number.parseInt(bits.slice(at, at + m), 2)]++
    return counts
  }
  const noise = aesStream('sp800-22-b-patterns', 3000)

  it('of any range of bits equal a count one by one', () => {
    const ranges = fc.tuple(fc.integer({ min: 1, max: 16 }), fc.nat(3000), fc.nat(24_000), fc.nat(24_000))
    fc.assert(
      fc.property(ranges, ([m, length, a, b]) => {
        const starts = Math.max(0, 8 * length - m + 1)
        const [from, to] = [a % (starts + 1), b % (starts + 1)].toSorted((x, y) => x - y)
        const bytes = noise.subarray(0, length)
        const counts = new Uint32Array(2 ** m)
        addPatterns(bytes, from, to, m, counts)
        expect(counts).toEqual(naive(textOf(bytes), from, to, m))
      }),
      { numRuns: 60 },
    )
    expect(() => addPatterns(new Uint8Array(2), 0, 8, 10, new Uint32Array(1024))).toThrow(RangeError)
  })

  it('of a circle of any number of bits equal a count one by one', () => {
    const circles = fc.tuple(fc.integer({ min: 1, max: 16 }), fc.oneof(fc.nat(40), fc.nat(24_000)))
    fc.assert(
      fc.property(circles, ([m, bits]) => {
        const text = textOf(noise).slice(0, bits)
        const counts = new Uint32Array(2 ** m)
        addCircularPatterns(noise, m, counts, bits)
        expect(counts).toEqual(naive(text.repeat(1 + Math.ceil(m / Math.max(1, bits))), 0, bits, m))
      }),
      { numRuns: 60 },
    )
    expect(() => addCircularPatterns(noise, 2, new Uint32Array(4), 24_001)).toThrow(/bits must be 0 to 24000/)
  })
})

describe('non-overlapping templates', () => {
  it('are the aperiodic ones, in rising order', () => {
    expect(
      [2, 3, 4].map((m) => aperiodicTemplates(m).map((template) => template.toString(2).padStart(m, '0'))),
    ).toEqual([
      ['01', '10'],
      ['001', '011', '100', '110'],
      ['0001', '0011', '0111', '1000', '1100', '1110'],
    ])
    // Numbers of SP 800-22 rev 1a's templates files.
    expect([5, 6, 7, 8, 9, 10].map((m) => aperiodicTemplates(m).length)).toEqual([12, 20, 40, 74, 148, 284])
  })

  it('are found as often as by the search that goes on behind a hit', () => {
    const bytes = aesStream('sp800-22-b-search', 500).map((byte, i) => (i % 3 === 0 ? byte & 0x10 : byte))
    for (const m of [2, 5, 9]) {
      const counts = countBlockPatterns(bytes, 481, 8, m)
      const blocks = counts.map((_, block) => textOf(bytes).slice(481 * block, 481 * (block + 1)))
      for (const template of aperiodicTemplates(m)) {
        const text = template.toString(2).padStart(m, '0')
        expect(counts.map((block) => block[template])).toEqual(blocks.map((bits) => searchNonOverlapping(bits, text)))
      }
    }
  })

  it('take eight equal blocks, the longest that the segments hold', () => {
    const bytes = aesStream('sp800-22-b-segments', 16_000)
    const whole = run(nonOverlappingTemplate, [bytes])
    expect(whole.metrics).toMatchObject({ n_bits: 128_000, bits_left_out: 0, block_bits: 16_000, templates: 148 })
    expect(whole.statistic).toBeGreaterThan(20)
    expect(run(nonOverlappingTemplate, [bytes.subarray(0, 8000), bytes.subarray(8000)])).toEqual(whole)
    const uneven = run(nonOverlappingTemplate, [bytes.subarray(0, 1999), bytes.subarray(1999), new Uint8Array(0)])
    expect(uneven.metrics).toMatchObject({ block_bits: 15_992, bits_left_out: 64 })
    const crumbs = Array.from({ length: 160 }, (_, i) => bytes.subarray(100 * i, 100 * i + 100))
    expect(run(nonOverlappingTemplate, crumbs)).toMatchObject({
      status: 'insufficient',
      reason: 'needs at least 8 unbroken blocks of 2568 bits, given 0',
    })
  })

  it('of another length', () => {
    const found = run(nonOverlappingTemplate, [aesStream('sp800-22-b-m', 8000)], { m: 4 })
    expect(found.p_values).toHaveLength(6)
    expect(found.metrics?.template).toMatch(/^[01]{4}$/)
    for (const m of [1, 17, 2.5]) expect(() => run(nonOverlappingTemplate, [], { m })).toThrow(RangeError)
  })
})

describe('linear complexity', () => {
  it('of short sequences, all of them', () => {
    for (let bits = 1; bits <= 9; bits++) {
      const texts = Array.from({ length: 2 ** bits }, (_, value) => value.toString(2).padStart(bits, '0'))
      expect(texts.map((text) => linearComplexity(packBits(text), bits))).toEqual(texts.map(textbookComplexity))
      // 2^min(2 (n - L), 2 L - 1) sequences have complexity L > 0 (Rueppel 1986, 4.1).
      const found = texts.map((text) => linearComplexity(packBits(text), bits))
      for (let L = 1; L <= bits; L++) {
        expect(found.filter((value) => value === L)).toHaveLength(2 ** Math.min(2 * (bits - L), 2 * L - 1))
      }
    }
  })

  it('of blocks that begin at any bit', () => {
    const bytes = aesStream('sp800-22-b-complexity', 4000).map((byte, i) => (i % 7 < 3 ? 0 : byte))
    for (const bits of [1, 31, 32, 33, 64, 65, 211]) {
      const found = blockComplexities(bytes, bits, 60)
      const texts = Array.from({ length: 60 }, (_, block) => textOf(bytes).slice(bits * block, bits * (block + 1)))
      expect([...found]).toEqual(texts.map(textbookComplexity))
    }
    expect(() => blockComplexities(bytes, 32_001, 1)).toThrow(/4000 bytes do not hold 1 blocks of 32001 bits/)
  })

  it('classes are the same for odd M as by T of the standard', () => {
    for (const M of [500, 501, 1000]) {
      const mean = M / 2 + (9 + (-1) ** (M + 1)) / 36 - (M / 3 + 2 / 9) / 2 ** M
      for (let L = M / 2 - 6; L < M / 2 + 6; L++) {
        const T = (-1) ** M * (Math.floor(L) - mean) + 2 / 9
        const expected = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5].filter((limit) => T > limit).length
        expect(complexityClasses(Uint32Array.of(L), M).indexOf(1)).toBe(expected)
      }
    }
  })

  it('takes blocks inside each segment', () => {
    const bytes = streams.get('e')!
    const parts = [bytes.subarray(0, 62_500), new Uint8Array(0), bytes.subarray(62_500)]
    expect(run(linearComplexityTest, parts)).toEqual(run(linearComplexityTest, [bytes]))
    const odd = run(linearComplexityTest, [bytes.subarray(0, 62_499), bytes.subarray(62_499)])
    expect(odd.metrics).toMatchObject({ blocks: 1999, n_bits: 999_500, bits_left_out: 500 })
    const crumbs = Array.from({ length: 2100 }, () => bytes.subarray(0, 60))
    expect(run(linearComplexityTest, crumbs)).toMatchObject({
      status: 'insufficient',
      reason: 'needs at least 200 unbroken blocks of 500 bits, given 0',
    })
  })

  it('refuses parameters out of range', () => {
    for (const M of [499, 5001]) expect(() => run(linearComplexityTest, [], { M })).toThrow(RangeError)
    expect(() => run(linearComplexityTest, [], { variant: 'nist' })).toThrow(/variant/)
  })
})

describe('approximate entropy', () => {
  it('counts every segment as a circle of its own', () => {
    const bytes = aesStream('sp800-22-b-circles', 20_000)
    const counts = new Uint32Array(2048)
    addCircularPatterns(bytes.subarray(0, 7000), 11, counts)
    addCircularPatterns(bytes.subarray(7000), 11, counts)
    const found = run(approximateEntropy, [bytes.subarray(0, 7000), bytes.subarray(7000), Uint8Array.of(1, 2)])
    expect(found.p_values).toEqual([approximateEntropyStatistic(counts).p])
    expect(found.metrics).toMatchObject({ n_bits: 160_000, segments: 2 })
  })

  it('is ln 2 where a pattern says nothing of the next bit', () => {
    expect(approximateEntropyStatistic([5, 5, 5, 5, 5, 5, 5, 5]).p).toBeCloseTo(1, 12)
    expect(approximateEntropyStatistic([9, 0, 0, 0])).toMatchObject({ apEn: 0, chi2: 18 * Math.LN2 })
    for (const counts of [[1, 2], [1, 2, 3], []]) expect(() => approximateEntropyStatistic(counts)).toThrow(RangeError)
  })
})

describe('data that are not random', () => {
  const kinds: Record<string, (i: number) => number> = {
    zeros: () => 0,
    ones: () => 0xff,
    alternating: () => 0x55,
    'period 3': (i) => [0x92, 0x49, 0x24][i % 3],
    'one symbol but one': (i) => (i === 77 ? 1 : 0x41),
  }
  const lengths = [0, 1, 2, 3, 13, 2568, 8192, 125_000]
  it.each(Object.keys(kinds).flatMap((kind) => lengths.map((length) => ({ kind, length }))))(
    '$length bytes of $kind: a P-value near 0, or a status and none',
    ({ kind, length }) => {
      const bytes = Uint8Array.from({ length }, (_, i) => kinds[kind](i))
      const found = BATTERY.map((test) => run(test, [bytes]))
      const declined = found.filter(({ status }) => status !== 'ok')
      expect(declined.map(({ p_values, statistic }) => [...p_values, statistic])).toEqual(declined.map(() => [null]))
      const passed = found.filter(({ status, p_values }) => status === 'ok' && Math.min(...p_values) > 1e-5)
      // As many ones as zeros is all that the frequency test asks for.
      expect(passed.filter(({ test }) => test !== 'frequency')).toEqual([])
    },
  )

  it.each(BATTERY.map((test) => [test.name, test] as const))('%s says how many bits it needs', (_, test) => {
    const needed = test === serial ? 2 ** 19 : test.minimumBits
    const bytes = aesStream('sp800-22-b-minimum', Math.ceil(needed / 8))
    expect(run(test, [bytes]).status).toBe('ok')
    expect(run(test, [bytes.subarray(1)])).toMatchObject({
      status: 'insufficient',
      reason: `needs at least ${needed} bits, given ${8 * (bytes.length - 1)}`,
    })
    expect(run(test, [])).toMatchObject({ status: 'insufficient', p_values: [] })
  })
})

/** Null behaviour at a million bits. Rejections at .01 inside the 99.9 % binomial interval; uniform by KS. */
describe('300 ideal sequences of a million bits', () => {
  const found = new Map<string, number[]>()
  for (let r = 0; r < 300; r++) {
    const bytes = aesStream(`sp800-22-b-null-${r}`, 125_000)
    for (const { test, p_values } of BATTERY.map((one) => run(one, [bytes]))) {
      p_values.forEach((p, i) => {
        if (test === 'non_overlapping_template' && i % 37 > 0) return
        found.set(`${test} ${i}`, [...(found.get(`${test} ${i}`) ?? []), p])
      })
    }
  }

  it.each([...found])('%s', (_, p) => {
    const rejected = p.filter((value) => value < 0.01).length
    expect(binomialUpper(p.length, rejected, 0.01), `${rejected} of ${p.length}`).toBeGreaterThan(0.0005)
    expect(1 - binomialUpper(p.length, rejected + 1, 0.01), `${rejected} of ${p.length}`).toBeGreaterThan(0.0005)
    expect(kolmogorovSmirnov(p).p).toBeGreaterThan(0.001)
    expect(p.length).toBeGreaterThan(280)
  })
})
