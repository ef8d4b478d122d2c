import type { IncomingMessage, ServerResponse } from 'node:http'

/** What can happen to a request on its way, for a server of tests to do. */
export type Fault =
  /** Answered with this status and no look at it. */
  | { kind: 'refuse'; status: number; retryAfter?: string }
  /** The connection is reset while the request's body travels; the store keeps nothing. */
  | { kind: 'reset-request' }
  /** The store does what it is asked, and the connection is reset before it can say so. */
  | { kind: 'lose-response' }
  /** The connection is reset within the answer's body. */
  | { kind: 'reset-response' }
  /** The connection is closed in good order within the answer's body. */
  | { kind: 'truncate' }
  /** One bit of the answer's body is another. */
  | { kind: 'corrupt' }
  /** Nothing is said for so long before the answer, which then may come. */
  | { kind: 'stall'; ms: number }
  /** Half of the answer's body, then nothing more is said for so long. */
  | { kind: 'stall-response'; ms: number }

/** Which requests: those that bring an object's bytes, those that fetch them, or any. */
export type FaultTarget = 'write' | 'read' | 'any'

/** Faults waiting for their requests. */
export class FaultPlan {
  readonly #waiting: { fault: Fault; on: FaultTarget; times: number }[] = []

  /** Lets the next `times` requests of this kind meet the fault. */
  add(fault: Fault, { times = 1, on = 'any' }: { times?: number; on?: FaultTarget } = {}): void {
    this.#waiting.push({ fault, on, times })
  }

  /** The fault that this request meets, if any. */
  take(target: FaultTarget): Fault | undefined {
    const next = this.#waiting.find(({ on, times }) => times > 0 && (on === 'any' || on === target))
    if (next !== undefined) next.times--
    return next?.fault
  }

  /** Forgets those that have met no request yet. */
  clear(): void {
    this.#waiting.length = 0
  }
}

/** Reads a request's body; with reset-request, only half of it. Null if the connection broke. */
export async function readRequest(request: IncomingMessage, fault: Fault | undefined): Promise<Buffer | null> {
  const body = Buffer.allocUnsafe(Number(request.headers['content-length'] ?? 0))
  let length = 0
  const reset = (): null => {
    request.socket.resetAndDestroy()
    return null
  }
  if (fault?.kind === 'reset-request' && body.length === 0) return reset()
  try {
    for await (const piece of request as AsyncIterable<Buffer>) {
      piece.copy(body, length)
      length += piece.length
      if (fault?.kind === 'reset-request' && length >= body.length / 2) return reset()
    }
  } catch {
    return null
  }
  return length === body.length ? body : null
}

/** Sends an answer as far as the fault lets it. */
export async function answerWith(
  response: ServerResponse,
  fault: Fault | undefined,
  answer: { status: number; headers: Record<string, string | number>; body: Buffer },
): Promise<void> {
  const { status, headers, body } = answer
  const socket = response.socket
  if (socket === null || socket.destroyed) return
  if (fault?.kind === 'lose-response') {
    socket.resetAndDestroy()
    return
  }
  if (fault?.kind === 'stall') await silence(response, fault.ms)
  const cut = fault?.kind === 'reset-response' || fault?.kind === 'truncate' || fault?.kind === 'stall-response'
  response.writeHead(status, status === 204 ? headers : { 'content-length': body.length, ...headers })
  if (!cut || body.length === 0 || response.req.method === 'HEAD') {
    response.end(fault?.kind === 'corrupt' ? flipBit(body) : body)
    return
  }
  await new Promise((resolve) => response.write(body.subarray(0, Math.ceil(body.length / 2)), resolve))
  if (fault.kind === 'stall-response') {
    await silence(response, fault.ms)
    response.end(body.subarray(Math.ceil(body.length / 2)))
  } else if (fault.kind === 'reset-response') {
    // A turn later, so that what was written goes out before the reset.
    setImmediate(() => socket.resetAndDestroy())
  } else {
    socket.end()
  }
}

/** Over when the time is, or when the other side hangs up. */
async function silence(response: ServerResponse, ms: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, ms)
    response.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
  })
}

function flipBit(body: Buffer): Buffer {
  const other = Buffer.from(body)
  if (other.length > 0) other[other.length >> 1] ^= 1
  return other
}
