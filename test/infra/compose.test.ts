import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { parse, parseDocument } from 'yaml'
import { parseConfig } from '../../infra/config.ts'
import { GRACE_MS } from '../../jobs/work.ts'
import { createCli } from './run-cli.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const read = (name: string) => readFileSync(join(ROOT, name), 'utf8')
const OVERLAY = 'infra/compose.workers.yml'
const cli = createCli()
afterAll(() => cli.remove())

interface Service {
  command?: string[]
  entrypoint?: string[]
  environment: Record<string, string>
  depends_on: Record<string, { condition: string }>
  stop_grace_period: string
  [key: string]: unknown
}
const document = parseDocument(read(OVERLAY), { merge: true })
const { services }: { services: Record<string, Service> } = document.toJS()
const named = Object.entries(services)

/** What the project's own .env has, by Supabase's example. */
const PROJECT = {
  POSTGRES_PASSWORD: 'secret',
  POSTGRES_HOST: 'db',
  POSTGRES_PORT: '5432',
  POSTGRES_DB: 'postgres',
  SERVICE_ROLE_KEY: 'eyJhbGciOi.x.y',
}
/** `${NAME}`, `${NAME:-default}` and `${NAME:?}` as compose fills them in. */
function interpolate(text: string, env: Record<string, string>): string {
  return text.replaceAll(/\$\{([A-Z_]+)(:-([^}]*)|:\?)?\}/g, (_whole, name: string, rule?: string, fallback = '') => {
    if (rule === ':?' && !env[name]) throw new Error(`${name} is required`)
    return env[name] || fallback
  })
}

describe('infra/compose.workers.yml', () => {
  test('is an overlay: YAML without a name, networks or services of the project', () => {
    expect([...document.errors, ...document.warnings]).toEqual([])
    expect(Object.keys(document.toJS())).toEqual(['x-coherence', 'services'])
    expect(Object.keys(services).every((name) => name.startsWith('coherence-'))).toBe(true)
  })

  test.each(named)('%s has settings of ours, from the .env of Supabase', (_name, { environment }) => {
    const settings = Object.fromEntries(
      Object.entries(environment).map(([name, value]) => [name, interpolate(value, PROJECT)]),
    )
    expect(parseConfig(settings)).toMatchObject({
      databaseUrl: 'postgres://postgres:secret@db:5432/postgres',
      storageDriver: 'supabase',
      supabase: { url: 'http://kong:8000', secretKey: PROJECT.SERVICE_ROLE_KEY },
    })
    const known = [...read('infra/config.ts').matchAll(/^ {2}([A-Z_]+):/gm)].map((match) => match[1])
    expect(Object.keys(settings).filter((name) => !known.includes(name))).toEqual([])
    expect(() => interpolate(environment.DATABASE_URL, {})).toThrow('POSTGRES_PASSWORD is required')
  })

  test.each(named)('%s runs a command that there is', async (_name, { command, entrypoint }) => {
    const script = entrypoint?.at(-1)
    const args = script?.match(/coherence\.js ([^;]*);/)?.[1].split(' ') ?? command!
    // A shell reads the script to its end without running it.
    expect(spawnSync('sh', ['-n', '-c', script ?? ':']).status).toBe(0)
    const finished = await cli.run([...args, '--json'])
    expect(finished.code).toBe(2)
    expect(finished.json().error.code).toBe('CONFIG_INVALID')
  })

  test.each(named)('%s may do little, and has the time to hand back its jobs', (_name, service) => {
    expect(service).toMatchObject({
      init: true,
      read_only: true,
      tmpfs: ['/tmp'],
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    })
    expect(service).not.toHaveProperty('ports')
    expect(Number(service.stop_grace_period.replace(/s$/, ''))).toBeGreaterThan((2 * GRACE_MS) / 1000)
  })

  test('workers wait for the schema, the schema for the database alone', () => {
    const waits = named.map(([name, { depends_on }]) => [name, depends_on])
    const migrated = { 'coherence-migrate': { condition: 'service_completed_successfully' } }
    expect(Object.fromEntries(waits)).toEqual({
      'coherence-migrate': { db: { condition: 'service_healthy' } },
      'coherence-worker': migrated,
      'coherence-tick': migrated,
    })
  })

  test.skipIf(spawnSync('docker', ['compose', 'version']).status !== 0)('docker compose takes it', () => {
    const directory = mkdtempSync(join(tmpdir(), 'coherence-compose-'))
    const base = join(directory, 'docker-compose.yml')
    try {
      const healthcheck = '{ test: [CMD, pg_isready] }'
      writeFileSync(
        base,
        `name: supabase\nservices:\n  db: { image: supabase/postgres, healthcheck: ${healthcheck} }\n`,
      )
      const args = ['compose', '-f', base, '-f', join(ROOT, OVERLAY), 'config']
      const { status, stdout, stderr } = spawnSync('docker', args, {
        encoding: 'utf8',
        env: { ...process.env, ...PROJECT },
      })
      expect(stderr).toBe('')
      expect(status).toBe(0)
      expect(Object.keys(parse(stdout).services)).toContain('coherence-worker')
    } finally {
      rmSync(directory, { recursive: true })
    }
  })
})
