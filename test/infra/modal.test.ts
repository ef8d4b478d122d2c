import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { QUEUE_NAMES, QUEUES } from '../../jobs/queues.ts'
import { findTool } from '../harness/tools.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const APP = join(ROOT, 'infra/modal_app.py')
/** Python as a script of ours is run: no files of its own are left in the checkout. */
const ENVIRONMENT = { ...process.env, PYTHONDONTWRITEBYTECODE: '1' }
/** What modal_stand_in.py prints. */
interface Loaded {
  readonly env: Record<string, string>
  readonly functions: Record<string, Record<string, unknown>>
}
const can = (script: string) => spawnSync('python3', ['-c', script], { env: ENVIRONMENT }).status === 0

describe.skipIf(findTool('python3') === undefined)('the process that Modal’s Python runs', () => {
  /** A child of Python's; resolves once the child's stderr says that it is up. */
  async function start(script: string, python = ['child_process.py', process.execPath, '-e', script]) {
    const parent = spawn('python3', python, { cwd: join(ROOT, 'infra'), env: ENVIRONMENT, detached: true })
    let stdout = ''
    parent.stdout.on('data', (chunk) => (stdout += chunk))
    const ended = once(parent, 'close').then(([code, signal]) => ({ code, signal, stdout }))
    const [pid] = await once(parent.stderr, 'data')
    return { parent, pid: Number(String(pid)), ended }
  }
  /** Says its number; on SIGTERM works on for a while, counts signals, and exits with 7. */
  const WORKER = `
    let signals = 0
    process.on('SIGINT', () => signals++)
    process.on('SIGTERM', () => { console.error(++signals); setTimeout(() => { console.log(signals); process.exit(7) }, 600) })
    setInterval(() => {}, 1000)
    console.error(process.pid)`
  const isRunning = (pid: number) => existsSync(`/proc/${pid}`)

  test('its exit code and output are passed on', async () => {
    const { ended } = await start(`console.error(1); console.log('done'); process.exitCode = 3`)
    expect(await ended).toEqual({ code: 3, signal: null, stdout: 'done\n' })
  })

  test.each(['SIGTERM', 'SIGINT'] as const)('%s reaches it as one SIGTERM, and its end is awaited', async (name) => {
    const { parent, ended } = await start(WORKER)
    // To the whole group and again, as a terminal and an impatient platform do.
    process.kill(-parent.pid!, name)
    await once(parent.stderr, 'data')
    parent.kill(name)
    expect(await ended).toEqual({ code: 7, signal: null, stdout: '1\n' })
  })

  test('one that does not end is killed after the grace', async () => {
    const stubborn = `process.on('SIGTERM', () => {}); setInterval(() => {}, 1000); console.error(process.pid)`
    const python = `
import sys
from child_process import run_child
ended = run_child(sys.argv[1:], grace_seconds=0.3)
print(ended.code, ended.stopped_by.name)`
    const { parent, pid, ended } = await start('', ['-c', python, process.execPath, '-e', stubborn])
    parent.kill('SIGTERM')
    expect((await ended).stdout).toBe('-9 SIGTERM\n')
    expect(isRunning(pid)).toBe(false)
  })

  test('what another signal raises ends it too, and goes on', async () => {
    const python = `
import signal, sys
from child_process import run_child
def cancel(*_):
    raise LookupError
signal.signal(signal.SIGUSR1, cancel)
try:
    run_child(sys.argv[1:])
except LookupError:
    print("cancelled")`
    const { parent, pid, ended } = await start('', ['-c', python, process.execPath, '-e', WORKER])
    parent.kill('SIGUSR1')
    expect((await ended).stdout).toBe('cancelled\n')
    expect(isRunning(pid)).toBe(false)
  })
})

