/** What tests need beside npm is installed by `.ci/run`; where nothing may be skipped, its absence is a failure. */
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findTool, tellOfMissing, TOOL_NAMES } from '../harness/tools.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const CI = join(ROOT, '.ci/run')

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'coherence-tools-'))
  mkdirSync(join(folder, 'bin'))
  mkdirSync(join(folder, '.ci'))
  copyFileSync(CI, join(folder, '.ci/run'))
})
afterEach(() => rmSync(folder, { recursive: true }))

function program(name: string, script: string): void {
  const path = join(folder, 'bin', name)
  writeFileSync(path, `#!/bin/sh\n${script}\n`)
  chmodSync(path, 0o755)
}

test('a tool is skipped where it is missing, with a line that says so, and fails where nothing may be', () => {
  program('fish', '')
  const here = { PATH: join(folder, 'bin') }
  expect(findTool('fish', here)).toBe(join(folder, 'bin/fish'))
  expect(findTool('zsh', here)).toBeUndefined()
  expect(tellOfMissing(here)).toMatch(/tests were skipped: bash, chromium, .*zsh \(apt-get install /)
  expect(() => findTool('zsh', { ...here, COHERENCE_TEST_ALL: '1' })).toThrow(/zsh is missing: apt-get install zsh/)
  expect(findTool('fish', { ...here, COHERENCE_TEST_ALL: '1' })).toBe(join(folder, 'bin/fish'))
  for (const name of TOOL_NAMES) program(name, '')
  expect(tellOfMissing(here)).toBeUndefined()
})

test('.ci/run knows of the same tools', () => {
  expect(
    readFileSync(CI, 'utf8')
      .match(/^tools="(.*)"$/m)![1]
      .split(' '),
  ).toEqual(TOOL_NAMES)
})

describe('.ci/run', () => {
  /** Makes a program of each name that it is given, as an installation would. */
  const INSTALL = 'for name do case $name in [a-z]*) ln -sf /bin/true "${0%/*}/$name";; esac; done'

  /** On a machine with these tools; what it ran, a line each. */
  function run(present: readonly string[], { uid = 1000, ci = '', apt = INSTALL }): string[] {
    for (const name of ['dirname', 'env', 'timeout', 'ln', 'true']) symlinkSync(which(name), join(folder, 'bin', name))
    const log = join(folder, 'log')
    program('id', `echo ${uid}`)
    program('npm', `echo "npm $*, all: $COHERENCE_TEST_ALL" >> ${log}`)
    program('sudo', `[ "$*" = "-n true" ] || echo sudo >> ${log}; shift; exec "$@"`)
    program('apt-get', `echo "apt-get $*" >> ${log}\n${apt}`)
    for (const name of present) program(name, '')
    const env = { PATH: join(folder, 'bin'), ...(ci ? { CI: ci } : {}) }
    const { status, stderr } = spawnSync('/bin/bash', [join(folder, '.ci/run')], { encoding: 'utf8', env })
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    return readFileSync(log, 'utf8').split('\n').slice(0, -1)
  }
  const which = (name: string) =>
    ['/usr/bin', '/bin'].map((place) => join(place, name)).find((path) => existsSync(path))!
  const MISSING = ['chromium', 'zsh']
  const OTHERS = TOOL_NAMES.filter((name) => !MISSING.includes(name))
  const tests = (all: string) => [
    `npm cit, all: ${all}`,
    `npm run static, all: ${all}`,
    `npm run -s test:chaos -- --minutes 0.5, all: ${all}`,
  ]
  const UPDATE = expect.stringMatching(/^apt-get .*update$/)
  const INSTALLED = expect.stringMatching(/^apt-get .*install .* chromium zsh fonts-liberation$/)

  test('with every tool there, installs nothing and skips nothing', () => {
    expect(run(TOOL_NAMES, { uid: 0 })).toEqual(tests('1'))
  })

  test('installs what is missing as root', () => {
    expect(run(OTHERS, { uid: 0 })).toEqual([UPDATE, INSTALLED, ...tests('1')])
  })

  test('in CI also by way of sudo; what could not be installed fails there', () => {
    const failing = run(OTHERS, { ci: 'true', apt: 'exit 100' })
    expect(failing).toEqual(['sudo', UPDATE, ...tests('1')])
  })

  test('of somebody without root it asks nothing, and skips', () => {
    expect(run(OTHERS, {})).toEqual(tests(''))
  })

  test('as root where apt-get does not work, skips', () => {
    expect(run(OTHERS, { uid: 0, apt: 'exit 100' })).toEqual([UPDATE, ...tests('')])
  })
})
