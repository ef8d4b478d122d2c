import { describe, expect, it } from 'vitest'
import { csvUrl, toCsv } from '../../pipeline/report/csv.ts'
import { entropyBand } from '../../pipeline/report/entropy-band.ts'
import {
  cutText,
  formatCount,
  formatFixed,
  formatP,
  formatPercent,
  formatWindow,
} from '../../pipeline/report/format.ts'
import { html, nameHtml } from '../../pipeline/report/html.ts'
import { chunkPasses, type DevicePValues, testsPart } from '../../pipeline/report/tests-part.ts'
import { deviceName, findFindings, verdictOf } from '../../pipeline/report/verdict.ts'
import { incompleteBeta } from '../../pipeline/special.ts'
import { fairBytes } from '../fixtures/network-hours.ts'
import { makeReport } from '../fixtures/report-data.ts'

function uniform(label: string, count: number): number[] {
  const bytes = fairBytes(label, 4 * count)
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return Array.from({ length: count }, (_, i) => (view.getUint32(4 * i) + 0.5) / 2 ** 32)
}

function entropyOf(bytes: Uint8Array): number {
  const counts = new Uint32Array(256)
  for (const byte of bytes) counts[byte]++
  return counts.reduce(
    (sum, count) => (count === 0 ? sum : sum - (count / bytes.length) * Math.log2(count / bytes.length)),
    0,
  )
}

describe('the band of the entropy', () => {
  it.each([1280, 4096, 65_536])('holds ideal hours of %i bytes as often as it says', (bytes) => {
    const z = Array.from({ length: 400 }, (_, k) => {
      const hours = [0, 1].map((hour) => ({ bytes, entropy: entropyOf(fairBytes(`${bytes} ${k} ${hour}`, bytes)) }))
      return entropyBand(hours)!.z
    })
    const mean = z.reduce((sum, value) => sum + value, 0) / z.length
    const sd = Math.sqrt(z.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (z.length - 1))
    // Four standard errors of a mean and of a standard deviation of 400.
    expect(Math.abs(mean)).toBeLessThan(0.2)
    expect(sd).toBeGreaterThan(0.86)
    expect(sd).toBeLessThan(1.14)
  })

  it('weighs hours by their bytes, leaves short ones out, and says nothing of none', () => {
    expect(
      entropyBand([
        { bytes: 1279, entropy: 7.8 },
        { bytes: 0, entropy: null },
      ]),
    ).toBeNull()
    const band = entropyBand([
      { bytes: 3000, entropy: 7.9 },
      { bytes: 1500, entropy: 7.6 },
      { bytes: 100, entropy: 6 },
    ])!
    expect(band.entropy).toBeCloseTo(7.8, 12)
    expect(band.expected).toBeGreaterThan(band.low)
    expect(band.high).toBeLessThanOrEqual(8)
    expect(band.z).toBeCloseTo((3 * (band.entropy - band.expected)) / (band.expected - band.low), 9)
  })
})

