import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { parseConfig, parseSignIn, readEnvironment } from '../../infra/config.ts'
import { createRedactor } from '../../infra/redact.ts'

const DATABASE_URL = 'postgres://postgres:secret@db.example.org:5432/postgres'

describe('parseConfig', () => {
  test('needs nothing but a database', () => {
    expect(parseConfig({ DATABASE_URL })).toMatchObject({
      databaseUrl: DATABASE_URL,
      storageDriver: 'local',
      storageBucket: 'entropy-chunks',
      chunkTargetBytes: 32 * 1024 ** 2,
      chunkMaxAgeSeconds: 300,
      retentionDays: 30,
      sweepDeletes: false,
      pairsMaxDevices: 32,
      referenceDays: 0,
    })
  })

  test('gives what is set, frozen', () => {
    const config = parseConfig({ DATABASE_URL, RETENTION_DAYS: '0', CHUNK_MAX_AGE: '0.5', SWEEP_DELETE: 'true' })
    expect(config).toMatchObject({ retentionDays: 0, chunkMaxAgeSeconds: 0.5, sweepDeletes: true })
    expect(Object.isFrozen(config)).toBe(true)
  })

  test.each([
    ['67108864', 64],
    ['512M', 512],
    ['512Mi', 512],
    ['2g', 2048],
    ['65536k', 64],
    [undefined, undefined],
  ])('takes %s for the memory of a worker', (text, mib) => {
    const { workMemoryBytes } = parseConfig({ DATABASE_URL, WORK_MEMORY: text })
    expect(workMemoryBytes).toBe(mib === undefined ? undefined : mib * 1024 ** 2)
  })

  test.each(['', ' ', '\t\n'])('takes %j for unset: as a number it would be 0', (blank) => {
    expect(parseConfig({ DATABASE_URL, RETENTION_DAYS: blank }).retentionDays).toBe(30)
    expect(() => parseConfig({ DATABASE_URL: blank })).toThrow('DATABASE_URL is missing')
  })

  test.each([
    ['CHUNK_TARGET_BYTES', '1023'],
    ['CHUNK_TARGET_BYTES', '2048.5'],
    ['CHUNK_TARGET_BYTES', '32MiB'],
    ['CHUNK_MAX_AGE', '0'],
    ['CHUNK_MAX_AGE', 'Infinity'],
    ['RETENTION_DAYS', '-1'],
    ['RETENTION_DAYS', 'NaN'],
    ['SWEEP_DELETE', 'yes'],
    ['WORK_CONCURRENCY', '0'],
    ['WORK_MEMORY', 'plenty'],
    ['WORK_MEMORY', '1.5G'],
    ['WORK_MEMORY', '63M'],
    ['STORAGE_DRIVER', 'floppy'],
    ['STORAGE_BUCKET', '../up'],
    ['LOG_LEVEL', 'loud'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'without a value'],
    ['OTEL_RESOURCE_ATTRIBUTES', 'a=%'],
  ])('refuses %s=%s, and says what it must be and what it is', (name, value) => {
    const sentence = `the environment is not right:\n  ${name} must be `
    expect(() => parseConfig({ DATABASE_URL, [name]: value })).toThrow(
      expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringContaining(sentence) }),
    )
    expect(() => parseConfig({ DATABASE_URL, [name]: value })).toThrow(` (it is "${value}")`)
  })

  test.each(['SUPABASE_SECRET_KEY', 'SUPABASE_SERVICE_KEY', 'SUPABASE_SERVICE_ROLE_KEY'])(
    'takes the key as %s',
    (name) => {
      const config = parseConfig({
        DATABASE_URL,
        STORAGE_DRIVER: 'supabase',
        SUPABASE_URL: 'https://abc.supabase.co',
        [name]: 'sb_secret_x',
      })
      expect(config.supabase).toEqual({ url: 'https://abc.supabase.co', secretKey: 'sb_secret_x' })
    },
  )

  test('a store needs its settings, and a mirror its own', () => {
    expect(() => parseConfig({ DATABASE_URL, STORAGE_DRIVER: 'supabase', STORAGE_MIRROR: 'storj' })).toThrow(
      /SUPABASE_URL is missing[^]*SUPABASE_SECRET_KEY is missing[^]*STORJ_ACCESS_KEY_ID[^]*STORJ_SECRET_ACCESS_KEY/,
    )
    expect(parseConfig({ DATABASE_URL, SUPABASE_URL: 'https://abc.supabase.co' }).supabase).toBeNull()
  })

  test('reports all problems at once', () => {
    const wrong = { DATABASE_URL: 'localhost', RETENTION_DAYS: 'x', LOG_LEVEL: 'x' }
    expect(() => parseConfig(wrong)).toThrow(/DATABASE_URL[^]*RETENTION_DAYS[^]*LOG_LEVEL/)
  })

  test('takes what Supabase gives: pooler, user with a dot, encoded password, postgresql://', () => {
    const url = 'postgresql://postgres.abc:p%40ss@aws-0-eu.pooler.supabase.com:6543/postgres?sslmode=require'
    expect(parseConfig({ DATABASE_URL: url }).databaseUrl).toBe(url)
  })
})

