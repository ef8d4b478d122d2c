import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'
import { findTool } from '../harness/tools.ts'

const run = promisify(execFile)
const CLI = new URL('../../infra/coherence.js', import.meta.url).pathname

const scriptFor = async (shell: string) => (await run(process.execPath, [CLI, 'completion', shell])).stdout
const isMissing = (shell: 'bash' | 'fish' | 'zsh') => findTool(shell) === undefined

it.skipIf(isMissing('bash')).each([
  ['coherence ba', ['backfill']],
  ['coherence backfill ', ['chunks', 'coherence', 'redrive', 'slices', 'stop', 'tests']],
  ['coherence backfill tests --d', ['--device', '--dry-run']],
  ['coherence analyze file.bin --su', ['--suite']],
  ['coherence nonsense ', ['backfill', 'demo', 'work']],
])('bash completes "%s"', async (line, expected) => {
  const words = line.split(' ').map((word) => `'${word}'`)
  const probe = `COMP_WORDS=(${words.join(' ')}); COMP_CWORD=${words.length - 1}; _coherence; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout } = await run('bash', ['-uc', `${await scriptFor('bash')}\n${probe}`])
  const found = stdout.trim().split('\n')
  expect(found).toEqual(expect.arrayContaining(expected))
  const [prefix] = line.split(' ').slice(-1)
  expect(found.filter((word) => !word.startsWith(prefix))).toEqual([])
})

it.skipIf(isMissing('fish'))('fish completes subcommands and options', async () => {
  const script = await scriptFor('fish')
  const complete = async (line: string) =>
    (await run('fish', ['--no-config', '-c', `${script}\ncomplete -C '${line}'`])).stdout
  expect(await complete('coherence ba')).toMatch(/^backfill\t/m)
  expect(await complete('coherence backfill te')).toMatch(/^tests\t/m)
  expect(await complete('coherence backfill tests --dr')).toMatch(/^--dry-run\t/m)
})

it.skipIf(isMissing('zsh'))('zsh takes the script', async () => {
  // Its completion runs in its line editor only; that the script is sound, and what it offers, shows without.
  const stub = `_describe() { print -l -- "\${candidates[@]}"; }; words=(coherence backfill ''); CURRENT=3;`
  const { stdout } = await run('zsh', ['-fc', `${stub} f() {\n${await scriptFor('zsh')}\n}; f`])
  expect(stdout).toMatch(/^tests:verify/m)
})

it.each(['bash', 'zsh', 'fish'])('%s is told every command', async (shell) => {
  const script = await scriptFor(shell)
  const { stdout } = await run(process.execPath, [CLI, '--help'])
  const commands = [...stdout.matchAll(/^ {2}(\w+) /gm)].map(([, name]) => name).filter((name) => name !== 'help')
  expect(commands.length).toBeGreaterThan(14)
  for (const name of commands) expect(script).toContain(name)
})

it('of another shell is bad usage', async () => {
  await expect(run(process.execPath, [CLI, 'completion', 'tcsh'])).rejects.toMatchObject({ code: 2 })
})
