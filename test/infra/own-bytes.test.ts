import { chmodSync, existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import type { DevicesView } from '../../infra/console/model.ts'
import { fairBytes } from '../fixtures/network-hours.ts'
import { CHROMIUM, openBrowser } from '../harness/browser.ts'
import { createCli, ENTRY } from './run-cli.ts'

test('bytes of a pipe are on the page, with no setting and no id', async () => {
  const cli = createCli()
  // The server's account has to get through.
  chmodSync(cli.directory, 0o755)
  const dev = cli.start(['dev'])
  try {
    const [, command] = await dev.seen(/ {2}cat FILE \| (.*) ingest --device mine\n/)
    // Started by its file, so to be typed by its file.
    expect(resolve(cli.directory, command.replace(/^node /, ''))).toBe(ENTRY)
    const ingest = await cli.run(['ingest', '--device', 'mine', '--json'], { input: fairBytes('own', 51_200) })
    expect(ingest.json()).toMatchObject({ samples: 100, bytes: 51_200 })
    const unknown = await cli.run(['ingest', '--device', 'yours'], { input: 'x' })
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('no active device has the name "yours"') })

    const page = cli.start(['console', '--json'])
    const [, url] = await page.seen(/"url":"([^"]+)"/)
    const [origin, token] = url.split('/#token=')
    const answer = await fetch(`${origin}/api/devices`, { headers: { Authorization: `Bearer ${token}` } })
    const { devices, backlog } = (await answer.json()) as DevicesView
    expect(devices).toMatchObject([{ name: 'mine', status: 'active', last_seen_at: expect.any(String) }])
    // The worker of `dev` packs it a minute later.
    expect(backlog).toEqual([{ device_id: devices[0].device_id, samples: 100 }])
    if (CHROMIUM !== undefined) {
      const browser = await openBrowser()
      const { page: shown } = await browser.visit(url, {})
      await shown.click('nav a[href="#devices"]')
      await shown.locator('tbody tr', { hasText: 'mine' }).waitFor()
      await browser.close()
    }
    page.child.kill('SIGTERM')
    expect(await page.finished).toMatchObject({ code: 0 })
    dev.child.kill('SIGTERM')
    expect(await dev.finished).toMatchObject({ code: 0 })
    expect(existsSync(join(cli.directory, '.coherence', 'dev.env'))).toBe(false)
  } finally {
    dev.child.kill('SIGTERM')
    await dev.finished
    cli.remove()
  }
}, 90_000)
