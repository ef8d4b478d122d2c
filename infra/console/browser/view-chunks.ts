import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { cleanText, formatCount, formatInteger } from '../../../pipeline/report/format.ts'
import type { ChunkListRow, ChunksView, ExportFile } from '../model.ts'
import { Chunk, type DeviceNames } from './chunk.ts'
import type { OpenedChunk } from './open-chunk.ts'
import { flag, formatBytes, table, time } from './parts.ts'
import type { ConsoleSource } from './source.ts'

/** Larger files would not fit into a tab's memory beside what is made of them. */
const MOST_BYTES = 512 * 1024 ** 2

type State =
  | { readonly is: 'closed' }
  | { readonly is: 'opening'; readonly name: string }
  | { readonly is: 'open'; readonly name: string; readonly chunk: OpenedChunk; readonly names: DeviceNames }
  | { readonly is: 'failed'; readonly name: string; readonly error: string }

/** One sentence on the chunks. */
export function chunksVerdict({ chunks, exports }: ChunksView): string {
  if (chunks.length === 0) return 'There are no chunks yet. Any .arrow chunk opens here.'
  return exports === null
    ? 'Open a chunk to see what is in it and how it does in the tests.'
    : 'Open an export of yours, or any .arrow chunk, to see what is in it.'
}

export function ChunkBrowser({ view, source }: { view: ChunksView; source: ConsoleSource }): VNode {
  const [state, setState] = useState<State>({ is: 'closed' })
  const [isOver, setOver] = useState(false)
  const open = async (name: string, read: () => Promise<Uint8Array<ArrayBuffer>>) => {
    setState({ is: 'opening', name })
    try {
      const [chunk, names] = await Promise.all([read().then(openInWorker), readNames(source)])
      setState({ is: 'open', name, chunk, names })
    } catch (error) {
      setState({ is: 'failed', name, error: (error as Error).message })
    }
  }
  const openFile = (file: File | undefined) => {
    if (file === undefined) return
    void open(file.name, async () => {
      if (file.size > MOST_BYTES)
        throw new Error(`${formatBytes(file.size)} are too many for a page; a chunk has 32 MB or so.`)
      return new Uint8Array(await file.arrayBuffer())
    })
  }
  const drop = (event: DragEvent) => {
    event.preventDefault()
    setOver(false)
    openFile(event.dataTransfer?.files[0])
  }
  return html`
    <div
      class=${isOver ? 'drop over' : 'drop'}
      onDragOver=${(event: DragEvent) => {
        event.preventDefault()
        setOver(true)
      }}
      onDragLeave=${() => setOver(false)}
      onDrop=${drop}
    >
      <label>
        Open a file
        <input
          name="file"
          type="file"
          accept=".arrow"
          onChange=${(event: Event) => {
            const input = event.target as HTMLInputElement
            openFile(input.files?.[0])
            input.value = ''
          }}
        />
      </label>
      <p>An .arrow chunk or export; or drop it here. It stays in this browser.</p>
    </div>
    <div role="status">${state.is === 'opening' && html`<p>${`Opening and testing ${state.name} …`}</p>`}</div>
    <div role="alert">
      ${state.is === 'failed' && html`<p>${flag('Failed')} <strong>${state.name}</strong> ${` does not open: ${state.error}`}</p>`}
    </div>
    ${state.is === 'open' && html`<${Chunk} key=${state.name} title=${state.name} chunk=${state.chunk} names=${state.names} />`}
    ${view.exports !== null && exportsSection(view, open)} ${chunksSection(view.chunks, source, open)}
  `
}

type Open = (name: string, read: () => Promise<Uint8Array<ArrayBuffer>>) => Promise<void>

