import { sidak } from '../multiple-testing.ts'
import type { NetworkTests } from '../network.ts'
import { normalTwoSided } from '../special.ts'
import { arrowLink } from './arrow-link.ts'
import { drawWalk } from './figure-walks.ts'
import { formatCount, formatFixed, formatInteger, formatP, formatTime } from './format.ts'
import { type Html, html } from './html.ts'
import { column, csvLink, figure, recordsLink, type Section, table, unbroken } from './parts.ts'
import { FLAG_ALPHA, type NetworkPart, type ReportData, type TracePoint } from './report-data.ts'

const WIDE = { width: 880, height: 320 }
const NARROW = { width: 344, height: 260 }

export function networkSection(report: ReportData): Section {
  return { id: 'network', title: 'The network', body: networkBody(report) }
}

function networkBody({ network, from, to }: ReportData): Html {
  const { sums, tests, control } = network
  if (sums === null || tests === null)
    return html`<p>No second of this window has a trial, so there is nothing to add up.</p>`
  const reason = control.trace ? null : control.reason
  const controlAt = new Map(control.trace?.map((point) => [point.end, point]))
  const per = { 1: 'second', 60: 'minute' }[network.bucket_seconds ?? 0] ?? 'hour'
  const download = (kind: 'pair' | 'netvar') =>
    csvLink(
      `walk-${kind}`,
      `the walk of ${kind === 'pair' ? 'the pair products' : 'netvar'}, ${per} by ${per}`,
      ['end', 'seconds', kind, `${kind}_95`, `control_${kind}`],
      network.trace.map((point) => {
        const { end, seconds, [kind]: value, [`${kind}_95` as const]: edge } = point
        return [end, seconds, value, edge, controlAt.get(end)?.[kind] ?? null]
      }),
    )
  const draw = (kind: 'pair' | 'netvar') => ({
    wide: drawWalk(network, kind, { from, to, ...WIDE }),
    narrow: drawWalk(network, kind, { from, to, ...NARROW }),
  })
  const at = sums.max_abs_stouffer_at === null ? null : new Date(sums.max_abs_stouffer_at * 1000).toISOString()
  return html` <p>
      A trial is what one device sent in one second: n bits with k ones, z = (2k − n) / √n. Under the null, independent
      fair bits, z has mean 0 and variance 1. These ${formatInteger(sums.seconds)} seconds have
      ${formatCount(sums.sum_n)} trials of ${formatInteger(network.devices)} devices; ${formatCount(network.missing)}
      device-seconds are
      missing${sums.failed > 0 && html` and ${formatCount(sums.failed)} were left out, because all their bits were equal`}.
    </p>
    ${testsTable(tests, control.trace ? control.tests : null)}
    ${figure(
      draw('pair'),
      html`<strong>Pair products.</strong> The sum of the products of all pairs of scores, second by second. Upward
        means that devices deviate together. Under the null it wanders about 0 and at any one moment is within the
        dashed lines with probability .95. The lines are pointwise: many null walks cross them at some time, so the end
        of the walk is the test and a crossing on the way is
        not.${reason !== null && html` There is no control: ${reason}`}`,
      html`${download('pair')} ${bothWalks(network)}`,
    )}
    ${figure(
      draw('netvar'),
      html`<strong>Netvar.</strong> The sum of S² − 1, S being Stouffer’s Z of a second’s devices: the walk that the
        Global Consciousness Project plots. Under the null it is below the dashed line at any one moment with
        probability .95. It ends at χ² less its degrees of
        freedom${tests.netvar.status === 'ok' && html`, ${formatFixed(tests.netvar.chi2, 2)} − ${formatInteger(tests.netvar.df)}`}.
        ${at !== null && largestStouffer(sums.max_abs_stouffer ?? 0, sums.seconds, at)}`,
      download('netvar'),
    )}`
}

function bothWalks({ trace, control }: NetworkPart): Html {
  const numbers = (of: (point: TracePoint) => number) => Float64Array.from(trace, of)
  const controls = (kind: 'pair' | 'netvar') => Float64Array.from(control.trace ?? [], (point) => point[kind])
  return arrowLink('walks', 'both walks', {
    end: trace.map(({ end }) => end),
    seconds: numbers(({ seconds }) => seconds),
    pair: numbers(({ pair }) => pair),
    pair_95: numbers(({ pair_95: edge }) => edge),
    netvar: numbers(({ netvar }) => netvar),
    netvar_95: numbers(({ netvar_95: edge }) => edge),
    // It has a trial where the network has one.
    ...(control.trace?.length === trace.length && {
      control_pair: controls('pair'),
      control_netvar: controls('netvar'),
    }),
  })
}

/** S is nearly standard normal, so the largest of many seconds has a P of its own. */
function largestStouffer(most: number, seconds: number, at: string): Html {
  return html`The largest |S| of a second is ${formatFixed(most, 2)}, at ${unbroken(formatTime(at))}: all devices
  together deviate most then. Under the null S is nearly standard normal; P of a |S| so large in any of the
  ${formatInteger(seconds)} seconds is ${formatP(sidak(normalTwoSided(most), seconds))}.`
}

function testsTable(tests: NetworkTests, control: NetworkTests | null): Html {
  const { netvar } = tests
  const chi2 =
    netvar.status === 'ok' &&
    html` <span class="unit">χ² = ${formatFixed(netvar.chi2, 2)}, df ${formatInteger(netvar.df)}</span>`
  const asked: [keyof NetworkTests, Html | string][] = [
    ['pair', 'Do devices deviate together?'],
    ['netvar', html`The same, and each device’s own variance?${chi2}`],
    ['devvar', 'Is the variance of the scores 1?'],
    ['covar', 'Do variances rise and fall together?'],
  ]
  return table({
    id: 'network-tests',
    caption: html`Four tests of the whole network. Below ${FLAG_ALPHA} by Holm a test is named at the top of this page.`,
    columns: [
      { head: 'Test' },
      { head: 'Asks' },
      { head: 'z', numeric: true },
      column('network_p'),
      ...(control === null ? [] : [column('control_p')]),
    ],
    rows: asked.map(([name, asks]) => [
      name,
      asks,
      formatFixed(numbersOf(tests, name).z, 2),
      formatP(numbersOf(tests, name).p),
      ...(control === null ? [] : [formatP(numbersOf(control, name).p)]),
    ]),
    download: recordsLink(
      'network-tests',
      'the tests',
      asked.map(([test]) => {
        const ours = numbersOf(tests, test)
        const theirs = control && numbersOf(control, test)
        return {
          test,
          ...ours,
          control_chi2: theirs?.chi2 ?? null,
          control_z: theirs?.z ?? null,
          control_p: theirs?.p ?? null,
        }
      }),
    ),
    statistics: ['pair', 'netvar', 'devvar', 'covar'],
  })
}

function numbersOf(tests: NetworkTests, name: keyof NetworkTests) {
  const test = tests[name]
  if (test.status !== 'ok') return { status: test.status, chi2: null, df: null, z: null, p: null }
  const { status, z } = test
  if ('chi2' in test) return { status, chi2: test.chi2, df: test.df, z, p: Math.min(1, test.p_two) }
  return { status, chi2: null, df: null, z, p: test.p }
}
