import { erfc } from '../special.ts'
import { notApplicableResult, okResult, type TestDefinition } from './definition.ts'
import { countExcursions, cyclesNeeded, EXCURSIONS_MINIMUM_BITS } from './random-excursions.ts'
import { insufficientSegment, longestSegment } from './sp800-22.ts'

/** x of the P-values, in their order. */
const STATES = [-9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9]

/** P-value of `visits` to state x in J cycles: erfc(|visits - J| / sqrt(2 J (4 |x| - 2))). SP 800-22 rev 1a, 2.15.4. */
export function excursionVisitsPValue(visits: number, cycles: number, x: number): number {
  return erfc(Math.abs(visits - cycles) / Math.sqrt(2 * cycles * (4 * Math.abs(x) - 2)))
}

/**
 * Random excursions variant test: is each of the states near 0 visited as often as the walk returns to 0? `p_values` is
 * for x = -9, ..., -1, 1, ..., 9; the statistic is the number of cycles J.
 */
export const randomExcursionsVariant: TestDefinition = {
  name: 'random_excursions_variant',
  title: 'Random excursions variant',
  formula: 'xi(x) = visits to x in J cycles; p = erfc(|xi - J| / sqrt(2 J (4|x| - 2)))',
  source: 'SP 800-22 rev 1a, 2.15',
  minimumBits: EXCURSIONS_MINIMUM_BITS,
  defaults: {},
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const { bytes, bits, metrics } = longestSegment(segments)
    if (bits < EXCURSIONS_MINIMUM_BITS) {
      return insufficientSegment(randomExcursionsVariant, params, EXCURSIONS_MINIMUM_BITS, bits, metrics.bits_left_out)
    }
    const { cycles, visits } = countExcursions(bytes, bits)
    if (cycles < cyclesNeeded(bits)) {
      const reason = `needs at least ${cyclesNeeded(bits)} cycles J of the walk, given ${cycles}`
      return notApplicableResult(randomExcursionsVariant, params, reason, { ...metrics, J: cycles })
    }
    const counts = STATES.map((x) => visits[x + 9])
    return okResult(randomExcursionsVariant, params, {
      p_values: STATES.map((x, i) => excursionVisitsPValue(counts[i], cycles, x)),
      statistic: cycles,
      metrics: { ...metrics, J: cycles, x: STATES, visits: counts },
    })
  },
}
