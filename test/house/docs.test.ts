import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { expect, it } from 'vitest'
import { testsPage } from './tests-page.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const read = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
]

it('docs/tests.md is what the registry says (npm run docs makes it anew)', () => {
  expect(read('docs/tests.md')).toBe(testsPage())
})

it('the README lists exactly the commands there are', () => {
  const listed = [...read('README.md').matchAll(/^\| `([a-z]+)` +\|/gm)].map((match) => match[1])
  const registered = [...read('infra/cli.ts').matchAll(/^ {2}([a-z]+): \{$/gm)].map((match) => match[1])
  expect(registered.length).toBeGreaterThan(14)
  expect(listed.toSorted()).toEqual(registered.toSorted())
})

it('the README lists exactly the settings there are, with their defaults', () => {
  const source = read('infra/config.ts')
  const settings = source.slice(source.indexOf('const SETTINGS'), source.indexOf('type Settings'))
  const names = [...settings.matchAll(/^ {2}([A-Z_]+):/gm)].map((match) => match[1])
  const rows = [...read('README.md').matchAll(/^\| `([A-Z_]+)` +\| (?:`([^`]*)`)? *\|/gm)]
  expect(rows.map((row) => row[1])).toEqual(names)
  expect(names.length).toBeGreaterThan(8)
})

it.each(pages)('%s links to files that exist', (page) => {
  const targets = [...read(page).matchAll(/\]\(([^)#:]+)(?:#[^)]*)?\)/g)].map((match) => match[1])
  const missing = targets.filter((target) => !existsSync(join(ROOT, dirname(page), target)))
  expect(missing).toEqual([])
})

it.each(pages)('%s names no test file that does not exist', (page) => {
  const named = [...read(page).matchAll(/`((?:test|db|jobs|infra|pipeline|storage)\/[\w./-]+\.(?:ts|sql))`/g)].map(
    (match) => match[1],
  )
  expect(named.filter((file) => !existsSync(join(ROOT, file)))).toEqual([])
})