describe('infra/modal_app.py', () => {
  const source = readFileSync(APP, 'utf8')
  const constant = (name: string) => source.match(new RegExp(`^${name} = (.*)$`, 'm'))?.[1]

  test('its numbers fit the queues', () => {
    expect(QUEUE_NAMES).toContain(constant('LONG_QUEUE')?.replaceAll('"', ''))
    const long = QUEUE_NAMES.filter(
      (name) => QUEUES[name].options.expireInSeconds! > Number(constant('TIMEOUT_SECONDS')),
    )
    expect(long).toEqual(['compute-event'])
    expect(Number(constant('TIMEOUT_SECONDS'))).toBeGreaterThanOrEqual(Number(constant('WORK_SECONDS')) + 120)
    expect(constant('LONG_TIMEOUT_SECONDS')).toBe('5 * 3600')
    expect(5 * 3600 - Number(constant('LONG_WORK_SECONDS'))).toBeGreaterThanOrEqual(
      QUEUES['compute-event'].options.expireInSeconds!,
    )
  })

  test('passes only what the SDK 1.5.4 has', () => {
    // Modal refuses an argument that it does not know, at deployment.
    const known =
      /^(image|schedule|env|secrets|volumes|cpu|memory|ephemeral_disk|min_containers|max_containers|buffer_containers|scaledown_window|proxy|retries|timeout|startup_timeout|name|cloud|region|nonpreemptible|block_network|restrict_modal_access|single_use_containers|include_source)$/
    const calls = [...source.matchAll(/@app\.function\(([^]*?)\)\n(?=def|@)/g)].map((match) => match[1])
    expect(calls).toHaveLength(5)
    const given = calls.flatMap((call) => [...call.matchAll(/\b(\w+)=/g)].map((match) => match[1]))
    expect(given.filter((name) => !known.test(name))).toEqual([])
  })

  describe.skipIf(findTool('python3') === undefined)('without the SDK', () => {
    let folder: string
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'coherence-modal-'))
    })
    afterEach(() => rmSync(folder, { recursive: true }))

    /** At a deployment it is in a clone with a build; in a container alone with the module beside it, as /root has them. */
    function load(where: 'deploy' | 'container', env: Record<string, string>): Loaded {
      const beside = join(folder, where, 'infra')
      mkdirSync(beside, { recursive: true })
      for (const name of ['modal_app.py', 'child_process.py'])
        copyFileSync(join(ROOT, 'infra', name), join(beside, name))
      if (where === 'deploy') {
        mkdirSync(join(folder, where, 'dist/infra'), { recursive: true })
        writeFileSync(join(folder, where, 'dist/infra/coherence.js'), '')
      }
      const loader = join(import.meta.dirname, 'modal_stand_in.py')
      const printed = execFileSync('python3', [loader, join(beside, 'modal_app.py'), where], {
        env: { PATH: process.env.PATH, PYTHONDONTWRITEBYTECODE: '1', ...env },
      })
      return JSON.parse(String(printed)) as Loaded
    }

    test.each([
      ['supabase', {}, ['supabase']],
      ['supabase and storj', { COHERENCE_SECRETS: 'supabase,storj' }, ['supabase', 'storj']],
    ] as const)('a container has the secrets that the deployment gave it: %s', (_name, env, secrets) => {
      // Modal counts what a function depends on here and there, and runs none if the counts differ.
      const deployed = load('deploy', env)
      expect(deployed.functions.drain.secrets).toEqual(secrets)
      expect(deployed.functions.wake.secrets).toBeUndefined()
      expect(load('container', deployed.env)).toEqual(deployed)
    })

    test('a worker’s container has a limit of memory, which the worker sees', () => {
      const { env, functions } = load('deploy', {})
      expect(env.WORK_MEMORY).toBe('1024M')
      expect(functions.drain.memory).toEqual([512, 1024])
      expect(functions.drain_long.memory).toEqual([512, 1024])
    })

    test('it is not deployed without a build', () => {
      mkdirSync(join(folder, 'bare/infra'), { recursive: true })
      const file = join(folder, 'bare/infra/modal_app.py')
      copyFileSync(APP, file)
      copyFileSync(join(ROOT, 'infra/child_process.py'), join(folder, 'bare/infra/child_process.py'))
      const { stderr } = spawnSync('python3', [join(import.meta.dirname, 'modal_stand_in.py'), file, 'deploy'], {
        env: ENVIRONMENT,
      })
      expect(String(stderr)).toContain('run `npm run build` first')
    })
  })

  test.skipIf(!can('import modal'))('is what Modal’s own SDK takes, and starts what is needed', () => {
    const built = join(ROOT, 'dist/infra/coherence.js')
    const hadBuild = existsSync(built)
    if (!hadBuild) {
      mkdirSync(join(ROOT, 'dist/infra'), { recursive: true })
      writeFileSync(built, '')
    }
    try {
      const check = join(import.meta.dirname, 'modal_app_check.py')
      const printed = execFileSync('python3', [check, 'infra/modal_app.py'], { cwd: ROOT, env: ENVIRONMENT })
      const { functions, spawned, outcomes } = JSON.parse(String(printed).trim().split('\n').at(-1)!)
      expect(functions).toEqual(['tick', 'drain', 'drain_long', 'maintain', 'wake'])
      // [drain, drain_long]
      expect(spawned).toEqual({
        'another build': [0, 0],
        'nothing ready': [0, 0],
        '1 ready': [1, 0],
        '51 ready': [2, 0],
        'a million ready': [8, 0],
        'a million ready, 3 running, 2 to come': [3, 0],
        '1 ready, 3 running': [0, 0],
        '2 events': [0, 1],
      })
      expect(outcomes).toEqual({ '0': { ready: {} }, '75': {}, '1': 'RuntimeError', interrupted: 'KeyboardInterrupt' })
    } finally {
      if (!hadBuild) rmSync(join(ROOT, 'dist'), { recursive: true })
    }
  })
})
