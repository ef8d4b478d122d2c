import { afterEach, beforeEach, expect, it } from 'vitest'
import { printable } from '../../infra/output.ts'
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
