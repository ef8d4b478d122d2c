import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { holm } from '../../../pipeline/multiple-testing.ts'
import {
  cleanText,
  cutText,
  formatCount,
  formatFixed,
  formatInteger,
  formatP,
  formatTime,
} from '../../../pipeline/report/format.ts'
import type { TestResult } from '../../../pipeline/tests/definition.ts'
import type { ChunkDevice, OpenedChunk } from './open-chunk.ts'
import { facts, flag, formatBytes, name, table } from './parts.ts'

/** The names of devices by id, as far as they are known. */
export type DeviceNames = ReadonlyMap<string, string>

/** An opened chunk: what it is, its devices, the battery on one of them, its first rows. */
export function Chunk(given: { title: string; chunk: OpenedChunk; names: DeviceNames }): VNode {
  const { title, chunk, names } = given
  const [chosen, setChosen] = useState(chunk.devices[0]?.device_id)
  const heading = useRef<HTMLHeadingElement>(null)
  // It was asked for: readers of screens and keyboards are taken to it.
  useEffect(() => heading.current?.focus(), [])
  const device = chunk.devices.find(({ device_id: id }) => id === chosen)
  return html`<section aria-labelledby="chunk">
    <h2 id="chunk" tabindex="-1" ref=${heading}>${title}</h2>
    ${facts([
      ['Samples', formatCount(chunk.rows), formatBytes(chunk.bytes)],
      ['Devices', formatInteger(chunk.devices.length), `${formatInteger(alarmsOf(chunk.devices))} alarms`],
      ['First sample', clock(chunk.from), day(chunk.from)],
      ['Last sample', clock(chunk.to), day(chunk.to)],
      ['File', formatBytes(chunk.fileBytes), `by version ${chunk.libraryVersion}`],
    ])}
    <dl>
      <div>
        <dt>Chunk</dt>
        <dd><code>${chunk.chunkId}</code></dd>
      </div>
      <div>
        <dt>SHA-256</dt>
        <dd>${hashText(title, chunk)}</dd>
      </div>
    </dl>
    ${table({
      id: 'chunk-devices',
      caption: 'Devices in this chunk. A segment is a run of samples whose sequence has no gap.',
      columns: [
        { head: 'Device' },
        { head: 'Alarms', numeric: true },
        { head: 'Samples', numeric: true },
        { head: 'Bytes', numeric: true },
        { head: 'Segments', numeric: true },
        { head: 'Missing', numeric: true },
        { head: 'Duplicates', numeric: true },
      ],
      rows: chunk.devices.slice(0, MOST_DEVICES).map((row) => ({
        key: row.device_id,
        cells: [
          deviceCell(row.device_id, names),
          row.alarms.length === 0 ? '0' : html`${flag('Alarm')} ${row.alarms.length}`,
          formatInteger(row.samples),
          formatInteger(row.bytes),
          formatInteger(row.segments),
          formatInteger(row.missing),
          formatInteger(row.duplicates),
        ],
      })),
    })}
    ${chunk.devices.length > MOST_DEVICES && html`<p>And ${formatInteger(chunk.devices.length - MOST_DEVICES)} more; the list below has all.</p>`}
    ${
      device !== undefined &&
      html`<h3 id="tests">Tests</h3>
        <div class="tools">
          <label>
            Device
            <select
              name="device"
              value=${chosen}
              onChange=${(event: Event) => setChosen((event.target as HTMLSelectElement).value)}
            >
              ${chunk.devices.map(({ device_id: id }) => html`<option value=${id}>${optionText(id, names)}</option>`)}
            </select>
          </label>
        </div>
        ${testsTable(device, chunk.battery)}`
    }
    <h3>First samples</h3>
    ${table({
      id: 'chunk-rows',
      caption: `The first ${formatInteger(chunk.firstRows.length)} of ${formatInteger(chunk.rows)} rows, and the first bytes of each.`,
      columns: [
        { head: html`Time <span class="unit">UTC</span>` },
        { head: 'Device' },
        { head: 'Sequence', numeric: true },
        { head: 'Bytes', numeric: true },
        { head: 'Data' },
      ],
      rows: chunk.firstRows.map((row, i) => ({
        key: String(i),
        cells: [
          html`<span class="nowrap">${row.timestamp.slice(0, 23).replace('T', ' ')}</span>`,
          shortDevice(row.deviceId, names),
          row.sequence,
          formatInteger(row.bytes),
          html`<code class="nowrap">${row.hex}</code>`,
        ],
      })),
    })}
  </section>`
}

