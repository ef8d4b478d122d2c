import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseEnv } from 'node:util'
import { z } from 'zod'
import { CoherenceError } from '../pipeline/errors.ts'
import type { StorePlace } from '../pipeline/store-place.ts'
import { parsePairs, type OtlpSettings } from './otlp-settings.ts'

/** A setting that is a number; `must` is the end of the sentence "NAME must be ...". */
const number = (must: string, check: (value: number) => boolean, fallback: number) =>
  z.coerce.number(`must be ${must}`).refine(check, `must be ${must}`).default(fallback)
const oneOf = <const Words extends readonly [string, ...string[]]>(...words: Words) =>
  z.enum(words, `must be ${words.length === 1 ? '' : 'one of '}${words.join(', ')}`)
const isWhole = (value: number, least: number, most: number) =>
  Number.isInteger(value) && value >= least && value <= most
const pairs = () =>
  z
    .string()
    .default('')
    .transform((text, context) => {
      const parsed = parsePairs(text)
      if (parsed === null) context.addIssue('must be name=value,name=value (in a value write , as %2C, % as %25)')
      return parsed ?? z.NEVER
    })

const DEFAULT_DRIVER = 'local'

/** Bytes, or KiB, MiB, GiB by their first letter, as Docker and Kubernetes write them. */
const size = (must: string, least: number) =>
  z
    .string()
    .regex(/^\d+([kmg]i?)?$/i, `must be ${must}`)
    .transform(
      (text) => Number.parseInt(text, 10) * 1024 ** ' kmg'.indexOf(/[kmg]/i.exec(text)?.[0].toLowerCase() ?? ' '),
    )
    .refine((bytes) => bytes >= least, `must be ${must}`)
    .optional()

/** What the pipeline reads from the environment, by variable. The one place that knows their names and defaults. */
const SETTINGS = z.object({
  DATABASE_URL: z
    .string()
    .refine(isDatabaseUrl, {
      error: 'must be postgres://user:password@host:port/database (in the password write @ as %40, / as %2F, # as %23)',
      abort: true,
    })
    .refine((url) => !/(\[|%5B)YOUR-PASSWORD/i.test(url), 'still holds [YOUR-PASSWORD]: put the password there'),
  DATABASE_CA_CERT: z.string().min(1).optional(),
  STORAGE_DRIVER: oneOf('local', 'supabase', 'storj').default(DEFAULT_DRIVER),
  STORAGE_MIRROR: oneOf('local', 'supabase', 'storj').optional(),
  STORAGE_BUCKET: z
    .string()
    .regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be 3 to 63 of a-z 0-9 . -')
    .default('entropy-chunks'),
  LOCAL_STORAGE_DIR: z.string().min(1).default('.coherence/storage'),
  SUPABASE_URL: z
    .string()
    .refine((url) => /^https?:\/\//.test(url) && URL.canParse(url), 'must be the project’s https URL')
    .optional(),
  SUPABASE_SECRET_KEY: z.string().min(1).optional(),
  SUPABASE_ANON_KEY: z
    .string()
    .refine((key) => !isSecretKey(key), 'must be the public key: this one is secret, and pages show it to everybody')
    .optional(),
  JWT_SECRET: z.string().min(1).optional(),
  STORJ_ENDPOINT: z.url('must be an http or https URL').default('https://gateway.storjshare.io'),
  STORJ_REGION: z.string().min(1).default('us-east-1'),
  STORJ_ACCESS_KEY_ID: z.string().min(1).optional(),
  STORJ_SECRET_ACCESS_KEY: z.string().min(1).optional(),
  CHUNK_TARGET_BYTES: number('whole bytes from 1024 to 1073741824', (n) => isWhole(n, 1024, 1024 ** 3), 32 * 1024 ** 2),
  CHUNK_MAX_AGE: number('seconds above 0', (n) => n > 0, 300),
  RETENTION_DAYS: number('days from 0 to 36500', (n) => n >= 0 && n <= 36_500, 30),
  COHERENCE_PAIRS_MAX_DEVICES: number('a whole number from 2 to 256', (n) => isWhole(n, 2, 256), 32),
  COHERENCE_REFERENCE_DAYS: number('days from 0 to 365', (n) => isWhole(n, 0, 365), 0),
  SWEEP_DELETE: oneOf('true', 'false').default('false'),
  WORK_CONCURRENCY: number('a whole number from 1 to 16', (n) => isWhole(n, 1, 16), 2),
  WORK_MEMORY: size('bytes, or as 512M or 2G, 64M at least', 64 * 1024 ** 2),
  LOG_LEVEL: oneOf('trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent').default('info'),
  OTEL_EXPORTER_OTLP_ENDPOINT: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  OTEL_EXPORTER_OTLP_HEADERS: pairs(),
  OTEL_SERVICE_NAME: z.string().min(1).optional(),
  OTEL_RESOURCE_ATTRIBUTES: pairs(),
})

type Settings = z.output<typeof SETTINGS>

export interface Config {
  readonly databaseUrl: string
  readonly databaseCaCert: string | undefined
  readonly storageDriver: Settings['STORAGE_DRIVER']
  readonly storageBucket: string
  readonly localStorageDir: string
  /** Where a second copy of every new object goes. */
  readonly mirror: StorePlace | null
  /** Set when URL and key are; null where nothing is, or was, kept there. */
  readonly supabase: { url: string; secretKey: string } | null
  /** Set when both keys are; null where nothing is, or was, kept there. */
  readonly storj: { endpoint: string; region: string; accessKeyId: string; secretAccessKey: string } | null
  readonly chunkTargetBytes: number
  readonly chunkMaxAgeSeconds: number
  readonly retentionDays: number
  readonly pairsMaxDevices: number
  readonly referenceDays: number
  readonly sweepDeletes: boolean
  readonly workConcurrency: number
  /** What a worker may use of memory; its container's limit if it is not set. */
  readonly workMemoryBytes: number | undefined
  readonly logLevel: Settings['LOG_LEVEL']
  /** Where telemetry is pushed to, or null. */
  readonly otlp: OtlpSettings | null
}

type Environment = Record<string, string | undefined>

/** Where `coherence dev` keeps its data, and while it runs the settings that reach it. */
export const DEV_DIRECTORY = '.coherence'
export const DEV_ENVIRONMENT = 'dev.env'

/**
 * The environment of this process over `.env.local` over `.env` of `directory`. An empty value counts as unset, so what is
 * beneath it shows. Where none names a database, that of the `coherence dev` which runs here. Throws CONFIG_INVALID for a file that
 * cannot be read.
 */
export function readEnvironment(directory = process.cwd()): Environment {
  const given = {
    ...readEnvFile(join(directory, '.env')),
    ...readEnvFile(join(directory, '.env.local')),
    ...withoutEmpty(process.env),
  }
  if (given.DATABASE_URL !== undefined) return given
  return { ...given, ...readEnvFile(join(directory, DEV_DIRECTORY, DEV_ENVIRONMENT)) }
}

function readEnvFile(path: string): Environment {
  try {
    return withoutEmpty(parseEnv(readFileSync(path, 'utf8')))
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    // Some keep a Python environment in a folder of this name.
    if (code === 'ENOENT' || code === 'EISDIR') return {}
    throw new CoherenceError('CONFIG_INVALID', `${path} cannot be read: ${message}`, { cause })
  }
}

/** Without the variables that are empty or white space: as a number that would be 0. */
function withoutEmpty(environment: Environment): Environment {
  return Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value.trim() !== ''),
  )
}

