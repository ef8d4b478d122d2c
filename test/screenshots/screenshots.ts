import { mkdirSync, statSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { CHROMIUM, NO_CHROMIUM } from '../harness/browser.ts'
import { createCli } from '../infra/run-cli.ts'

// The README's pictures, made of what `coherence demo` finds on this machine: npm run screenshots.

const IMAGES = resolve(import.meta.dirname, '../../docs/images')
const SECONDS = 60

if (CHROMIUM === undefined) throw new Error(NO_CHROMIUM)
const cli = createCli()
try {
  process.stderr.write(`a demo of ${SECONDS} s, and a minute or two more\n`)
  const demo = await cli.run(['demo', '--seconds', String(SECONDS), '--json'])
  if (demo.code !== 0) throw new Error(demo.stderr)
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  try {
    const viewport = { width: 1080, height: 1795 }
    const context = await browser.newContext({ viewport, colorScheme: 'light' })
    const page = await context.newPage()
    await page.goto(pathToFileURL(join(cli.directory, demo.json().report)).href)
    mkdirSync(IMAGES, { recursive: true })
    const path = join(IMAGES, 'report.png')
    await page.screenshot({ path })
    process.stderr.write(`${path}  ${Math.round(statSync(path).size / 1000)} kB\n`)
  } finally {
    await browser.close()
  }
} finally {
  cli.remove()
}
