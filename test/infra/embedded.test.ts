import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { type EmbeddedServer, startEmbedded } from '../../infra/embedded.ts'
import { findNativeFolder } from '../../infra/embedded-binaries.ts'

const asRoot = process.getuid?.() === 0

let home: string
let directory: string
let servers: EmbeddedServer[]

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'coherence-embedded-'))
  await chmod(home, 0o755)
  directory = join(home, 'server')
  servers = []
})

afterEach(async () => {
  await Promise.all(servers.map((server) => server.stop()))
  await rm(home, { recursive: true, force: true })
})

async function start(options: Partial<Parameters<typeof startEmbedded>[0]> = {}): Promise<EmbeddedServer> {
  const server = await startEmbedded({ directory, fast: true, persistent: true, ...options })
  servers.push(server)
  return server
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(sql)).rows
  } finally {
    await client.end()
  }
}

async function serverPid(): Promise<number> {
  return Number((await readFile(join(directory, 'data', 'postmaster.pid'), 'utf8')).split('\n')[0])
}

/** Runs a process that starts a server in `directory` and then waits to be killed. */
async function startInChild(persistent: boolean) {
  const script = `
    import { startEmbedded } from ${JSON.stringify(new URL('../../infra/embedded.ts', import.meta.url).href)}
    process.on('SIGINT', () => process.stdout.write('interrupted'))
    const server = await startEmbedded({ directory: ${JSON.stringify(directory)}, fast: true, persistent: ${persistent} })
    process.stdout.write(server.urlFor('postgres'))
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const [url] = await once(child.stdout, 'data')
  return { child, url: String(url) }
}

test('gives two roles: the superuser supabase_admin and postgres, who is none', async () => {
  const server = await start()
  const who = `select current_user::text as name, rolsuper as super from pg_roles where rolname = current_user`
  expect(await query(server.urlFor('postgres'), who)).toEqual([{ name: 'postgres', super: false }])
  expect(await query(server.urlFor('postgres', 'supabase_admin'), who)).toEqual([
    { name: 'supabase_admin', super: true },
  ])
})

test('listens on 127.0.0.1 only, with a password that only its owner can read', async () => {
  const server = await start()
  const settings = await query(
    server.urlFor('postgres', 'supabase_admin'),
    `select current_setting('listen_addresses') as tcp, current_setting('unix_socket_directories') as unix`,
  )
  expect(settings).toEqual([{ tcp: '127.0.0.1', unix: '' }])
  expect((await stat(join(directory, 'password'))).mode & 0o777).toBe(0o600)
  const wrong = server.urlFor('postgres').replace(/:[^:@]+@/, ':wrong@')
  await expect(query(wrong, 'select')).rejects.toThrow('password authentication failed')
})

test('keeps its data and its password over a restart', async () => {
  const first = await start()
  await query(first.urlFor('postgres', 'supabase_admin'), 'create table kept as select 7 as value')
  await first.stop()
  const second = await start()
  expect(await query(second.urlFor('postgres', 'supabase_admin'), 'select value from kept')).toEqual([{ value: 7 }])
})

test('a server that is not kept leaves no directory', async () => {
  const server = await start({ persistent: false })
  expect(existsSync(directory)).toBe(true)
  await server.stop()
  expect(existsSync(directory)).toBe(false)
})

test('a directory with something in it is not taken for a server that is not kept', async () => {
  await mkdir(directory)
  await writeFile(join(directory, 'thesis.txt'), 'words')
  await expect(start({ persistent: false })).rejects.toMatchObject({
    code: 'EMBEDDED_POSTGRES',
    message: expect.stringContaining('is not empty'),
  })
  expect(await readFile(join(directory, 'thesis.txt'), 'utf8')).toBe('words')
})

test('a second start in the same directory says who holds it', async () => {
  const first = await start()
  await expect(start()).rejects.toMatchObject({
    code: 'EMBEDDED_POSTGRES',
    message: expect.stringMatching(new RegExp(`in use by process ${process.pid} \\(port ${first.port}\\)`)),
  })
  expect(await query(first.urlFor('postgres'), 'select 1 as alive')).toEqual([{ alive: 1 }])
})

test('recovers when the server was killed with -9', async () => {
  const lines: string[] = []
  const first = await start({ fast: false, log: (line) => lines.push(line) })
  await query(first.urlFor('postgres', 'supabase_admin'), 'create table kept as select 7 as value')
  process.kill(await serverPid(), 'SIGKILL')
  await vi.waitFor(() => expect(lines.at(-1)).toContain('ended by itself (SIGKILL)'), { timeout: 5000 })
  const second = await start()
  expect(await query(second.urlFor('postgres', 'supabase_admin'), 'select value from kept')).toEqual([{ value: 7 }])
})

test('when our process is killed with -9 the server ends, and the next start works', async () => {
  const { child } = await startInChild(true)
  const pid = await serverPid()
  child.kill('SIGKILL')
  await once(child, 'exit')
  const server = await start()
  expect(await serverPid()).not.toBe(pid)
  expect(await query(server.urlFor('postgres'), 'select 1 as alive')).toEqual([{ alive: 1 }])
})

test('when our process is killed with -9 a directory not to be kept disappears', async () => {
  const { child } = await startInChild(false)
  child.kill('SIGKILL')
  await vi.waitFor(() => expect(existsSync(directory)).toBe(false), { timeout: 10_000, interval: 50 })
})

test('Ctrl-C in the terminal, which goes to the whole process group, does not reach the server', async () => {
  const { child, url } = await startInChild(true)
  const client = new Client({ connectionString: url })
  await client.connect()
  process.kill(-(child.pid ?? 0), 'SIGINT')
  await once(child.stdout, 'data')
  expect((await client.query('select 1 as alive')).rows).toEqual([{ alive: 1 }])
  await client.end()
  child.kill('SIGKILL')
  await vi.waitFor(() => expect(existsSync(join(directory, 'data', 'postmaster.pid'))).toBe(false), {
    timeout: 10_000,
    interval: 50,
  })
})

test('a port in use is named', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const address = other.address()
  const port = typeof address === 'object' && address ? address.port : 0
  await expect(start({ port })).rejects.toMatchObject({
    code: 'EMBEDDED_POSTGRES',
    message: expect.stringContaining(`Port ${port} on 127.0.0.1 is in use`),
  })
  other.close()
})

test('a server that does not start passes on its last words', async () => {
  await (await start()).stop()
  await writeFile(join(directory, 'data', 'PG_VERSION'), '9\n')
  await expect(start()).rejects.toThrow(/did not start in .*exit code 1[^]*incompatible/)
})

test('a missing program is named', async () => {
  await expect(start({ native: '/nowhere/native' })).rejects.toMatchObject({
    code: 'EMBEDDED_POSTGRES',
    message: expect.stringContaining('/nowhere/native/bin/postgres is missing'),
  })
})

test('a platform without a build is told what to do', () => {
  expect(() => findNativeFolder('win32', 'x64')).toThrow(/not on win32.*DATABASE_URL/)
  expect(() => findNativeFolder('linux', 'riscv64')).toThrow(/@embedded-postgres\/linux-riscv64 .* is not installed/)
})

test.skipIf(!asRoot)('as root, a closed directory above the data is named with its mode', async () => {
  await chmod(home, 0o700)
  await expect(start()).rejects.toMatchObject({
    code: 'EMBEDDED_POSTGRES',
    message: expect.stringMatching(new RegExp(`${home} has mode 0700.*chmod o\\+x ${home}.*DATABASE_URL`)),
  })
})
