import { drawHistogram, drawQuantiles } from './figure-scores.ts'
import { formatFixed, formatInteger, formatP, formatPercent } from './format.ts'
import { type Html, html, nameHtml } from './html.ts'
import { codeName, type Column, column, csvLink, figure, flag, recordsLink, type Section, table } from './parts.ts'
import type { PassRow, ReportData } from './report-data.ts'
import { deviceName } from './verdict.ts'

const MOST_BY_DEVICE = 20
const PASS_COLUMNS: readonly Column[] = [
  column('passed'),
  column('allowed'),
  column('share'),
  column('uniformity'),
  column('no_answer'),
  { ...column('bins'), numeric: false },
]

export function testsSection(report: ReportData): Section {
  return { id: 'tests', title: 'Chunk tests', body: testsBody(report) }
}

function testsBody({ tests, devices }: ReportData): Html {
  if (tests.rows.length === 0) return html`<p>No verified chunk begins in this window.</p>`
  const nameOf = new Map(devices.map((device) => [device.id, deviceName(device)]))
  const outside = tests.by_device
    .filter(({ proportion }) => proportion !== null && !proportion.within_exact_interval)
    .toSorted((a, b) => (a.p_failures ?? 1) - (b.p_failures ?? 1))
  const judged = tests.by_device_of
  return html` <p>
      Every chunk is tested device by device when it is read back. ${formatInteger(tests.chunks)} chunks begin in this
      window. Under the null a P-value is uniform between 0 and 1, and 99 of 100 are .01 or more.
    </p>
    ${
      tests.p_values > 0 &&
      html`<div class="pair">
        ${figure(
          { wide: drawHistogram(tests, 'wide'), narrow: drawHistogram(tests, 'narrow') },
          html`<strong>Histogram</strong> of ${formatInteger(tests.p_values)} P-values. Uniform ones would make level
            bars; a bin of independent ones is between the dashed lines with probability .99. P-values of one chunk are
            made of the same bits, so bars stray a little further.`,
          csvLink(
            'p-histogram',
            'the bins of the histogram',
            ['from', 'to', 'count'],
            tests.histogram.map((count, i) => [i / tests.histogram.length, (i + 1) / tests.histogram.length, count]),
          ),
        )}
        ${figure(
          { wide: drawQuantiles(tests, 'wide'), narrow: drawQuantiles(tests, 'narrow') },
          html`<strong>QQ plot</strong> of the same, as powers of ten. Under the null the points follow the line; each
            is in the shade with probability .95, were they independent. Too many small P-values rise above it at the
            right.`,
          csvLink(
            'p-quantiles',
            'the points of the QQ plot',
            ['expected', 'observed', 'low_95', 'high_95'],
            tests.qq.map(({ expected, observed, low, high }) => [expected, observed, low, high]),
          ),
        )}
      </div>`
    }
    ${table({
      id: 'pass-table',
      caption: 'How many chunks pass each test at .01, over all devices, as in the final analysis of SP 800-22 (4.2).',
      columns: [{ head: 'Test' }, ...PASS_COLUMNS],
      rows: tests.rows.map((row) => [testName(row), ...passCells(row)]),
      download: recordsLink('pass-table', 'all tests', tests.rows.map(passRecord)),
    })}
    ${table({
      id: 'pass-by-device',
      caption: html`Devices whose passes are outside what is
      allowed${outside.length > MOST_BY_DEVICE && `, the ${MOST_BY_DEVICE} least likely of ${outside.length}`}. Of
      ${formatInteger(judged)} rows of ideal devices about ${formatFixed(judged * 0.0027, judged < 400 ? 1 : 0)} are
      outside at most. The columns are those of the table above.`,
      columns: [{ head: 'Device' }, { head: 'Test' }, ...PASS_COLUMNS.map(({ head, numeric }) => ({ head, numeric }))],
      rows:
        outside.length === 0
          ? [['none', '', '', '', '', '', '', '']]
          : outside
              .slice(0, MOST_BY_DEVICE)
              .map((row) => [
                html`<span class="name">${nameHtml(nameOf.get(row.device_id) ?? row.device_id)}</span>`,
                testName(row),
                ...passCells(row),
              ]),
      download: recordsLink(
        'pass-table-by-device',
        tests.by_device.length < judged
          ? `the ${formatInteger(tests.by_device.length)} least likely of ${formatInteger(judged)} rows by device`
          : 'all rows by device',
        tests.by_device.map((row) => ({ device_id: row.device_id, ...passRecord(row) })),
      ),
    })}`
}

function testName({ test, index, of }: PassRow): Html {
  return html`${codeName(test)}${of > 1 && `\u00a0${index}`}`
}

const P_T_LEAST = 0.0001

function passCells({ proportion, results, p_t: pT, bins }: PassRow) {
  const none = results.insufficient + results.not_applicable
  if (proportion === null) return ['–', '–', '–', '–', formatInteger(none), '']
  const {
    passed,
    tested,
    exact_interval: [least, most],
    within_exact_interval: isWithin,
  } = proportion
  return [
    html`<span class="nowrap"
      >${!isWithin && flag('outside the allowed range')} ${formatInteger(passed)} of ${formatInteger(tested)}</span
    >`,
    html`<span class="nowrap">${formatInteger(least)} – ${formatInteger(most)}</span>`,
    formatPercent(passed / tested),
    html`<span class="nowrap">${pT !== null && pT < P_T_LEAST && flag('not uniform')} ${formatP(pT)}</span>`,
    formatInteger(none),
    binsSvg(bins),
  ]
}

/** Ten bars. */
function binsSvg(bins: readonly number[]): Html {
  const most = Math.max(1, ...bins)
  const bars = bins.map((count, i) => {
    const height = Math.round((180 * count) / most) / 10
    return html`<rect x="${9 * i}" y="${(18 - height).toFixed(1)}" width="8" height="${height}" />`
  })
  return html`<svg class="bins" role="img" aria-label="${bins.join(', ')}" viewBox="0 0 90 18" width="90" height="18">
    ${bars}
  </svg>`
}

function passRecord({ test, index, of, results, proportion, p_failures, p_t, ks, bins }: PassRow) {
  return {
    test,
    p_value: index,
    of,
    ...results,
    tested: proportion?.tested ?? 0,
    passed: proportion?.passed ?? 0,
    least_allowed: proportion?.exact_interval[0] ?? null,
    most_allowed: proportion?.exact_interval[1] ?? null,
    p_failures,
    p_t,
    ks_d: ks?.d ?? null,
    ks_p: ks?.p ?? null,
    ...Object.fromEntries(bins.map((count, i) => [`bin_${i + 1}`, count])),
  }
}
