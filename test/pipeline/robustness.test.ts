import { describe, expect, it } from 'vitest'
import { findTest, testNames } from '../../pipeline/tests/registry.ts'
import { aesStream } from '../fixtures/streams.ts'

const SIZE = 130_000
const periodic = (period: number) => Uint8Array.from({ length: SIZE }, (_, i) => (37 * (i % period)) & 0xff)

/** What a source that is broken, or hardly begun, gives. */
const INPUTS: Record<string, Uint8Array[]> = {
  'no segment': [],
  'empty segments': [new Uint8Array(0), new Uint8Array(0)],
  'one byte': [Uint8Array.of(0x5a)],
  'one byte of zeros': [Uint8Array.of(0)],
  'a hundred segments of a byte': Array.from({ length: 100 }, (_, i) => Uint8Array.of(i)),
  zeros: [new Uint8Array(SIZE)],
  ones: [new Uint8Array(SIZE).fill(0xff)],
  alternating: [new Uint8Array(SIZE).fill(0x55)],
  'one symbol': [new Uint8Array(SIZE).fill(0x41)],
  'two symbols': [aesStream('two symbols', SIZE).map((byte) => 0x30 | (byte & 1))],
  'period 2': [periodic(2)],
  'period 3': [periodic(3)],
  'period 256': [periodic(256)],
  'one flipped bit': [new Uint8Array(SIZE).with(SIZE >> 1, 1)],
  'zeros, then ones': [new Uint8Array(SIZE).fill(0xff, SIZE >> 1)],
  text: [new TextEncoder().encode('To be, or not to be: that is the question. '.repeat(3000))],
}
/** 10,000 shuffles of what fails all of them take long; whether they are right is not the question here. */
const QUICK = { sp800_90b_permutation: { shuffles: 100 } } as Record<string, object>

describe.each(Object.keys(INPUTS))('%s', (input) => {
  it.each(testNames)('is answered by %s in numbers, or with a reason', (name) => {
    const test = findTest(name)
    const result = test.run(INPUTS[input], { ...test.defaults, ...QUICK[name] })
    // JSON has no NaN and no Infinity: null would stand there.
    expect(JSON.parse(JSON.stringify(result))).toEqual(result)
    expect(['ok', 'insufficient', 'not_applicable']).toContain(result.status)
    const isDeclined = result.status !== 'ok'
    expect(isDeclined).toBe(result.reason !== undefined)
    expect(isDeclined && (result.p_values.length > 0 || result.statistic !== null)).toBe(false)
    for (const p of result.p_values) expect(p >= 0 && p <= 1).toBe(true)
  })
})

it('what is broken beyond doubt passes nothing that could have seen it', () => {
  const broken = [
    'zeros',
    'ones',
    'alternating',
    'one symbol',
    'period 2',
    'period 3',
    'one flipped bit',
    'zeros, then ones',
  ]
  for (const input of broken) {
    const least = testNames
      .map(findTest)
      .filter((test) => 'sp800-22' in test.suites)
      .flatMap((test) => test.run(INPUTS[input], { ...test.defaults, ...test.suites['sp800-22'] }).p_values)
    expect(Math.min(...least), input).toBeLessThan(1e-100)
  }
})
