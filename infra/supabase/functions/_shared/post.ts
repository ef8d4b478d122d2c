import { escapeControls } from './log-line.ts'
import { Refusal } from './refusal.ts'

/** Browsers may call from anywhere: what counts is the token, which no browser adds by itself. */
const CORS = {
  'access-control-allow-origin': '*',
  'access-control-allow-methods': 'POST, OPTIONS',
  'access-control-allow-headers': 'authorization, apikey, content-type, x-client-info, x-device-token',
  'access-control-expose-headers': 'retry-after',
  'access-control-max-age': '86400',
}

/** A server's handler that answers POST with what `handle` gives, as JSON, and a Refusal with its status and sentence. */
export function post(handle: (request: Request) => Promise<object>): (request: Request) => Promise<Response> {
  return async (request) => {
    try {
      if (request.method === 'OPTIONS') return new Response(null, { status: 204, headers: CORS })
      if (request.method !== 'POST') throw new Refusal(405, 'Use POST.', { allow: 'POST, OPTIONS' })
      return answer(200, await handle(request))
    } catch (error) {
      if (error instanceof Refusal) return answer(error.status, { error: error.message }, error.headers)
      logFault(error)
      return answer(500, { error: 'This failed for a reason of ours. Send the same again later.' })
    }
  }
}

function answer(status: number, document: object, headers: Record<string, string> = {}): Response {
  return Response.json(document, { status, headers: { ...CORS, 'cache-control': 'no-store', ...headers } })
}

/** A line of the function's log, as JSON: no text can begin another line. */
export function logFault(fault: unknown): void {
  // oxlint-disable-next-line eslint/no-console -- the platform keeps what functions write to the console
  console.error(escapeControls(JSON.stringify({ fault: fault instanceof Error ? fault.stack : fault })))
}
