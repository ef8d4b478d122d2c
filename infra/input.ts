import type { Readable } from 'node:stream'
import { CoherenceError } from '../pipeline/errors.ts'

/**
 * What a file or pipe gives, piece by piece. An aborted `signal` is the end of the input: what was read by then still comes.
 * After `idleMs` in which nothing came, an empty piece, so that the reader may look at its clock. Throws INPUT_INVALID
 * if `name` cannot be read.
 */
export async function* readPieces(
  source: Readable,
  options: { name: string; signal: AbortSignal; idleMs?: number },
): AsyncGenerator<Buffer> {
  let failure: Error | undefined
  const onError = (error: Error) => (failure = error)
  source.on('error', onError)
  try {
    while (!options.signal.aborted) {
      const piece: Buffer | null = source.read()
      if (piece !== null) yield piece
      else if (failure !== undefined) throw unreadable(options.name, failure)
      else if (source.readableEnded) return
      else if (!(await waitForMore(source, options))) yield Buffer.alloc(0)
    }
    // All at once: a pipe that never ends would have more by the time this is stored.
    const rest: Buffer[] = []
    for (let piece: Buffer | null; (piece = source.read()) !== null;) rest.push(piece)
    yield Buffer.concat(rest)
  } finally {
    source.destroy()
  }
}

/** False if `idleMs` went by and nothing happened. */
async function waitForMore(source: Readable, { signal, idleMs }: { signal: AbortSignal; idleMs?: number }) {
  const events = ['readable', 'end', 'error', 'close'] as const
  return await new Promise<boolean>((resolve) => {
    const settle = (happened: boolean) => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onEvent)
      for (const event of events) source.off(event, onEvent)
      resolve(happened)
    }
    const onEvent = () => settle(true)
    const timer = idleMs === undefined ? undefined : setTimeout(() => settle(false), idleMs)
    signal.addEventListener('abort', onEvent, { once: true })
    for (const event of events) source.on(event, onEvent)
  })
}

function unreadable(name: string, cause: Error): CoherenceError {
  return new CoherenceError('INPUT_INVALID', `cannot read ${name}: ${cause.message}.`, { cause })
}
