import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { decodePoints, decodeSpans, type ReceivedPoint, type ReceivedSpan } from './otlp-decode.ts'

/** A collector of OTLP over HTTP with protobuf, in this process. */
export interface OtlpReceiver {
  readonly url: string
  readonly requests: { path: string; headers: IncomingHttpHeaders; body: Buffer }[]
  spans(): ReceivedSpan[]
  points(): ReceivedPoint[]
  close(): void
}

/** `silent` takes requests and never answers. */
export async function startOtlpReceiver(options: { silent?: boolean } = {}): Promise<OtlpReceiver> {
  const requests: OtlpReceiver['requests'] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      requests.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(parts) })
      if (!options.silent) response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const bodies = (path: string) => requests.filter((request) => request.path === path).map(({ body }) => body)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    spans: () => bodies('/v1/traces').flatMap(decodeSpans),
    points: () => bodies('/v1/metrics').flatMap(decodePoints),
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}