describe('chunk tests', () => {
  const own = (deviceId: string, test: string, pValues: number[]): DevicePValues => ({
    deviceId,
    test,
    index: 0,
    of: pValues.length === 0 ? 0 : 1,
    pValues,
    results: { ok: pValues.length, insufficient: 2, not_applicable: 0 },
  })

  it('are counted by test, by device and by device and test', () => {
    const found = [
      own('a', 'frequency', [0.5, 0.005, 0.95]),
      own('b', 'frequency', [0.2]),
      own('b', 'runs', []),
      { ...own('a', 'shannon_entropy', []), results: { ok: 3, insufficient: 0, not_applicable: 0 } },
    ]
    const tests = testsPart(found, 3)
    expect(tests.rows).toMatchObject([
      { test: 'frequency', proportion: { tested: 4, passed: 3 }, p_t: null, bins: [1, 0, 1, 0, 0, 1, 0, 0, 0, 1] },
      { test: 'runs', proportion: null, results: { ok: 0, insufficient: 2 } },
    ])
    expect(tests.rows[0].p_failures).toBeCloseTo(1 - 0.99 ** 4, 12)
    expect(tests.by_device.map((row) => [row.device_id, row.test])).toEqual([
      ['a', 'frequency'],
      ['b', 'frequency'],
      ['b', 'runs'],
    ])
    expect(tests.p_values).toBe(4)
    expect(tests.histogram[0]).toBe(1)
    expect(chunkPasses(found)).toEqual(
      new Map([
        ['a', { passed: 2, tested: 3 }],
        ['b', { passed: 1, tested: 1 }],
      ]),
    )
  })

  it('with few different P-values are counted, and not called uniform or plotted', () => {
    const p = uniform('p', 100)
    const tests = testsPart([own('a', 'most_common_value', p), own('a', 'frequency', p)], 100)
    expect(tests.rows.map(({ p_t: pT, ks }) => [pT === null, ks === null])).toEqual([
      [true, true],
      [false, false],
    ])
    expect(tests.p_values).toBe(100)
  })

  it('have a QQ band that is exact at every rank', () => {
    const { qq } = testsPart([own('a', 'frequency', uniform('q', 5000))], 5000)
    expect(qq[0].expected).toBeCloseTo(1 / 5001, 12)
    expect(qq.at(-1)!.expected).toBeCloseTo(5000 / 5001, 12)
    expect(qq.length).toBeLessThan(241)
    for (const { expected, low, high } of qq) {
      const rank = Math.round(expected * 5001)
      expect(incompleteBeta(rank, 5001 - rank, low)).toBeCloseTo(0.025, 4)
      expect(incompleteBeta(rank, 5001 - rank, high)).toBeCloseTo(0.975, 4)
    }
    expect(qq.filter(({ observed, low, high }) => observed < low || observed > high).length).toBeLessThan(
      0.15 * qq.length,
    )
  })
})

describe('findings', () => {
  const odd = makeReport({ devices: 20, odd: true })

  it('name what is odd, the rarest first, and the silent last', () => {
    const kinds = odd.findings.map(({ subject, finding }) => `${subject}: ${finding.split(',')[0]}`)
    expect(kinds).toContain('device 0000: share of ones')
    expect(kinds).toContain('device 0018 × device 0019: move together')
    expect(kinds).toContain('the network: pair products')
    expect(kinds.at(-1)).toBe('device 0001: sent nothing')
    const p = odd.findings.map(({ p_holm: value }) => value ?? 1)
    expect(p).toEqual(p.toSorted((a, b) => a - b))
  })

  it('correct for tests that are not listed', () => {
    const row = { seconds: 3600, r: 0.1, q: 0.01, product_z: 5, product_q: 0.01 }
    const [a, b] = odd.devices.slice(2, 4).map(({ id }) => id)
    const judge = (p: number, tested: number) =>
      findFindings({
        network: { ...odd.network, tests: null },
        devices: [],
        tests: { ...odd.tests, by_device: [] },
        pairs: { kind: 'hours', tested, lags: [], rows: [{ ...row, a, b, p }] },
      })
    expect(judge(1e-8, 1000)).toMatchObject([{ p_holm: 1e-5 }])
    expect(judge(1e-8, 10_000_000)).toEqual([])
  })

  it('of many silent devices are one', () => {
    const silent = odd.devices.map((device) => ({ ...device, samples: 0, z: null, p: null, byte_chi_square: null }))
    const found = findFindings({
      network: { ...odd.network, tests: null },
      devices: silent,
      tests: { ...odd.tests, by_device: [] },
      pairs: { ...odd.pairs, rows: [] },
    })
    expect(found).toEqual([{ subject: '19 active devices', finding: 'sent nothing', p_holm: null }])
    expect(verdictOf(silent, 0, found)).toBe('No samples came from 20 devices.')
  })

  it('are few under the null', () => {
    const named = Array.from({ length: 300 }, (_, k) => {
      const p = uniform(`fair ${k}`, 40)
      const devices = odd.devices.map((device, i) => ({
        ...device,
        status: 'inactive',
        p: p[2 * i],
        byte_chi_square: { statistic: 0, df: 255, p: p[2 * i + 1] },
      }))
      return findFindings({
        network: { ...odd.network, tests: null },
        devices,
        tests: { ...odd.tests, by_device: [] },
        pairs: { ...odd.pairs, rows: [] },
      }).length
    })
    // .001 each: of 300 more than 4 would be seen once in 30,000 runs.
    expect(named.filter((count) => count > 0).length).toBeLessThan(5)
  })
})

