import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { controlSeries } from '../../pipeline/control.ts'
import { networkStats } from '../../pipeline/network.ts'
import type { DeviceSeries } from '../../pipeline/trials.ts'
import { type Cli, createCli } from './run-cli.ts'

const START = 1_767_225_600

/**
 * Device a: 110 ones of 200 in 40 seconds. b: 110 in 30 of them, 90 in 10. Then a alone, then b failed. By hand, with z = ±√2:
 * S² = 4 in 30 seconds, 0 in 10, 2 in one; C = 2 in 30 seconds, -2 in 10; z² = 2 always. P-values by scipy.
 */
const BY_HAND = [
  'second,a,b',
  ...Array.from({ length: 40 }, (_, t) => `${START + t},110,${t % 4 === 3 ? 90 : 110}`),
  `${START + 40},110,`,
  `${START + 41},,200`,
  '',
].join('\n')
const BY_HAND_FOUND = {
  seconds: 41,
  devices: 2,
  missing: 2,
  failed: 1,
  netvar: {
    status: 'ok',
    chi2: expect.closeTo(122, 9),
    df: 41,
    z: expect.closeTo(81 / Math.sqrt(82), 9),
    p_upper: expect.closeTo(5.646401915489802e-10, 19),
    p_two: expect.closeTo(1.1292803830979604e-9, 18),
  },
  pair: { status: 'ok', z: expect.closeTo(Math.sqrt(40), 9), p: expect.closeTo(2.5396285894708567e-10, 19) },
  devvar: { status: 'ok', z: expect.closeTo(6.379930845075023, 9), p: expect.closeTo(1.771679691885524e-10, 19) },
  covar: { status: 'ok', z: expect.closeTo(3.1781685026817885, 9), p: expect.closeTo(0.0014820858957922877, 12) },
  max_abs_stouffer: expect.closeTo(2, 12),
  max_abs_stouffer_at: START,
}

/** Pseudo-random devices, with one trial missing of each. */
function randomDevices(devices: number, seconds: number): DeviceSeries[] {
  const real = Array.from({ length: devices }, (_, i) => {
    const bits = new Uint32Array(seconds).fill(200)
    bits[7 * i + 1] = 0
    return { deviceId: `egg ${i}`, bits, ones: new Uint32Array(seconds).fill(100) }
  })
  return controlSeries(real, { seed: 'test', seconds: START })
}

function tableOf(series: readonly DeviceSeries[]): string {
  const rows = Array.from(series[0].bits, (_, t) =>
    [START + t, ...series.map(({ bits, ones }) => (bits[t] === 0 ? '' : ones[t]))].join(','),
  )
  return `second,${series.map(({ deviceId }) => deviceId).join(',')}\n${rows.join('\n')}\n`
}

function basketOf(series: readonly DeviceSeries[]): string {
  const [, ...rows] = tableOf(series).trimEnd().split('\n')
  return [
    '10,1,10,"Samples per record"',
    '10,2,10,"Seconds per record"',
    '10,3,30,"Records per packet"',
    '10,4,200,"Trial size"',
    `11,1,${series.length},"Eggs reporting"`,
    `11,4,${rows.length},"Seconds of data"`,
    `12,"gmtime",,${series.map(({ deviceId }) => `"${deviceId}"`).join(',')}`,
    ...rows.map((row) => `13,${row.replace(',', ',,')}`),
    '',
  ].join('\n')
}

const SERIES = randomDevices(4, 8000)
const TABLE = tableOf(SERIES)
const SHORT = tableOf(randomDevices(2, 20))

let cli: Cli

beforeAll(() => {
  cli = createCli()
  const files = { byhand: BY_HAND, table: TABLE, basket: basketOf(SERIES), short: SHORT, empty: '', binary: '\0\0\0' }
  for (const [name, text] of Object.entries(files)) writeFileSync(join(cli.directory, `${name}.csv`), text)
  writeFileSync(join(cli.directory, 'basket.csv.gz'), gzipSync(basketOf(SERIES)))
  mkdirSync(join(cli.directory, 'folder'))
})

afterAll(() => cli.remove())