/**
 * The configuration, frozen. Throws CONFIG_INVALID with every problem of the environment in one message; values of
 * secrets never appear in it.
 */
export function parseConfig(environment: Environment): Config {
  const given = withoutAliases(withoutEmpty(environment))
  const parsed = SETTINGS.safeParse(given)
  const problems = [
    ...(parsed.error?.issues.map(({ path, message }) => ({ name: String(path[0]), message })) ?? []),
    ...storeProblems(given),
  ]
  if (!parsed.success || problems.length > 0) {
    const lines = problems.map(({ name, message }) => {
      const value = given[name]
      if (value === undefined) return `  ${name} is missing.${name === 'DATABASE_URL' ? DATABASE_URL_HELP : ''}`
      const shown = SECRET.test(name) ? '' : ` (it is ${JSON.stringify(value)})`
      return `  ${name} ${message}${shown}`
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
    mirror: env.STORAGE_MIRROR === undefined ? null : { backend: env.STORAGE_MIRROR, bucket: env.STORAGE_BUCKET },
    supabase: supabaseOf(env),
    storj: storjOf(env),
    chunkTargetBytes: env.CHUNK_TARGET_BYTES,
    chunkMaxAgeSeconds: env.CHUNK_MAX_AGE,
    retentionDays: env.RETENTION_DAYS,
    pairsMaxDevices: env.COHERENCE_PAIRS_MAX_DEVICES,
    referenceDays: env.COHERENCE_REFERENCE_DAYS,
    sweepDeletes: env.SWEEP_DELETE === 'true',
    workConcurrency: env.WORK_CONCURRENCY,
    workMemoryBytes: env.WORK_MEMORY,
    logLevel: env.LOG_LEVEL,
    otlp: otlpOf(env),
  })
}

/** The secret that the project's JWTs are signed with, for `keys`, which needs no other setting. */
export function readJwtSecret(environment: Environment): string | undefined {
  return SETTINGS.pick({ JWT_SECRET: true }).parse(environment).JWT_SECRET
}

/** The project that people sign in to, and the origins of stores whose links they follow. */
export interface SignInConfig {
  readonly url: string
  readonly key: string
  readonly storeOrigins: readonly string[]
}

/**
 * What a page of the console needs to sign people in; null unless URL and public key of the project are set. Throws CONFIG_INVALID
 * if they are not right.
 */
export function parseSignIn(environment: Environment): SignInConfig | null {
  const given = withoutAliases(withoutEmpty(environment))
  const parsed = SETTINGS.pick({ SUPABASE_URL: true, SUPABASE_ANON_KEY: true, STORJ_ENDPOINT: true }).safeParse(given)
  if (!parsed.success) {
    const lines = parsed.error.issues.map((issue) => `  ${String(issue.path[0])} ${issue.message}`)
    throw new CoherenceError('CONFIG_INVALID', `the environment is not right:\n${lines.join('\n')}`)
  }
  const { SUPABASE_URL: url, SUPABASE_ANON_KEY: key, STORJ_ENDPOINT: storj } = parsed.data
  return url === undefined || key === undefined ? null : { url, key, storeOrigins: [new URL(storj).origin] }
}

/** Keys under the names that other tools of Supabase give them. */
function withoutAliases(given: Environment): Environment {
  const { SUPABASE_SERVICE_KEY, SUPABASE_SERVICE_ROLE_KEY, SUPABASE_PUBLISHABLE_KEY } = given
  return withoutEmpty({
    ...given,
    SUPABASE_SECRET_KEY: given.SUPABASE_SECRET_KEY ?? SUPABASE_SERVICE_KEY ?? SUPABASE_SERVICE_ROLE_KEY,
    SUPABASE_ANON_KEY: given.SUPABASE_ANON_KEY ?? SUPABASE_PUBLISHABLE_KEY,
  })
}

function supabaseOf({ SUPABASE_URL: url, SUPABASE_SECRET_KEY: secretKey }: Settings): Config['supabase'] {
  return url === undefined || secretKey === undefined ? null : { url, secretKey }
}

function storjOf(env: Settings): Config['storj'] {
  const { STORJ_ACCESS_KEY_ID: accessKeyId, STORJ_SECRET_ACCESS_KEY: secretAccessKey } = env
  if (accessKeyId === undefined || secretAccessKey === undefined) return null
  return { endpoint: env.STORJ_ENDPOINT, region: env.STORJ_REGION, accessKeyId, secretAccessKey }
}

function otlpOf(env: Settings): Config['otlp'] {
  if (env.OTEL_EXPORTER_OTLP_ENDPOINT === undefined) return null
  return {
    endpoint: env.OTEL_EXPORTER_OTLP_ENDPOINT.replace(/\/+$/, ''),
    headers: env.OTEL_EXPORTER_OTLP_HEADERS,
    serviceName: env.OTEL_SERVICE_NAME,
    resourceAttributes: env.OTEL_RESOURCE_ATTRIBUTES,
  }
}

/** What one setting asks of another, of the environment as it is given: zod asks that only of an object that is otherwise right. */
function storeProblems(given: Environment): { name: string; message: string }[] {
  const { STORAGE_DRIVER: driver = DEFAULT_DRIVER, STORAGE_MIRROR: mirror } = given
  const needed = (['supabase', 'storj'] as const)
    .filter((name) => [driver, mirror].includes(name))
    .flatMap((name) =>
      NEEDED_BY[name].map((setting) => ({ name: setting, message: `is needed for the driver ${name}` })),
    )
  return [
    ...(driver === mirror ? [{ name: 'STORAGE_MIRROR', message: 'must be another driver than STORAGE_DRIVER' }] : []),
    ...needed.filter(({ name }) => given[name] === undefined),
  ]
}

const NEEDED_BY = {
  supabase: ['SUPABASE_URL', 'SUPABASE_SECRET_KEY'],
  storj: ['STORJ_ACCESS_KEY_ID', 'STORJ_SECRET_ACCESS_KEY'],
} as const

/** Variables whose values are never shown. */
const SECRET = /^DATABASE_|KEY|SECRET|TOKEN|PASSWORD|OTLP/

/** Of either generation: `sb_secret_…`, or a JWT of the service's role. */
function isSecretKey(key: string): boolean {
  if (key.startsWith('sb_secret_')) return true
  const payload = Buffer.from(key.split('.')[1] ?? '', 'base64url').toString()
  return /"role"\s*:\s*"(?!anon")/.test(payload)
}

function isDatabaseUrl(text: string): boolean {
  if (!/^postgres(ql)?:\/\//.test(text) || !URL.canParse(text)) return false
  try {
    const { username, password, pathname } = new URL(text)
    decodeURIComponent(username + password + pathname)
    return true
  } catch {
    // A percent sign on its own.
    return false
  }
}

const DATABASE_URL_HELP =
  ' Take the connection string of your Supabase project (Connect, transaction pooler), or try `coherence demo`, which needs none.'
