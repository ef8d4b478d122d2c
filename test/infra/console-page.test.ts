import { readFileSync } from 'node:fs'
import type { Pool } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openPool } from '../../db/pool.ts'
import type { ConsoleServer } from '../../infra/console/server.ts'
import { hashBytes } from '../../storage/object-store.ts'
import { storeDevices, storeFailures, storeNetworkMinutes } from '../fixtures/console-data.ts'
import { HOSTILE_NAMES } from '../fixtures/report-data.ts'
import { CHROMIUM, findAxeViolations, NO_CHROMIUM, openBrowser, type TestBrowser } from '../harness/browser.ts'
import {
  DESK,
  DESK_LIGHT,
  findTooWide,
  originOf,
  PHONE,
  PHONE_DARK,
  serveDatabase,
  tokenOf,
} from '../harness/console.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { openPipeline } from '../harness/pipeline.ts'

const VIEWS = ['pipeline', 'devices', 'network', 'chunks']

const STATES: Record<string, (db: Pool) => Promise<unknown>> = {
  'an empty database': async () => {},
  '1 device': (db) => storeDevices(db, 1),
  '60 devices': async (db) => [await storeDevices(db, 60), await storeNetworkMinutes(db)],
  '1,000 devices': async (db) => [await storeDevices(db, 1000), await storeNetworkMinutes(db)],
  'a failed pipeline': async (db) => await storeFailures(db, await storeDevices(db, 2), 'the disk is full'),
  'hostile names, and failures of that name': async (db) => {
    const user = await storeDevices(db, HOSTILE_NAMES.length, HOSTILE_NAMES)
    for (const name of HOSTILE_NAMES) await storeFailures(db, user, name.replaceAll('\0', ''))
  },
}

