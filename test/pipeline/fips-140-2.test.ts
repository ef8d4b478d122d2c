import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { fips1402 } from '../../pipeline/tests/fips-140-2.ts'
import { madeStream } from '../fixtures/made-streams.ts'
import { aesStream } from '../fixtures/streams.ts'

interface Row {
  stream: string
  bytes: number
  rngtest: Record<string, number>
}
const { rows }: { rows: Row[] } = JSON.parse(
  readFileSync(new URL('../fixtures/ent-rngtest.json', import.meta.url), 'utf8'),
)
const run = (segments: Uint8Array[], tally = 'rngtest') => fips1402.run(segments, { tally })

/** Which tests a block fails, bit by bit; the word before it decides the continuous run. */
function plainFailures(word: Uint8Array, block: Uint8Array): string[] {
  const bits = [...block].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((i) => (byte >> i) & 1))
  const ones = bits.filter((bit) => bit === 1).length
  const lengths: [number, number][] = []
  for (const bit of bits) {
    const last = lengths.at(-1)
    if (last?.[0] === bit) last[1]++
    else lengths.push([bit, 1])
  }
  const limits = [
    [2315, 2685],
    [1114, 1386],
    [527, 723],
    [240, 384],
    [103, 209],
    [103, 209],
  ]
  const badRuns = [0, 1].some((bit) =>
    limits.some(([least, most], i) => {
      const count = lengths.filter(([of, n]) => of === bit && Math.min(n, 6) === i + 1).length
      return count < least || count > most
    }),
  )
  const nibbles = [...block].flatMap((byte) => [byte >> 4, byte & 15])
  const squares = Array.from({ length: 16 }, (_, n) => nibbles.filter((one) => one === n).length ** 2)
  const poker = (16 / 5000) * squares.reduce((sum, square) => sum + square, 0) - 5000
  const words = Array.from({ length: 626 }, (_, i) => Buffer.concat([word, block]).subarray(4 * i, 4 * i + 4))
  return [
    ...(ones > 9725 && ones < 10_275 ? [] : ['monobit']),
    ...(poker > 2.16 && poker < 46.17 ? [] : ['poker']),
    ...(badRuns ? ['runs'] : []),
    ...(lengths.some(([, n]) => n >= 26) ? ['long_run'] : []),
    ...(words.some((one, i) => i > 0 && one.equals(words[i - 1])) ? ['continuous_run'] : []),
  ]
}

describe('fips_140_2', () => {
  it.each(rows)('finds in $bytes bytes of $stream what rngtest finds', ({ stream, bytes, rngtest }) => {
    const none = { status: 'insufficient', p_values: [], statistic: null }
    const some = { status: 'ok', statistic: rngtest.failures, metrics: rngtest }
    expect(run([madeStream(stream, bytes)])).toMatchObject(rngtest.blocks === 0 ? none : some)
  })

  it('with the standard tally finds what a count bit by bit finds', () => {
    const masks = fc.constantFrom(0xff, 0x7f, 0xf7)
    fc.assert(
      fc.property(masks, fc.nat(90), fc.nat(2400), fc.nat(120), (mask, seed, at, stuck) => {
        const bytes = aesStream(`fips ${seed}`, 4 + 2 * 2500).map((byte) => byte & mask)
        bytes.fill(0xff, at, at + stuck)
        const blocks = [4, 2504].map((from) =>
          plainFailures(bytes.slice(from - 4, from), bytes.slice(from, from + 2500)),
        )
        const of = (name: string) => blocks.filter((failed) => failed.includes(name)).length
        expect(run([bytes], 'standard').metrics).toEqual({
          blocks: 2,
          failures: blocks.filter((failed) => failed.length > 0).length,
          ...Object.fromEntries(
            ['monobit', 'poker', 'runs', 'long_run', 'continuous_run'].map((name) => [name, of(name)]),
          ),
        })
      }),
      { numRuns: 60 },
    )
  })

  it('gives the same in whatever pieces the stream comes', () => {
    const bytes = madeStream('biased', 20_000)
    for (const size of [1, 3, 2499, 2500, 2501, 7000]) {
      const stream = fips1402.open?.({ tally: 'rngtest' })
      for (let at = 0; at < bytes.length; at += size) stream?.add(bytes.subarray(at, at + size))
      expect(stream?.finish()).toEqual(run([bytes]))
    }
  })

  it('says what it left out, and takes no other tally', () => {
    const bytes = aesStream('fips', 6000)
    expect(run([bytes.subarray(0, 1000), bytes.subarray(1000)]).metrics).toMatchObject({
      blocks: 1,
      bytes_left_out: 1000,
    })
    expect(() => run([bytes], 'mine')).toThrow(/tally must be/)
  })
})
