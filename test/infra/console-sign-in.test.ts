import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openPool } from '../../db/pool.ts'
import { storeNetworkMinutes } from '../fixtures/console-data.ts'
import { CHROMIUM, findAxeViolations, NO_CHROMIUM, openBrowser, type TestBrowser } from '../harness/browser.ts'
import { originOf, PHONE, serveSignIn } from '../harness/console.ts'
import { createDatabase } from '../harness/database.ts'
import { addPerson } from '../harness/people.ts'
import { findPostgrest, startPostgrest } from '../harness/postgrest.ts'

describe.skipIf(CHROMIUM === undefined)(`in Chromium, the console${CHROMIUM ? '' : ` (${NO_CHROMIUM})`}`, () => {
  let browser: TestBrowser
  beforeAll(async () => {
    browser = await openBrowser()
  })
  afterAll(() => browser.close())

  describe.skipIf(findPostgrest() === undefined)('with sign-in', () => {
    it('shows users their own', async () => {
      const database = await createDatabase()
      const db = openPool({ databaseUrl: database.url })
      const [ada, ben] = [await addPerson(db), await addPerson(db)]
      await storeNetworkMinutes(db)
      for (const person of [ada, ben])
        await db.query('update devices set name = $2 where id = $1', [person.device, `of ${person.user}`])
      const file = { url: 'file:///x.arrow', file_name: 'mine.arrow', bytes: 1, sha256: '', samples: 7 }
      await db.query(
        `update sample_exports set status = 'completed', files = $2, links_expire_at = now() + interval '1 hour' where user_id = $1`,
        [ada.user, JSON.stringify([file])],
      )
      const postgrest = await startPostgrest(database, { 'ada@example.org': ada.user, 'ben@example.org': ben.user })
      const server = await serveSignIn(postgrest.url)
      try {
        for (const [who, person, other] of [
          ['ada', ada, ben],
          ['ben', ben, ada],
        ] as const) {
          const { page, messages, requests, close } = await browser.visit(server.url, PHONE, [
            originOf(server.url),
            postgrest.url,
          ])
          expect(await findAxeViolations(page)).toEqual([])
          await page.fill('[name=email]', 'eve@example.org')
          await page.fill('[name=password]', 'p')
          await page.click('button[type=submit]')
          await page.getByText('Invalid login credentials').waitFor()
          expect(messages.splice(0)).toEqual([expect.stringContaining('400 (Bad Request)')])
          await page.fill('[name=email]', `${who}@example.org`)
          await page.click('button[type=submit]')
          await page.click('nav a[href="#devices"]')
          await page.locator('tbody th').first().waitFor()
          expect(await page.locator('tbody th').allTextContents()).toEqual([`of ${person.user}`])
          await page.click('nav a[href="#network"]')
          await page.locator('svg:visible').first().waitFor()
          expect(await page.textContent('.verdict')).toMatch(/^After 3,600 seconds/)
          await page.click('nav a[href="#chunks"]')
          await page.getByText('Newest chunks').waitFor()
          expect(await page.locator('table[aria-labelledby=chunks-table] tbody th').allTextContents()).toEqual([
            person.chunk,
          ])
          expect(await page.locator('button', { hasText: /^Open$/ }).count()).toBe(who === 'ada' ? 1 : 0)
          await page.click('nav a[href="#pipeline"]')
          await page.getByText('Chunks verified').waitFor()
          expect(await page.content()).not.toContain(other.user)
          expect(await findAxeViolations(page)).toEqual([])
          await page.reload()
          await page.click('button:has-text("Sign out")')
          await page.waitForSelector('[name=email]')
          expect({ messages, requests }).toEqual({ messages: [], requests: [] })
          await close()
        }
      } finally {
        await server.close()
        await postgrest.close()
        await db.end()
        await database.drop()
      }
    }, 120_000)
  })
})
