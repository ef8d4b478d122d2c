import { spawnSync } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Cli, createCli, ENTRY } from './run-cli.ts'

/** What the contract promises; more commands and options are welcome. */
const PROMISED: Record<string, string[]> = {
  demo: ['--seconds <n>'],
  dev: ['--dir <path>'],
  migrate: ['--check'],
  doctor: [],
  ingest: ['--device <id>', '--file <path>'],
  import: ['--format <name>'],
  tick: [],
  work: ['--drain', '--watch', '--queues <names>', '--max-seconds <n>'],
  status: [],
  'backfill chunks': ['--from <time>', '--to <time>', '--device <id>', '--wait', '--dry-run'],
  'backfill tests': ['--from <time>', '--to <time>', '--device <id>', '--again', '--wait', '--dry-run'],
  'backfill slices': ['--from <time>', '--to <time>', '--device <id>', '--again', '--wait', '--dry-run'],
  'backfill coherence': ['--from <time>', '--to <time>', '--device <id>', '--again', '--wait', '--dry-run'],
  'backfill stop': ['--dry-run'],
  'backfill redrive': ['--dry-run'],
  'storage sweep': ['--backend <place>', '--delete'],
  'storage copy': ['--from <place>', '--to <place>', '--concurrency <n>', '--max-rate <MB/s>', '--dry-run'],
  'storage verify': ['--backend <place>', '--sample <p>'],
  'storage cutover': ['--to <place>'],
  'storage forget': ['--from <place>', '--dry-run'],
  analyze: [
    '--suite <name>',
    '--tests <names>',
    '--variant <name>',
    '--param <test.name=value>',
    '--sequences <n>',
    '--length <bits>',
    '--threads <n>',
  ],
  'event add': [
    '--name <name>',
    '--from <time>',
    '--to <time>',
    '--hypothesis <test>',
    '--tail <tail>',
    '--profile <name>',
    '--devices <ids>',
    '--description <text>',
  ],
  'event list': [],
  'event show': [],
  'event withdraw': [],
  'keys generate': ['--years <n>'],
  'keys device': ['--token-id <id>', '--hours <n>', '--secret-file <path>'],
  'keys verify': ['--secret-file <path>'],
  network: ['--bits <n>', '--normalization <kind>', '--control <seed>', '--pairs', '--cumulative <file>', '--force'],
}

/** An older Node.js on this machine, if there is one. */
const OLD_NODE = ['/usr/bin/node', '/usr/local/bin/node', '/usr/bin/nodejs'].find((path) => {
  if (!existsSync(path)) return false
  const [major, minor] = spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout.slice(1).split('.').map(Number)
  return major >= 15 && (major < 22 || (major === 22 && minor < 18))
})

let cli: Cli

beforeAll(() => {
  cli = createCli()
})

afterAll(() => cli.remove())

/** Commands without subcommands, found by following the help. */
async function walkHelp(path: string[] = []): Promise<{ name: string; help: string; code: number | null }[]> {
  const { stdout, stderr, code } = await cli.run([...path, '--help'])
  expect(stderr).toBe('')
  const [, listed] = stdout.split('\nCommands:\n')
  if (listed === undefined) return [{ name: path.join(' '), help: stdout, code }]
  expect(code).toBe(0)
  const names = [...listed.matchAll(/^ {2}([a-z][\w-]*)/gm)].map((match) => match[1]).filter((name) => name !== 'help')
  return (await Promise.all(names.map((name) => walkHelp([...path, name])))).flat()
}

describe('help', () => {
  let commands: Awaited<ReturnType<typeof walkHelp>>

  beforeAll(async () => {
    commands = await walkHelp()
  })

  test('every command says how it is used, what it does and that it knows --json', () => {
    for (const { name, help, code } of commands) {
      const [usage, description] = help.split('\n\n')
      expect({ usage, code }).toEqual({ usage: expect.stringMatching(`^Usage: coherence ${name} `), code: 0 })
      expect(description).toMatch(/^[a-z].{15,}/)
      expect(help).toContain('--json')
    }
  })

  test('every promised command and option is there', () => {
    const helpOf = new Map(commands.map(({ name, help }) => [name, help]))
    for (const [name, options] of Object.entries(PROMISED)) {
      for (const option of options) expect(`${name}: ${helpOf.get(name)}`).toContain(option)
    }
    expect([...helpOf.keys()]).toEqual(expect.arrayContaining(Object.keys(PROMISED)))
  })

  test('every command answers a wrong option with help on stderr, a JSON document on stdout and exit code 2', async () => {
    const outcomes = await Promise.all(
      commands.map(async ({ name }) => ({ name, outcome: await cli.run([...name.split(' '), '--json', '--nosuch']) })),
    )
    for (const { name, outcome } of outcomes) {
      expect(outcome).toMatchObject({ code: 2, stderr: expect.stringContaining(`Usage: coherence ${name}`) })
      expect(outcome.json()).toEqual({
        error: { code: 'USAGE', message: expect.stringMatching(/--nosuch|required option/) },
      })
    }
  })
})

