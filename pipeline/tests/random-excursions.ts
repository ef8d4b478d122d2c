import { igamc } from '../special.ts'
import { notApplicableResult, okResult, type TestDefinition } from './definition.ts'
import { insufficientSegment, longestSegment, type Variant, variantParam } from './sp800-22.ts'

export const EXCURSIONS_MINIMUM_BITS = 1_000_000
/** x of the P-values, in their order. */
const STATES = [-4, -3, -2, -1, 1, 2, 3, 4]
/** Largest |x| of the variant test. */
const FARTHEST = 9
/** Numbers of visits of a cycle are told apart below this; the last class is "this or more". */
const VISIT_CLASSES = 6

const BYTE_SUM = Int8Array.from({ length: 256 }, (_, byte) => {
  let sum = -8
  for (let rest = byte; rest > 0; rest >>>= 1) sum += 2 * (rest & 1)
  return sum
})

export interface Excursions {
  /** J, the number of cycles from 0 back to 0; a walk that does not end at 0 is led back there, as the standard has it. */
  readonly cycles: number
  /** Visits to -9, ..., 9 (the start does not count), at x + 9. */
  readonly visits: Float64Array
  /** Number of cycles with k = 0, ..., 4, 5 or more visits to the i-th of -4, ..., -1, 1, ..., 4: at 6 i + k. */
  readonly cyclesByVisits: Float64Array
}

/** The random walk of the first `bits` bits of `bytes` (1 up, 0 down), cut at its zeros. SP 800-22 rev 1a, 2.14.4. */
export function countExcursions(bytes: Uint8Array, bits: number): Excursions {
  const visits = new Float64Array(2 * FARTHEST + 1)
  const cyclesByVisits = new Float64Array(STATES.length * VISIT_CLASSES)
  /** Visits of this cycle; from 5 on they need not be told apart. */
  const inCycle = new Int32Array(2 * FARTHEST + 1)
  let cycles = 0
  let sum = 0
  const closeCycle = () => {
    cycles++
    for (let i = 0; i < STATES.length; i++) {
      cyclesByVisits[VISIT_CLASSES * i + Math.min(inCycle[STATES[i] + FARTHEST], VISIT_CLASSES - 1)]++
    }
    for (let x = -FARTHEST; x <= FARTHEST; x++) visits[x + FARTHEST] += inCycle[x + FARTHEST]
    inCycle.fill(0)
  }
  const end = Math.ceil(bits / 8)
  for (let i = 0; i < end; i++) {
    const byte = bytes[i]
    // Mostly the walk is far out, and no bit of the byte can bring it to a state that is counted.
    if (sum > FARTHEST + 8 || sum < -FARTHEST - 8) {
      if (8 * i + 8 <= bits) {
        sum += BYTE_SUM[byte]
        continue
      }
    }
    const last = Math.max(0, 8 * i + 8 - bits)
    for (let bit = 7; bit >= last; bit--) {
      sum += 2 * ((byte >>> bit) & 1) - 1
      if (sum >= -FARTHEST && sum <= FARTHEST) {
        inCycle[sum + FARTHEST]++
        if (sum === 0) closeCycle()
      }
    }
  }
  if (sum !== 0) closeCycle()
  return { cycles, visits, cyclesByVisits }
}

/** Fewest cycles J for n bits, below which the chi-square is no good: max(500, 0.005 sqrt n). SP 800-22 rev 1a, 3.14. */
export function cyclesNeeded(n: number): number {
  return Math.max(500, 0.005 * Math.sqrt(n))
}

/** STS 2.1.2's probabilities for |x| = 3 and 4, of 10 and 11 digits; those for 1 and 2 are exact. */
const NIST212_PROBABILITIES = new Map([
  [3, [0.8333333333, 0.02777777778, 0.02314814815, 0.01929012346, 0.01607510288, 0.0803755143]],
  [4, [0.875, 0.015625, 0.013671875, 0.01196289063, 0.0104675293, 0.0732727051]],
])

/**
 * Probabilities that a cycle visits state x 0, ..., 4, 5 or more times. Source: SP 800-22 rev 1a, 3.14. The rounding of
 * 'nist212' shows in the ninth digit of a P-value.
 */
export function excursionProbabilities(x: number, variant: Variant): readonly number[] {
  const rounded = variant === 'nist212' && NIST212_PROBABILITIES.get(Math.abs(x))
  if (rounded) return rounded
  const back = 1 / (2 * Math.abs(x))
  const stay = 1 - back
  return [stay, ...[0, 1, 2, 3].map((k) => back ** 2 * stay ** k), back * stay ** 4]
}

/** chi2 of the numbers of cycles with 0, ..., 5 or more visits to x, and its P-value. SP 800-22 rev 1a, 2.14.4 (8). */
export function excursionStatistic(counts: ArrayLike<number>, pi: readonly number[]): { chi2: number; p: number } {
  let cycles = 0
  for (let k = 0; k < VISIT_CLASSES; k++) cycles += counts[k]
  const chi2 = pi.reduce((sum, share, k) => sum + (counts[k] - cycles * share) ** 2 / (cycles * share), 0)
  return { chi2, p: igamc((VISIT_CLASSES - 1) / 2, chi2 / 2) }
}

/**
 * Random excursions test: does a cycle of the walk visit each of the states near 0 as often as it should? `p_values` is
 * for x = -4, ..., -1, 1, ..., 4; the statistic is the number of cycles J.
 */
export const randomExcursions: TestDefinition = {
  name: 'random_excursions',
  title: 'Random excursions',
  formula:
    'counts of cycles by visits to x, 0 to 5 or more; chi2 = sum (count - J pi)^2 / (J pi); p = igamc(5/2, chi2/2)',
  source: "SP 800-22 rev 1a, 2.14 and 3.14; nist212: STS 2.1.2's probabilities, of 10 and 11 digits",
  notes:
    'STS 2.1.2 has the probabilities in 10 and 11 digits, which moves P by up to 6e-9; `nist212` takes ' +
    'them. STS prints 0.0 where there are too few cycles, and gives up above n/100 cycles; here the first ' +
    'is `not_applicable` and the second is computed.',
  minimumBits: EXCURSIONS_MINIMUM_BITS,
  defaults: { variant: 'corrected' },
  suites: { 'sp800-22': {} },
  run(segments, params) {
    const variant = variantParam(params)
    const { bytes, bits, metrics } = longestSegment(segments)
    if (bits < EXCURSIONS_MINIMUM_BITS) {
      return insufficientSegment(randomExcursions, params, EXCURSIONS_MINIMUM_BITS, bits, metrics.bits_left_out)
    }
    const { cycles, cyclesByVisits } = countExcursions(bytes, bits)
    if (cycles < cyclesNeeded(bits)) {
      const reason = `needs at least ${cyclesNeeded(bits)} cycles J of the walk, given ${cycles}`
      return notApplicableResult(randomExcursions, params, reason, { ...metrics, J: cycles })
    }
    const found = STATES.map((x, i) =>
      excursionStatistic(
        cyclesByVisits.subarray(VISIT_CLASSES * i, VISIT_CLASSES * (i + 1)),
        excursionProbabilities(x, variant),
      ),
    )
    return okResult(randomExcursions, params, {
      p_values: found.map(({ p }) => p),
      statistic: cycles,
      metrics: { ...metrics, J: cycles, x: STATES, chi2: found.map(({ chi2 }) => chi2) },
    })
  },
}