/** The document of a run that must succeed. */
async function runJson(args: readonly string[], input?: string) {
  const outcome = await cli.run(['network', ...args, '--json'], input === undefined ? {} : { input })
  expect(outcome).toMatchObject({ code: 0, stderr: '' })
  return outcome.json()
}

/** Sums over blocks of seconds differ from sums over all in the last digits. */
const rounded = (value: unknown) => (typeof value === 'number' ? value.toPrecision(9) : value)

const hashOf = (text: string | Uint8Array) => createHash('sha256').update(text).digest('hex')

test.concurrent('a file has the statistics that one computes by hand', async () => {
  const document = await runJson(['byhand.csv'])
  expect(document).toMatchObject({
    ...BY_HAND_FOUND,
    file: 'byhand.csv',
    bytes: BY_HAND.length,
    sha256: hashOf(BY_HAND),
    layout: 'table',
    bits: 200,
    rows: 42,
    from: START,
    to: START + 41,
    gap_seconds: 0,
    duplicates: 0,
    notes: [],
    normalization: 'theoretical',
    method_version: expect.stringMatching(/^network-\d+$/),
    device_set_hash: hashOf('a\nb'),
    sums: { sum_n: 81, sum_pairs: 40, pair_seconds: 40 },
  })
  for (const key of ['control', 'pairs', 'cumulative', 'references']) expect(document).not.toHaveProperty(key)
})

test.concurrent('lines in another order, twice, or left out where they are empty change nothing else', async () => {
  const [header, ...rows] = BY_HAND.replace(`${START + 20},110,110`, `${START + 20},,`)
    .trimEnd()
    .split('\n')
  const whole = await runJson(['-'], [header, ...rows].join('\n'))
  expect(whole).toMatchObject({ missing: 4, gap_seconds: 0, duplicates: 0, rows: 42, seconds: 40 })
  const shuffled = [header, ...rows.toReversed(), rows[3], rows[30]].filter((row) => !row.endsWith(',,'))
  const again = await runJson(['-'], shuffled.join('\n'))
  const { sha256, bytes } = again
  expect(again).toEqual({ ...whole, sha256, bytes, rows: 41, gap_seconds: 1, duplicates: 2 })
})

test.concurrent('both layouts, packed or piped, give what the trials give', async () => {
  const expected = networkStats(SERIES, START)
  const documents = await Promise.all([
    runJson(['table.csv']),
    runJson(['basket.csv']),
    runJson(['basket.csv.gz', '--bits', '200']),
    runJson(['-'], TABLE),
  ])
  expect(documents.map(({ layout }) => layout)).toEqual(['table', 'basket', 'basket', 'table'])
  expect(documents.map(({ file }) => file)).toEqual(['table.csv', 'basket.csv', 'basket.csv.gz', '-'])
  for (const document of documents) {
    expect(document).toMatchObject({
      seconds: 8000,
      devices: 4,
      missing: 4,
      max_abs_stouffer_at: expected.max_abs_stouffer_at,
    })
    for (const name of ['netvar', 'pair', 'devvar', 'covar'] as const) {
      for (const [key, value] of Object.entries(expected[name])) {
        expect(rounded(document[name][key])).toEqual(rounded(value))
      }
    }
    expect(document.sums).toEqual(documents[0].sums)
  }
})

test.concurrent('fewer bits to a trial are other scores', async () => {
  const { netvar } = await runJson(['-', '--bits', '400'], BY_HAND.replaceAll('110', '210').replaceAll(',90', ',190'))
  expect(netvar.chi2).toBeCloseTo(61, 9)
})

test.concurrent('half a minute has its chi-square, and no P-value', async () => {
  const { netvar, pair, devvar, covar } = await runJson(['short.csv'])
  expect(netvar).toMatchObject({
    status: 'insufficient',
    reason: expect.stringMatching(/30 seconds/),
    df: 20,
    p_upper: null,
  })
  expect(netvar.chi2).toBeGreaterThan(0)
  for (const one of [pair, devvar, covar]) expect(one).toMatchObject({ status: 'insufficient', z: null, p: null })
  const { stdout } = await cli.run(['network', 'short.csv'])
  expect(stdout).toMatch(/^ {2}pair +– +– +insufficient: 30 seconds with two devices needed$/m)
})

