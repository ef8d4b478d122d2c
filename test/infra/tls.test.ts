import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { TLSSocket } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { createCli, type Cli } from './run-cli.ts'

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url))
const CA = fixture('ca.pem')

let database: TestDatabase
let server: Server
let cli: Cli
/** Connections that went on in TLS. */
let secured: number
beforeEach(async () => {
  database = await createDatabase()
  cli = createCli()
  secured = 0
  server = await startTls(new URL(database.url))
})
afterEach(async () => {
  server.close()
  cli.remove()
  await database.drop()
})

/** Answers the SSLRequest of PostgreSQL's protocol with a certificate of a private CA, and passes what comes then on in the clear. */
async function startTls(target: URL): Promise<Server> {
  const [cert, key] = [readFileSync(fixture('server.pem')), readFileSync(fixture('server.key'))]
  const proxy = createServer((socket) => {
    socket.on('error', () => {})
    socket.once('data', (request) => {
      // Length 8 and the code 80877103 (protocol 3.0, 55.2.11); whoever does not ask for TLS is sent away.
      if (request.length !== 8 || request.readInt32BE(4) !== 80_877_103) {
        socket.destroy()
        return
      }
      socket.pause()
      socket.write('S')
      const inside = new TLSSocket(socket, { isServer: true, cert, key })
      const outside = connect(Number(target.port), target.hostname)
      inside.once('secure', () => secured++)
      for (const end of [inside, outside]) end.on('error', () => [inside, outside].forEach((one) => one.destroy()))
      inside.pipe(outside).pipe(inside)
    })
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  return proxy
}

/** What `migrate --check` says through the server with TLS. */
async function ask(host: string, env: Record<string, string>, query = '') {
  const url = new URL(database.url)
  url.port = String((server.address() as AddressInfo).port)
  url.hostname = host
  return await cli.run(['migrate', '--check'], { env: { DATABASE_URL: `${url.href}${query}`, ...env } })
}

describe('a database with a certificate of a private CA', () => {
  it.each([
    ['a path', () => CA],
    ['a PEM text', () => readFileSync(CA, 'utf8')],
    ['a PEM text with its line breaks written out', () => readFileSync(CA, 'utf8').replaceAll('\n', '\\n')],
  ])('is reached with DATABASE_CA_CERT, %s', async (_, ca) => {
    const { code, stdout, stderr } = await ask('localhost', { DATABASE_CA_CERT: ca() })
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: expect.stringContaining('Up to date'), stderr: '' })
    expect(secured).toBeGreaterThan(0)
  })

  it.each([
    ['without the CA, though the URL asks for TLS only', 'localhost', {}, '?sslmode=require', /DATABASE_CA_CERT takes/],
    ['with another CA', 'localhost', { DATABASE_CA_CERT: fixture('other-ca.pem') }, '', /DATABASE_CA_CERT takes/],
    ['under a name that is not its own', '127.0.0.1', { DATABASE_CA_CERT: CA }, '', /as its certificate has it/],
  ])('is not trusted %s', async (_, host, env, query, advice) => {
    const { code, stderr } = await ask(host, env, query)
    expect(code).toBe(1)
    expect(stderr).toMatch(/DATABASE_UNREACHABLE/)
    expect(stderr).toMatch(advice)
  })
})
