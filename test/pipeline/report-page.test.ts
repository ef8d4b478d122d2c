import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { tableFromIPC } from 'apache-arrow'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { reportPage } from '../../pipeline/report/page.ts'
import { formatFixed } from '../../pipeline/report/format.ts'
import { escapeHtml } from '../../pipeline/report/html.ts'
import type { ReportData } from '../../pipeline/report/report-data.ts'
import { STATISTICS } from '../../pipeline/report/statistics.ts'
import { HOSTILE_NAMES, makeReport } from '../fixtures/report-data.ts'
import { CHROMIUM, findAxeViolations, NO_CHROMIUM, openBrowser, type TestBrowser } from '../harness/browser.ts'

const draw = (report: ReportData) => reportPage(report, (text) => createHash('sha256').update(text).digest('base64'))
const MB = 1e6

const REPORTS: Record<string, ReportData> = {
  'no devices': makeReport({ devices: 0 }),
  '1 device': makeReport({ devices: 1 }),
  '60 devices': makeReport({ devices: 60 }),
  '12 devices, some odd, with hostile names': makeReport({ devices: 12, names: HOSTILE_NAMES, odd: true }),
  '1,000 devices': makeReport({ devices: 1000, odd: true }),
}
const VIEWS = (['light', 'dark'] as const).flatMap((colorScheme) =>
  [360, 1280].map((width) => ({ colorScheme, viewport: { width, height: 800 } })),
)