describe('texts', () => {
  it('are escaped in HTML, and other HTML is not', () => {
    expect(
      html`<p title="${`"<'`}">${'<b>&'}${html`<i>${1}</i>`}${[html`x`, 'y<']}${null}${undefined}${false}</p>`.html,
    ).toBe('<p title="&quot;&lt;&#39;">&lt;b&gt;&amp;<i>1</i>xy&lt;</p>')
    expect(nameHtml('a\u0001\ud800').html).toBe('<bdi>a\ufffd\ufffd</bdi>')
    expect(nameHtml('é'.repeat(61)).html).toBe(`<bdi title="${'é'.repeat(61)}">${'é'.repeat(59)}…</bdi>`)
    expect(nameHtml('a\u202eb\u2066c\u2069').html).toBe('<bdi>abc</bdi>')
    expect(deviceName({ id: 'abcdefgh-1', name: ' \u202e' })).toBe('nameless device abcdefgh')
    expect(cutText('👩‍🔬👩‍🔬👩‍🔬', 2)).toBe('👩‍🔬…')
  })

  it('are quoted in CSV, and no spreadsheet takes them for formulas', () => {
    const rows = [
      ['a,b', -1.5, null],
      ['"q"\n', 1e-20, true],
      ['=1+1', 0, false],
      ['-x', 1, null],
    ] as const
    expect(toCsv(['name', 'x', 'y'], rows)).toBe(
      'name,x,y\n"a,b",-1.5,\n"""q""\n",1e-20,true\n\'=1+1,0,false\n\'-x,1,\n',
    )
    const url = csvUrl('a#b%\né\ud800\n')
    expect(decodeURIComponent(url.slice(url.indexOf(',') + 1))).toBe('a#b%\né\ufffd\n')
    expect(url).not.toContain('#')
  })

  it('of numbers are as people write them', () => {
    expect([0, 999, 9999, 10_000, 999_499, 999_500, 5_184_000, 1.2e9].map(formatCount)).toEqual([
      '0',
      '999',
      '9,999',
      '10.0 k',
      '999 k',
      '1.0 M',
      '5.2 M',
      '1.2 G',
    ])
    expect([-0.001, -1234.5, null, Infinity].map((value) => formatFixed(value, 2))).toEqual([
      '0.00',
      '−1,234.50',
      '–',
      '–',
    ])
    expect([0, 1e-20, 0.0004, 0.05, 0.9999, 1, null].map(formatP)).toEqual([
      '< 1e−300',
      '1e−20',
      '4e−4',
      '.050',
      '> .999',
      '> .999',
      '–',
    ])
    expect([0, 0.00004, 0.5, 0.9999, 1, null].map(formatPercent)).toEqual([
      '0 %',
      '< 0.1 %',
      '50.0 %',
      '> 99.9 %',
      '100 %',
      '–',
    ])
    expect(formatWindow('2026-01-01T00:00:00.000Z', '2026-01-02T00:00:00.000Z')).toBe('2026-01-01')
    expect(formatWindow('2026-01-01T05:00:00.000Z', '2026-01-02T05:00:00.000Z')).toBe(
      '2026-01-01 05:00 to 2026-01-02 05:00',
    )
  })
})
