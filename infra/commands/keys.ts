import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { SignJWT } from 'jose'
import { CoherenceError } from '../../pipeline/errors.ts'
import { usage, type Register } from '../command.ts'
import { readEnvironment, readJwtSecret } from '../config.ts'
import { isoTime, isTime, reportJwt, type JwtReport } from '../jwt-report.ts'
import { formatList } from '../output.ts'
import { secretKey, signDeviceToken } from '../supabase/functions/_shared/claims.ts'

/** 384 bits; HS256 asks for 256 or more (RFC 7518, 3.2). */
const SECRET_BYTES = 48
const LEAST_SECRET_LENGTH = 32
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

interface DeviceFlags {
  tokenId: string
  hours: string
  secretFile?: string
}

export const keysCommand: Register = (keys, bind) => {
  const secretFile = ['--secret-file <path>', 'the file that holds the JWT secret (default: from JWT_SECRET)'] as const
  keys
    .command('generate')
    .description('a new JWT secret with the anon and service_role keys that it signs, as lines for .env')
    .option('--years <n>', 'how long the two keys hold', '10')
    .action(
      bind(async ({ output }, flags: { years: string }) => {
        const years = parseNumber(
          '--years',
          flags.years,
          'a whole number from 1 to 100',
          (n) => Number.isInteger(n) && n >= 1 && n <= 100,
        )
        const secret = randomBytes(SECRET_BYTES).toString('base64url')
        const now = epochSeconds()
        const expires = new Date(now * 1000)
        expires.setUTCFullYear(expires.getUTCFullYear() + years)
        const exp = expires.getTime() / 1000
        const sign = (role: string) =>
          new SignJWT({ role, iss: 'supabase', iat: now, exp })
            .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
            .sign(secretKey(secret))
        const made = { JWT_SECRET: secret, ANON_KEY: await sign('anon'), SERVICE_ROLE_KEY: await sign('service_role') }
        output.result({ ...made, expires_at: isoTime(exp) }, () =>
          Object.entries(made)
            .map(([name, value]) => `${name}=${value}`)
            .join('\n'),
        )
      }),
    )
  keys
    .command('device')
    .argument('<device-id>', 'the device, a uuid')
    .description('sign the JWT by which a device sends samples, as device-auth does')
    .requiredOption(
      '--token-id <id>',
      'the row of its token in app_private.device_tokens: the JWT ends when that is revoked',
    )
    .option('--hours <n>', 'how long it holds', '1')
    .option(...secretFile)
    .action(
      bind(async ({ output }, deviceId: string, flags: DeviceFlags) => {
        if (!UUID.test(deviceId)) throw usage(`a device's id is a uuid, not ${JSON.stringify(deviceId)}.`)
        if (!UUID.test(flags.tokenId)) throw usage(`--token-id takes a uuid, not ${JSON.stringify(flags.tokenId)}.`)
        const hours = parseNumber('--hours', flags.hours, 'a number above 0, at most 8760', (n) => n > 0 && n <= 8760)
        const now = epochSeconds()
        const seconds = Math.ceil(hours * 3600)
        const token = await signDeviceToken({ deviceId, tokenId: flags.tokenId }, readSecret(flags), { now, seconds })
        output.result({ token, expires_at: isoTime(now + seconds) }, () => token)
      }),
    )
  keys
    .command('verify')
    .argument('<token>', 'a JWT, or - to read it from the pipe, where no list of processes shows it')
    .description('whether a JWT is of this project and holds, what it says, and everything that is wrong with it')
    .option(...secretFile)
    .action(
      bind(async ({ output }, given: string, flags: { secretFile?: string }) => {
        const secret = readSecret(flags)
        if (given === '-' && process.stdin.isTTY) throw usage('name a token, or pipe one in.')
        const token = given === '-' ? await text(process.stdin) : given
        const report = await reportJwt(token.trim(), secret, epochSeconds())
        output.result(report, () => describeReport(report))
        return report.valid ? 0 : 1
      }),
    )
}

function describeReport({ valid, problems, header, claims }: JwtReport): string {
  const verdict = [valid ? 'valid' : 'not valid:', ...problems.map((problem) => `  ${problem}`)].join('\n')
  return [verdict, ...(header && claims ? [describeObject(header), describeObject(claims)] : [])].join('\n\n')
}

/** Everything as JSON: whoever wrote the token may have put a terminal's control characters into it. */
function describeObject(object: Record<string, unknown>): string {
  const lines = Object.entries(object).map(([name, value]): [string, string] => [
    JSON.stringify(name),
    TIMES.has(name) && isTime(value) ? `${value} (${isoTime(value)})` : JSON.stringify(value),
  ])
  return lines.length === 0 ? '{}' : formatList(lines)
}

const TIMES = new Set(['exp', 'nbf', 'iat'])

/** Never from the command line, which every user of the machine can read. A line's end is not part of it. */
function readSecret({ secretFile: path }: { secretFile?: string }): string {
  const secret = path === undefined ? readJwtSecret(readEnvironment()) : readSecretFile(path)
  if (secret === undefined) throw usage('set JWT_SECRET, or name the file that holds the secret: --secret-file.')
  if (secret.length < LEAST_SECRET_LENGTH) {
    throw usage(`the JWT secret has ${secret.length} characters; it must have ${LEAST_SECRET_LENGTH} or more.`)
  }
  return secret
}

function readSecretFile(path: string): string {
  try {
    return readFileSync(path, 'utf8').replace(/\r?\n$/, '')
  } catch (cause) {
    throw new CoherenceError('INPUT_INVALID', `cannot read ${path}: ${(cause as Error).message}.`, { cause })
  }
}

function parseNumber(option: string, given: string, form: string, check: (value: number) => boolean): number {
  const value = Number(given)
  if (given.trim() === '' || !check(value)) throw usage(`${option} takes ${form}, not ${JSON.stringify(given)}.`)
  return value
}

function epochSeconds(): number {
  return Math.floor(Date.now() / 1000)
}
