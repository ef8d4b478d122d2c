/** Buffers this long unused are let go, so that a worker with nothing to do is small. */
const KEEP_MS = 30_000
/** A buffer is this much larger than what was asked for, so that the next chunk, a little larger, fits too. */
const HEADROOM = 1.05
const PAGE = 4096

/** The buffers of one job. Those that are not released are the garbage collector's: something may still read them. */
export interface BufferLease {
  /** `bytes` bytes of any contents, aligned to 8 bytes and more. */
  readonly take: (bytes: number) => Uint8Array<ArrayBuffer>
  /** Gives all of them back. Nobody may read or write them after this. */
  readonly release: () => void
}

export interface BufferPool {
  readonly lease: () => BufferLease
}

/**
 * Keeps large buffers for the next job. The first touch of memory that the system has just given out costs 1.4 ns a byte
 * on a virtual machine: more than to hash it, and five times a copy. A chunk of 32 MiB has two such buffers.
 */
export function openBufferPool(): BufferPool {
  let free: Uint8Array<ArrayBuffer>[] = []
  let timer: NodeJS.Timeout | undefined
  const take = (bytes: number): Uint8Array<ArrayBuffer> => {
    const smallest = free.filter((buffer) => buffer.length >= bytes).toSorted((a, b) => a.length - b.length)[0]
    // If none is large enough, one of those that are too small makes room: there are never more than were in use at once.
    const taken = smallest ?? free[0]
    free = free.filter((buffer) => buffer !== taken)
    return smallest ?? new Uint8Array(Math.ceil((HEADROOM * bytes) / PAGE) * PAGE)
  }
  const keep = (buffers: readonly Uint8Array<ArrayBuffer>[]): void => {
    free.push(...buffers)
    clearTimeout(timer)
    timer = setTimeout(() => (free = []), KEEP_MS).unref()
  }
  return {
    lease: () => {
      let taken: Uint8Array<ArrayBuffer>[] = []
      return {
        take: (bytes) => {
          const buffer = take(bytes)
          taken.push(buffer)
          return buffer.subarray(0, bytes)
        },
        release: () => {
          keep(taken)
          taken = []
        },
      }
    },
  }
}
