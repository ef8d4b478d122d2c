import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ConsoleServer } from '../../infra/console/server.ts'
import { fairBytes } from '../fixtures/network-hours.ts'
import { CHROMIUM, findAxeViolations, NO_CHROMIUM, openBrowser, type TestBrowser } from '../harness/browser.ts'
import { DESK, originOf, PHONE, serveDatabase } from '../harness/console.ts'
import { openPipeline, type TestPipeline } from '../harness/pipeline.ts'

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
          await page.click(`button[aria-label="Open chunk ${id}"]`)
          const table = page.locator('table:has(#chunk-tests)')
          await table.waitFor()
          expect(await page.evaluate('document.activeElement.id')).toBe('chunk')
          for (const { device_id: device, results } of tests.devices) {
            await page.selectOption('.tools select', device)
            const rows = await table.locator('tbody tr').evaluateAll((all) => all.map((row) => row.textContent))
            expect(rows).toHaveLength(results.length)
            results.forEach(({ test, p_values: ps }: { test: string; p_values: number[] }, i: number) => {
              const p =
                ps.length === 0
                  ? '–'
                  : Math.min(...ps) > 0.9995
                    ? '> .999'
                    : Math.min(...ps)
                        .toFixed(3)
                        .slice(1)
              expect(rows[i]).toMatch(new RegExp(`^${test}${p}`))
            })
          }
          expect(await findAxeViolations(page)).toEqual([])
          const [content, window] = await page.evaluate<[number, number]>(
            '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
          )
          expect(content).toBeLessThanOrEqual(window)
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