describe('readEnvironment', () => {
  let directory: string

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'coherence-config-'))
  })

  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(directory, { recursive: true })
  })

  const write = (name: string, text: string) => writeFileSync(join(directory, name), text)

  test('reads .env, over it .env.local, over it the environment', () => {
    write('.env', 'TEST_A=file\nTEST_B=file\nTEST_C=file\n')
    write('.env.local', 'TEST_B=local\nTEST_C=local\n')
    vi.stubEnv('TEST_C', 'process')
    expect(readEnvironment(directory)).toMatchObject({ TEST_A: 'file', TEST_B: 'local', TEST_C: 'process' })
  })

  test('lets what is beneath an empty value show', () => {
    write('.env', 'TEST_A=file\nTEST_B=file\n')
    write('.env.local', 'TEST_A=\n')
    vi.stubEnv('TEST_B', '')
    expect(readEnvironment(directory)).toMatchObject({ TEST_A: 'file', TEST_B: 'file' })
  })

  test('knows quotes, comments and a value that holds =', () => {
    write('.env', '# ours\nTEST_A="two words" # here\nexport TEST_B=\'a#b\'\nTEST_C=postgres://h/db?x=1\n')
    expect(readEnvironment(directory)).toMatchObject({
      TEST_A: 'two words',
      TEST_B: 'a#b',
      TEST_C: 'postgres://h/db?x=1',
    })
  })

  test('does without files, and takes no offence at a folder named .env', () => {
    mkdirSync(join(directory, '.env'))
    expect(readEnvironment(directory).PATH).toBe(process.env.PATH)
  })
})

describe('where telemetry goes', () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = 'https://otlp.example.org/otlp/'

  test('is nowhere without an endpoint', () => {
    expect(parseConfig({ DATABASE_URL, OTEL_EXPORTER_OTLP_HEADERS: 'a=b' }).otlp).toBe(null)
  })

  test('is an endpoint with headers, a service and attributes, percent-decoded', () => {
    const config = parseConfig({
      DATABASE_URL,
      OTEL_EXPORTER_OTLP_ENDPOINT,
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic%20YTpi%3D%3D, x-tenant = lab=1,',
      OTEL_SERVICE_NAME: 'entropy',
      OTEL_RESOURCE_ATTRIBUTES: 'deployment.environment.name=a%2Cb',
    })
    expect(config.otlp).toEqual({
      endpoint: 'https://otlp.example.org/otlp',
      headers: { authorization: 'Basic YTpi==', 'x-tenant': 'lab=1' },
      serviceName: 'entropy',
      resourceAttributes: { 'deployment.environment.name': 'a,b' },
    })
  })

  test.each([
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'otlp.example.org:4318', 'must be an http or https URL'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'Bearer hunter2', 'must be name=value,name=value'],
    ['OTEL_EXPORTER_OTLP_HEADERS', 'authorization=hunter2%', 'must be name=value,name=value'],
  ])('refuses %s=%s without repeating it', (name, value, sentence) => {
    expect(() => parseConfig({ DATABASE_URL, [name]: value })).toThrow(sentence)
    expect(() => parseConfig({ DATABASE_URL, [name]: value })).not.toThrow(value)
  })
})

