import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import type { Pool } from 'pg'
import { CoherenceError } from '../../pipeline/errors.ts'
import { escapeHtml } from '../../pipeline/report/html.ts'
import { usage, type Register } from '../command.ts'
import { type Config, parseConfig, parseSignIn, readEnvironment, type SignInConfig } from '../config.ts'
import { consoleApi } from '../console/api.ts'
import { consoleFiles } from '../console/files.ts'
import { serveConsole, type ServerOptions } from '../console/server.ts'
import { openDatabase } from '../database.ts'
import { invocation } from '../invocation.ts'
import { createLogger } from '../logger.ts'

interface Flags {
  port?: string
  host: string
  open?: boolean
  signIn?: boolean
  out?: string
}

export const consoleCommand: Register = (command, bind) => {
  command
    .option('--port <n>', 'the port of the page; a free one if not given')
    .option('--host <name>', 'the address it is served at', '127.0.0.1')
    .option('--open', 'open it in a browser')
    .option('--sign-in', 'people sign in with Supabase and see their own, though DATABASE_URL is set')
    .option('--out <folder>', 'write the page with sign-in as files for any static host, and end')
    .action(
      bind(async ({ output, signal }, flags: Flags) => {
        const port = flags.port === undefined ? 0 : Number(flags.port)
        if (!(Number.isInteger(port) && port >= 0 && port < 65_536))
          throw usage('--port takes a number from 1 to 65535.')
        const environment = readEnvironment()
        const signIn = parseSignIn(environment)
        const isSignIn =
          flags.signIn === true || flags.out !== undefined || (!environment.DATABASE_URL && signIn !== null)
        if (flags.out !== undefined) {
          const directory = resolve(flags.out)
          const names = await writeSite(directory, needSignIn(signIn))
          output.result({ directory, files: names }, () => `${names.length} files for a static host: ${directory}`)
          return 0
        }
        const config = isSignIn ? null : parseConfig(environment)
        const log = createLogger(config?.logLevel ?? 'info')
        const pool = config && (await openDatabase(config, { poolSize: 2, orNewer: true }))
        try {
          const data =
            config && pool ? await ownData(pool, config, invocation(environment)) : await signInData(needSignIn(signIn))
          const server = await serve({ ...data, host: flags.host, port, log })
          const opener = flags.open ? await openInBrowser(server.url) : null
          try {
            output.result(
              { url: server.url, mode: isSignIn ? 'sign-in' : 'local' },
              () => `The console, until Ctrl-C: ${server.url}`,
            )
            if (!signal.aborted) await once(signal, 'abort')
          } finally {
            await opener?.()
            await server.close()
          }
        } finally {
          await pool?.end()
        }
        return 0
      }),
    )
}

function needSignIn(signIn: SignInConfig | null): SignInConfig {
  if (signIn !== null) return signIn
  throw new CoherenceError(
    'CONFIG_INVALID',
    'people sign in with SUPABASE_URL and SUPABASE_ANON_KEY, the project’s public key: set both.',
  )
}

async function ownData(pool: Pool, config: Config, command: string): Promise<Pick<ServerOptions, 'files' | 'api'>> {
  return { files: await consoleFiles({ mode: 'local', command }, []), api: consoleApi(pool, config) }
}

async function signInData({ url, key, storeOrigins }: SignInConfig): Promise<Pick<ServerOptions, 'files' | 'api'>> {
  return { files: await consoleFiles({ mode: 'sign-in', url, key }, storeOrigins), api: null }
}

async function serve(options: ServerOptions) {
  try {
    return await serveConsole(options)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') throw usage(`--port ${options.port} is taken; name another, or none.`)
    if (code === 'EACCES' || code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND') {
      throw usage(`--host ${options.host} with --port ${options.port} cannot be listened to: ${code}.`)
    }
    throw cause
  }
}

async function writeSite(directory: string, { url, key, storeOrigins }: SignInConfig): Promise<string[]> {
  const { files } = await consoleFiles({ mode: 'sign-in', url, key }, storeOrigins)
  for (const [name, text] of files) {
    const path = join(directory, name)
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
  }
  return [...files.keys()]
}

const OPENERS: Partial<Record<NodeJS.Platform, string>> = { darwin: 'open', win32: 'explorer', linux: 'xdg-open' }

/**
 * Opens the address in the browser of this desktop, by way of a file that only this user may read: a process's arguments are
 * everybody's to see, and the address holds the key. Resolves to what removes the file.
 */
async function openInBrowser(url: string): Promise<() => Promise<void>> {
  const directory = await mkdtemp(join(tmpdir(), 'coherence-console-'))
  const file = join(directory, 'open.html')
  await writeFile(file, `<!doctype html><meta http-equiv="refresh" content="0; url=${escapeHtml(url)}">`)
  const opener = spawn(OPENERS[process.platform] ?? 'xdg-open', [file], { stdio: 'ignore', detached: true })
  // Without a desktop there is nothing to open it; the address is printed anyway.
  opener.on('error', () => {})
  opener.unref()
  return () => rm(directory, { recursive: true, force: true })
}
