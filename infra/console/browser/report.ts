import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import { cleanText } from '../../../pipeline/report/format.ts'
import type { ReportRow } from '../model.ts'
import type { ConsoleSource } from './source.ts'

const DAY_MS = 86_400_000

/** The newest report: a file from the console's server, or its link into the store while that holds. */
export function Report(given: { report: ReportRow; now: Date; read: ConsoleSource['readReport'] }): VNode {
  const { report, now, read } = given
  const [error, setError] = useState<string | null>(null)
  const day = report.from.slice(0, 10)
  const fileName = `coherence-${day}.html`
  const save = async (event: Event) => {
    event.preventDefault()
    try {
      saveFile(fileName, await read!())
      setError(null)
    } catch (failure) {
      setError((failure as Error).message)
    }
  }
  const said = `: ${cleanText(report.verdict)}`
  const holds = report.url.startsWith('https:') && Date.parse(report.url_expires_at) > now.getTime()
  const yesterday = new Date(now.getTime() - DAY_MS).toISOString().slice(0, 10)
  const title = day === yesterday ? 'Yesterday’s report' : `Report of ${day}`
  return html`<p>
    ${
      read !== undefined
        ? html`<a href=${`#${fileName}`} onClick=${save}>${title}</a>`
        : holds
          ? html`<a href=${report.url} rel="noreferrer">${title}</a>`
          : title
    }${said}
    <span role="alert">${error !== null && html` <span class="flagged">It does not open: ${error}</span>`}</span>
  </p>`
}

/** A page of its own: opened from here it would be under this page's policy, which its styles are not. */
function saveFile(name: string, bytes: Uint8Array<ArrayBuffer>): void {
  const link = document.createElement('a')
  link.href = URL.createObjectURL(new Blob([bytes], { type: 'text/html' }))
  link.download = name
  link.click()
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000)
}
