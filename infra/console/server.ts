import { randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { isIP, type AddressInfo } from 'node:net'
import { extname } from 'node:path'
import type { Logger } from 'pino'
import { isCoherenceError } from '../../pipeline/errors.ts'
import type { Answer } from './api.ts'
import type { ConsoleFiles } from './files.ts'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.json': 'application/json',
}

export interface ConsoleServer {
  /** With the token, after a `#` that browsers send to nobody. */
  readonly url: string
  readonly close: () => Promise<void>
}

export interface ServerOptions {
  readonly host: string
  /** 0: a free one. */
  readonly port: number
  readonly files: ConsoleFiles
  /** What answers under /api/, for those who have the token; null if nothing does. */
  readonly api: ((path: string, query: URLSearchParams) => Promise<Answer>) | null
  readonly log: Logger
}

/**
 * Serves the console. Only GET; the page itself is for everybody who reaches the port, as it holds nothing; data are for those who
 * send the token that this start made up, in a header that no other site's page can send. Requests for another host name are
 * refused, so a name that is rebound to this address is of no use.
 */
export async function serveConsole({ host, port, files, api, log }: ServerOptions): Promise<ConsoleServer> {
  const token = randomBytes(24).toString('base64url')
  const server = createServer((request, response) => {
    response.setHeader('Content-Security-Policy', `${files.policy}; frame-ancestors 'none'`)
    response.setHeader('X-Content-Type-Options', 'nosniff')
    response.setHeader('Referrer-Policy', 'no-referrer')
    response.setHeader('Cross-Origin-Resource-Policy', 'same-origin')
    response.setHeader('Cross-Origin-Opener-Policy', 'same-origin')
    response.setHeader('Cache-Control', 'no-store')
    void answer(request, response).catch((error: Error) => {
      const known = isCoherenceError(error)
      log.warn({ err: error, path: request.url?.split('?')[0] }, 'console')
      send(response, known && error.code === 'USAGE' ? 400 : 503, {
        error: known ? `${error.code}: ${error.message}` : `The database did not answer: ${error.message}`,
      })
    })
  })

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!isOwnName(request.headers.host, host)) return send(response, 421, { error: 'This is another host’s console.' })
    if (request.method !== 'GET') return send(response, 405, { error: 'The console only reads.' })
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://console')
    if (pathname.startsWith('/api/') && api !== null) {
      if (!isToken(request.headers.authorization, token)) {
        return send(response, 401, { error: 'Open the address that `coherence console` printed: it holds the key.' })
      }
      const found = await api(pathname.slice('/api/'.length), searchParams)
      return found === null ? send(response, 404, { error: 'There is no such thing.' }) : send(response, 200, found)
    }
    const name = pathname === '/' ? 'index.html' : pathname.slice(1)
    const body = files.files.get(name)
    if (body === undefined) return send(response, 404, { error: 'There is no such thing.' })
    response.writeHead(200, { 'Content-Type': TYPES[extname(name)] }).end(body)
  }

  await once(server.listen(port, host), 'listening')
  const { port: bound } = server.address() as AddressInfo
  const name = isUnspecified(host) ? 'localhost' : isIP(host) === 6 ? `[${host}]` : host
  return {
    url: `http://${name}:${bound}/${api === null ? '' : `#token=${token}`}`,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}

function send(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent) return void response.destroy()
  const bytes = body instanceof Uint8Array
  response.writeHead(status, { 'Content-Type': bytes ? 'application/octet-stream' : 'application/json' })
  response.end(bytes ? body : JSON.stringify(body))
}

/** An address, this machine or the name that was given: none of them can be rebound by somebody else's name server. */
function isOwnName(header: string | undefined, host: string): boolean {
  if (header === undefined || !URL.canParse(`http://${header}`)) return false
  const { hostname } = new URL(`http://${header}`)
  return isIP(hostname.replace(/^\[(.*)\]$/, '$1')) !== 0 || hostname === 'localhost' || hostname === host.toLowerCase()
}

function isUnspecified(host: string): boolean {
  return host === '0.0.0.0' || host === '::'
}

function isToken(header: string | undefined, token: string): boolean {
  const [given, wanted] = [header ?? '', `Bearer ${token}`].map((text) => Buffer.from(text))
  return given.length === wanted.length && timingSafeEqual(given, wanted)
}
