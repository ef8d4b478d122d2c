import { type DeviceScore, drawScores, MARKED_FROM, markedScores, MOST_SCORE, scorePoints } from './figure-scores.ts'
import { formatCount, formatFixed, formatInteger, formatP, formatMinute, formatPercent } from './format.ts'
import { type Html, html, nameHtml } from './html.ts'
import { column, csvLink, figure, flag, recordsLink, type Section, table } from './parts.ts'
import type { DevicePart, ReportData } from './report-data.ts'
import { deviceName } from './verdict.ts'

/** More rows nobody reads; the download has them all. */
const MOST_ROWS = 100
/** Devices that a figure's caption names. */
const MOST_NAMED = 6
const LONGEST_NAME = 24

export function devicesSection(report: ReportData): Section {
  return { id: 'devices', title: 'Devices', body: devicesBody(report) }
}

function devicesBody({ devices, findings }: ReportData): Html {
  if (devices.length === 0) {
    return html`<p>No device is registered. <code>coherence ingest</code> sends the first bytes.</p>`
  }
  const found = new Set(findings.flatMap(({ device_id: id }) => id ?? []))
  const rows = shownDevices(devices, found)
  const left = devices.length - rows.length
  return html` ${scoreFigures(devices)}
  ${table({
    id: 'device-table',
    caption: html`${left > 0 ? html`${rows.length} of ${formatInteger(devices.length)} devices: those with a finding (▲), then those furthest off. The download has them all.` : html`Every device; ▲ marks those with a finding.`}
    Times are UTC; when a device was last seen is kept to the minute.`,
    columns: [
      { head: 'Device' },
      { head: 'Last seen' },
      { head: 'Samples', numeric: true },
      column('rate'),
      column('covered'),
      column('gaps'),
      column('device_z'),
      column('device_p'),
      column('entropy'),
      column('chunk_tests'),
    ],
    rows: rows.map((device) => deviceRow(device, found.has(device.id))),
    download: recordsLink('devices', `all ${formatInteger(devices.length)} devices`, devices.map(deviceRecord)),
    statistics: ['byte_chi_square'],
  })}`
}

function scoreFigures(devices: readonly DevicePart[]): Html | null {
  const scoresOf = (score: (device: DevicePart) => number | null | undefined) =>
    devices.flatMap((device): DeviceScore[] => {
      const z = score(device)
      return z === null || z === undefined ? [] : [{ id: device.id, name: deviceName(device), z }]
    })
  const ones = scoresOf(({ z }) => z)
  const entropies = scoresOf(({ entropy }) => entropy?.z)
  if (ones.length === 0) return null
  return html`<div class="pair">
    ${scoreFigure(
      { id: 'device-z', title: 'Share of ones of each device', scores: ones },
      html`<strong>Share of ones.</strong> z of all bits of a device against a fair coin, devices in order. Under the
        null z is standard normal, and the points follow the line.`,
    )}
    ${
      entropies.length > 0 &&
      scoreFigure(
        { id: 'device-entropy', title: 'Entropy of each device', scores: entropies },
        html`<strong>Entropy.</strong> Plug-in Shannon entropy of the bytes of each hour, in standard deviations off
          what ideal bytes of the same number would show. Under the null that is nearly standard normal, and the points
          follow the line. Low is bad.`,
      )
    }
  </div>`
}

function scoreFigure({ id, title, scores }: { id: string; title: string; scores: DeviceScore[] }, caption: Html): Html {
  const points = scorePoints(scores)
  const marked = markedScores(points)
  const named = marked
    .slice(0, MOST_NAMED)
    .map(({ name, z }, i) => html`${i > 0 && ', '}${nameHtml(name, LONGEST_NAME)} (${formatFixed(z, 1)})`)
  const left = marked.length - named.length
  const note =
    marked.length > 0 &&
    html` Marked, beyond ±${MARKED_FROM}: ${named}${left > 0 && ` and ${formatInteger(left)} more`}.`
  const isBeyond = marked.some(({ z }) => Math.abs(z) > MOST_SCORE)
  return figure(
    {
      wide: drawScores(`${id}-wide`, title, points, 'wide'),
      narrow: drawScores(`${id}-narrow`, title, points, 'narrow'),
    },
    html`${caption}${note}${isBeyond && html` A triangle stands for what is beyond ±${MOST_SCORE}.`}`,
    csvLink(
      id,
      `the points of ${id === 'device-z' ? 'the ones' : 'the entropies'}`,
      ['device_id', 'name', 'z', 'z_expected'],
      points.map((point) => [point.id, point.name, point.z, point.expected]),
    ),
  )
}

function shownDevices(devices: readonly DevicePart[], found: ReadonlySet<string>): readonly DevicePart[] {
  if (devices.length <= MOST_ROWS) return devices
  const off = (device: DevicePart) => Math.max(Math.abs(device.z ?? 0), Math.abs(device.entropy?.z ?? 0))
  return devices
    .toSorted((a, b) => Number(found.has(b.id)) - Number(found.has(a.id)) || off(b) - off(a))
    .slice(0, MOST_ROWS)
}

function deviceRow(device: DevicePart, isFound: boolean) {
  const { entropy, chunk_tests: tests } = device
  return [
    html`<span class="name" id="device-${device.id}"
        >${isFound && flag('stands out')} ${nameHtml(deviceName(device))}</span
      >${device.status !== null && device.status !== 'active' && html` <span class="unit">${device.status}</span>`}`,
    lastSeen(device.last_seen_at),
    formatInteger(device.samples),
    formatFixed(device.rate_hz, 2),
    formatPercent(device.coverage),
    formatInteger(device.gaps),
    formatFixed(device.z, 2),
    formatP(device.p),
    entropy === null
      ? '–'
      : html`${formatFixed(entropy.entropy, 5)}
          <span class="unit">[${formatFixed(entropy.low, 5)}, ${formatFixed(entropy.high, 5)}]</span>`,
    tests.tested === 0
      ? '–'
      : html`<span class="nowrap">${formatInteger(tests.passed)} of ${formatCount(tests.tested)}</span>`,
  ]
}

/** The day and the minute, each whole, and on a line each where there is little room. */
function lastSeen(iso: string | null): Html {
  return html`${formatMinute(iso)
    .split(' ')
    .map((part) => html`<span class="nowrap">${part}</span> `)}`
}

function deviceRecord(device: DevicePart) {
  const { entropy, byte_chi_square: chi, chunk_tests: tests } = device
  return {
    device_id: device.id,
    name: device.name,
    status: device.status,
    client_type: device.client_type,
    last_seen_at: device.last_seen_at,
    samples: device.samples,
    bytes: device.bytes,
    rate_hz: device.rate_hz,
    coverage: device.coverage,
    gaps: device.gaps,
    duplicates: device.duplicates,
    failed_seconds: device.failed,
    z: device.z,
    p: device.p,
    entropy: entropy?.entropy ?? null,
    entropy_expected: entropy?.expected ?? null,
    entropy_low: entropy?.low ?? null,
    entropy_high: entropy?.high ?? null,
    entropy_z: entropy?.z ?? null,
    byte_chi_square: chi?.statistic ?? null,
    byte_chi_square_df: chi?.df ?? null,
    byte_chi_square_p: chi?.p ?? null,
    chunk_tests_passed: tests.passed,
    chunk_tests: tests.tested,
    alarms: device.alarms,
  }
}
