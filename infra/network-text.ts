import type { PairCoherence } from '../pipeline/pair-coherence.ts'
import type { describeFile, describeSums } from './network-file.ts'
import { formatP, wrap } from './output.ts'
import { formatTable } from './table.ts'

type Described = ReturnType<typeof describeSums>

export interface NetworkDocument extends ReturnType<typeof describeFile>, Described {
  readonly normalization: string
  readonly control?: Described & { readonly seed?: string }
  readonly pairs?: readonly PairCoherence[]
  readonly pairs_tested?: number
  readonly cumulative?: string
}

/** What each asks, and of which tail its P-value is. */
const QUESTIONS = {
  netvar: 'do all together stray beyond chance? upper tail',
  pair: 'do devices agree with each other? two-sided',
  devvar: 'is their own variance off? two-sided',
  covar: 'do their variances change together? two-sided',
} as const

const MOST_PAIRS_SHOWN = 20

export function describeNetworkText(found: NetworkDocument): string {
  return [
    wrap(describeInput(found)),
    '',
    describeTests(found),
    '',
    wrap(describeLargest(found)),
    ...describeNormalization(found),
    ...describePairs(found),
    ...describeCumulative(found),
    ...found.notes.map((note) => wrap(note)),
  ].join('\n')
}

function describeInput(found: NetworkDocument): string {
  const { seconds, devices, missing, failed, duplicates, bits, from, to } = found
  const share = missing === 0 ? '' : ` (${((100 * missing) / (missing + failed + found.sums.sum_n)).toFixed(2)} %)`
  return [
    `${found.file}: ${count(seconds, 'second')} from ${formatSecond(from)} to ${formatSecond(to)}, ${count(devices, 'device')}, ` +
      `${bits} bits a trial; sha256 ${found.sha256}`,
    `${count(missing, 'trial')} missing${share}, ${failed} failed (all bits equal), ${count(duplicates, 'duplicate row')}`,
  ].join('\n')
}

function describeTests(found: NetworkDocument): string {
  const { control } = found
  const rows = (Object.keys(QUESTIONS) as (keyof typeof QUESTIONS)[]).map((name) => {
    const test = found[name]
    const said = test.status === 'ok' ? QUESTIONS[name] : `insufficient: ${test.reason}`
    return [name, ...numbersOf(found, name), ...(control ? numbersOf(control, name) : []), said]
  })
  const head = ['test', 'z', 'P', ...(control ? ['control z', 'control P'] : []), 'asks']
  return formatTable(head, rows, control ? 'lrrrrl' : 'lrrl')
}

function numbersOf(described: Described, name: keyof typeof QUESTIONS): string[] {
  const p = name === 'netvar' ? described.netvar.p_upper : described[name].p
  return [described[name].z?.toFixed(3) ?? '–', formatP(p)]
}

function describeLargest({
  netvar,
  max_abs_stouffer: most,
  max_abs_stouffer_at: at,
  control,
}: NetworkDocument): string {
  const largest = most === null || at === null ? '' : ` Largest |S|: ${most.toFixed(3)}, at ${formatSecond(at)}.`
  const seeded = control ? ` Control: pseudo-random, seed ${JSON.stringify(control.seed)}.` : ''
  return `netvar is chi-square ${netvar.chi2.toFixed(3)} with ${netvar.df} degrees of freedom.${largest}${seeded}`
}

function describeNormalization({ normalization }: NetworkDocument): string[] {
  if (normalization === 'theoretical') return []
  const said =
    "Scores by each device's own mean and variance over this file: this takes two degrees of freedom a device, which the " +
    'tests do not know of; P-values are approximate, and devvar says nothing.'
  return [wrap(said)]
}

function describePairs({ pairs, pairs_tested: tested }: NetworkDocument): string[] {
  if (!pairs) return []
  const rows = pairs
    .flatMap(({ tests: { product, pearson }, ...pair }) => (product ? [{ ...pair, product, pearson }] : []))
    .toSorted((a, b) => (a.product.q_value ?? 1) - (b.product.q_value ?? 1) || a.product.p - b.product.p)
    .slice(0, MOST_PAIRS_SHOWN)
    .map(({ device_a_id: a, device_b_id: b, correlation_metrics: { n_seconds }, product, pearson }) => [
      a,
      b,
      n_seconds,
      product.stat.toFixed(3),
      formatP(product.p),
      formatP(product.q_value),
      formatP(pearson && 'p' in pearson ? pearson.q_value : null),
    ])
  const screened = pairs.length < (tested ?? 0) ? `; ${pairs.length} passed the screen` : ''
  const title = `Pairs, the smallest q of ${count(tested ?? 0, 'pair')} tested (Benjamini and Hochberg)${screened}:`
  if (rows.length === 0) return ['', title, '  none']
  return [
    '',
    title,
    formatTable(['device', 'and', 'seconds', 'product z', 'P', 'q', 'q of Pearson r'], rows, 'llrrrrr'),
  ]
}

function describeCumulative({ cumulative }: NetworkDocument): string[] {
  if (cumulative === undefined) return []
  const said =
    `Cumulative deviations written to ${cumulative}. Their envelope is pointwise: 38 % of null walks of 600 seconds cross a ` +
    'pointwise one-sided 95 % envelope at some time. The last value is the test.'
  return ['', wrap(said)]
}

function count(n: number, noun: string): string {
  return `${n.toLocaleString('en-US')} ${noun}${n === 1 ? '' : 's'}`
}

/** A time, if it can be meant as one: in 1973 or later. */
function formatSecond(second: number): string {
  if (second < 1e8) return String(second)
  return new Date(second * 1000).toISOString().replace('.000', '')
}