test.concurrent('the control is the same for a seed, another for another, and has the same seconds', async () => {
  const [one, again, other] = await Promise.all(
    ['7', '7', '8'].map((seed) => runJson(['table.csv', '--control', seed])),
  )
  expect(again).toEqual(one)
  expect(one.control).toMatchObject({
    seed: '7',
    generator: expect.stringMatching(/^philox/),
    seconds: 8000,
    devices: 4,
    missing: 4,
  })
  expect(one.control.sums).toMatchObject({ sum_n: one.sums.sum_n, sum_pairs: one.sums.sum_pairs })
  expect(one.control.pair.z).not.toBe(other.control.pair.z)
  expect(one.control.pair.z).not.toBe(one.pair.z)
  const expected = networkStats(controlSeries(SERIES, { seed: '7', seconds: START }), START)
  expect(one.control.pair).toMatchObject({ z: expect.closeTo('z' in expected.pair ? expected.pair.z : 0, 9) })
  const { control: _, ...rest } = one
  expect(rest).toEqual(await runJson(['table.csv']))
})

test.concurrent('every pair is tested, and the table has those of the smallest q', async () => {
  const { pairs, pairs_tested } = await runJson(['table.csv', '--pairs'])
  expect(pairs).toHaveLength(6)
  expect(pairs_tested).toBe(6)
  expect(pairs[0]).toMatchObject({
    device_a_id: 'egg 0',
    device_b_id: 'egg 1',
    correlation_metrics: { n_seconds: 7998, overlap_fraction: 7998 / 8000 },
    tests: { status: 'ok', product: { n_tests: 6, q_value: expect.any(Number) } },
  })
  const eight = tableOf(randomDevices(8, 40))
  const { stdout } = await cli.run(['network', '-', '--pairs'], { input: eight })
  const [, shown] = stdout.split('\n\nPairs, the smallest q of 28 pairs tested (Benjamini and Hochberg):\n')
  const rows = shown.trimEnd().split('\n').slice(1)
  expect(rows).toHaveLength(20)
  const q = rows.map((row) => Number(row.trim().split(/ {2,}/)[5]))
  expect(q).toEqual(q.toSorted((a, b) => a - b))
})

test.concurrent('pairs are compared by second, not by line', async () => {
  // b follows a by 2 seconds; every third line is missing.
  const ones = randomDevices(1, 910)[0].ones.subarray(5)
  const rows = Array.from({ length: 900 }, (_, t) => `${t},${ones[t + 2]},${ones[t]}`).filter((_, t) => t % 3 !== 0)
  const { pairs, gap_seconds, rows: count } = await runJson(['-', '--pairs'], `second,a,b\n${rows.join('\n')}\n`)
  expect({ gap_seconds, count }).toEqual({ gap_seconds: 299, count: 600 })
  expect(pairs[0].correlation_metrics).toMatchObject({ n_seconds: 600, lag: { best_lag: 2 } })
  const far = await cli.run(['network', '-', '--pairs', '--json'], { input: 'second,a,b\n0,1,1\n31536000,1,1\n' })
  expect(far).toMatchObject({ code: 2 })
  expect(far.json().error).toEqual({
    code: 'INPUT_INVALID',
    message: expect.stringMatching(/gaps.*2 rows in 31536001 s/),
  })
})