describe('the page', () => {
  it.each(Object.entries(REPORTS))('of %s is one file of at most 5 MB that names no other', (_name, report) => {
    const page = draw(report)
    expect(Buffer.byteLength(page)).toBeLessThan(5 * MB)
    expect(page).not.toMatch(
      /<script|<iframe|<object|<embed|<link(?! rel="icon" href="data:,")|@import|url\(| style=| on\w+="/,
    )
    const targets = [...page.matchAll(/(?:href|src)="([^"]*)"/g)].map((match) => match[1])
    expect(
      targets.filter(
        (target) =>
          !/^(#[\w-]+|data:(text\/csv;charset=utf-8|application\/vnd\.apache\.arrow\.file;base64)?,.*)$/.test(target),
      ),
    ).toEqual([])
  })

  it('is the same for the same numbers', () => {
    expect(draw(makeReport({ devices: 12, odd: true }))).toBe(draw(makeReport({ devices: 12, odd: true })))
  })

  it('says in one line what stands out, or that nothing does', () => {
    expect(REPORTS['no devices'].verdict).toBe('There are no devices yet.')
    expect(REPORTS['60 devices'].verdict).toBe('60 devices, 864 k samples: nothing stands out.')
    expect(makeReport({ devices: 12, odd: true }).verdict).toBe(
      '11 devices, 158 k samples: device 0000, device 0010 × device 0011, the network and 1 more stand out.',
    )
  })

  it('keeps names that are written from right to left, and what would turn the text after them, to themselves', () => {
    const names = ['\u202eجهاز \u2066الطابق (rpi-7)', 'מכשיר', ...Array.from({ length: 8 }, (_, i) => `d${i}`), 'ימין']
    const page = draw(makeReport({ devices: 12, names, odd: true }))
    expect(page).toContain(
      'samples: <bdi>جهاز الطابق (rpi-7)</bdi>, <bdi>ימין</bdi> × <bdi>device 0011</bdi>, the network and 1 more stand out.',
    )
    expect(page).toMatch(/Marked, beyond ±3.5: <bdi>جهاز الطابق \(rpi-7\)<\/bdi> \(\d/)
    expect(page).not.toMatch(/[\u202a-\u202e\u2066\u2067]/)
    // In figures a pair of characters isolates them.
    expect(page).toMatch(/<text[^>]*>(<title>[^<]*<\/title>)?\u2068מכשיר\u2069|\u2068ימין\u2069/)
    expect(page.replaceAll(/\u2068[^<\u2069]*\u2069/g, '')).not.toContain('\u2069')
  })

  it('has the numbers of each figure and table as a file', () => {
    expect(draw(REPORTS['60 devices']).match(/<figure>|<div class="table/g)).toHaveLength(15)
    for (const [name, report] of Object.entries(REPORTS)) {
      const page = draw(report)
      const pieces = page.split(/(?=<figure>|<div class="table)/).slice(1)
      const without = pieces.filter((piece) => !/<a\s+class="download"/.test(piece))
      expect(without, name).toEqual([])
      const links = [...page.matchAll(/<a\s+class="download"[^>]*>([^<]*)/g)].map((match) => match[1].trim())
      expect(links.filter((text, i) => links.indexOf(text) !== i)).toEqual([])
    }
  })

  it('has the walks as an Arrow file', () => {
    const { network } = REPORTS['60 devices']
    const [, base64] = draw(REPORTS['60 devices']).match(/download="walks\.arrow" href="[^"]*;base64,([^"]*)"/) ?? []
    const table = tableFromIPC(Buffer.from(base64, 'base64'))
    const last = network.trace.at(-1)!
    expect(table.numRows).toBe(network.trace.length)
    expect({ ...table.get(table.numRows - 1)!.toJSON() }).toEqual({
      ...last,
      end: Date.parse(last.end),
      control_pair: network.control.trace!.at(-1)!.pair,
      control_netvar: network.control.trace!.at(-1)!.netvar,
    })
  })

  it('says of every statistic what it means and what its null is', () => {
    const text = (html: string) => escapeHtml(html)
    const pages = Object.values(REPORTS).map(draw).join('')
    for (const { says } of Object.values(STATISTICS)) expect(pages).toContain(text(says))
    for (const { term, says } of Object.values(STATISTICS)) {
      expect(says, JSON.stringify(term)).toMatch(/\bnulls?\b|It is a count, not a test/)
    }
    // A column of numbers is a statistic's, or counts something that its head names.
    const heads = [...draw(REPORTS['60 devices']).matchAll(/<th scope="col"\s+class="number"\s*>(.*?)<\/th/gs)]
    const known = new Set(
      Object.values(STATISTICS).map(({ term }) => (typeof term === 'string' ? text(term) : term.html)),
    )
    const others = heads.map((match) => match[1].trim()).filter((head) => !known.has(head))
    expect([...new Set(others)].toSorted()).toEqual(['Bytes', 'Samples', 'Seconds'])
  })

  it('shows the χ² of netvar and its degrees of freedom', () => {
    const { netvar } = REPORTS['60 devices'].network.tests!
    const { chi2, df } = netvar.status === 'ok' ? netvar : { chi2: Number.NaN, df: 0 }
    expect(draw(REPORTS['60 devices'])).toContain(`χ² = ${formatFixed(chi2, 2)}, df ${formatFixed(df, 0)}`)
  })

  it('has each link go somewhere, and no id twice', () => {
    for (const report of Object.values(REPORTS)) {
      const page = draw(report)
      const ids = [...page.matchAll(/ id="([^"]*)"/g)].map((match) => match[1])
      expect(ids.filter((id, i) => ids.indexOf(id) !== i)).toEqual([])
      const named = [...page.matchAll(/(?:href="#|aria-labelledby=")([^"]*)"/g)].flatMap((match) => match[1].split(' '))
      expect(named.filter((id) => !ids.includes(id))).toEqual([])
    }
  })
})

describe.skipIf(CHROMIUM === undefined)(`in Chromium, the page${CHROMIUM ? '' : ` (${NO_CHROMIUM})`}`, () => {
  let browser: TestBrowser
  beforeAll(async () => {
    browser = await openBrowser()
  })
  afterAll(() => browser.close())

  describe.each(Object.entries(REPORTS))('of %s', (_name, report) => {
    it.each(VIEWS)(
      'is quiet, accessible and no wider than $viewport.width px, $colorScheme',
      async (view) => {
        const { page, messages, requests, close } = await browser.open(draw(report), view)
        try {
          const [content, window] = await page.evaluate<[number, number]>(
            '[document.documentElement.scrollWidth, document.documentElement.clientWidth]',
          )
          expect(content).toBeLessThanOrEqual(window)
          expect(await findAxeViolations(page)).toEqual([])
          expect({ messages, requests }).toEqual({ messages: [], requests: [] })
        } finally {
          await close()
        }
      },
      120_000,
    )
  })

  it.each(Object.entries(REPORTS))(
    'of %s is cut nowhere',
    async (_name, report) => {
      const { page, close } = await browser.open(draw(report), { viewport: { width: 1280, height: 800 } })
      try {
        for (const width of [320, 360, 768, 1280, 1600]) {
          await page.setViewportSize({ width, height: 800 })
          const cut = await page.evaluate<string[]>(
            `[document.documentElement, ...document.querySelectorAll('.scroll')].filter((element, i) =>
             (i === 0 || innerWidth >= 768) && element.scrollWidth > element.clientWidth).map((element) =>
             (element.getAttribute('aria-labelledby') ?? 'page') + ' ' + element.scrollWidth + ' ' + element.clientWidth)`,
          )
          expect(cut, `at ${width} px`).toEqual([])
          // Words of code are never broken within.
          const lines = await page.evaluate<number>(
            `Math.max(0, ...[...document.querySelectorAll('td .word, th .word')].map((element) =>
             new Set([...element.getClientRects()].map(({ top }) => Math.round(top))).size - element.textContent.split('_').length))`,
          )
          expect(lines, `at ${width} px`).toBeLessThanOrEqual(0)
        }
        // Texts of figures are about as large as those of tables, on a phone too.
        await page.setViewportSize({ width: 360, height: 800 })
        const scales = await page.evaluate<number[]>(
          `[...document.querySelectorAll('svg.plot')].filter((svg) => svg.getClientRects().length > 0).map((svg) =>
           svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)`,
        )
        expect(scales.filter((scale) => scale < 0.93)).toEqual([])
      } finally {
        await close()
      }
    },
    120_000,
  )

  it('prints its chunk hashes, and the colours of its legend', async () => {
    const { page, close } = await browser.open(draw(REPORTS['60 devices']), { viewport: { width: 680, height: 960 } })
    try {
      await page.emulateMedia({ media: 'print' })
      expect(await page.locator('#provenance .hash').last().isVisible()).toBe(true)
      expect(await page.evaluate(`getComputedStyle(document.querySelector('.scale li')).printColorAdjust`)).toBe(
        'exact',
      )
      expect(await page.evaluate(`getComputedStyle(document.querySelector('#network .scroll')).breakInside`)).toBe(
        'avoid',
      )
    } finally {
      await close()
    }
  }, 60_000)

  it('fits the paper that it is printed on, in light colours', async () => {
    // A4 less its margins.
    const view = { viewport: { width: 680, height: 960 }, colorScheme: 'dark' as const }
    const { page, close } = await browser.open(draw(REPORTS['60 devices']), view)
    try {
      await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBeLessThanOrEqual(680)
      expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)')
    } finally {
      await close()
    }
  }, 60_000)

  it('shows hostile names as text', async () => {
    const report = REPORTS['12 devices, some odd, with hostile names']
    const { page, close } = await browser.open(draw(report), { viewport: { width: 1280, height: 800 } })
    try {
      const shown = await page.locator('table th bdi').allTextContents()
      expect(shown).toEqual(
        expect.arrayContaining([HOSTILE_NAMES[0], HOSTILE_NAMES[1], HOSTILE_NAMES[2], HOSTILE_NAMES[7]]),
      )
      expect(shown).toContain('\ufffd\ufffd\ufffd[31mred')
      expect(shown).toContain(`${'w'.repeat(59)}…`)
      expect(shown).toContain('جهاز الطابق')
      // In figures too.
      const drawn = await page.locator('svg text').allTextContents()
      expect(drawn.filter((text) => text.startsWith('\u2068<script>window.')).length).toBeGreaterThan(1)
      expect(await page.evaluate('window.hacked')).toBe(undefined)
      expect(await page.locator('script, img').count()).toBe(0)
    } finally {
      await close()
    }
  }, 60_000)

  it('gives the numbers behind a figure as a file', async () => {
    const report = REPORTS['12 devices, some odd, with hostile names']
    const { page, close } = await browser.open(draw(report), { viewport: { width: 1280, height: 800 } })
    const download = async (name: string) => {
      const [file] = await Promise.all([page.waitForEvent('download'), page.click(`a[download="${name}.csv"]`)])
      expect(file.suggestedFilename()).toBe(`${name}.csv`)
      return readFileSync(await file.path(), 'utf8')
        .trimEnd()
        .split('\n')
    }
    try {
      const walk = await download('walk-pair')
      const last = report.network.trace.at(-1)!
      expect(walk).toHaveLength(1 + report.network.trace.length)
      expect(walk.at(-1)).toMatch(
        `${last.end},${last.seconds},${last.pair},${last.pair_95},${report.network.control.trace!.at(-1)!.pair}`,
      )
      const devices = await download('devices')
      expect(devices.find((line) => line.includes('HYPERLINK'))).toContain(`,"'=HYPERLINK(""http://example.test"")",`)
      expect(await download('pairs')).toHaveLength(1 + report.pairs.rows.length)
    } finally {
      await close()
    }
  }, 60_000)

  it('takes the colours that the reader chooses, and begins with a link that skips', async () => {
    const view = { viewport: { width: 1280, height: 800 }, colorScheme: 'light' as const }
    const { page, close } = await browser.open(draw(REPORTS['1 device']), view)
    const paper = () => page.evaluate<string>('getComputedStyle(document.body).backgroundColor')
    try {
      await page.keyboard.press('Tab')
      expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the findings')
      await page.keyboard.press('Enter')
      expect(await page.evaluate('document.activeElement.id')).toBe('main')
      const light = await paper()
      await page.check('#theme-dark')
      expect(await paper()).not.toBe(light)
      await page.check('#theme-light')
      expect(await paper()).toBe(light)
    } finally {
      await close()
    }
  }, 60_000)
})
