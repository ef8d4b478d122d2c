import { createHash } from 'node:crypto'
import type { Locator } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ConsoleServer } from '../../infra/console/server.ts'
import { fairBytes } from '../fixtures/network-hours.ts'
import { CHROMIUM, findAxeViolations, NO_CHROMIUM, openBrowser, type TestBrowser } from '../harness/browser.ts'
import { DESK, findTooWide, originOf, PHONE, serveDatabase } from '../harness/console.ts'
import { openPipeline, type TestPipeline } from '../harness/pipeline.ts'

/** The smallest, by Holm. */
const adjusted = (ps: readonly number[]) => Math.min(1, ps.length * Math.min(...ps))

/** Whether it is whole within the window's width, nothing scrolled. */
async function isInSight(one: Locator): Promise<boolean> {
  const box = await one.boundingBox()
  const { width } = one.page().viewportSize()!
  return box !== null && box.x >= 0 && box.x + box.width <= width
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe.skipIf(CHROMIUM === undefined)(`in Chromium, the console${CHROMIUM ? '' : ` (${NO_CHROMIUM})`}`, () => {
  let browser: TestBrowser
  beforeAll(async () => {
    browser = await openBrowser()
  })
  afterAll(() => browser.close())

  describe('with chunks', () => {
    let pipeline: TestPipeline
    let server: ConsoleServer
    beforeAll(async () => {
      pipeline = await openPipeline({ chunkTargetBytes: 1e6 })
      const devices = await pipeline.addDevices(2)
      const start = Math.floor(Date.now() / 1000) - 400
      const bytes = devices.map((_, i) => fairBytes(`console ${i}`, 300 * 64))
      await pipeline.insert(
        Array.from({ length: 300 }, (_, second) =>
          devices.map((device, i) => ({
            ...device,
            timestamp: new Date((start + second) * 1000),
            sequence: BigInt(second),
            data: bytes[i].subarray(64 * second, 64 * second + 64),
          })),
        ).flat(),
      )
      await pipeline.pack()
      await pipeline.drain()
      server = await serveDatabase(pipeline.config.databaseUrl, pipeline.config)
    })
    afterAll(async () => {
      await server.close()
      await pipeline.close()
    })

    const stored = async () => {
      const { rows } = await pipeline.db.query(
        `select c.id, r.object_key as key, a.tests from storj_chunks c join chunk_analysis a on a.chunk_id = c.id
         join chunk_replicas r on r.chunk_id = c.id and r.kind = 'chunk'`,
      )
      return { ...rows[0], bytes: Buffer.from(await pipeline.store.get(rows[0].key)) }
    }

    it.each([PHONE, DESK])(
      'opens one, whose results are those that the pipeline stored, $viewport.width px',
      async (view) => {
        const { id, tests } = await stored()
        const { page, messages, requests, close } = await browser.visit(server.url, view, [originOf(server.url)])
        try {
          await page.click('nav a[href="#chunks"]')
          const button = page.locator(`button[aria-label="Open chunk ${id}"]`)
          expect(await isInSight(button)).toBe(true)
          await button.click()
          const table = page.locator('table[aria-labelledby=chunk-tests]')
          await table.waitFor()
          expect(await page.evaluate('document.activeElement.id')).toBe('chunk')
          for (const { device_id: device, results } of tests.devices) {
            await page.selectOption('.tools select', device)
            const rows = await table.locator('tbody tr').evaluateAll((all) => all.map((row) => row.textContent))
            expect(rows).toHaveLength(results.length)
            results.forEach(({ test, p_values: ps }: { test: string; p_values: number[] }, i: number) => {
              const p = ps.length === 0 ? '–' : adjusted(ps) > 0.9995 ? '> .999' : adjusted(ps).toFixed(3).slice(1)
              expect(rows[i]).toContain(`${p}${ps.length > 1 ? ` of ${ps.length}` : ''}`)
              expect(rows[i]).toMatch(new RegExp(`^${test}`))
            })
            expect(await page.locator('.tools option:checked').textContent()).toMatch(/^device .* \([0-9a-f]{8}\)$/)
          }
          expect(await table.locator('tbody td:nth-child(4)', { hasText: /\d{4}\.0000/ }).count()).toBe(0)
          for (const head of ['Result', 'Alarms']) {
            expect(await isInSight(page.locator('th', { hasText: head })), head).toBe(true)
          }
          expect(await page.locator('table[aria-labelledby=chunk-devices] tbody th').allInnerTexts()).toEqual(
            tests.devices.map(({ device_id: device }: { device_id: string }) =>
              expect.stringMatching(new RegExp(`^device .*${device.slice(0, 8)}$`)),
            ),
          )
          expect(await findAxeViolations(page)).toEqual([])
          expect(await findTooWide(page)).toEqual([])
          expect({ messages, requests }).toEqual({ messages: [], requests: [] })
        } finally {
          await close()
        }
      },
      60_000,
    )

    it('opens a file, proves it by its name, and says what is wrong with one that is no chunk', async () => {
      const { key, bytes } = await stored()
      const name = key.split('/').at(-1)
      const { page, close } = await browser.visit(server.url, DESK)
      try {
        await page.click('nav a[href="#chunks"]')
        const give = (file: string, buffer: Buffer) =>
          page.setInputFiles('input[type=file]', { name: file, mimeType: 'application/octet-stream', buffer })
        await give(name, bytes)
        expect(await page.getByText('as its name says').textContent()).toContain(sha256(bytes))
        const changed = Buffer.from(bytes)
        changed[changed.indexOf(fairBytes('console 0', 8))] ^= 1
        await give(`x-${name}`, changed)
        await page.getByText('and its name says').waitFor()
        await give('broken.arrow', bytes.subarray(0, 5000))
        await page.locator('[role=alert]', { hasText: 'broken.arrow does not open' }).waitFor()
      } finally {
        await close()
      }
    }, 60_000)

    it('opens a file that is dropped on it', async () => {
      const { key, bytes } = await stored()
      const { page, close } = await browser.visit(server.url, DESK)
      try {
        await page.click('nav a[href="#chunks"]')
        await page.waitForSelector('.drop')
        await page.evaluate(
          `{ const transfer = new DataTransfer()
             transfer.items.add(new File([Uint8Array.fromBase64(${JSON.stringify(bytes.toString('base64'))})], ${JSON.stringify(key.split('/').at(-1))}))
             document.querySelector('.drop').dispatchEvent(new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true })) }`,
        )
        expect(await page.getByText('as its name says').textContent()).toContain(sha256(bytes))
      } finally {
        await close()
      }
    }, 60_000)
  })
})
