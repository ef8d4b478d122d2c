import * as fc from 'fast-check'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ent } from '../../pipeline/tests/ent.ts'
import { madeStream } from '../fixtures/made-streams.ts'
import { aesStream } from '../fixtures/streams.ts'

type Numbers = Record<'entropy' | 'chi_square' | 'mean' | 'monte_carlo_pi' | 'serial_correlation', string>
interface Row {
  stream: string
  bytes: number
  ent: Record<'byte' | 'bit', Numbers>
}
const { rows }: { rows: Row[] } = JSON.parse(
  readFileSync(new URL('../fixtures/ent-rngtest.json', import.meta.url), 'utf8'),
)
const run = (segments: Uint8Array[], unit: 'byte' | 'bit' = 'byte') => ent.run(segments, { unit })

/** By the definitions: `values` one by one. */
function plainNumbers(values: number[], alphabet: number) {
  const n = values.length
  const sum = values.reduce((total, value) => total + value, 0)
  const squares = values.reduce((total, value) => total + value * value, 0)
  const products = values.reduce((total, value, i) => total + value * values[(i + 1) % n], 0)
  const counts = Array.from({ length: alphabet }, (_, value) => values.filter((one) => one === value).length)
  const present = counts.filter((count) => count > 0)
  return {
    entropy: present.reduce((total, count) => total - (count / n) * Math.log2(count / n), 0),
    chi: counts.reduce((total, count) => total + (count - n / alphabet) ** 2 / (n / alphabet), 0),
    mean: sum / n,
    correlation: present.length === 1 ? null : (n * products - sum * sum) / (n * squares - sum * sum),
  }
}

describe('ent', () => {
  const cases = rows.flatMap((row) => (['byte', 'bit'] as const).map((unit) => ({ ...row, unit })))
  it.each(cases)('prints what the program prints for $bytes bytes of $stream, by $unit', (row) => {
    const { metrics } = run([madeStream(row.stream, row.bytes)], row.unit)
    for (const [name, printed] of Object.entries(row.ent[row.unit])) {
      // Undefined is -100000 for the correlation, and not a number for pi.
      const isUndefined = printed.endsWith('nan') || printed === '-100000.000000'
      const found = metrics?.[name] ?? Infinity
      expect(isUndefined ? 1 / Number(found) : Math.abs(Number(found) - Number(printed)), name).toBeLessThan(0.51e-6)
    }
  })

  it('is what the definitions say, in whatever pieces it comes', () => {
    const inputs = fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 300 }), fc.array(fc.nat(300), { maxLength: 5 }))
    fc.assert(
      fc.property(inputs, fc.constantFrom('byte' as const, 'bit' as const), ([bytes, cuts], unit) => {
        const whole = run([bytes], unit)
        const values =
          unit === 'byte'
            ? [...bytes]
            : [...bytes].flatMap((byte) => [7, 6, 5, 4, 3, 2, 1, 0].map((i) => (byte >> i) & 1))
        const plain = plainNumbers(values, unit === 'byte' ? 256 : 2)
        const {
          entropy,
          chi_square,
          mean,
          serial_correlation: correlation,
        } = whole.metrics as Record<string, number | null>
        expect(entropy).toBeCloseTo(plain.entropy, 10)
        expect(chi_square).toBeCloseTo(plain.chi, 6)
        expect(mean).toBeCloseTo(plain.mean, 10)
        expect(correlation === null).toBe(plain.correlation === null)
        expect(correlation ?? 0).toBeCloseTo(plain.correlation ?? 0, 8)
        const stream = ent.open?.({ unit })
        const at = [0, ...cuts.toSorted((a, b) => a - b), bytes.length]
        at.slice(1).forEach((end, i) => stream?.add(bytes.subarray(at[i], end)))
        expect(stream?.finish()).toEqual(whole)
      }),
    )
  })

  it('takes the longest segment and says what it left out', () => {
    const bytes = aesStream('ent', 3000)
    const found = run([bytes.subarray(0, 1000), bytes.subarray(1000)])
    expect(found).toEqual({
      ...run([bytes.subarray(1000)]),
      metrics: expect.objectContaining({ bytes_left_out: 1000 }),
    })
    expect(run([]).status).toBe('insufficient')
    expect(() => ent.run([bytes], { unit: 'word' })).toThrow(/unit must be/)
  })
})
