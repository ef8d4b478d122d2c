import { drawHeatMap, drawLags, HEAT_EDGES, MARKED_Q } from './figure-pairs.ts'
import { formatFixed, formatInteger, formatMinute, formatP } from './format.ts'
import { type Html, html, nameHtml } from './html.ts'
import { column, csvLink, figure, flag, recordsLink, type Section, table, unbroken } from './parts.ts'
import type { PairsPart, ReportData } from './report-data.ts'
import { deviceName } from './verdict.ts'

/** Cells of more devices are too small to see. */
const MOST_DEVICES = 64
const MOST_ROWS = 15
const MOST_DOWNLOADED = 5000

export function pairsSection(report: ReportData): Section {
  return { id: 'pairs', title: 'Pairs', body: pairsBody(report) }
}

type Names = ReadonlyMap<string, string>

function pairsBody({ pairs, devices }: ReportData): Html {
  const names = new Map(devices.map((device) => [device.id, deviceName(device)]))
  if (pairs.tested === 0) return html`<p>No two devices have 30 seconds in common, so no pair can be tested.</p>`
  const byP = pairs.rows.toSorted((a, b) => (a.p ?? 1) - (b.p ?? 1))
  const isWindow = pairs.kind === 'window'
  return html` <p>
      ${
        isWindow
          ? html`${formatInteger(pairs.tested)} pairs, over the seconds that both devices have a trial in.`
          : html`${formatInteger(pairs.tested)} tests of a pair in an hour. ${pairs.reason} Shown are single hours of
            those pairs that have rows: where there are many devices, those that pass a screen or are watched.`
      }
      What all devices share shows in the network long before it shows in any pair.
    </p>
    ${
      isWindow &&
      heatMap(
        pairs,
        devices.filter(({ seconds_covered: covered }) => covered > 0),
        names,
      )
    }
    ${table({
      id: 'pair-table',
      caption: html`The ${isWindow ? 'pairs' : 'pairs and hours'} with the smallest P.`,
      columns: [
        { head: 'Pair' },
        ...(isWindow ? [] : [{ head: 'Hour' }]),
        { head: 'Seconds', numeric: true },
        column('pair_r'),
        column('pair_p'),
        column('pair_q'),
        column('product_z'),
        column('product_q'),
        ...(isWindow ? [] : [column('best_lag')]),
      ],
      rows: byP
        .slice(0, MOST_ROWS)
        .map((pair) => [
          pairName(pair, names),
          ...(isWindow ? [] : [unbroken(formatMinute(pair.hour ?? null))]),
          formatInteger(pair.seconds),
          formatFixed(pair.r, 4),
          formatP(pair.p),
          html`<span class="nowrap"
            >${pair.q !== null && pair.q <= MARKED_Q && flag(`q ≤ ${MARKED_Q}`)} ${formatP(pair.q)}</span
          >`,
          formatFixed(pair.product_z, 2),
          formatP(pair.product_q),
          ...(isWindow ? [] : [formatFixed(pair.best_lag ?? null, 0)]),
        ]),
      download: download(byP, isWindow ? 'pairs' : 'pairs and hours'),
    })}
    ${pairs.lags.length > 0 && lagView(pairs, names)}`
}

function pairName({ a, b }: { a: string; b: string }, names: Names): Html {
  return html`<span class="name two">${nameHtml(names.get(a) ?? a)} × ${nameHtml(names.get(b) ?? b)}</span>`
}

function download(rows: PairsPart['rows'], kind: string): Html {
  const listed = rows.slice(0, MOST_DOWNLOADED)
  const what =
    listed.length < rows.length ? `the ${formatInteger(listed.length)} ${kind} with the smallest P` : `all ${kind}`
  return recordsLink(
    'pairs',
    what,
    listed.map((pair) => ({
      device_a_id: pair.a,
      device_b_id: pair.b,
      hour: pair.hour ?? null,
      seconds: pair.seconds,
      r: pair.r,
      p: pair.p,
      q: pair.q,
      product_z: pair.product_z,
      product_q: pair.product_q,
      best_lag: pair.best_lag ?? null,
    })),
  )
}

function heatMap(pairs: PairsPart, devices: ReportData['devices'], names: Names): Html {
  if (devices.length > MOST_DEVICES) {
    return html`<p>
      A heat map of ${formatInteger(devices.length)} devices would be too fine to see: the table has the strongest
      pairs.
    </p>`
  }
  const shown = devices.map(({ id }) => ({ id, name: names.get(id) ?? id }))
  const classes = [
    `below −${-HEAT_EDGES[0]}`,
    '',
    '',
    '',
    `within ±${HEAT_EDGES[4]}`,
    '',
    '',
    '',
    `above ${HEAT_EDGES.at(-1)}`,
  ]
  const swatches = classes.map(
    (label, i) => html`<li class="heat-${i}">${label !== '' && html`<span>${label}</span>`}</li>`,
  )
  return figure(
    { wide: drawHeatMap(pairs.rows, shown, 880), narrow: drawHeatMap(pairs.rows, shown, 344) },
    html`<strong>Heat map.</strong> Correlation of each pair in standard errors, r √T: blue moves against, orange moves
      with each other. × marks q ≤ ${MARKED_Q}. Under the null one cell in twenty is beyond ±2, one in 16,000 beyond ±4.
      <ul class="scale" aria-label="Colours, in standard errors">
        ${swatches}
      </ul>`,
    csvLink(
      'heat-map',
      'the cells of the heat map',
      ['device_a_id', 'device_b_id', 'seconds', 'r', 'standard_errors', 'q'],
      pairs.rows.map(({ a, b, seconds, r, q }) => [a, b, seconds, r, r === null ? null : r * Math.sqrt(seconds), q]),
    ),
  )
}

function lagView(pairs: PairsPart, names: Names): Html {
  return html`<h3>Lags</h3>
    <p>
      Pearson’s r of one device’s scores with the other’s L seconds later, in standard errors, r √T, for the pairs with
      the smallest P. Under the null each bar is nearly standard normal, and all are within the dashed lines with
      probability .95. A long bar beside 0 means that a clock is wrong by so much, or that one device follows the other.
      The pairs were chosen by their bar at 0, so that one is as long as any pair’s. P counts all lags that were looked
      at, q all pairs.
    </p>
    <figure>
      <div class="lags">
        ${pairs.lags.map(
          (profile, i) =>
            html`<div>
              ${drawLags(profile, i)}
              <p>
                ${pairName(profile, names)}best lag ${formatFixed(profile.best_lag, 0)} s, P ${formatP(profile.p_sidak)}
                for all lags, q ${formatP(profile.q)}
              </p>
            </div>`,
        )}
      </div>
      <figcaption>
        ${csvLink(
          'lags',
          'all lags',
          ['device_a_id', 'device_b_id', 'lag_seconds', 'standard_errors'],
          pairs.lags.flatMap(({ a, b, lags, z }) => lags.map((lag, i) => [a, b, lag, z[i]])),
        )}
      </figcaption>
    </figure>`
}
