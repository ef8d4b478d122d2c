import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')

/** Who may import whom. Nothing imports infra but its own files and the tests. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  pipeline: [],
  storage: ['pipeline'],
  db: ['pipeline'],
  jobs: ['pipeline', 'storage', 'db'],
  infra: ['pipeline', 'storage', 'db', 'jobs'],
  test: ['pipeline', 'storage', 'db', 'jobs', 'infra'],
}

function sourceFiles(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|js|mjs)$/.test(entry.name))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
}

/** Specifiers of static imports and exports (the formatter ends their lines with them) and of dynamic imports. */
function importsOf(file: string): string[] {
  const source = readFileSync(join(ROOT, file), 'utf8')
  const patterns = [/^(?:import|export|\}) ?.*\bfrom '([^']+)'$/gm, /^import '([^']+)'$/gm, /\bimport\('([^']+)'\)/g]
  return patterns.flatMap((pattern) => [...source.matchAll(pattern)].map((match) => match[1]))
}

const files = Object.keys(MAY_IMPORT).flatMap(sourceFiles)
const code = files.filter((file) => !file.startsWith('test/'))

describe('the house', () => {
  it('has these source folders and no other', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
      .map((entry) => entry.name)
    const others = folders.filter(
      (name) => !(name in MAY_IMPORT) && !['docs', 'node_modules', 'dist', 'coverage'].includes(name),
    )
    expect(others).toEqual([])
  })

  it('is seen whole by this test', () => {
    // The pattern for imports must not quietly find nothing.
    expect(importsOf('jobs/upload-chunk.ts')).toEqual(
      expect.arrayContaining([
        '../db/chunks.ts',
        '../pipeline/chunk-format.ts',
        '../storage/object-store.ts',
        './boss.ts',
      ]),
    )
    expect(code.length).toBeGreaterThan(60)
  })

  it.each(files)('%s imports only what its folder may', (file) => {
    const [folder] = file.split('/')
    for (const name of importsOf(file).filter((specifier) => specifier.startsWith('.'))) {
      const target = relative(ROOT, resolve(ROOT, dirname(file), name)).split('/')[0]
      expect([folder, ...MAY_IMPORT[folder]], `${file} imports ${name}`).toContain(target)
    }
  })

  it.each(code.filter((file) => file.startsWith('pipeline/')))('%s does no I/O and reads no clock', (file) => {
    const allowed = [
      'apache-arrow',
      'apache-arrow/',
      'flatbuffers',
      'simple-statistics',
      '@observablehq/plot',
      'linkedom',
    ]
    for (const name of importsOf(file).filter((specifier) => !specifier.startsWith('.'))) {
      expect(
        allowed.some((prefix) => name === prefix || (prefix.endsWith('/') && name.startsWith(prefix))),
        `${file} imports ${name}`,
      ).toBe(true)
    }
    expect(readFileSync(join(ROOT, file), 'utf8')).not.toMatch(
      /\bprocess\.|\bDate\.now\(|new Date\(\)|performance\.now|Math\.random|\bfetch\(/,
    )
  })

  it('reads the environment in infra/config.ts alone', () => {
    const readers = code.filter((file) => /process\.env/.test(readFileSync(join(ROOT, file), 'utf8')))
    expect(readers).toEqual(['infra/config.ts'])
  })

  it('has no default exports and no barrels', () => {
    for (const file of code) {
      const source = readFileSync(join(ROOT, file), 'utf8')
      expect(source, file).not.toMatch(/^export default|^export \* from/m)
    }
  })
})