describe('garbage in the environment', () => {
  const NAMES = [
    'DATABASE_URL',
    'DATABASE_CA_CERT',
    'STORAGE_DRIVER',
    'STORAGE_MIRROR',
    'STORAGE_BUCKET',
    'LOCAL_STORAGE_DIR',
    'SUPABASE_URL',
    'SUPABASE_SECRET_KEY',
    'SUPABASE_SERVICE_KEY',
    'SUPABASE_SERVICE_ROLE_KEY',
    'SUPABASE_ANON_KEY',
    'SUPABASE_PUBLISHABLE_KEY',
    'JWT_SECRET',
    'STORJ_ENDPOINT',
    'STORJ_REGION',
    'STORJ_ACCESS_KEY_ID',
    'STORJ_SECRET_ACCESS_KEY',
    'CHUNK_TARGET_BYTES',
    'CHUNK_MAX_AGE',
    'RETENTION_DAYS',
    'COHERENCE_PAIRS_MAX_DEVICES',
    'COHERENCE_REFERENCE_DAYS',
    'SWEEP_DELETE',
    'WORK_CONCURRENCY',
    'WORK_MEMORY',
    'LOG_LEVEL',
    'OTEL_EXPORTER_OTLP_ENDPOINT',
    'OTEL_EXPORTER_OTLP_HEADERS',
    'OTEL_SERVICE_NAME',
    'OTEL_RESOURCE_ATTRIBUTES',
    '__proto__',
    'constructor',
    'UNKNOWN',
  ]
  const GARBAGE = [
    '',
    ' ',
    '\0',
    '\ud800',
    DATABASE_URL,
    ...'0 -1 1e999 0x10 NaN Infinity % %zz = , a=b a=% true false __proto__ ../.. local supabase storj'.split(' '),
    ...'file:///etc/passwd http:// http://[ https://x.supabase.co sb_secret_x [YOUR-PASSWORD]'.split(' '),
    ...'postgres:// postgres://%@h/d postgres://u:%zz@h/d postgres://u:p@h:99999/d'.split(' '),
    'eyJ.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.x',
  ]
  const value = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.string(),
    fc.webUrl(),
    fc.json(),
    fc.double().map(String),
    fc.bigInt().map(String),
    fc.constantFrom(...GARBAGE),
  )
  const environment = fc
    .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), value), { selector: ([name]) => name })
    .map((entries): Record<string, string> => Object.fromEntries(entries))

  const HEADING = 'the environment is not right:\n  '

  /** The sentences of the error, without its heading; none, if there is no error. Any other error is a fault. */
  function problemsOf(parse: () => unknown): string[] {
    try {
      parse()
      return []
    } catch (error) {
      const { code, message } = error as { code?: string; message: string }
      if (code === 'CONFIG_INVALID' && message.startsWith(HEADING)) return message.slice(HEADING.length).split('\n  ')
      throw error
    }
  }
  const nameOf = (problem: string) => problem.split(' ')[0]

  test('never ends in anything but a configuration, or the error that lists every problem', () => {
    fc.assert(
      fc.property(environment, (given) => {
        const said = problemsOf(() => parseConfig(given)).map(nameOf)
        expect(said.filter((name) => !NAMES.includes(name))).toEqual([])
        // What is wrong on its own, or beside the driver, is wrong among the others, and is said.
        const { STORAGE_DRIVER } = given
        const wrong = Object.keys(given).filter((name) => {
          const alone = { DATABASE_URL, STORAGE_DRIVER, [name]: given[name] }
          return problemsOf(() => parseConfig(alone)).some((problem) => nameOf(problem) === name)
        })
        expect(said).toEqual(expect.arrayContaining(wrong))
        problemsOf(() => parseSignIn(given))
        // Of what is a configuration the secrets can be taken out of a text.
        problemsOf(() => createRedactor(parseConfig(given))('text'))
      }),
      { numRuns: 2000 },
    )
  })

  test('never shows a secret', () => {
    const secrets = NAMES.filter((name) => /KEY|SECRET|DATABASE|OTLP/.test(name))
    const secret = fc.stringMatching(/^[!-~]{8,40}$/).map((text) => `hunter2${text}`)
    fc.assert(
      fc.property(environment, fc.constantFrom(...secrets), secret, (given, name, text) => {
        const problems = problemsOf(() => parseConfig({ ...given, LOG_LEVEL: 'loud', [name]: text }))
        expect(problems.map(nameOf)).toContain('LOG_LEVEL')
        expect(problems.join()).not.toContain('hunter2')
      }),
      { numRuns: 1000 },
    )
  })
})