function chunksSection(chunks: readonly ChunkListRow[], { readChunk }: ConsoleSource, open: Open): VNode | null {
  if (chunks.length === 0) return null
  const columns = [
    { head: 'Chunk' },
    ...(readChunk === undefined ? [] : [{ head: 'Open' }]),
    { head: 'State' },
    { head: html`First sample <span class="unit">UTC</span>` },
    { head: 'Samples', numeric: true },
    { head: 'Payload', numeric: true },
  ]
  return html`<section aria-labelledby="newest">
    <h2 id="newest">Newest chunks</h2>
    ${
      readChunk === undefined &&
      html`<p>
        A chunk may hold other people’s devices too, so it is not for download. Ask for an export of yours instead.
      </p>`
    }
    ${table({
      id: 'chunks-table',
      caption: chunks.length === 1 ? 'The only one.' : `The ${formatInteger(chunks.length)} with the newest samples.`,
      columns,
      rows: chunks.map((chunk) => ({
        key: chunk.id,
        cells: [
          html`<code class="id">${chunk.id}</code>`,
          ...(readChunk === undefined ? [] : [openButton(chunk, () => void open(chunk.id, () => readChunk(chunk.id)))]),
          stateOf(chunk),
          time(chunk.min_timestamp),
          formatCount(chunk.sample_count),
          html`<span class="nowrap">${formatBytes(chunk.byte_count)}</span>`,
        ],
      })),
    })}
  </section>`
}

function openButton(chunk: ChunkListRow, onClick: () => void): VNode | string {
  if (chunk.status !== 'uploaded') return '–'
  return html`<button type="button" aria-label=${`Open chunk ${chunk.id}`} onClick=${onClick}>Open</button>`
}

function stateOf({ status, verified_at: verified }: ChunkListRow): VNode | string {
  if (status === 'failed') return html`${flag('Failed')} failed`
  return status !== 'uploaded' ? status : verified === null ? 'to verify' : 'verified'
}

function exportsSection({ exports }: ChunksView, open: Open): VNode {
  const files = (exports ?? []).flatMap((row) => row.files.map((file) => ({ row, file })))
  return html`<section aria-labelledby="exports">
    <h2 id="exports">Your exports</h2>
    ${
      files.length === 0
        ? html`<p>None has a link that still holds. A row in <code>sample_exports</code> asks for one.</p>`
        : table({
            id: 'exports-table',
            caption: 'Files of exports whose links still hold.',
            columns: [
              { head: 'File' },
              { head: 'Open' },
              { head: 'Samples', numeric: true },
              { head: 'Size', numeric: true },
            ],
            rows: files.map(({ row, file }) => ({
              key: `${row.id}/${file.file_name}`,
              cells: [
                html`<code class="id">${file.file_name}</code>`,
                html`<button
                  type="button"
                  aria-label=${`Open ${file.file_name}`}
                  onClick=${() => void open(file.file_name, () => download(file))}
                >
                  Open
                </button>`,
                formatCount(file.samples),
                html`<span class="nowrap">${formatBytes(file.bytes)}</span>`,
              ],
            })),
          })
    }
  </section>`
}

async function download({ url, bytes }: ExportFile): Promise<Uint8Array<ArrayBuffer>> {
  if (bytes > MOST_BYTES) throw new Error(`${formatBytes(bytes)} are too many for a page.`)
  // Links into a local disk are for whoever sits there, and no page may follow them.
  if (!/^https?:/.test(url)) throw new Error(`it is ${url}; open that file above.`)
  const response = await fetch(url).catch(() => {
    throw new Error('its store does not answer this page. Download it and open the file above.')
  })
  if (!response.ok) throw new Error(`its store answers ${response.status}. Links hold for 24 hours.`)
  return new Uint8Array(await response.arrayBuffer())
}

/** Of no use to wait for, or to fail with: without names there are ids. */
async function readNames(source: ConsoleSource): Promise<DeviceNames> {
  const { devices } = await source.readDevices().catch(() => ({ devices: [] }))
  const named = devices.filter(({ name }) => cleanText(name).trim() !== '')
  return new Map(named.map(({ device_id: id, name }) => [id, name]))
}

/** Decodes and tests in a worker, which ends then. */
async function openInWorker(bytes: Uint8Array<ArrayBuffer>): Promise<OpenedChunk> {
  const worker = new Worker('chunk-worker.js', { type: 'module' })
  try {
    return await new Promise((resolve, reject) => {
      worker.addEventListener('message', ({ data }: MessageEvent<{ chunk: OpenedChunk } | { error: string }>) =>
        'chunk' in data ? resolve(data.chunk) : reject(new Error(data.error)),
      )
      worker.addEventListener('error', () => reject(new Error('the page’s worker did not start; load the page anew.')))
      worker.postMessage(bytes, [bytes.buffer])
    })
  } finally {
    worker.terminate()
  }
}
