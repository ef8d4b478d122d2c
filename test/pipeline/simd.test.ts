import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { countAgreementsByWords, countOnesByWords } from '../../pipeline/bit-words.ts'
import {
  addByteHistogram,
  countAgreements,
  countOnes,
  countTransitions,
  sumNeighbourProducts,
} from '../../pipeline/bits.ts'
import { AREA_BYTES, MOST_PRODUCTS, simdKernels, STEP_BYTES } from '../../pipeline/simd.ts'
import { blockComplexities, fillPlainComplexities } from '../../pipeline/tests/linear-complexity.ts'
import { aesStream } from '../fixtures/streams.ts'

const noise = aesStream('simd', 200_000)

/** Runs long enough for the vector kernels, of every alignment, random or nearly constant. */
const longRuns = fc
  .tuple(fc.integer({ min: 400, max: 60_000 }), fc.nat(100_000), fc.constantFrom(0xff, 0x01, 0x80, 0x00))
  .map(([length, from, mask]) => noise.map((byte) => byte & mask).subarray(from, from + length))

describe('the vector kernels', () => {
  it('run on this host', () => {
    expect(simdKernels()).not.toBeNull()
    expect(simdKernels()).toBe(simdKernels())
  })

  it('count ones as words do', () => {
    fc.assert(
      fc.property(longRuns, (bytes) => {
        expect(countOnes(bytes)).toBe(countOnesByWords(bytes))
      }),
    )
    expect(countOnes(new Uint8Array(100_001).fill(0xff))).toBe(800_008)
  })

  it('count agreements as words do, at short lags and long ones', () => {
    const lags = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.integer({ min: 1, max: 500_000 }))
    fc.assert(
      fc.property(longRuns, lags, (bytes, lag) => {
        expect(countAgreements(bytes, lag)).toBe(countAgreementsByWords(bytes, lag))
      }),
      { numRuns: 500 },
    )
    expect(countTransitions(new Uint8Array(100_000).fill(0x55))).toBe(799_999)
  })

  it('sum the products of neighbours as a plain loop does, up to the largest', () => {
    const plain = (bytes: Uint8Array) => bytes.reduce((sum, byte, i) => (i === 0 ? 0 : sum + byte * bytes[i - 1]), 0)
    fc.assert(
      fc.property(longRuns, (bytes) => {
        expect(sumNeighbourProducts(bytes)).toBe(plain(bytes))
      }),
    )
    expect(sumNeighbourProducts(new Uint8Array(100_001).fill(0xff))).toBe(100_000 * 255 ** 2)
    const simd = simdKernels()!
    simd.memory.fill(0xff, 0, MOST_PRODUCTS + 16)
    expect(simd.products(MOST_PRODUCTS)).toBe(MOST_PRODUCTS * 255 ** 2)
    expect([0, 1, 2].map((length) => sumNeighbourProducts(Uint8Array.of(7, 9).subarray(0, length)))).toEqual([0, 0, 63])
  })

  it('do not sum bytes beyond what a byte holds', () => {
    const simd = simdKernels()!
    simd.memory.fill(0xff, 0, AREA_BYTES).fill(0, AREA_BYTES, 2 * AREA_BYTES)
    expect(simd.ones(AREA_BYTES)).toBe(8 * AREA_BYTES)
    expect(simd.disagreements(AREA_BYTES - STEP_BYTES, 3, 0xf8, 0x07)).toBe(8 * (AREA_BYTES - STEP_BYTES))
  })

  it('find the linear complexities that words find', () => {
    const blocks = fc.tuple(fc.integer({ min: 1, max: 700 }), fc.integer({ min: 24, max: 200 }), fc.nat(100_000))
    fc.assert(
      fc.property(blocks, fc.constantFrom(0xff, 0x11, 0x80, 0x00), ([bits, count, from], mask) => {
        const bytes = noise.subarray(from, from + 20_000).map((byte) => byte & mask)
        const plain = new Uint32Array(count)
        fillPlainComplexities(bytes, bits, plain)
        expect(blockComplexities(bytes, bits, count)).toEqual(plain)
      }),
    )
    const plain = new Uint32Array(30)
    fillPlainComplexities(noise, 5000, plain)
    expect(blockComplexities(noise, 5000, 30)).toEqual(plain)
  })
})

it('the byte histogram by words is that by bytes', () => {
  fc.assert(
    fc.property(longRuns, (bytes) => {
      const histogram = new Uint32Array(256)
      addByteHistogram(bytes, histogram)
      const expected = new Uint32Array(256)
      for (const byte of bytes) expected[byte]++
      expect(histogram).toEqual(expected)
    }),
  )
})
