import {
  collisionGaps,
  compressedBits,
  covariance,
  directionalRuns,
  excursion,
  increases,
  medianRuns,
  periodicity,
} from './iid-statistics.ts'

/** The statistics of SP 800-90B, 5.1, in the standard's order. */
export const PERMUTATION_STATISTICS = [
  'excursion',
  'directional_runs',
  'longest_directional_run',
  'increases_decreases',
  'median_runs',
  'longest_median_run',
  'average_collision',
  'maximum_collision',
  'periodicity_1',
  'periodicity_2',
  'periodicity_8',
  'periodicity_16',
  'periodicity_32',
  'covariance_1',
  'covariance_2',
  'covariance_8',
  'covariance_16',
  'covariance_32',
  'compression',
] as const
export type PermutationStatistic = (typeof PERMUTATION_STATISTICS)[number]

/** How many shuffles gave more than the data, as much, and less. A statistic that has passed is counted no further. */
export interface PermutationCounts {
  readonly more: number
  readonly equal: number
  readonly less: number
  readonly passed: boolean
}

export interface PermutationResult {
  readonly shuffles: number
  readonly passed: boolean
  readonly counts: Readonly<Record<PermutationStatistic, PermutationCounts>>
}

/** The data are among the most extreme if no more shuffles than this reach them from a side. */
const FEW = 5

/**
 * Do the data look like their own shuffles? Each statistic passes once more than five shuffles are at least as large and
 * more than five at most as large; if 10,000 do not decide so, the data are not IID. `symbols` are numbers below k, of which 2
 * are bits. The same seed gives the same shuffles. SP 800-90B, 5.1.
 */
export function testPermutations(
  symbols: Uint8Array,
  k: number,
  options: { seed: string; shuffles: number },
): PermutationResult {
  const median = medianOf(symbols, k)
  const mean = symbols.reduce((sum, symbol) => sum + symbol, 0) / symbols.length
  const evaluate = (data: Uint8Array, wanted: (name: PermutationStatistic) => boolean) =>
    statisticsOf(data, { isBinary: k <= 2, median, mean }, wanted)
  const own = evaluate(symbols, () => true)
  const counts = Object.fromEntries(
    PERMUTATION_STATISTICS.map((name) => [name, { more: 0, equal: 0, less: 0, passed: false }]),
  ) as Record<PermutationStatistic, { more: number; equal: number; less: number; passed: boolean }>
  let undecided: readonly PermutationStatistic[] = PERMUTATION_STATISTICS
  const data = symbols.slice()
  const random = openXoshiro(options.seed)
  let shuffles = 0
  while (undecided.length > 0 && shuffles < options.shuffles) {
    shuffle(data, random)
    shuffles++
    const wanted = new Set(undecided)
    const found = evaluate(data, (name) => wanted.has(name))
    for (const name of undecided) {
      const count = counts[name]
      const [a, b] = [found[name] ?? Number.NaN, own[name] ?? Number.NaN]
      if (a > b) count.more++
      else if (a < b) count.less++
      else count.equal++
      count.passed = count.more + count.equal > FEW && count.less + count.equal > FEW
    }
    undecided = undecided.filter((name) => !counts[name].passed)
  }
  return { shuffles, passed: undecided.length === 0, counts }
}

interface Context {
  readonly isBinary: boolean
  readonly median: number
  readonly mean: number
}

/** The wanted statistics. Of bits some are taken of bytes of eight: their sums (Conversion I) or their values (II). */
export function statisticsOf(
  data: Uint8Array,
  { isBinary, median, mean }: Context,
  wanted: (name: PermutationStatistic) => boolean,
): Partial<Record<PermutationStatistic, number>> {
  const found: Partial<Record<PermutationStatistic, number>> = {}
  const any = (...names: PermutationStatistic[]) => names.some(wanted)
  let sums: Uint8Array | undefined
  const summed = () => (isBinary ? (sums ??= sumBytes(data)) : data)
  if (wanted('excursion')) found.excursion = excursion(data, mean)
  if (any('directional_runs', 'longest_directional_run')) {
    const { runs, longest } = directionalRuns(summed())
    found.directional_runs = runs
    found.longest_directional_run = longest
  }
  if (wanted('increases_decreases')) found.increases_decreases = increases(summed())
  if (any('median_runs', 'longest_median_run')) {
    const { runs, longest } = medianRuns(data, median)
    found.median_runs = runs
    found.longest_median_run = longest
  }
  if (any('average_collision', 'maximum_collision')) {
    const { average, maximum } = collisionGaps(isBinary ? packBytes(data) : data)
    found.average_collision = average
    found.maximum_collision = maximum
  }
  for (const lag of [1, 2, 8, 16, 32] as const) {
    if (wanted(`periodicity_${lag}`)) found[`periodicity_${lag}`] = periodicity(summed(), lag)
    if (wanted(`covariance_${lag}`)) found[`covariance_${lag}`] = covariance(summed(), lag)
  }
  if (wanted('compression')) found.compression = compressedBits(data)
  return found
}

/** Ones in every eight bits; those of a last part count too. */
function sumBytes(bits: Uint8Array): Uint8Array {
  const sums = new Uint8Array(Math.ceil(bits.length / 8))
  for (let i = 0; i < bits.length; i++) sums[i >> 3] += bits[i]
  return sums
}

function packBytes(bits: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8))
  for (let i = 0; i < bits.length; i++) bytes[i >> 3] |= bits[i] << (7 - (i & 7))
  return bytes
}

/** Of bits 1/2, as the standard has it; else the middle one, or the mean of the two in the middle. */
function medianOf(symbols: Uint8Array, k: number): number {
  if (k <= 2) return 0.5
  const sorted = symbols.toSorted()
  const n = sorted.length
  return (sorted[Math.floor((n - 1) / 2)] + sorted[Math.ceil((n - 1) / 2)]) / 2
}

/** Fisher and Yates. Of 32 random bits for a place among n, the bias is below n / 2^32. */
function shuffle(data: Uint8Array, random: () => number): void {
  for (let i = data.length - 1; i > 0; i--) {
    const j = Math.floor((random() / 2 ** 32) * (i + 1))
    const held = data[i]
    data[i] = data[j]
    data[j] = held
  }
}

/** xoshiro128** 1.1 (D. Blackman and S. Vigna 2018), seeded from the text by splitmix-like mixing of its characters. */
function openXoshiro(seed: string): () => number {
  let mixed = 0x9e3779b9
  const next = () => {
    mixed = (mixed + 0x9e3779b9) | 0
    let z = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
    z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35)
    return (z ^ (z >>> 16)) >>> 0
  }
  for (let i = 0; i < seed.length; i++) {
    mixed = Math.imul(mixed ^ seed.charCodeAt(i), 0x01000193)
    next()
  }
  let [a, b, c, d] = [next(), next(), next(), next() | 1]
  return () => {
    const product = Math.imul(b, 5)
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0
    const t = b << 9
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = (d << 11) | (d >>> 21)
    return result
  }
}