describe.skipIf(CHROMIUM === undefined)(`in Chromium, the console${CHROMIUM ? '' : ` (${NO_CHROMIUM})`}`, () => {
  let browser: TestBrowser
  beforeAll(async () => {
    browser = await openBrowser()
  })
  afterAll(() => browser.close())

  describe.each(Object.entries(STATES))('of %s', (state, store) => {
    let database: TestDatabase
    let server: ConsoleServer
    beforeAll(async () => {
      database = await createDatabase()
      const db = openPool({ databaseUrl: database.url })
      await store(db)
      await db.end()
      server = await serveDatabase(database.url)
    })
    afterAll(async () => {
      await server.close()
      await database.drop()
    })

    // Colours are the same in every state; two are enough.
    it.each([PHONE, DESK, ...(/60|failed/.test(state) ? [PHONE_DARK, DESK_LIGHT] : [])])(
      'is quiet, accessible and no wider than $viewport.width px, $colorScheme',
      async (view) => {
        const { page, messages, requests, close } = await browser.visit(server.url, view, [originOf(server.url)])
        try {
          for (const name of VIEWS) {
            await page.click(`nav a[href="#${name}"]`)
            await page.waitForSelector(`nav a[href="#${name}"][aria-current]`)
            await page.locator('.verdict', { hasNotText: 'Reading' }).waitFor()
            expect(await findTooWide(page), name).toEqual([])
            expect(await findAxeViolations(page), name).toEqual([])
          }
          expect({ messages, requests }).toEqual({ messages: [], requests: [] })
          expect(page.url()).not.toContain('token')
        } finally {
          await close()
        }
      },
      120_000,
    )

    it.runIf(state === 'a failed pipeline')('says what failed, of what, and what to type', async () => {
      const { page, close } = await browser.visit(server.url, DESK)
      try {
        await page.locator('.failures li').nth(2).waitFor()
        expect(await page.textContent('.verdict')).toBe('3 things failed.')
        const texts = await page.locator('.failures li').allInnerTexts()
        expect(texts[0]).toMatch(
          /^▲ Job of upload-chunk .* ago\s+the disk is full\s+coherence backfill redrive\s+Copy$/,
        )
        expect(texts[1]).toMatch(/^▲ Chunk [0-9a-f-]{36} .* ago\s+the disk is full\s+coherence backfill chunks --from/)
        expect(texts[2]).toMatch(/^▲ Analysis [0-9a-f-]{36} .* ago\s+the disk is full$/)
      } finally {
        await close()
      }
    })

    it.runIf(state.startsWith('hostile'))(
      'shows names as text, and the command that makes good what failed',
      async () => {
        const { page, close } = await browser.visit(server.url, DESK)
        try {
          const listed = page.locator('.failures li')
          expect(await listed.first().waitFor()).toBe(undefined)
          expect(await listed.count()).toBe(3 * HOSTILE_NAMES.length)
          expect(await page.locator('.failures pre').allTextContents()).toContain(HOSTILE_NAMES[0])
          const commands = await page.locator('.failures .command code').allTextContents()
          expect([...new Set(commands)].toSorted()).toEqual([
            'coherence backfill chunks --from 2026-01-05T12:00:00Z --to 2026-01-05T12:07:11Z',
            'coherence backfill redrive',
          ])
          expect(await page.textContent('.verdict')).toBe('30 things failed.')
          await page.click('nav a[href="#devices"]')
          const names = page.locator('table th bdi')
          await names.first().waitFor()
          expect(await names.allTextContents()).toEqual(
            expect.arrayContaining([HOSTILE_NAMES[0], HOSTILE_NAMES[1], HOSTILE_NAMES[2], `${'w'.repeat(59)}…`]),
          )
          expect(await page.evaluate('window.hacked')).toBe(undefined)
          expect(await page.locator('body script, body img').count()).toBe(0)
        } finally {
          await close()
        }
      },
    )

    it.runIf(state === '60 devices')(
      'finds, orders and flags devices, and keeps the keyboard’s place',
      async () => {
        const { page, close } = await browser.visit(`${originOf(server.url)}/#token=${tokenOf(server.url)}`, DESK)
        try {
          await page.click('nav a[href="#devices"]')
          await page.locator('table tbody tr').first().waitFor()
          expect(await page.locator('tbody tr').count()).toBe(60)
          expect(await page.locator('tbody tr').first().innerText()).toMatch(
            /^device 0000\s+active\s.*\s2\.00\s+7,200\s+0\s+7\.9996\s/,
          )
          await page.selectOption('select', 'entropy')
          expect(await page.locator('tbody tr').first().innerText()).toMatch(/▲ 7\.9000/)
          expect(await page.locator('tbody [aria-label="Low"]').count()).toBe(8)
          await page.fill('input[type=search]', '0042')
          expect(await page.locator('tbody tr').count()).toBe(1)
          expect(await page.textContent('.verdict')).toBe('60 devices, 60 active, 30 of them silent.')
          await page.click('.live button')
          await page.focus('input[type=search]')
          await page.waitForResponse(/api\/devices/)
          expect(await page.evaluate('document.activeElement.value')).toBe('0042')
        } finally {
          await close()
        }
      },
      60_000,
    )
  })

  it('gives the newest report as a file, and says where the network is as one look', async () => {
    const pipeline = await openPipeline()
    await storeNetworkMinutes(pipeline.db)
    await storeDevices(pipeline.db, 1)
    await pipeline.db.query('update devices set last_seen_at = null')
    const html = Buffer.from('<!doctype html><title>of a day</title>')
    const key = 'reports/2026/01/05-0123456789abcdef.html'
    await pipeline.store.put(key, hashBytes(html))
    const { backend, bucket } = pipeline.store
    const details = { from: '2026-01-05T00:00:00.000Z', verdict: 'Nothing stands out.', backend, bucket, key }
    const { url, url_expires_at } = { url: 'file:///nowhere', url_expires_at: '2026-01-12T00:00:00.000Z' }
    await pipeline.db.query(
      `insert into maintenance_log (operation_type, target_table, details) values ('report', 'storage.objects', $1)`,
      [{ ...details, url, url_expires_at }],
    )
    const server = await serveDatabase(pipeline.config.databaseUrl, pipeline.config)
    const { page, messages, requests, close } = await browser.visit(server.url, DESK, [originOf(server.url)])
    try {
      const link = page.getByRole('link', { name: 'Report of 2026-01-05' })
      expect(await link.locator('..').innerText()).toBe('Report of 2026-01-05: Nothing stands out.')
      const [download] = await Promise.all([page.waitForEvent('download'), link.click()])
      expect(download.suggestedFilename()).toBe('coherence-2026-01-05.html')
      expect(readFileSync(await download.path())).toEqual(html)
      await page.click('nav a[href="#network"]')
      const end = await pipeline.db.query(
        `select pair_deviation / (pair_pointwise_95 / 1.959963984540054) as z
         from network_deviation(now() - interval '6 hours', now()) order by bucket_start desc limit 1`,
      )
      const z = `${end.rows[0].z < 0 ? '−' : ''}${Math.abs(end.rows[0].z).toFixed(2)}`
      await page.getByText(`After 3,600 seconds the pair products are at z = ${z}, P = .`).waitFor()
      expect(await page.locator('figcaption').first().textContent()).toContain(
        `The end is one look, z = ${z} with two-sided P`,
      )
      await page.click('nav a[href="#devices"]')
      await page.getByText('1 device, 1 active, 1 of them silent.').waitFor()
      expect({ messages, requests: requests.filter((one) => !one.startsWith('blob:')) }).toEqual({
        messages: [],
        requests: [],
      })
    } finally {
      await close()
      await server.close()
      await pipeline.close()
    }
  }, 60_000)

  it('says that it is not live when the server is gone, and what to do without the key', async () => {
    const database = await createDatabase()
    const server = await serveDatabase(database.url)
    const { page, close } = await browser.visit(server.url, DESK)
    const bare = await browser.visit(`${originOf(server.url)}/`, DESK)
    try {
      await bare.page.getByText('Open the address that `coherence console` printed').waitFor()
      await page.getByText('No sample has arrived yet.').waitFor()
      await server.close()
      await page.click('.live button')
      await page.getByText('Does the command that started it still run? What is shown is older.').waitFor()
      expect(await page.textContent('.live')).toContain('Not live')
      expect(await page.textContent('.verdict')).toBe('No sample has arrived yet.')
    } finally {
      await Promise.all([close(), bare.close()])
      await database.drop()
    }
  }, 60_000)
})
