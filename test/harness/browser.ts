import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { findTool } from './tools.ts'

/** Where this machine has Chromium; undefined if it has none. */
export const CHROMIUM = findTool('chromium')
export const NO_CHROMIUM = 'There is no Chromium here: apt-get install chromium.'

/** A page as a reader opens it, and what it did that it should not. */
export interface OpenPage {
  readonly page: Page
  /** Console messages and errors of the page. */
  readonly messages: string[]
  /** Addresses it asked for, other than itself and what is in it. */
  readonly requests: string[]
  readonly close: () => Promise<void>
}

/** A real browser. */
export interface TestBrowser {
  /** Opens a document from a file. */
  readonly open: (html: string, options: BrowserContextOptions) => Promise<OpenPage>
  /** Opens an address; requests to `origins`, if given, are not outside. */
  readonly visit: (url: string, options: BrowserContextOptions, origins?: readonly string[]) => Promise<OpenPage>
  readonly close: () => Promise<void>
}

export async function openBrowser(): Promise<TestBrowser> {
  const directory = mkdtempSync(join(tmpdir(), 'coherence-page-'))
  // The sandbox refuses to work for root.
  const browser: Browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  let pages = 0
  const visit: TestBrowser['visit'] = async (url, options, origins = []) => {
    const context = await browser.newContext(options)
    const page = await context.newPage()
    const messages: string[] = []
    const requests: string[] = []
    page.on('console', (message) => messages.push(`${message.type()}: ${message.text()}`))
    page.on('pageerror', (error) => messages.push(`error: ${error.message}`))
    page.on('request', (request) => {
      const asked = request.url()
      const isOwn = asked === url || asked.startsWith('data:') || origins.includes(new URL(asked).origin)
      if (!isOwn) requests.push(asked)
    })
    await page.goto(url)
    return { page, messages, requests, close: () => context.close() }
  }
  return {
    async open(html, options) {
      const file = join(directory, `${++pages}.html`)
      writeFileSync(file, html)
      return await visit(pathToFileURL(file).href, options)
    },
    visit,
    async close() {
      await browser.close()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

/** What axe-core finds wrong, a line each. */
export async function findAxeViolations(page: Page): Promise<string[]> {
  const { source } = createRequire(import.meta.url)('axe-core') as { source: string }
  await page.evaluate(source)
  return await page.evaluate<string[]>(
    `axe.run().then(({ violations }) => violations.flatMap(({ id, nodes }) =>
       nodes.map((node) => id + ': ' + node.html.slice(0, 200) + ' ' + node.failureSummary)))`,
  )
}
