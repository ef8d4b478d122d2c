import { Refusal } from './refusal.ts'

/**
 * The request's body, of at most `mostBytes`: reading stops there, whatever Content-Length says. Refuses with 413 above,
 * and with 415 a compressed one, which could be a thousand times as large as what was sent.
 */
export async function readBody(request: Request, mostBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const encoding = request.headers.get('content-encoding') ?? 'identity'
  if (encoding.toLowerCase() !== 'identity') {
    throw new Refusal(415, 'A compressed body is not taken; send it as it is.', { 'accept-encoding': 'identity' })
  }
  const tooLarge = new Refusal(413, `The body is above ${mostBytes} bytes; send it in parts.`)
  if (Number(request.headers.get('content-length')) > mostBytes) throw tooLarge
  const pieces: Uint8Array[] = []
  let length = 0
  try {
    // Leaving the loop by an error cancels the stream.
    for await (const piece of request.body ?? []) {
      length += piece.length
      if (length > mostBytes) throw tooLarge
      pieces.push(piece)
    }
  } catch (error) {
    throw error === tooLarge ? error : new Refusal(400, `The body broke off after ${length} bytes.`)
  }
  const body = new Uint8Array(length)
  let at = 0
  for (const piece of pieces) {
    body.set(piece, at)
    at += piece.length
  }
  return body
}

/** The request's media type, without parameters, in lower case. */
export function mediaType(request: Request): string {
  return (request.headers.get('content-type') ?? '').split(';')[0].trim().toLowerCase()
}
