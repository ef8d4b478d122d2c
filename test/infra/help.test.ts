import { afterEach, expect, it, vi } from 'vitest'
import { main } from '../../infra/cli.ts'

afterEach(() => vi.restoreAllMocks())

/** The help of a command and of each beneath it, by what is typed. */
async function helpOf(words: readonly string[]): Promise<[command: string, help: string][]> {
  let help = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    help += String(text)
    return true
  })
  expect(await main([...words, '--help'])).toBe(0)
  vi.restoreAllMocks()
  const [, list = ''] = help.split('\nCommands:\n')
  const names = [...list.matchAll(/^ {2}([\w-]+)/gm)].map(([, name]) => name).filter((name) => name !== 'help')
  const beneath = []
  for (const name of names) beneath.push(...(await helpOf([...words, name])))
  return [[words.join(' '), help], ...beneath]
}

it('the help of every command fits 80 columns', async () => {
  const all = await helpOf([])
  expect(all.length).toBeGreaterThan(30)
  const long = all.flatMap(([command, help]) =>
    help
      .split('\n')
      .filter((line) => line.length > 80)
      .map((line) => `${command}: ${line}`),
  )
  expect(long).toEqual([])
})