const MOST_DEVICES = 100
const LONGEST_OPTION = 30

function testsTable(device: ChunkDevice, version: string): VNode {
  const alarms = new Set(device.alarms.map(({ test }) => test))
  return table({
    id: 'chunk-tests',
    caption:
      `The battery that the pipeline runs on every chunk, version ${version}, run here. P is that of an ideal source; an alarm is a ` +
      'single P below 10⁻⁹. Where a test has several, the smallest is shown, multiplied by their number (Holm).',
    columns: [{ head: 'Test' }, { head: 'Result' }, { head: 'P', numeric: true }, { head: 'Statistic', numeric: true }],
    rows: device.results.map((result) => ({
      key: result.test,
      cells: [
        html`<code>${result.test}</code>`,
        alarms.has(result.test)
          ? html`<span class="nowrap">${flag('Alarm')} alarm</span>`
          : result.status === 'ok'
            ? 'ok'
            : html`<span class="reason">${result.reason ?? result.status}</span>`,
        html`<span class="nowrap">${pText(result)}</span>`,
        statisticText(result.statistic),
      ],
    })),
  })
}

/** The smallest of several, adjusted, with their number. */
function pText({ p_values: ps }: TestResult): string {
  if (ps.length === 0) return '–'
  return ps.length === 1 ? formatP(ps[0]) : `${formatP(Math.min(...holm(ps)))} of ${ps.length}`
}

/** Counts as what they are, all else with as many digits as say something. */
function statisticText(value: number | null): string {
  if (value === null) return '–'
  if (Number.isInteger(value)) return formatInteger(value)
  return formatFixed(value, Math.abs(value) >= 1000 ? 1 : 4)
}

/** The name with the begin of the id, which tells those of one name apart; the id where no name is known. */
function deviceCell(id: string, names: DeviceNames): VNode {
  const known = names.get(id)
  if (known === undefined) return html`<code class="id">${id}</code>`
  return html`<span class="name" title=${id}>${name(known)} <code class="unit">${id.slice(0, 8)}</code></span>`
}

function shortDevice(id: string, names: DeviceNames): VNode {
  const known = names.get(id)
  if (known === undefined) return html`<code class="nowrap" title=${id}>${id.slice(0, 8)}</code>`
  return html`<span class="name" title=${id}>${name(known)}</span>`
}

/** An option holds text alone. */
function optionText(id: string, names: DeviceNames): string {
  const known = names.get(id)
  return known === undefined ? id : `${cutText(cleanText(known), LONGEST_OPTION)} (${id.slice(0, 8)})`
}

/** The pipeline names a file by the first 16 digits of its hash. */
function hashText(file: string, { sha256 }: OpenedChunk): VNode | string {
  if (sha256 === null) return 'Only pages over https may compute it.'
  const [, named] = /-([0-9a-f]{16})\.arrow$/.exec(file) ?? []
  const found = html`<code>${sha256}</code>`
  if (named === undefined) return found
  return named === sha256.slice(0, 16)
    ? html`${found}, as its name says`
    : html`${flag('Differs')} ${found}, and its name says ${named}…`
}

function alarmsOf(devices: readonly ChunkDevice[]): number {
  return devices.reduce((sum, { alarms }) => sum + alarms.length, 0)
}

function clock(iso: string | null): string {
  return iso === null ? '–' : formatTime(iso).slice(11)
}

function day(iso: string | null): string {
  return iso === null ? 'no samples' : formatTime(iso).slice(0, 10)
}
