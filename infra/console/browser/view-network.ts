import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useMemo } from 'preact/hooks'
import { csvUrl, toCsv } from '../../../pipeline/report/csv.ts'
import { drawWalk } from '../../../pipeline/report/figure-walks.ts'
import { formatFixed, formatInteger, formatP } from '../../../pipeline/report/format.ts'
import type { NetworkPart, TracePoint } from '../../../pipeline/report/report-data.ts'
import { chiSquareUpper, normalTwoSided } from '../../../pipeline/special.ts'
import type { DeviationRow, NetworkRange, NetworkView } from '../model.ts'

const HOUR = 3600
/** Quantile of the standard normal at .975: network_deviation() draws its envelope by it. */
const NORMAL_975 = 1.959963984540054

/** How far back, and by buckets of how many seconds. */
export const RANGES = {
  '6 hours': { seconds: 6 * HOUR, bucket: 60 },
  '24 hours': { seconds: 24 * HOUR, bucket: 60 },
  '7 days': { seconds: 168 * HOUR, bucket: HOUR },
  '30 days': { seconds: 720 * HOUR, bucket: HOUR },
} as const
export type RangeName = keyof typeof RANGES

/** From a whole bucket up to now. */
export function rangeOf(chosen: RangeName, now: Date): NetworkRange {
  const { seconds, bucket } = RANGES[chosen]
  const to = Math.ceil(now.getTime() / 1000 / bucket) * bucket
  const iso = (second: number) => new Date(second * 1000).toISOString()
  return { from: iso(to - seconds), to: iso(to), bucketSeconds: bucket }
}

/** One sentence on where the network is. It is read every few seconds, so it calls nothing rare or not. */
export function networkVerdict({ walk }: NetworkView): string {
  const last = walk.at(-1)
  if (last === undefined) return 'No second of this time has a trial yet.'
  const { z, p } = pairTest(last)
  return `After ${formatInteger(last.seconds)} seconds the pair products are at ${unbroken(`z = ${formatFixed(z, 2)}`)}, ${unbroken(`P ${relation(p)}`)}.`
}

/** The end of the walk is a test, two-sided; the envelope there is its standard deviation times the normal's quantile. */
function pairTest({ pair_deviation: value, pair_pointwise_95: edge }: DeviationRow): { z: number; p: number } {
  const z = edge > 0 ? (NORMAL_975 * value) / edge : 0
  return { z, p: normalTwoSided(z) }
}

function unbroken(text: string): string {
  return text.replaceAll(' ', '\u00a0')
}

/** `= .021`, or as a very small one is written. */
function relation(p: number): string {
  const text = formatP(p)
  return /^[<>]/.test(text) ? text : `= ${text}`
}

export function NetworkWalks(given: {
  view: NetworkView
  chosen: RangeName
  choose: (name: RangeName) => void
}): VNode {
  const { view, chosen, choose } = given
  const last = view.walk.at(-1)
  // Drawn anew only where an answer differs: the last point has the sum of all.
  const drawn = useMemo(
    () => drawBoth(view),
    [chosen, view.range.to, view.walk.length, last?.bucket_end, last?.pair_deviation],
  )
  return html`
    <fieldset class="tools choice">
      <legend>Time</legend>
      ${Object.keys(RANGES).map(
        (range) =>
          html`<label
            ><input
              type="radio"
              name="range"
              checked=${range === chosen}
              onChange=${() => choose(range as RangeName)}
            />${range}</label
          >`,
      )}
    </fieldset>
    ${
      last === undefined
        ? html`<p>
            The network’s rows come with the first verified chunk, and once two devices sent in the same second.
          </p>`
        : html`
            <${Figure} drawn=${drawn.pair}>
              <strong>Pair products</strong>${pairText(last)}
              <a class="download" download="network.csv" href=${csvOf(view)}>Download both walks (CSV)</a>
            </${Figure}>
            <${Figure} drawn=${drawn.netvar}><strong>Netvar</strong>${netvarText(last)}</${Figure}>
          `
    }
  `
}

function pairText(last: DeviationRow): string {
  const { pair_deviation: value, pair_pointwise_95: edge } = last
  const { z, p } = pairTest(last)
  return (
    ` end at ${formatFixed(value, 1)}; the envelope there is ± ${formatFixed(edge, 1)}. Upward means that devices deviate together. ` +
    `The end is one look, z = ${formatFixed(z, 2)} with two-sided P ${relation(p)}. This page looks again every five seconds: whoever ` +
    'waits for a small P sees one. An event that was declared before, and the report of a day, are looked at once. The dashed lines ' +
    'are pointwise: at any one moment an ideal network is within them with probability .95, and many cross them at some time. '
  )
}

function netvarText({ netvar_deviation: value, netvar_pointwise_95: edge, seconds }: DeviationRow): string {
  const p = chiSquareUpper(value + seconds, seconds)
  return (
    ` ends at ${formatFixed(value, 1)}; the envelope there is ${formatFixed(edge, 1)}. The sum of S² − 1, S being Stouffer’s Z of a ` +
    'second’s devices; an ideal network is below the dashed line at any one moment with probability .95. ' +
    `One look at the end: upper P ${relation(p)}.`
  )
}

interface Drawing {
  readonly wide: string
  readonly narrow: string
}

function Figure({ drawn, children }: { drawn: Drawing; children?: unknown }): VNode {
  // Markup of the report's own drawing, which holds numbers and times only.
  return html`<figure>
    <div class="wide" dangerouslySetInnerHTML=${{ __html: drawn.wide }}></div>
    <div class="narrow" dangerouslySetInnerHTML=${{ __html: drawn.narrow }}></div>
    <figcaption>${children}</figcaption>
  </figure>`
}

function drawBoth(view: NetworkView): Record<'pair' | 'netvar', Drawing> {
  const network = partOf(view)
  const draw = (kind: 'pair' | 'netvar', width: number, height: number) =>
    view.walk.length === 0 ? '' : drawWalk(network, kind, { ...view.range, width, height }).html
  const both = (kind: 'pair' | 'netvar') => ({ wide: draw(kind, 880, 320), narrow: draw(kind, 344, 260) })
  return { pair: both('pair'), netvar: both('netvar') }
}

function partOf({ walk, range }: NetworkView): Pick<NetworkPart, 'trace' | 'control' | 'bucket_seconds'> {
  const trace = walk.map((row): TracePoint => ({
    end: new Date(row.bucket_end).toISOString(),
    seconds: row.seconds,
    netvar: row.netvar_deviation,
    netvar_95: row.netvar_pointwise_95,
    pair: row.pair_deviation,
    pair_95: row.pair_pointwise_95,
  }))
  return { trace, control: { reason: 'The report has it.' }, bucket_seconds: range.bucketSeconds }
}

function csvOf({ walk }: NetworkView): string {
  const header = ['bucket_end', 'seconds', 'netvar', 'netvar_95', 'pair', 'pair_95']
  const rows = walk.map((row) => [
    row.bucket_end,
    row.seconds,
    row.netvar_deviation,
    row.netvar_pointwise_95,
    row.pair_deviation,
    row.pair_pointwise_95,
  ])
  return csvUrl(toCsv(header, rows))
}
