import { createHash } from 'node:crypto'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { readTrialFile, type TrialFile } from '../../infra/trial-file.ts'
import { parseSecond } from '../../infra/trial-second.ts'

const encode = (text: string) => new TextEncoder().encode(text)

/** Reads a file that comes in pieces of `size` bytes. */
async function read(
  content: string | Uint8Array,
  {
    bits,
    size = 1 << 16,
    signal = new AbortController().signal,
  }: { bits?: number; size?: number; signal?: AbortSignal } = {},
): Promise<TrialFile> {
  const bytes = typeof content === 'string' ? encode(content) : content
  const pieces = (async function* () {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  })()
  return await readTrialFile(pieces, { name: 'x.csv', bits, signal, onProgress: () => {} })
}

/** Every trial as [second, device, bits, ones]. */
function trialsOf(file: TrialFile): [number, string, number, number][] {
  return file
    .series(0, file.seconds.length)
    .flatMap(({ deviceId, bits, ones }) =>
      Array.from(file.seconds, (second, t): [number, string, number, number] => [
        second,
        deviceId,
        bits[t],
        ones[t],
      ]).filter(([, , n]) => n > 0),
    )
}

const SMALL = 'second,a,b\n100,90,110\n101,,95\n102,200,0\n'
const SMALL_TRIALS = [
  [100, 'a', 200, 90],
  [102, 'a', 200, 200],
  [100, 'b', 200, 110],
  [101, 'b', 200, 95],
  [102, 'b', 200, 0],
]

const BASKET = `10,1,10,"Samples per record"
10,2,10,"Seconds per record"
10,3,30,"Records per packet"
10,4,200,"Trial size"
11,1,3,"Eggs reporting"
11,2,1625097600,"Start time",2021-07-01 00:00:00
11,3,1625097602,"End time",2021-07-01 00:00:02
11,4,3,"Seconds of data"
12,"gmtime",,1,37,1000
13,1625097600,,105,,93
13,1625097601,,94,111,103
13,1625097602,,,114,
`
const BASKET_TRIALS = [
  [1625097600, '1', 200, 105],
  [1625097601, '1', 200, 94],
  [1625097601, '37', 200, 111],
  [1625097602, '37', 200, 114],
  [1625097600, '1000', 200, 93],
  [1625097601, '1000', 200, 103],
]

describe('a table', () => {
  it('has a trial in every cell that is not empty', async () => {
    const file = await read(SMALL)
    expect(file).toMatchObject({ layout: 'table', bits: 200, deviceIds: ['a', 'b'], duplicates: 0, notes: [] })
    expect([...file.seconds]).toEqual([100, 101, 102])
    expect(trialsOf(file)).toEqual(SMALL_TRIALS)
    expect(file).toMatchObject({ bytes: SMALL.length, sha256: createHash('sha256').update(SMALL).digest('hex') })
  })

  it.each([
    ['pieces of one byte', SMALL, 1],
    ['Windows lines', SMALL.replaceAll('\n', '\r\n'), 7],
    ['no newline at the end', SMALL.trimEnd(), 5],
    ['a byte order mark', `\u{feff}${SMALL.replace('second', '"second"')}`, 2],
    ['blank lines', SMALL.replaceAll('\n', '\n\n'), 3],
    ['quotes', SMALL.replace('a,b', '"a","b"').replace('90', '"90"'), 4],
    ['spaces', SMALL.replaceAll(',', ' , '), 64],
    ['decimals as pandas writes them', SMALL.replace('90,110', '90.0,110.'), 64],
  ])('of %s is the same', async (_what, text, size) => {
    expect(trialsOf(await read(text, { size }))).toEqual(SMALL_TRIALS)
  })

  it.each(['-999', 'null', 'NULL', 'NaN', 'nan', 'NA', 'None', ' ', '""'])('takes %j for missing', async (mark) => {
    expect(trialsOf(await read(SMALL.replace(',,', `,${mark},`)))).toEqual(SMALL_TRIALS)
  })

  it('may have any device names', async () => {
    const file = await read('"time, UTC","lab, ""Kiel""",Größe-π,3\n0,1,2,3\n')
    expect(file.deviceIds).toEqual(['lab, "Kiel"', 'Größe-π', '3'])
  })

  it('may be gzipped, whatever it is called and however it comes', async () => {
    const packed = gzipSync(SMALL)
    for (const size of [1, 1000]) {
      const file = await read(packed, { size })
      expect(trialsOf(file)).toEqual(SMALL_TRIALS)
      expect(file).toMatchObject({ bytes: packed.length, sha256: createHash('sha256').update(packed).digest('hex') })
    }
  })

  it('is put in order of its seconds; equal rows of one second count as duplicates', async () => {
    const [header, ...rows] = SMALL.trimEnd().split('\n')
    const file = await read([header, rows[2], rows[0], rows[0], rows[1], rows[0], ''].join('\n'))
    expect([...file.seconds]).toEqual([100, 101, 102])
    expect(trialsOf(file)).toEqual(SMALL_TRIALS)
    expect(file.duplicates).toBe(2)
  })

  it('keeps what rows there are over a gap of years', async () => {
    const file = await read('s,a\n0,90\n1700000000,91\n-1700000000,92\n')
    expect([...file.seconds]).toEqual([-1700000000, 0, 1700000000])
    expect(file.series(0, 3)[0].bits).toHaveLength(3)
  })

  it('has series of any range of rows, over the edges of its blocks', async () => {
    const devices = Array.from({ length: 300 }, (_, i) => `d${i}`)
    const rows = Array.from({ length: 8000 }, (_, t) => `${t},${devices.map((_d, i) => (t + 3 * i) % 201).join(',')}`)
    const file = await read(`s,${devices.join(',')}\n${rows.join('\n')}\n`)
    for (const [from, to] of [
      [0, 8000],
      [6980, 7000],
      [7999, 8000],
    ]) {
      const series = file.series(from, to)
      expect(series.every(({ ones }, i) => ones.every((k, t) => k === (from + t + 3 * i) % 201))).toBe(true)
      expect(series).toHaveLength(300)
      expect(series[299].ones).toHaveLength(to - from)
    }
  })

  it.each([1, 100, 65_534, 65_535, 1_000_000])('may have trials of %i bits', async (bits) => {
    const file = await read(`s,a,b\n1,${bits},0\n`, { bits })
    expect(trialsOf(file)).toEqual([
      [1, 'a', bits, bits],
      [1, 'b', bits, 0],
    ])
    await expect(read(`s,a\n1,${bits + 1}\n`, { bits })).rejects.toThrow(`is not a number of ones from 0 to ${bits}`)
  })
})

