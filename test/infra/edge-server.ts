import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')
const CACHE = join(tmpdir(), 'coherence-deno')

/** Ends with the function, and ends it when its own input ends: by `stop`, or because the process of the test is gone. */
const WATCHDOG = 'exec 3<&0; "$0" "$@" & server=$!; { cat <&3 > /dev/null; kill -9 $server; } & wait $server'

/** Of a hosted function, in MiB. */
const MEMORY = 256

export interface EdgeFunction {
  readonly url: string
  /** What it has written to its log. */
  log(): string
  stop(): Promise<void>
}

let binary: string | undefined

/** The program itself: what npm links to may be a script that starts it. */
function deno(): string {
  binary ??= execFileSync(join(ROOT, 'node_modules/.bin/deno'), ['eval', 'console.log(Deno.execPath())'], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, DENO_DIR: CACHE, NO_COLOR: '1' },
  }).trim()
  return binary
}

/**
 * Serves a function as it is deployed: its own index.ts and deno.json, under Deno, with the memory that a hosted one has. It
 * may reach this machine and these variables and no file; npm packages are those of node_modules.
 */
export async function serveFunction(name: string, env: Record<string, string>): Promise<EdgeFunction> {
  const child = spawn(
    '/bin/sh',
    [
      '-c',
      WATCHDOG,
      deno(),
      'run',
      '--cached-only',
      '--no-lock',
      '--node-modules-dir=manual',
      '--no-prompt',
      '--allow-net=127.0.0.1',
      `--allow-env=${ALLOWED.join(',')}`,
      `--v8-flags=--max-old-space-size=${MEMORY}`,
      join(ROOT, 'infra/supabase/functions', name, 'index.ts'),
    ],
    {
      env: {
        PATH: '/usr/bin:/bin',
        DENO_DIR: CACHE,
        DENO_SERVE_ADDRESS: 'tcp:127.0.0.1:0',
        DENO_NO_UPDATE_CHECK: '1',
        NO_COLOR: '1',
        ...env,
      },
      stdio: 'pipe',
    },
  )
  let log = ''
  const url = await new Promise<string>((listening, fail) => {
    const read = (text: string) => {
      log += text
      const match = /Listening on (http:\S+?)\/?\s/.exec(log)
      if (match) listening(match[1])
    }
    child.stdout.setEncoding('utf8').on('data', read)
    child.stderr.setEncoding('utf8').on('data', read)
    child.once('exit', (code) => fail(new Error(`${name} ended with ${code}:\n${log}`)))
  })
  return {
    url,
    log: () => log,
    async stop() {
      if (child.exitCode !== null) return
      child.stdin.end()
      await once(child, 'exit')
    },
  }
}

const ALLOWED = [
  'SUPABASE_URL',
  'SUPABASE_SECRET_KEYS',
  'SUPABASE_SECRET_KEY',
  'SUPABASE_SERVICE_ROLE_KEY',
  'SUPABASE_PUBLISHABLE_KEYS',
  'SUPABASE_PUBLISHABLE_KEY',
  'SUPABASE_ANON_KEY',
  'JWT_SECRET',
]

/** What `deno check` says of a function's types; empty if nothing. */
export function checkTypes(name: string): string {
  try {
    const path = join(ROOT, 'infra/supabase/functions', name, 'index.ts')
    const flags = ['--cached-only', '--no-lock', '--node-modules-dir=manual', '--quiet']
    execFileSync(deno(), ['check', ...flags, path], {
      encoding: 'utf8',
      env: { DENO_DIR: CACHE, NO_COLOR: '1' },
      stdio: 'pipe',
    })
    return ''
  } catch (error) {
    return String((error as { stderr?: string }).stderr ?? error)
  }
}
