import { html } from 'htm/preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import type { ComponentChildren, VNode } from 'preact'
import { cleanText, cutText, formatTime } from '../../../pipeline/report/format.ts'

/** Pieces that the views share. */

const LONGEST_NAME = 60

/** Somebody's name as text, in its own direction; of a very long one the rest is a tooltip. */
export function name(text: string): VNode {
  const clean = cleanText(text)
  const shown = cutText(clean, LONGEST_NAME)
  return shown === clean ? html`<bdi>${clean}</bdi>` : html`<bdi title=${clean}>${shown}</bdi>`
}

/** How long ago, with the time itself as a tooltip. */
export function ago(iso: string | null, now: Date, never = 'never'): VNode | string {
  if (iso === null) return never
  const utc = new Date(iso).toISOString()
  return html`<time datetime=${utc} title=${`${formatTime(utc)} UTC`}
    >${formatAge((now.getTime() - Date.parse(utc)) / 1000)} ago</time
  >`
}

/** 45 s, 12 min, 5 h, 3 d. */
export function formatAge(seconds: number): string {
  const age = Math.max(0, seconds)
  if (age < 90) return `${Math.round(age)} s`
  if (age < 5400) return `${Math.round(age / 60)} min`
  return age < 172_800 ? `${Math.round(age / 3600)} h` : `${Math.round(age / 86_400)} d`
}

export function time(iso: string | null): VNode | string {
  if (iso === null) return '–'
  const utc = new Date(iso).toISOString()
  return html`<time class="nowrap" datetime=${utc}>${formatTime(utc)}</time>`
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let [value, unit] = [bytes, 0]
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1]
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** A mark that is more than a colour, with what it means. */
export function flag(meaning: string): VNode {
  return html`<span class="flag" role="img" aria-label=${meaning} title=${meaning}>▲</span>`
}

export function facts(
  entries: readonly (readonly [term: string, value: ComponentChildren, more: ComponentChildren])[],
): VNode {
  return html`<dl class="facts">
    ${entries.map(
      ([term, value, more]) =>
        html`<div>
          <dt>${term}</dt>
          <dd>${value}<small>${more}</small></dd>
        </div>`,
    )}
  </dl>`
}

export interface Column {
  readonly head: ComponentChildren
  readonly numeric?: boolean
}

/** A table that scrolls by itself where it is too wide. The first cell of a row is its heading. */
export function table(given: {
  id: string
  caption: ComponentChildren
  columns: readonly Column[]
  rows: readonly { key: string; cells: readonly ComponentChildren[] }[]
}): VNode {
  const side = (i: number) => (given.columns[i].numeric ? 'number' : undefined)
  return html`<div class="table">
    <p class="caption" id=${given.id}>${given.caption}</p>
    <div class="scroll" role="region" aria-labelledby=${given.id} tabindex="0">
      <table aria-labelledby=${given.id}>
        <thead>
          <tr>
            ${given.columns.map(({ head }, i) => html`<th scope="col" class=${side(i)}>${head}</th>`)}
          </tr>
        </thead>
        <tbody>
          ${given.rows.map(
            ({ key, cells }) =>
              html`<tr key=${key}>
                ${cells.map((cell, i) =>
                  i === 0
                    ? html`<th scope="row" class=${side(i)}>${cell}</th>`
                    : html`<td class=${side(i)}>${cell}</td>`,
                )}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
  </div>`
}

/** A command with a button that copies it; where the clipboard is closed to the page, that selects it. */
export function Command({ text }: { text: string }): VNode {
  const [isCopied, setCopied] = useState(false)
  const code = useRef<HTMLElement>(null)
  useEffect(() => {
    if (!isCopied) return
    const timer = setTimeout(() => setCopied(false), 2000)
    return () => clearTimeout(timer)
  }, [isCopied])
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text)
      setCopied(true)
    } catch {
      getSelection()?.selectAllChildren(code.current!)
    }
  }
  return html`<div class="command">
    <code ref=${code}>${text}</code>
    <button type="button" onClick=${copy} aria-label=${`Copy: ${text}`}>
      <span role="status">${isCopied ? 'Copied' : 'Copy'}</span>
    </button>
  </div>`
}
