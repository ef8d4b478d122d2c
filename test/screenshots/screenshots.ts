import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium, type Page } from 'playwright-core'
import { CHROMIUM, NO_CHROMIUM } from '../harness/browser.ts'
import { createCli, ENTRY } from '../infra/run-cli.ts'
import { reportOfDay } from './report-day.ts'
import { recordTerminal, terminalPage } from './terminal.ts'

// The README's pictures, made of what `coherence demo` and `coherence dev` find on this machine, and of a day of made devices for the
// report: npm run screenshots, or npm run screenshots -- terminal for one of them.

const IMAGES = resolve(import.meta.dirname, '../../docs/images')

if (CHROMIUM === undefined) throw new Error(NO_CHROMIUM)
mkdirSync(IMAGES, { recursive: true })
const cli = createCli()
// The embedded server's account has to get through.
chmodSync(cli.directory, 0o755)
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
try {
  const pictures = { terminal: showTerminal, report: showReport, console: showConsole }
  const asked = process.argv.slice(2)
  process.stderr.write('the terminal takes a minute, the report three, the console four\n')
  for (const [name, show] of Object.entries(pictures)) if (asked.length === 0 || asked.includes(name)) await show()
} finally {
  await browser.close()
  cli.remove()
}

/** What `npm run demo` prints, as it is. */
async function showTerminal(): Promise<void> {
  const env = { PATH: process.env.PATH, HOME: cli.directory, TERM: 'xterm-256color' }
  const written = await recordTerminal(`'${process.execPath}' '${ENTRY}' demo`, { cwd: cli.directory, env })
  const page = await openPage(100)
  await page.setContent(terminalPage('npm run demo', written))
  const path = join(IMAGES, 'terminal.png')
  await page.locator('pre').screenshot({ path })
  tell(path)
}

async function showReport(): Promise<void> {
  const html = join(cli.directory, 'report.html')
  writeFileSync(html, await reportOfDay(cli.directory))
  const page = await openPage(1000)
  const width = 1040
  await page.setViewportSize({ width, height: 1000 })
  await page.goto(pathToFileURL(html).href)
  // To the end of the first walk.
  const walk = await page.locator('#network figure svg:visible').first().boundingBox()
  await page.setViewportSize({ width, height: Math.ceil(walk!.y + walk!.height + 4) })
  await save(page, 'report.png')
}

async function showConsole(): Promise<void> {
  const dev = cli.start(['dev', '--live'])
  try {
    await dev.seen(/ console --open\n/)
    await cli.run(['ingest', '--device', 'mine'], { input: randomBytes(100_000) })
    const served = cli.start(['console', '--json'])
    const [, url] = await served.seen(/"url":"([^"]+)"/)
    const page = await openPage(620)
    await page.goto(url)
    await page.click('nav a[href="#devices"]')
    // The first hour has rows once the first chunk is verified.
    await page
      .locator('tbody tr', { hasText: /\d\.\d{4}/ })
      .nth(5)
      .waitFor({ timeout: 300_000 })
    await save(page, 'console.png')
    served.child.kill('SIGTERM')
    await served.finished
  } finally {
    dev.child.kill('SIGTERM')
    await dev.finished
  }
}

async function openPage(height: number): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1080, height }, colorScheme: 'light' })
  return await context.newPage()
}

async function save(page: Page, name: string): Promise<void> {
  const path = join(IMAGES, name)
  await page.screenshot({ path })
  tell(path)
}

function tell(path: string): void {
  process.stderr.write(`${path}  ${Math.round(statSync(path).size / 1000)} kB\n`)
}
