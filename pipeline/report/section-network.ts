import type { NetworkTests } from '../network.ts'
import { drawWalk } from './figure-walks.ts'
import { formatCount, formatFixed, formatInteger, formatP, formatTime } from './format.ts'
import { type Html, html } from './html.ts'
import { csvLink, figure, type Section, table } from './parts.ts'
import { FLAG_ALPHA, type ReportData } from './report-data.ts'

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
  const per = { 1: 'second', 60: 'minute' }[network.bucket_seconds ?? 0] ?? 'hour'
  const download = csvLink(
    'network',
    `both walks, ${per} by ${per}`,
    ['end', 'seconds', 'netvar', 'netvar_95', 'pair', 'pair_95', 'control_netvar', 'control_pair'],
    network.trace.map((point) => {
      const of = control.trace?.find(({ end }) => end === point.end)
      const { end, seconds, netvar, netvar_95: netvarEdge, pair, pair_95: pairEdge } = point
      return [end, seconds, netvar, netvarEdge, pair, pairEdge, of?.netvar ?? null, of?.pair ?? null]
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
      download,
    )}
    ${figure(
      draw('netvar'),
      html`<strong>Netvar.</strong> The sum of S² − 1, S being Stouffer’s Z of a second’s devices: the walk that the
        Global Consciousness Project plots. Under the null it is below the dashed line at any one moment with
        probability .95. Its end is chi-square of ${formatInteger(sums.seconds)} degrees of freedom less as
        many.${at !== null && html` The largest |S| is ${formatFixed(sums.max_abs_stouffer, 2)}, at ${formatTime(at)}.`}`,
      html``,
    )}`
}

function testsTable(tests: NetworkTests, control: NetworkTests | null): Html {
  const { netvar, pair, devvar, covar } = tests
  const number = (test: { status: string; z?: number }) => (test.status === 'ok' ? formatFixed(test.z, 2) : '–')
  const p = (value: NetworkTests | null, of: keyof NetworkTests) => {
    const test = value?.[of]
    if (!test || test.status !== 'ok') return '–'
    return formatP('p_two' in test ? Math.min(1, test.p_two) : test.p)
  }
  const row = (name: keyof NetworkTests, asks: string, z: string) => [
    name,
    asks,
    z,
    p(tests, name),
    ...(control === null ? [] : [p(control, name)]),
  ]
  return table(
    'network-tests',
    html`Four tests of the whole network. Each z is standard normal under the null (netvar’s, a chi-square, nearly); P
    is two-sided. Below ${FLAG_ALPHA} by Holm it is named at the top of this
    page.${control !== null && html` The control is a network of pseudo-random trials in the same seconds (Philox): it shows what chance looks like.`}`,
    [
      { head: 'Test' },
      { head: 'Asks' },
      { head: 'z', numeric: true },
      { head: 'P', numeric: true },
      ...(control === null ? [] : [{ head: 'P of the control', numeric: true }]),
    ],
    [
      row('pair', 'Do devices deviate together?', number(pair)),
      row('netvar', 'The same, and each device’s own variance', number(netvar)),
      row('devvar', 'Is the variance of the scores 1?', number(devvar)),
      row('covar', 'Do variances rise and fall together?', number(covar)),
    ],
  )
}
