import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { parseConfig, readEnvironment } from '../../infra/config.ts'

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
