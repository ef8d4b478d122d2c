import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import type { AddressInfo } from 'node:net'
import { decodePoints, decodeSpans, type ReceivedPoint, type ReceivedSpan } from './otlp-decode.ts'

export interface OtlpRequest {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** A collector of OTLP over HTTP with protobuf, in this process. */
export interface OtlpReceiver {
  readonly url: string
  readonly requests: OtlpRequest[]
  close(): void
}

/** `silent` takes requests and never answers; `dripping` begins an answer that never ends. */
export async function startOtlpReceiver(mode: 'prompt' | 'silent' | 'dripping' = 'prompt'): Promise<OtlpReceiver> {
  const requests: OtlpRequest[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      requests.push({ path: request.url ?? '', headers: request.headers, body: Buffer.concat(parts) })
      if (mode === 'silent') return
      response.writeHead(200, { 'content-type': 'application/x-protobuf' })
      if (mode === 'prompt') response.end()
      else {
        const drip = setInterval(() => response.write('.'), 100)
        response.on('close', () => clearInterval(drip))
      }
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

export function spansOf(requests: readonly OtlpRequest[]): ReceivedSpan[] {
  return requests.filter(({ path }) => path === '/v1/traces').flatMap(({ body }) => decodeSpans(body))
}

export function allPointsOf(requests: readonly OtlpRequest[]): ReceivedPoint[] {
  return requests.filter(({ path }) => path === '/v1/metrics').flatMap(({ body }) => decodePoints(body))
}
