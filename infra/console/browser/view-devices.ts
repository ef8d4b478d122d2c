import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { entropyBand } from '../../../pipeline/report/entropy-band.ts'
import { formatCount, formatFixed, formatInteger } from '../../../pipeline/report/format.ts'
import type { DeviceRow, DevicesView } from '../model.ts'
import { ago, flag, name, table } from './parts.ts'

/** An active device that was last seen longer ago, or never, is called silent. */
const SILENT_SECONDS = 300
/** More take the page a while to draw every five seconds. */
const MOST_ROWS = 100

const CAPTION =
  'Rate, samples and entropy are of the newest hour with any: samples a second in the seconds that have some, and the plug-in entropy of ' +
  'the bytes. Last seen is to the minute. '
const MARKED =
  ' marks what is silent or was never seen, and entropy three standard deviations below that of as many ideal bytes.'

type Order = 'name' | 'seen' | 'entropy'

interface Shown extends DeviceRow {
  readonly waiting: number
  readonly isSilent: boolean
  readonly isLow: boolean
}

/** One sentence on how the devices are. */
export function devicesVerdict({ devices }: DevicesView, now: Date): string {
  if (devices.length === 0) return 'There are no devices yet.'
  const active = devices.filter(({ status }) => status === 'active')
  const silent = active.filter((device) => isSilent(device, now)).length
  const all = `${formatInteger(devices.length)} ${devices.length === 1 ? 'device' : 'devices'}`
  return `${all}, ${formatInteger(active.length)} active, ${silent === 0 ? 'none' : formatInteger(silent)} of them silent.`
}

export function DeviceList({ view, now }: { view: DevicesView; now: Date }): VNode {
  const [text, setText] = useState('')
  const [order, setOrder] = useState<Order>('name')
  const [isWhole, setWhole] = useState(false)
  const waiting = new Map(view.backlog.map((row) => [row.device_id, row.samples ?? 0]))
  const wanted = text.trim().toLowerCase()
  const found = view.devices
    .filter(
      ({ name: own, device_id: id }) => wanted === '' || own.toLowerCase().includes(wanted) || id.startsWith(wanted),
    )
    .map((device): Shown => ({
      ...device,
      waiting: waiting.get(device.device_id) ?? 0,
      isSilent: isSilent(device, now),
      isLow: isLowEntropy(device),
    }))
    .toSorted(ORDERS[order])
  const rows = isWhole ? found : found.slice(0, MOST_ROWS)
  return html`
    <div class="tools" role="search" aria-label="Devices">
      <label
        >Find
        <input
          name="find"
          type="search"
          value=${text}
          placeholder="name or id"
          onInput=${(event: Event) => setText(valueOf(event))}
      /></label>
      <label>
        Order
        <select name="order" value=${order} onChange=${(event: Event) => setOrder(valueOf(event) as Order)}>
          <option value="name">by name</option>
          <option value="seen">longest unseen first</option>
          <option value="entropy">lowest entropy first</option>
        </select>
      </label>
    </div>
    ${
      rows.length === 0
        ? html`<p>
            ${wanted === '' ? 'A device is a row of devices; the command `dev --live` makes some.' : 'No device has this in its name, or at the begin of its id.'}
          </p>`
        : table({
            id: 'devices-table',
            caption: html`${CAPTION}${flag('Stands out')}${MARKED}`,
            columns: [
              { head: 'Device' },
              { head: 'Status' },
              { head: 'Last seen', numeric: true },
              { head: html`Rate <span class="unit">/s</span>`, numeric: true },
              { head: 'Samples', numeric: true },
              { head: 'Waiting', numeric: true },
              { head: html`Entropy <span class="unit">bit/byte</span>`, numeric: true },
              { head: html`Hour <span class="unit">UTC</span>`, numeric: true },
            ],
            rows: rows.map((device) => ({ key: device.device_id, cells: cellsOf(device, now) })),
          })
    }
    ${
      rows.length < found.length &&
      html`<p>
        The first ${formatInteger(rows.length)} of ${formatInteger(found.length)}.
        <button type="button" onClick=${() => setWhole(true)}>Show all</button>
      </p>`
    }
  `
}

const ORDERS: Record<Order, (a: Shown, b: Shown) => number> = {
  name: () => 0,
  seen: (a, b) => timeOf(a.last_seen_at) - timeOf(b.last_seen_at),
  entropy: (a, b) => (a.entropy_estimate ?? 9) - (b.entropy_estimate ?? 9),
}

function cellsOf(device: Shown, now: Date) {
  const { sample_count: samples, seconds_covered: seconds, entropy_estimate: entropy, bucket_start: hour } = device
  return [
    html`<span class="name" title=${device.device_id}>${name(device.name)}</span>`,
    device.status,
    html`${device.isSilent && html`${flag('Silent')} `}${ago(device.last_seen_at, now)}`,
    samples !== null && seconds !== null && seconds > 0 ? formatFixed(samples / seconds, 2) : '–',
    samples === null ? '–' : formatCount(samples),
    formatCount(device.waiting),
    html`${device.isLow && html`${flag('Low')} `}${formatFixed(entropy, 4)}`,
    hour === null ? '–' : new Date(hour).toISOString().slice(5, 16).replace('T', ' '),
  ]
}

function isSilent({ status, last_seen_at: seen }: DeviceRow, now: Date): boolean {
  return status === 'active' && now.getTime() - timeOf(seen) > 1000 * SILENT_SECONDS
}

function isLowEntropy({ byte_count: bytes, entropy_estimate: entropy }: DeviceRow): boolean {
  const band = bytes === null ? null : entropyBand([{ bytes, entropy }])
  return band !== null && band.entropy < band.low
}

function timeOf(iso: string | null): number {
  return iso === null ? 0 : Date.parse(iso)
}

function valueOf(event: Event): string {
  return (event.target as HTMLInputElement | HTMLSelectElement).value
}
