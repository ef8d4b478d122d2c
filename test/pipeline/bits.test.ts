import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addByteHistogram,
  addCircularPatterns,
  countAgreements,
  countCircularPairs,
  countOnes,
  countTransitions,
} from '../../pipeline/bits.ts'

/** Bits as numbers, most significant first. */
function bitsOf(bytes: Uint8Array): number[] {
  return Array.from(bytes).flatMap((byte) => Array.from({ length: 8 }, (_, i) => (byte >> (7 - i)) & 1))
}

/** Byte runs of every alignment: a view that begins 0 to 7 bytes into its buffer, with other bytes on both sides. */
const byteRuns = fc
  .tuple(fc.uint8Array({ maxLength: 200, size: 'max' }), fc.nat(7), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  .map(([bytes, offset, noise]) => {
    const memory = new Uint8Array(bytes.length + 16)
    memory.set(noise.subarray(0, 8))
    memory.set(noise.subarray(8), bytes.length + 8)
    memory.set(bytes, offset)
    return memory.subarray(offset, offset + bytes.length)
  })

describe('bit kernels equal a count bit by bit', () => {
  it('ones', () => {
    fc.assert(
      fc.property(byteRuns, (bytes) => {
        expect(countOnes(bytes)).toBe(bitsOf(bytes).reduce((sum, bit) => sum + bit, 0))
      }),
    )
  })

  it('agreements at any lag', () => {
    fc.assert(
      fc.property(byteRuns, fc.integer({ min: 1, max: 700 }), (bytes, lag) => {
        const bits = bitsOf(bytes)
        expect(countAgreements(bytes, lag)).toBe(bits.filter((bit, i) => bit === bits[i + lag]).length)
      }),
      { numRuns: 2000 },
    )
    expect(() => countAgreements(new Uint8Array(4), 0)).toThrow(RangeError)
  })

  it('transitions', () => {
    fc.assert(
      fc.property(byteRuns, (bytes) => {
        const bits = bitsOf(bytes)
        expect(countTransitions(bytes)).toBe(bits.slice(1).filter((bit, i) => bit !== bits[i]).length)
      }),
    )
  })

  it('circular pairs, and circular patterns of any length', () => {
    fc.assert(
      fc.property(byteRuns, fc.integer({ min: 1, max: 16 }), (bytes, m) => {
        const bits = bitsOf(bytes)
        const naive = (length: number) => {
          const counts = new Uint32Array(1 << length)
          bits.forEach((_, at) => {
            let pattern = 0
            for (let k = 0; k < length; k++) pattern = pattern * 2 + bits[(at + k) % bits.length]
            counts[pattern]++
          })
          return counts
        }
        const counts = new Uint32Array(1 << m)
        addCircularPatterns(bytes, m, counts)
        expect(Buffer.compare(Buffer.from(counts.buffer), Buffer.from(naive(m).buffer))).toBe(0)
        expect(countCircularPairs(bytes)).toEqual([...naive(2)])
      }),
    )
    expect(() => addCircularPatterns(new Uint8Array(4), 17, new Uint32Array(1 << 17))).toThrow(RangeError)
  })

  it('byte histogram, added to what is there', () => {
    const histogram = new Uint32Array(256)
    addByteHistogram(Uint8Array.of(0, 7, 7, 255), histogram)
    addByteHistogram(Uint8Array.of(7), histogram)
    expect([histogram[0], histogram[7], histogram[255], histogram[1]]).toEqual([1, 3, 1, 0])
    expect(() => addByteHistogram(Uint8Array.of(1), new Uint32Array(2))).toThrow(RangeError)
  })
})

describe('bit order', () => {
  it('is most significant first', () => {
    // 0x01 0x80 reads 0000 0001 1000 0000: two changes. Least significant first it would be 1000 0000 0000 0001.
    expect(countTransitions(Uint8Array.of(0x01, 0x80))).toBe(2)
    expect(countTransitions(Uint8Array.of(0x01, 0x00))).toBe(2)
    expect(countTransitions(Uint8Array.of(0x80, 0x00))).toBe(1)
    expect(countTransitions(Uint8Array.of(0x0f, 0xf0))).toBe(2)
    expect(countTransitions(Uint8Array.of(0xf0, 0x0f))).toBe(2)
    expect(countTransitions(Uint8Array.of(0x0f, 0x0f))).toBe(3)
    expect(countTransitions(Uint8Array.of(0x80, 0x80))).toBe(3)
  })
})
