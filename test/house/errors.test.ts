import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { exitCodeOf } from '../../infra/exit-codes.ts'
import { ERRORS, type ErrorCode } from '../../pipeline/errors.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const codes = Object.keys(ERRORS) as ErrorCode[]

it('docs/errors.md lists exactly the codes there are, with meaning and exit code', () => {
  const page = readFileSync(join(ROOT, 'docs/errors.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` +\| (.+?) +\| (.+?) +\| (\d+) +\|$/gm)]
  expect(rows.map((row) => row[1])).toEqual(codes)
  for (const [, code, meaning, action, exit] of rows) {
    expect(meaning, code).toBe(ERRORS[code as ErrorCode])
    expect(action.length, code).toBeGreaterThan(20)
    expect(Number(exit), code).toBe(exitCodeOf(code as ErrorCode))
  }
})

it.each(codes)('%s is thrown somewhere', (code) => {
  const sources = ['pipeline', 'storage', 'db', 'jobs', 'infra'].flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.(ts|js)$/.test(entry.name) && entry.name !== 'errors.ts')
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'utf8')),
  )
  expect(sources.some((source) => new RegExp(`\\b${code}\\b`).test(source))).toBe(true)
})
