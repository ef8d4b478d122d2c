import { afterEach, beforeEach, expect, it } from 'vitest'
import { formatPace, printable } from '../../infra/output.ts'
import { type Cli, createCli } from './run-cli.ts'

let cli: Cli
beforeEach(() => {
  cli = createCli()
})
afterEach(() => cli.remove())

it('what others named cannot steer the terminal, in no character of it', () => {
  for (let code = 0; code < 0xa0; code++) {
    const isPlain = code === 9 || code === 10 || (code >= 32 && code < 127)
    expect(printable(String.fromCharCode(code))).toBe(isPlain ? String.fromCharCode(code) : '\ufffd')
  }
  expect(printable('a\u202eb\u2066c')).toBe('a\ufffdb\ufffdc')
  expect(printable('naïve 装置 مرحبا 🎲')).toBe('naïve 装置 مرحبا 🎲')
})

it('a device of a file whose name clears the screen is shown as it is', async () => {
  const rows = Array.from({ length: 40 }, (_, t) => `${t},${95 + (t % 11)},${94 + (t % 13)}`)
  const input = `second,"\u001b[2Ja","b\r"\n${rows.join('\n')}\n`
  const { stdout, code } = await cli.run(['network', '-', '--pairs'], { input })
  expect(code).toBe(0)
  expect(stdout).toContain('\ufffd[2Ja')
  expect(stdout).not.toContain('\u001b')
  const { stdout: json } = await cli.run(['network', '-', '--pairs', '--json'], { input })
  expect(JSON.parse(json).pairs[0].device_a_id).toBe('\u001b[2Ja')
})

it.each([
  [60, { done: 150, total: 450, unit: 'objects' }, ', 2.5 objects/s, 2 min left'],
  [60, { done: 60 * 1024 ** 2, total: 1024 ** 3, unit: 'bytes' }, ', 1.00 MiB/s, 16 min left'],
  [60, { done: 10, total: 2000, unit: 'jobs' }, ', 10 jobs/min, 3 h left'],
  [10, { done: 123_456, unit: 'samples' }, ', 12,346 samples/s'],
  [10, { done: 5120, unit: 'bytes' }, ', 512 B/s'],
  [30, { done: 10, total: 35 }, ', 75 s left'],
  [30, { done: 35, total: 35, unit: 'tests' }, ', 1.2 tests/s'],
  [30, { done: 40, total: 35 }, ''],
  [1.9, { done: 10, total: 35, unit: 'tests' }, ''],
  [60, { done: 0, total: 35, unit: 'tests' }, ''],
  [60, {}, ''],
])('after %d s, %o: "%s"', (seconds, amount, expected) => {
  expect(formatPace(seconds, amount)).toBe(expected)
})
