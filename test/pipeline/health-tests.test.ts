import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { findAlarms } from '../../pipeline/alarms.ts'
import { addHealthBytes, openHealthTests, proportionCutoff, repetitionCutoff } from '../../pipeline/health-tests.ts'
import { runSuite, runTests } from '../../pipeline/tests/registry.ts'
import { aesStream } from '../fixtures/streams.ts'

const ALPHA = 2 ** -20
const claimOf = (bitsPerSymbol: number, minEntropy: number) => ({ bitsPerSymbol, minEntropy, alpha: ALPHA })
const one = (name: string, segments: Uint8Array[], params = {}) =>
  runTests([name], segments, { params: { [name]: params } })[0]

/** The two tests of SP 800-90B, 4.4, as they stand there, on a whole list of symbols. */
function plainCounts(symbols: number[], window: number, cutoffs: { repetition: number; proportion: number }) {
  let longest = 0
  let largest = 0
  const runs: number[] = []
  const proportions: number[] = []
  for (let i = 0, run = 0; i < symbols.length; i++) {
    run = i > 0 && symbols[i] === symbols[i - 1] ? run + 1 : 1
    longest = Math.max(longest, run)
    if (run === cutoffs.repetition) runs.push(i + 1)
  }
  for (let from = 0; from < symbols.length; from += window) {
    const places = symbols
      .slice(from, from + window)
      .flatMap((symbol, i) => (symbol === symbols[from] ? [from + i + 1] : []))
    largest = Math.max(largest, places.length)
    if (places.length >= cutoffs.proportion) proportions.push(places[cutoffs.proportion - 1])
  }
  return {
    longest,
    largest,
    repetitionAlarms: runs.length,
    proportionAlarms: proportions.length,
    firstRepetitionAlarm: runs[0] ?? null,
    firstProportionAlarm: proportions[0] ?? null,
    windows: Math.floor(symbols.length / window),
  }
}

describe('the cut-offs', () => {
  it.each([
    [8, 1, 21, 311],
    [8, 4, 6, 62],
    [8, 8, 4, 13],
    [1, 1, 21, 589],
  ])('of %i-bit symbols with %d bits of min-entropy are those of the standard: %i and %i', (bits, entropy, c, a) => {
    expect(repetitionCutoff(claimOf(bits, entropy))).toBe(c)
    expect(proportionCutoff(claimOf(bits, entropy))).toBe(a)
  })

  it('are refused for claims that cannot be', () => {
    for (const claim of [claimOf(0, 1), claimOf(9, 1), claimOf(8, 0), claimOf(1, 2), { ...claimOf(8, 1), alpha: 0 }]) {
      expect(() => openHealthTests(claim)).toThrow(RangeError)
    }
    expect(() => one('repetition_count', [], { min_entropy: '1' })).toThrow(/min_entropy must be a number/)
  })
})

describe('the counts', () => {
  it('are those of the definitions, in whatever pieces the source is read', () => {
    const sources = fc.uint8Array({ maxLength: 1500 }).chain((bytes) =>
      fc.constantFrom(
        bytes,
        bytes.map((byte) => byte & 1),
        bytes.map((byte) => (byte < 240 ? 7 : byte)),
      ),
    )
    fc.assert(
      fc.property(sources, fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 700 }), (bytes, width, piece) => {
        const state = openHealthTests(claimOf(width, width))
        for (let at = 0; at < bytes.length; at += piece) addHealthBytes(state, bytes.subarray(at, at + piece))
        const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
        const symbols = Array.from({ length: Math.floor(bits.length / width) }, (_, i) =>
          Number.parseInt(bits.slice(i * width, (i + 1) * width), 2),
        )
        const cutoffs = { repetition: state.repetitionCutoff, proportion: state.proportionCutoff }
        expect(state.counts).toEqual({
          symbols: symbols.length,
          ...plainCounts(symbols, width === 1 ? 1024 : 512, cutoffs),
        })
      }),
    )
  })

  it('do not go on over a break', () => {
    const stuck = new Uint8Array(20)
    expect(one('repetition_count', [stuck, stuck, new Uint8Array(1)])).toMatchObject({
      statistic: 20,
      metrics: { alarms: 0 },
    })
    expect(one('repetition_count', [new Uint8Array(40)])).toMatchObject({
      statistic: 40,
      metrics: { alarms: 1, first_alarm: 21 },
    })
    expect(one('repetition_count', [new Uint8Array(20)])).toMatchObject({ status: 'insufficient' })
    expect(one('adaptive_proportion', [new Uint8Array(1024)])).toMatchObject({
      statistic: 512,
      metrics: { alarms: 2, windows: 2 },
    })
  })

  it('of a source with just the claimed entropy alarm as seldom as alpha says', () => {
    // One byte in two is 0, the others all differ: 1 bit of min-entropy a byte.
    const bytes = aesStream('health', 4_000_000).map((byte, i, all) => (all[(i + 1) % all.length] & 1 ? 0 : byte || 1))
    // 2,000,000 runs of zeros, 7,800 windows.
    expect(one('repetition_count', [bytes]).metrics?.alarms).toBeLessThan(8)
    expect(one('adaptive_proportion', [bytes])).toMatchObject({ metrics: { alarms: 0, windows: 7812 } })
    const worse = bytes.map((byte, i) => (i % 3 === 0 ? 0 : byte))
    expect(Number(one('adaptive_proportion', [worse]).metrics?.alarms)).toBeGreaterThan(1000)
  })
})

describe('alarms', () => {
  const alarmsOf = (bytes: Uint8Array) => findAlarms(runSuite('chunk', [bytes]))

  it('are not raised by a good device, however short its samples', () => {
    for (const [size, times] of [
      [32, 20_000],
      [256, 3000],
      [1280, 500],
      [9600, 100],
    ]) {
      const bytes = aesStream(`alarms ${size}`, size * times)
      for (let i = 0; i < times; i++) expect(alarmsOf(bytes.subarray(i * size, (i + 1) * size))).toEqual([])
    }
  })

  it.each([
    ['a stuck byte', 32, () => new Uint8Array(32).fill(0xa5)],
    ['all zeros', 32, () => new Uint8Array(32)],
    ['a stuck bit', 640, () => aesStream('stuck bit', 640).map((byte) => byte | 0x80)],
    [
      'a bias of 5 %',
      9600,
      () => aesStream('bias', 9600).map((byte, i, all) => byte | (all[(i + 7) % 9600] & all[(i + 3) % 9600] & 0x33)),
    ],
  ])('are raised by %s within %i bytes', (_what, size, make) => {
    const bytes = make()
    expect(bytes).toHaveLength(size)
    expect(alarmsOf(bytes)).not.toEqual([])
  })

  it('say which test, and why', () => {
    expect(alarmsOf(new Uint8Array(32))).toContainEqual({
      test: 'repetition_count',
      p: null,
      reason: 'count 32 of one symbol, cut-off 21',
    })
    const [frequency] = alarmsOf(new Uint8Array(32))
    expect(frequency).toMatchObject({ test: 'frequency', p: expect.closeTo(2 ** -255, 80) })
  })
})
