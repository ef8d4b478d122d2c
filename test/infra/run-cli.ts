import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ENTRY = fileURLToPath(new URL('../../infra/coherence.js', import.meta.url))

/** For the environment: a command that imports what `pattern` matches fails. */
export function refusing(pattern: RegExp): { NODE_OPTIONS: string } {
  const hook = `import{registerHooks}from"node:module";registerHooks({resolve(s,c,n){if(${pattern}.test(s))throw(s);return(n(s,c))}})`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(hook)}` }
}

export interface Finished {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly seconds: number
  /** stdout, which must be one JSON document and nothing else. */
  // oxlint-disable-next-line typescript/no-explicit-any -- each command has a document of its own
  json(): any
}

export interface RunOptions {
  readonly env?: Record<string, string>
  /** Given to stdin, which then ends. */
  readonly input?: string | Uint8Array
  /** Leads a process group of its own, as a command in a terminal does. */
  readonly detached?: boolean
}

export interface Started {
  readonly child: ChildProcessWithoutNullStreams
  readonly finished: Promise<Finished>
  /** Resolves to the match once stdout or stderr shows `pattern`; rejects if the process ends before. */
  seen: (pattern: RegExp) => Promise<RegExpMatchArray>
}

/** The real command line, in a temporary folder of its own and without the settings of whoever runs the tests. */
export interface Cli {
  readonly directory: string
  run(args: readonly string[], options?: RunOptions): Promise<Finished>
  start(args: readonly string[], options?: RunOptions): Started
  remove(): void
}

const ENVIRONMENT = {
  PATH: process.env.PATH,
  LOG_LEVEL: 'warn',
  // Shared by all runs, also by those that have a TMPDIR of their own.
  NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), 'node-compile-cache'),
}

/** `env` is what every run has; `node` another interpreter. */
export function createCli(env: Record<string, string> = {}, node = process.execPath): Cli {
  const directory = mkdtempSync(join(tmpdir(), 'coherence-cli-'))
  const start = (args: readonly string[], options: RunOptions = {}): Started => {
    const began = performance.now()
    const child = spawn(node, [ENTRY, ...args], {
      cwd: directory,
      env: { ...ENVIRONMENT, HOME: directory, ...env, ...options.env },
      detached: options.detached ?? false,
    })
    let [stdout, stderr] = ['', '']
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    // A process that ends without reading its input is no error here.
    child.stdin.on('error', () => {})
    if (options.input !== undefined) child.stdin.end(options.input)
    const finished = once(child, 'close').then(([code]) => ({
      code: code as number | null,
      stdout,
      stderr,
      seconds: (performance.now() - began) / 1000,
      json: () => parseOnly(stdout, stderr),
    }))
    const seen = (pattern: RegExp) =>
      new Promise<RegExpMatchArray>((resolve, reject) => {
        const look = () => {
          const match = pattern.exec(stdout) ?? pattern.exec(stderr)
          if (match) resolve(match)
        }
        child.stdout.on('data', look)
        child.stderr.on('data', look)
        child.once('close', (code) => reject(new Error(`ended with ${code} before ${pattern}:\n${stdout}\n${stderr}`)))
        look()
      })
    return { child, finished, seen }
  }
  const run = async (args: readonly string[], options: RunOptions = {}) => {
    await enter()
    try {
      return await start(args, { input: '', ...options }).finished
    } finally {
      leave()
    }
  }
  return { directory, start, run, remove: () => rmSync(directory, { recursive: true, force: true }) }
}

function parseOnly(stdout: string, stderr: string): unknown {
  const lines = stdout.split('\n')
  if (lines.length !== 2 || lines[1] !== '') throw new Error(`stdout is not one line of JSON:\n${stdout}\n${stderr}`)
  return JSON.parse(lines[0])
}

// A walk over all commands would start dozens at once.
const AT_ONCE = 3
let running = 0
const waiting: (() => void)[] = []

async function enter(): Promise<void> {
  if (running < AT_ONCE) running++
  else await new Promise<void>((resolve) => waiting.push(resolve))
}

function leave(): void {
  const next = waiting.shift()
  if (next) next()
  else running--
}