describe('a basket file', () => {
  it('says itself how many bits a trial has', async () => {
    const file = await read(BASKET)
    expect(file).toMatchObject({ layout: 'basket', bits: 200, deviceIds: ['1', '37', '1000'], notes: [] })
    expect(trialsOf(file)).toEqual(BASKET_TRIALS)
    expect(trialsOf(await read(BASKET, { bits: 200 }))).toEqual(BASKET_TRIALS)
    const short = BASKET.replace('10,4,200', '10,4,150')
    expect(await read(short)).toMatchObject({ bits: 150 })
    await expect(read(short, { bits: 200 })).rejects.toThrow(/line 4: its trials have 150 bits, not the 200 of --bits/)
  })

  it('may have times written out, and be gzipped', async () => {
    const civil = BASKET.replace('"gmtime",,', '"gmtime","Date/Time",').replaceAll(
      /^13,(\d+),,/gm,
      (_, second: string) => `13,${second},2021-07-01 00:00:0${second.at(-1)},`,
    )
    expect(civil).toContain('13,1625097601,2021-07-01 00:00:01,94')
    expect(trialsOf(await read(gzipSync(civil)))).toEqual(BASKET_TRIALS)
  })

  it('is told of when it has fewer seconds than it says', async () => {
    const file = await read(BASKET.replace('11,4,3', '11,4,86400'))
    expect(file.notes).toEqual(['The file says it has 86400 seconds of data, and has 3.'])
  })

  it.each<[string, string, RegExp]>([
    ['13,1625097600,,105,,93\n', '13,1625097600,,105,93\n', /line 10 has 2 cells for 3 devices/],
    ['12,"gmtime",,1,37,1000\n', '', /line 9: no record of type 12 before it/],
    ['10,4,200,"Trial size"\n', '', /line 8: no record 10,4 before it .* --bits/],
    ['10,4,200', '10,4,many', /line 4: many is no number of bits/],
    ['1,37,1000', '1,37,37', /line 9: two devices are named "37"/],
    ['12,"gmtime",,1,37,1000', '12,"gmtime",', /line 9: the record of type 12 names no egg/],
    ['13,1625097601', '14,1625097601', /line 11: "14" is no type of record/],
    ['13,1625097601,', '12,"gmtime",', /line 11: a second record of type 12/],
    ['13,1625097601', '13,soon', /line 11: "soon" is no second/],
    [',94,', ',201,', /line 11: "201" of device "1" is not a number of ones from 0 to 200/],
    [BASKET.slice(BASKET.indexOf('13,')), '', /no record of type 13/],
  ])('with %j replaced by %j is refused', async (what, by, message) => {
    expect(BASKET).toContain(what)
    await expect(read(BASKET.replace(what, by))).rejects.toThrow(message)
    await expect(read(BASKET.replace(what, by))).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })
})

