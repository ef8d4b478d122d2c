import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { z } from 'zod'
import { CoherenceError } from '../pipeline/errors.ts'

const seconds = (fallback: number) => z.coerce.number().positive().default(fallback)

/** What the pipeline reads from the environment, by variable. The one place that knows their names and defaults. */
const SETTINGS = z.object({
  DATABASE_URL: z.url({ protocol: /^postgres(ql)?$/, error: 'must be postgres://user:password@host:port/database' }),
  DATABASE_CA_CERT: z.string().min(1).optional(),
  STORAGE_DRIVER: z.enum(['local']).default('local'),
  STORAGE_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be 3 to 63 of a-z 0-9 . -')
    .default('entropy-chunks'),
  LOCAL_STORAGE_DIR: z.string().min(1).default('.coherence/storage'),
  CHUNK_TARGET_BYTES: z.coerce
    .number()
    .int()
    .min(1024)
    .max(1024 ** 3)
    .default(32 * 1024 ** 2),
  CHUNK_MAX_AGE: seconds(300),
  RETENTION_DAYS: z.coerce.number().min(0).max(36_500).default(30),
  SWEEP_DELETE: z.enum(['true', 'false']).default('false'),
  WORK_CONCURRENCY: z.coerce.number().int().min(1).max(16).default(2),
  LOG_LEVEL: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']).default('info'),
})

type Settings = z.output<typeof SETTINGS>

export interface Config {
  readonly databaseUrl: string
  readonly databaseCaCert: string | undefined
  readonly storageDriver: Settings['STORAGE_DRIVER']
  readonly storageBucket: string
  readonly localStorageDir: string
  readonly chunkTargetBytes: number
  readonly chunkMaxAgeSeconds: number
  readonly retentionDays: number
  readonly sweepDeletes: boolean
  readonly workConcurrency: number
  readonly logLevel: Settings['LOG_LEVEL']
}

/** The environment of this process over `.env.local` over `.env` of the working directory. Empty values count as unset. */
export function readEnvironment(directory = process.cwd()): Record<string, string | undefined> {
  const fromFile = (name: string) => {
    const path = join(directory, name)
    return existsSync(path) ? parseEnv(readFileSync(path, 'utf8')) : {}
  }
  return { ...fromFile('.env'), ...fromFile('.env.local'), ...process.env }
}

/**
 * The configuration, frozen. Throws CONFIG_INVALID with every problem of the environment in one message; values of
 * secrets never appear in it.
 */
export function parseConfig(environment: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ''),
  )
  const parsed = SETTINGS.safeParse(given)
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => {
      const name = String(issue.path[0])
      const value = given[name]
      if (value === undefined) return `  ${name} is missing.${name === 'DATABASE_URL' ? DATABASE_URL_HELP : ''}`
      const shown = name === 'DATABASE_URL' || name === 'DATABASE_CA_CERT' ? '' : ` (it is ${JSON.stringify(value)})`
      return `  ${name}: ${issue.message}${shown}`
    })
    throw new CoherenceError('CONFIG_INVALID', `the environment is not right:\n${lines.join('\n')}`)
  }
  const env = parsed.data
  return Object.freeze({
    databaseUrl: env.DATABASE_URL,
    databaseCaCert: env.DATABASE_CA_CERT,
    storageDriver: env.STORAGE_DRIVER,
    storageBucket: env.STORAGE_BUCKET,
    localStorageDir: env.LOCAL_STORAGE_DIR,
    chunkTargetBytes: env.CHUNK_TARGET_BYTES,
    chunkMaxAgeSeconds: env.CHUNK_MAX_AGE,
    retentionDays: env.RETENTION_DAYS,
    sweepDeletes: env.SWEEP_DELETE === 'true',
    workConcurrency: env.WORK_CONCURRENCY,
    logLevel: env.LOG_LEVEL,
  })
}

const DATABASE_URL_HELP =
  ' Take the connection string of your Supabase project (Connect, transaction pooler), or try `coherence demo`, which needs none.'
