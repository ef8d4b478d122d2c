import { expect, test } from 'vitest'
import { biased, clockJitter, osGenerator, sharedPair } from '../../infra/sources.ts'

// Bounds on chance, in standard deviations: a false alarm in fewer than one of 10^10 runs, skewed counts included.
const SIGMAS = 8

function onesOf(bytes: Uint8Array): number {
  let ones = 0
  for (const byte of bytes) for (let bit = 0; bit < 8; bit++) ones += (byte >> bit) & 1
  return ones
}

/** How many standard deviations `hits` of `trials` lie from probability `p`. */
function sigmasOff(hits: number, trials: number, p: number): number {
  const off = Math.abs(hits - trials * p)
  return off === 0 ? 0 : off / Math.sqrt(trials * p * (1 - p))
}

/** How far the byte values are from equal shares, in standard deviations (chi-square by Wilson and Hilferty), too even included. */
function byteSigmas(bytes: Uint8Array): number {
  const counts = new Float64Array(256)
  for (const byte of bytes) counts[byte]++
  const share = bytes.length / 256
  const chiSquare = counts.reduce((sum, count) => sum + (count - share) ** 2 / share, 0)
  const spread = 2 / (9 * 255)
  return Math.abs((chiSquare / 255) ** (1 / 3) - (1 - spread)) / Math.sqrt(spread)
}

/** The worse of the bits and the bytes. */
function sigmasFromUniform(bytes: Uint8Array): number {
  return Math.max(sigmasOff(onesOf(bytes), 8 * bytes.length, 0.5), byteSigmas(bytes))
}

test('the OS generator is uniform and never repeats itself', () => {
  const source = osGenerator()
  expect(sigmasFromUniform(source.read(200_000))).toBeLessThan(SIGMAS)
  expect(source.read(16)).not.toEqual(source.read(16))
  expect(source.read(0)).toHaveLength(0)
  expect(() => source.read(-1)).toThrow(RangeError)
})

test.each([0.51, 0.3, 0.5, 1 / 65536])('the biased source has ones with probability %f', (p) => {
  const bytes = biased(p).read(500_000)
  expect(sigmasOff(onesOf(bytes), 8 * bytes.length, Math.round(p * 65536) / 65536)).toBeLessThan(SIGMAS)
})

test('the bias is the same at each of the eight bits', () => {
  const bytes = biased(0.51).read(500_000)
  for (let bit = 0; bit < 8; bit++) {
    const ones = bytes.reduce((sum, byte) => sum + ((byte >> bit) & 1), 0)
    expect(sigmasOff(ones, bytes.length, 33423 / 65536)).toBeLessThan(SIGMAS)
  }
})

test('the biased source knows its extremes and refuses what is no probability', () => {
  expect(biased(0).read(3)).toEqual(Uint8Array.of(0, 0, 0))
  expect(biased(1).read(3)).toEqual(Uint8Array.of(255, 255, 255))
  for (const p of [-0.1, 1.1, Number.NaN]) expect(() => biased(p)).toThrow(RangeError)
})

test('timing jitter is neither constant nor uniform, and comes fast enough', () => {
  const source = clockJitter()
  const start = performance.now()
  const bytes = source.read(20_000)
  expect(performance.now() - start).toBeLessThan(1000)
  expect(new Set(bytes).size).toBeGreaterThan(3)
  expect(byteSigmas(bytes)).toBeGreaterThan(5 * SIGMAS)
})

test('a pair agrees in the shared fraction of bytes, and by chance elsewhere', () => {
  for (const shared of [15 / 16, 0.25, 0]) {
    const [a, b] = sharedPair(shared)
    const [first, second] = [a, b].map((source) => source.readAt(1_763_670_000, 0, 200_000))
    const agreeing = first.reduce((sum, byte, i) => sum + (byte === second[i] ? 1 : 0), 0)
    expect(sigmasOff(agreeing, first.length, shared + (1 - shared) / 256)).toBeLessThan(SIGMAS)
  }
  const [a, b] = sharedPair(1)
  expect(a.readAt(5, 0, 1000)).toEqual(b.readAt(5, 0, 1000))
})

test('each of a pair is uniform alone, within a second and across seconds', () => {
  for (const source of sharedPair()) {
    expect(sigmasFromUniform(source.readAt(1_763_670_000, 0, 200_000))).toBeLessThan(SIGMAS)
    const pieces = Array.from({ length: 800 }, (_, second) => source.readAt(1_763_670_000 + second, 0, 256))
    expect(sigmasFromUniform(new Uint8Array(Buffer.concat(pieces)))).toBeLessThan(SIGMAS)
  }
})

test('what a pair gives depends on the place and the second, not on how it is read', () => {
  const [a] = sharedPair()
  const whole = a.readAt(7, 0, 100)
  const pieces = [
    [0, 1],
    [1, 16],
    [17, 30],
    [47, 53],
  ].map(([offset, length]) => a.readAt(7, offset, length))
  expect(new Uint8Array(Buffer.concat(pieces))).toEqual(whole)
  expect(a.readAt(8, 0, 100)).not.toEqual(whole)
  expect(sharedPair()[0].readAt(7, 0, 100)).not.toEqual(whole)
  expect(() => a.readAt(7.5, 0, 1)).toThrow(RangeError)
  expect(() => sharedPair(1.5)).toThrow(RangeError)
})

test('reading a pair live never gives the same bytes twice', () => {
  const [a] = sharedPair()
  const reads = Array.from({ length: 100 }, () => Buffer.from(a.read(16)).toString('hex'))
  expect(new Set(reads).size).toBe(100)
})