test.concurrent("empirical scores have each device's own mean and variance, and its control's its own", async () => {
  const biased = SERIES.map((series, i) => ({ ...series, ones: series.ones.map((k) => (k === 0 ? 0 : k + 2 * i)) }))
  const document = await runJson(['-', '--normalization', 'empirical', '--control', 'c'], tableOf(biased))
  expect(document.normalization).toBe('empirical')
  expect(document.references).toHaveLength(4)
  const { deviceId, bits, ones } = biased[3]
  const z = [...ones].filter((_, t) => bits[t] > 0).map((k) => (2 * k - 200) / Math.sqrt(200))
  const mean = z.reduce((sum, x) => sum + x, 0) / z.length
  const variance = z.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (z.length - 1)
  expect(document.references[3]).toEqual({
    deviceId,
    trials: 7999,
    mean: expect.closeTo(mean, 9),
    variance: expect.closeTo(variance, 9),
  })
  expect(mean).toBeGreaterThan(0.7)
  expect(document.sums.sum_z2).toBeCloseTo(4 * 7998, 6)
  expect(Math.abs(document.pair.z)).toBeLessThan(4)
  expect(document.control.sums.sum_z2).toBeCloseTo(4 * 7998, 6)
  expect(document.control.references[3].mean).not.toBeCloseTo(mean, 1)
  expect((await runJson(['-'], tableOf(biased))).pair.z).toBeGreaterThan(20)
  const { stdout } = await cli.run(['network', '-', '--normalization', 'empirical'], { input: TABLE })
  expect(stdout).toMatch(/P-values\sare\sapproximate/)
})

