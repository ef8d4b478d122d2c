import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { ChunksView, DevicesView, NetworkView, PipelineView } from '../model.ts'
import { type Polled, usePoll } from './poll.ts'
import type { ConsoleSource } from './source.ts'
import { ChunkBrowser, chunksVerdict } from './view-chunks.ts'
import { DeviceList, devicesVerdict } from './view-devices.ts'
import { networkVerdict, NetworkWalks, type RangeName, rangeOf } from './view-network.ts'
import { pipelineVerdict, pipelineView } from './view-pipeline.ts'
import { formatAge } from './parts.ts'

const VIEWS = { pipeline: 'Pipeline', devices: 'Devices', network: 'Network', chunks: 'Chunks' } as const
type ViewName = keyof typeof VIEWS

/** The console: one of four views at a time, named by the address. */
export function App({ source }: { source: ConsoleSource }): VNode {
  const [shown, setShown] = useState(viewOfAddress)
  useEffect(() => {
    const onHash = () => setShown(viewOfAddress())
    addEventListener('hashchange', onHash)
    return () => removeEventListener('hashchange', onHash)
  }, [])
  useEffect(() => {
    document.title = `${VIEWS[shown]} · Coherence console`
  }, [shown])
  const View = { pipeline: Pipeline, devices: Devices, network: Network, chunks: Chunks }[shown]
  return html`<${View} key=${shown} source=${source} />`
}

function viewOfAddress(): ViewName {
  const name = location.hash.slice(1)
  return Object.hasOwn(VIEWS, name) ? (name as ViewName) : 'pipeline'
}

interface ViewProps {
  readonly source: ConsoleSource
}

function Pipeline({ source }: ViewProps): VNode {
  const polled = usePoll<PipelineView>('pipeline', source.readPipeline)
  return frame('pipeline', source, polled, pipelineVerdict, (view, now) => pipelineView(view, now, source))
}

function Devices({ source }: ViewProps): VNode {
  const polled = usePoll<DevicesView>('devices', source.readDevices)
  return frame(
    'devices',
    source,
    polled,
    devicesVerdict,
    (view, now) => html`<${DeviceList} view=${view} now=${now} />`,
  )
}

function Network({ source }: ViewProps): VNode {
  const [chosen, choose] = useState<RangeName>('6 hours')
  const polled = usePoll<NetworkView>(chosen, () => source.readNetwork(rangeOf(chosen, new Date())))
  return frame(
    'network',
    source,
    polled,
    networkVerdict,
    (view) => html`<${NetworkWalks} view=${view} chosen=${chosen} choose=${choose} />`,
  )
}

function Chunks({ source }: ViewProps): VNode {
  const polled = usePoll<ChunksView>('chunks', source.readChunks)
  return frame(
    'chunks',
    source,
    polled,
    chunksVerdict,
    (view) => html`<${ChunkBrowser} view=${view} source=${source} />`,
  )
}

function frame<View>(
  shown: ViewName,
  source: ConsoleSource,
  polled: Polled<View>,
  verdict: (view: View, now: Date) => string,
  body: (view: View, now: Date) => VNode,
): VNode {
  const { view, error } = polled
  const now = polled.at ?? new Date()
  const said = view !== null ? verdict(view, now) : error !== null ? 'Nothing to show yet.' : 'Reading …'
  return page({
    verdict: said,
    navigation: html`<nav aria-label="Views">
      <ul>
        ${Object.entries(VIEWS).map(
          ([name, title]) =>
            html`<li><a href=${`#${name}`} aria-current=${name === shown ? 'page' : undefined}>${title}</a></li>`,
        )}
      </ul>
    </nav>`,
    trouble: html`<div role="alert">${error !== null && html`<p class="flagged">${troubleText(polled)}</p>`}</div>`,
    live: html`<${Live} polled=${polled} />`,
    body: view !== null ? body(view, now) : undefined,
    foot: html`<p>
      ${`${source.who} Nothing here changes anything. Times are UTC. `}
      ${source.signOut && html`<button type="button" onClick=${() => void source.signOut?.()}>Sign out</button>`}
    </p>`,
  })
}

function troubleText({ error, at }: Polled<unknown>): string {
  return `${error?.message ?? ''}${at === null ? '' : ' What is shown is older.'}`
}

/** What every page of the console has around its body. */
export function page(given: {
  verdict: string
  navigation?: VNode
  live?: VNode
  trouble?: VNode
  body?: VNode
  foot?: VNode
}): VNode {
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <header>
      <div class="top">
        <h1>Coherence console</h1>
        <${Theme} />
      </div>
      <p class="verdict">${given.verdict}</p>
      <div class="top views">${given.navigation}${given.live}</div>
      ${given.trouble}
    </header>
    <main id="main" tabindex="-1">${given.body}</main>
    <footer>${given.foot}</footer>
  `
}

/** The address names the view: the link must not change it. */
function skip(event: Event): void {
  event.preventDefault()
  document.querySelector<HTMLElement>('#main')?.focus()
}

/** Whether what is shown is new. */
function Live({ polled: { at, error, refresh } }: { polled: Polled<unknown> }): VNode {
  const [, tick] = useState(0)
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), 1000)
    return () => clearInterval(timer)
  }, [])
  const age = at === null ? null : formatAge((Date.now() - at.getTime()) / 1000)
  return html`<p class="live">
    <span class=${error === null ? 'dot' : 'dot off'} aria-hidden="true"></span
    >${error === null ? 'Live' : 'Not live'}${age !== null && html`<span aria-hidden="true">, read ${age} ago</span>`}
    <button type="button" onClick=${refresh}>Read now</button>
  </p>`
}

const THEMES = { auto: 'Auto', light: 'Light', dark: 'Dark' } as const
const THEME = 'coherence-theme'

function Theme(): VNode {
  const [theme, setTheme] = useState(() => localStorage.getItem(THEME) ?? 'auto')
  const choose = (value: string) => {
    localStorage.setItem(THEME, value)
    setTheme(value)
  }
  return html`<fieldset class="theme">
    <legend>Colours</legend>
    ${Object.entries(THEMES).map(
      ([value, title]) =>
        html`<label>
          <input
            type="radio"
            name="theme"
            id=${`theme-${value}`}
            checked=${value === theme}
            onChange=${() => choose(value)}
          />${title}
        </label>`,
    )}
  </fieldset>`
}
