import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestDatabase } from '../harness/database.ts'
import { startPostgrest } from '../harness/postgrest.ts'

export interface Gateway {
  readonly url: string
  readonly jwtSecret: string
  /** Paths that were asked for, in order. */
  readonly paths: readonly string[]
  close(): Promise<void>
}

/**
 * PostgREST behind as much of a project's gateway as a function meets: it wants one of two keys of the newer kind in `apikey`, and
 * where no JWT comes along, it puts one of the key's role there.
 */
export async function startGateway(
  database: TestDatabase,
  keys: { readonly secret: string; readonly publishable: string },
): Promise<Gateway> {
  const postgrest = await startPostgrest(database)
  const jwts = new Map([
    [keys.secret, await postgrest.sign({ role: 'service_role' })],
    [keys.publishable, await postgrest.sign({ role: 'anon' })],
  ])
  const paths: string[] = []
  const forward = (request: IncomingMessage, response: ServerResponse) => {
    const jwt = jwts.get(String(request.headers.apikey))
    if (jwt === undefined) {
      request.resume()
      response.writeHead(401, { 'content-type': 'application/json' }).end('{"message":"Invalid API key"}')
      return
    }
    paths.push(request.url ?? '')
    const headers = { authorization: `Bearer ${jwt}`, ...request.headers }
    const inner = httpRequest(new URL(request.url ?? '', postgrest.url), { method: request.method, headers })
    inner.on('response', (answer) => answer.pipe(response.writeHead(answer.statusCode ?? 502, answer.headers)))
    inner.on('error', (error) => response.destroy(error))
    request.pipe(inner)
  }
  const server = createServer(forward)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    jwtSecret: postgrest.jwtSecret,
    paths,
    async close() {
      server.closeAllConnections()
      server.close()
      await postgrest.close()
    },
  }
}