test.concurrent('--cumulative writes the walks, whose ends are the statistics', async () => {
  const path = join(cli.directory, 'walk.csv')
  const { sums, cumulative } = await runJson(['table.csv', '--cumulative', path])
  expect(cumulative).toBe(path)
  const [header, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n')
  expect(header).toBe(
    'second,netvar_deviation,netvar_pointwise_95_one_sided,pair_deviation,pair_pointwise_95_two_sided',
  )
  expect(lines).toHaveLength(8000)
  expect(lines.map((line) => Number(line.split(',')[0]))).toEqual(lines.map((_, t) => START + t))
  const [, netvar, netvarBound, pair, pairBound] = lines[7999].split(',').map(Number)
  expect(netvar).toBeCloseTo(sums.sum_s2 - sums.seconds, 6)
  expect(pair).toBeCloseTo(sums.sum_c, 6)
  // scipy: chi2.ppf(.95, 8000) - 8000.
  expect(netvarBound).toBeCloseTo(209.19016398334, 9)
  expect(pairBound).toBeCloseTo(1.959963984540054 * Math.sqrt(sums.sum_pairs), 9)
})

test.concurrent('--cumulative has the control beside, is pointwise, and overwrites only by --force', async () => {
  const path = join(cli.directory, 'kept.csv')
  writeFileSync(path, 'mine')
  const refused = await cli.run(['network', 'table.csv', '--cumulative', 'kept.csv', '--json'])
  expect(refused.code).toBe(2)
  expect(refused.json().error).toEqual({
    code: 'USAGE',
    message: expect.stringMatching(/^kept\.csv exists; .*--force/),
  })
  expect(readFileSync(path, 'utf8')).toBe('mine')
  const { stdout, code } = await cli.run([
    'network',
    'table.csv',
    '--cumulative',
    'kept.csv',
    '--control',
    '7',
    '--force',
  ])
  expect(code).toBe(0)
  expect(stdout).toMatch(/envelope is pointwise: 38 %/)
  const [header, ...lines] = readFileSync(path, 'utf8').trimEnd().split('\n')
  expect(header).toMatch(/,control_netvar_deviation,control_pair_deviation$/)
  const { control } = await runJson(['table.csv', '--control', '7'])
  const [netvar, pair] = lines[7999].split(',').slice(5).map(Number)
  expect(netvar).toBeCloseTo(control.sums.sum_s2 - 8000, 6)
  expect(pair).toBeCloseTo(control.sums.sum_c, 6)
})

test.concurrent('the text for people is one table that fits', async () => {
  const { stdout } = await cli.run(['network', 'byhand.csv', '--control', 'of a day'])
  // Paragraphs are broken at 80; the table takes what it needs.
  for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(line.startsWith('  ') ? 100 : 80)
  expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(
    /^byhand\.csv: 41 seconds from 2026-01-01T00:00:00Z to 2026-01-01T00:00:41Z, 2 devices, 200 bits/,
  )
  expect(stdout).toMatch(/^2 trials missing \(2\.38 %\), 1 failed \(all bits equal\), 0 duplicate rows$/m)
  expect(stdout).toMatch(/^ {2}test +z +P +control z +control P +asks$/m)
  expect(stdout).toMatch(/^ {2}netvar +8\.945 +5\.6e-10 +-?\d\.\d{3} +\d\.\d{3} +do|is .*upper tail$/m)
  expect(stdout).toMatch(/^ {2}covar +3\.178 +0\.001 /m)
  expect(stdout).toMatch(
    /chi-square 122\.000 with 41 degrees of freedom\. Largest \|S\|: 2\.000, at\s2026-01-01T00:00:00Z/,
  )
  expect(stdout).toMatch(/seed "of a\sday"/)
})

test.concurrent('a basket file that is shorter than it says is told of', async () => {
  const cut = basketOf(SERIES).split('\n').slice(0, 100).join('\n')
  const { notes } = await runJson(['-'], cut)
  expect(notes).toEqual(['The file says it has 8000 seconds of data, and has 93.'])
  const { stdout } = await cli.run(['network', '-'], { input: cut })
  expect(stdout).toContain(notes[0])
})

test.concurrent.each<[string, string[], string | undefined, RegExp]>([
  ['no such file', ['nosuch.csv'], undefined, /cannot read nosuch\.csv: ENOENT/],
  ['a folder', ['folder'], undefined, /cannot read folder: EISDIR/],
  ['an empty file', ['empty.csv'], undefined, /^empty\.csv is empty\. Give it a first line "second,<device>,…"/],
  ['an empty pipe', ['-'], '', /^the pipe is empty/],
  ['a binary file', ['binary.csv'], undefined, /holds binary data/],
  ['a cell that is no trial', ['-'], 'second,a\n1,100\n2,x\n', /the pipe, line 3: "x" of device "a" is not/],
  ['too many ones for --bits', ['byhand.csv', '--bits', '100'], undefined, /line 2: "110" of device "a" .* 0 to 100/],
  ['other --bits than the file says', ['basket.csv', '--bits', '100'], undefined, /200 bits, not the 100 of --bits/],
  ['a second said twice', ['-'], 'second,a\n1,100\n1,101\n', /lines 2 and 3 are both of second 1 and differ/],
  ['few trials', ['byhand.csv', '--normalization', 'empirical'], undefined, /device "a" has 41 trials.* 1000 that/],
  [
    'a place to write that is none',
    ['byhand.csv', '--cumulative', 'no/walk.csv'],
    undefined,
    /cannot write no\/walk\.csv/,
  ],
])('%s is INPUT_INVALID and exit code 2', async (_what, args, input, message) => {
  const outcome = await cli.run(['network', ...args, '--json'], { input: input ?? '' })
  expect(outcome.code).toBe(2)
  expect(outcome.json().error).toEqual({ code: 'INPUT_INVALID', message: expect.stringMatching(message) })
  expect(outcome.stderr).not.toMatch(/\n {4}at /)
})

test.concurrent.each([
  [['--bits', '0'], /--bits takes a whole number/],
  [['--bits', 'many'], /--bits takes a whole number.*"many"/],
  [['--normalization', 'mine'], /--normalization is theoretical or empirical/],
  [['--cumulative', 'nosuch.csv', '--force'], /is the file that is read/],
])('%j is bad usage, told before anything is read', async (flags, message) => {
  const outcome = await cli.run(['network', 'nosuch.csv', ...flags, '--json'])
  expect(outcome.code).toBe(2)
  expect(outcome.json().error).toEqual({ code: 'USAGE', message: expect.stringMatching(message) })
})

test.concurrent('Ctrl-C while a pipe is read gives no statistics of half of it, and writes nothing', async () => {
  const { child, finished, seen } = cli.start(['network', '-', '--cumulative', 'half.csv', '--json'], {
    detached: true,
  })
  // Writes more than a pipe holds are only done once it is being read.
  await new Promise((resolve) => child.stdin.write(TABLE, resolve))
  child.kill('SIGINT')
  await seen(/stopping/)
  const outcome = await finished
  expect(outcome.code).toBe(130)
  expect(outcome.json()).toEqual({ error: { code: 'INTERRUPTED', message: expect.stringContaining('SIGINT') } })
  expect(existsSync(join(cli.directory, 'half.csv'))).toBe(false)
})
