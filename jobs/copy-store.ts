import { setTimeout as sleep } from 'node:timers/promises'
import { listMissingCopies } from '../db/replicas.ts'
import type { StorePlace } from '../pipeline/store-place.ts'
import type { JobContext } from './context.ts'
import { sendCopies } from './copy-object.ts'
import { runWorker } from './work.ts'

export interface CopyStoreOptions {
  readonly from: StorePlace
  readonly to: StorePlace
  /** Copies at a time. */
  readonly concurrency: number
  /** On average and at most; unlimited if not given. */
  readonly bytesPerSecond?: number
  /** Aborted: what runs is finished; what is queued stays for other workers. */
  readonly signal?: AbortSignal
  readonly onProgress?: (copied: number, total: number) => void
}

const BATCH = 500
/** Below live uploads and tests. */
const LOW_PRIORITY = -10

/**
 * Copies every object of `from` that `to` lacks, and proves each there. Killed or stopped, it goes on where it was when it is
 * called again. Jobs are sent no faster than the limit allows, because any worker may take them.
 */
export async function copyStore(
  context: JobContext,
  options: CopyStoreOptions,
): Promise<{ objects: number; bytes: number; copied: number; left: number; failedAttempts: number }> {
  const { from, to, concurrency, signal } = options
  const missing = await listMissingCopies(context.pool, from, to)
  const bytes = missing.reduce((sum, { size }) => sum + size, 0)
  const sent = new AbortController()
  let copied = 0
  const work = (mode: 'watch' | 'drain', until?: AbortSignal) =>
    runWorker(context, {
      mode,
      queues: ['copy-object'],
      concurrency,
      signal: until,
      onJob: ({ ok }) => {
        if (ok) copied++
        options.onProgress?.(copied, missing.length)
      },
    })
  const watching = work('watch', AbortSignal.any([sent.signal, ...(signal ? [signal] : [])]))
  try {
    await sendPaced(context, missing, options)
  } finally {
    sent.abort()
    await watching
  }
  const watched = (await watching).failed['copy-object'] ?? 0
  const drained = (await work('drain', signal)).failed['copy-object'] ?? 0
  const left = (await listMissingCopies(context.pool, from, to)).length
  return { objects: missing.length, bytes, copied: missing.length - left, left, failedAttempts: watched + drained }
}

/** Sends a copy job for each object, the first at once, each further one when those before it have had their time. */
async function sendPaced(
  context: JobContext,
  missing: Awaited<ReturnType<typeof listMissingCopies>>,
  { to, bytesPerSecond = Infinity, signal }: CopyStoreOptions,
): Promise<void> {
  const started = performance.now()
  let bytes = 0
  for (let at = 0; at < missing.length;) {
    if (signal?.aborted) return
    const elapsed = (performance.now() - started) / 1000
    const begun = at
    while (at < missing.length && at - begun < BATCH && bytes / bytesPerSecond <= elapsed) bytes += missing[at++].size
    if (at > begun) await sendCopies(context, context.pool, missing.slice(begun, at), to, LOW_PRIORITY)
    else await sleep(1000 * (bytes / bytesPerSecond - elapsed), undefined, { signal }).catch(() => {})
  }
}
