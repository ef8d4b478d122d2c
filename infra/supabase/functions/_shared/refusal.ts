/** A request that is turned away: HTTP status, a sentence for its sender, and headers such as Retry-After. */
export class Refusal extends Error {
  readonly status: number
  readonly headers: Record<string, string>
  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message)
    this.name = 'Refusal'
    this.status = status
    this.headers = headers
  }
}

/** 401 with the challenge of RFC 6750, 3. */
export function unauthorized(message: string): Refusal {
  return new Refusal(401, message, { 'www-authenticate': 'Bearer realm="coherence"' })
}
