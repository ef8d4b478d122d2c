import { type DeviceScore, drawScores } from './figure-scores.ts'
import { formatCount, formatFixed, formatInteger, formatP, formatPercent, formatTime } from './format.ts'
import { type Html, html, nameHtml } from './html.ts'
import { figure, flag, recordsLink, type Section, table } from './parts.ts'
import type { DevicePart, ReportData } from './report-data.ts'
import { deviceName } from './verdict.ts'

/** More rows nobody reads; the download has them all. */
const MOST_ROWS = 100

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
  const scores = devices.flatMap((device): DeviceScore[] =>
    device.z === null ? [] : [{ name: deviceName(device), z: device.z }],
  )
  const entropies = devices.flatMap((device): DeviceScore[] =>
    device.entropy === null ? [] : [{ name: deviceName(device), z: device.entropy.z }],
  )
  return html` ${
      scores.length > 0 &&
      html`<div class="pair">
        ${figure({ wide: drawScores('device-z', 'Share of ones of each device', scores) }, html`<strong>Share of ones.</strong> z of all bits of a device against a fair coin, devices in order. Under the null z is standard normal, and the points follow the line.`, html``)}
        ${entropies.length > 0 && figure({ wide: drawScores('device-entropy', 'Entropy of each device', entropies) }, html`<strong>Entropy.</strong> Plug-in Shannon entropy of the bytes of each hour, in standard deviations off what ideal bytes of the same number would show. Low is bad.`, html``)}
      </div>`
    }
    ${table(
      'device-table',
      html`${left > 0 ? html`${rows.length} of ${formatInteger(devices.length)} devices: those with a finding, then those furthest off. The download has them all.` : html`Every device.`}
        Times are UTC. <em>Covered</em> is the share of the window’s seconds in which anything came; <em>rate</em> is
        samples a second in those. P of z is two-sided under fair bits. In brackets beside the entropy (bits a byte) is
        what ideal bytes would show, three standard deviations about their expectation. <em>Chunk tests</em> counts the
        P-values of .01 and more: 99 % under the null.`,
      [
        { head: 'Device' },
        { head: 'Last seen' },
        { head: 'Samples', numeric: true },
        { head: 'Rate, 1/s', numeric: true },
        { head: 'Covered', numeric: true },
        { head: 'Gaps', numeric: true },
        { head: 'z', numeric: true },
        { head: 'P', numeric: true },
        { head: 'Entropy [ideal]', numeric: true },
        { head: 'Chunk tests', numeric: true },
      ],
      rows.map((device) => deviceRow(device, found.has(device.id))),
    )}
    <p>${recordsLink('devices', `all ${formatInteger(devices.length)} devices`, devices.map(deviceRecord))}</p>`
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
    html`<span class="nowrap">${formatTime(device.last_seen_at)}</span>`,
    formatInteger(device.samples),
    formatFixed(device.rate_hz, 2),
    formatPercent(device.coverage),
    formatInteger(device.gaps),
    formatFixed(device.z, 2),
    formatP(device.p),
    entropy === null
      ? '–'
      : html`<span class="nowrap"
          >${formatFixed(entropy.entropy, 5)}
          <span class="unit">[${formatFixed(entropy.low, 5)}, ${formatFixed(entropy.high, 5)}]</span></span
        >`,
    tests.tested === 0
      ? '–'
      : html`<span class="nowrap">${formatInteger(tests.passed)} of ${formatCount(tests.tested)}</span>`,
  ]
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