describe('wrong usage', () => {
  const wrong: [what: string, args: string[], said: RegExp][] = [
    ['an unknown command', ['nosuch'], /unknown command 'nosuch'[^]*Usage: coherence \[options\]/],
    ['a command nearly right', ['statsu'], /Did you mean status\?/],
    ['an unknown option', ['tick', '--nosuch'], /unknown option '--nosuch'[^]*Usage: coherence tick/],
    ['an option without its value', ['ingest', '--device'], /'--device <id>' argument missing[^]*Usage:/],
    ['a required option left out', ['ingest'], /required option '--device <id>' not specified[^]*Usage:/],
    ['one argument too many', ['tick', 'now'], /too many arguments[^]*Usage:/],
    ['an argument left out', ['analyze'], /missing required argument 'file'[^]*Usage:/],
    ['a subcommand left out', ['backfill'], /Usage: coherence backfill[^]*redrive/],
    ['neither --drain nor --watch', ['work'], /USAGE: say either --drain or --watch/],
    ['both --drain and --watch', ['work', '--drain', '--watch'], /USAGE: say either --drain or --watch/],
    ['an unknown queue', ['work', '--drain', '--queues', 'pack,nosuch'], /no queue is named nosuch; .*upload-chunk/],
    ['no number', ['work', '--drain', '--max-seconds', 'soon'], /--max-seconds takes a number above 0, not "soon"/],
    ['seconds below the least', ['demo', '--seconds', '0'], /--seconds takes a number from 1 to 3600, not "0"/],
    ['a port that is none', ['dev', '--port', '99999'], /--port takes a number from 1 to 65535/],
    ['a time that is none', ['backfill', 'tests', '--from', 'noon', '--to', '2026-01-01'], /--from is no time: "noon"/],
    ['times the wrong way round', ['backfill', 'tests', '--from', '2026-02-01', '--to', '2026-01-01'], /before --to/],
    [
      'an unknown suite',
      ['analyze', 'x', '--suite', 'nosuch'],
      /no suite is named "nosuch"; there are: chunk, sp800-22/,
    ],
  ]

  test.concurrent.each(wrong)('%s is said on stderr with exit code 2', async (_what, args, said) => {
    const outcome = await cli.run(args)
    expect(outcome).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(said) })
  })

  test('no arguments give the help on stderr and exit code 2', async () => {
    const outcome = await cli.run([])
    expect(outcome).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/Usage:[^]*demo[^]*analyze/) })
  })
})

test('--version is the version of the package', async () => {
  const { version } = (await import('../../package.json', { with: { type: 'json' } })).default
  expect(await cli.run(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' })
})

test('a reader that leaves early is no error', () => {
  writeFileSync(join(cli.directory, 'sample'), 'x')
  const shell = `set -o pipefail; "${process.execPath}" "${ENTRY}" analyze sample | true`
  const { status, stderr } = spawnSync('bash', ['-c', shell], { cwd: cli.directory, encoding: 'utf8' })
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
})

test.skipIf(OLD_NODE === undefined)(
  'an old Node.js (needs one beside the new) is told what to do, exit code 2',
  async () => {
    const old = createCli({}, OLD_NODE)
    try {
      const outcome = await old.run(['status', '--json'])
      expect(outcome.code).toBe(2)
      expect(outcome.stderr).toMatch(/needs Node\.js 22\.18 or newer; this is \d+[^]*npm run -s coherence -- --help/)
      expect(outcome.json()).toMatchObject({ error: { code: 'NODE_TOO_OLD' } })
    } finally {
      old.remove()
    }
  },
)