describe('what is no file of trials', () => {
  it.each<[string, string | Uint8Array, RegExp]>([
    ['nothing', '', /^x\.csv is empty\. Give it a first line "second,<device>,…"/],
    ['blank lines', '\n\n', /is empty/],
    ['a header alone', 'second,a\n', /has no row of trials/],
    ['no device', 'second\n1\n', /line 1: there is no device/],
    ['no header', '1700000000,100,101\n', /names no devices: it begins with a time/],
    ['a device twice', 'second,a,b,a\n1,1,1,1\n', /line 1: two devices are named "a"/],
    ['a device without a name', 'second,a,\n1,1,1\n', /line 1: device 2 of 2 has no name/],
    ['one cell too few', 'second,a,b\n1,100,100\n2,100\n', /line 3 has 1 cells for 2 devices/],
    ['one cell too many', 'second,a,b\n1,100,100,100\n', /line 2 has 3 cells/],
    ['more ones than bits', 'second,a,b\n1,100,201\n', /line 2: "201" of device "b" is not .* 0 to 200.* --bits/],
    ['less than none', 'second,a\n1,-1\n', /"-1" of device "a"/],
    ['part of a one', 'second,a\n1,99.5\n', /"99\.5" of device "a"/],
    ['a word', 'second,a\n1,many\n', /"many" of device "a"/],
    ['a number in another notation', 'second,a\n1,1e2\n', /"1e2" of device "a"/],
    ['no second', 'second,a\nnoon,100\n', /line 2: "noon" is no second.*as 1767225600, or a time/],
    ['milliseconds', 'second,a\n1767225600000,100\n', /"1767225600000" is no second/],
    ['an open quote', 'second,a\n1,"100\n', /is no well-formed CSV: .*line/],
    [
      'a second that two rows differ about',
      's,a\n5,100\n7,1\n\n5,101\n',
      /lines 2 and 5 are both of second 5 and differ/,
    ],
    [
      'binary data',
      Uint8Array.of(137, 80, 78, 71, 0, 1, 2),
      /holds binary data, not lines of text\. Save the table as CSV/,
    ],
    ['gzipped binary data', gzipSync(Uint8Array.of(80, 75, 0, 1)), /holds binary data/],
    ['a gzip file cut short', gzipSync(SMALL).subarray(0, 30), /cannot unpack x\.csv: .* Was it cut short/],
    ['a line without end', 'a'.repeat(5 * 1024 ** 2), /is no well-formed CSV: .*[Mm]ax/],
  ])('%s is said what to do about', async (_what, content, message) => {
    await expect(read(content)).rejects.toThrow(message)
    await expect(read(content)).rejects.toMatchObject({ code: 'INPUT_INVALID' })
  })

  it('is no result of a reader that was stopped, of a gzip file either', async () => {
    for (const content of [encode(SMALL), gzipSync(SMALL)]) {
      await expect(read(content, { signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' })
    }
  })
})

describe('parseSecond', () => {
  it.each([
    ['1700000000', 1700000000],
    [' -5 ', -5],
    ['0', 0],
    ['100000000000', 1e11],
    ['2026-01-01T00:00:00Z', 1767225600],
    ['2026-01-01 00:00:00', 1767225600],
    ['2026-01-01T00:00', 1767225600],
    ['2026-01-01T00:00:00.000Z', 1767225600],
    ['2026-01-01 01:30:00+01:30', 1767225600],
    ['2026-01-01T01:00:00+0100', 1767225600],
    ['2025-12-31T19:00:00-05', 1767225600],
    ['2026-01-01 00:00:00 UTC', 1767225600],
    ['2028-02-29T00:00:00Z', 1835395200],
  ])('takes %j for %d', (text, second) => {
    expect(parseSecond(text)).toBe(second)
  })

  it.each([
    '',
    '1.5',
    '1e9',
    '100000000001',
    '2026-01-01T00:00:00.5Z',
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-01T25:00:00Z',
    '2026-01-01',
    '01/02/2026 00:00:00',
    'second',
  ])('takes %j for none', (text) => {
    expect(parseSecond(text)).toBeNull()
  })
})
