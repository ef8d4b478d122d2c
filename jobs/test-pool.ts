import { Worker } from 'node:worker_threads'
import type { TestParams, TestResult } from '../pipeline/tests/definition.ts'
import { runTests } from '../pipeline/tests/registry.ts'

/** Tests to run on the contiguous segments of one device. Bytes in shared memory are not copied, others are. */
export interface TestTask {
  readonly segments: readonly Uint8Array[]
  readonly tests: readonly { name: string; params: TestParams }[]
}

/** Here and now, in this thread. */
export function runTask({ segments, tests }: TestTask): TestResult[] {
  return tests.flatMap(({ name, params }) => runTests([name], segments, { params: { [name]: params } }))
}

/** Threads that run tests, so that a long one does not stop this one's heartbeats. */
export interface TestPool {
  readonly size: number
  /** Waits for a free thread. Rejects with what the test threw, and once the pool is closed. */
  run(task: TestTask): Promise<TestResult[]>
  close(): Promise<void>
}

interface Waiting {
  readonly task: TestTask
  readonly resolve: (results: TestResult[]) => void
  readonly reject: (error: unknown) => void
}

const SCRIPT = new URL(import.meta.url.endsWith('.ts') ? './test-worker.ts' : './test-worker.js', import.meta.url)

/** Starts threads as tasks come, `size` at most. */
export function openTestPool(size: number): TestPool {
  const idle: Worker[] = []
  const all = new Map<Worker, Waiting | undefined>()
  const queue: Waiting[] = []
  let closed = false

  const start = (): Worker => {
    const worker = new Worker(SCRIPT)
    all.set(worker, undefined)
    const settle = (how: (waiting: Waiting) => void) => {
      const waiting = all.get(worker)
      all.set(worker, undefined)
      if (waiting) how(waiting)
    }
    worker.on('message', ({ results, error }: { results?: TestResult[]; error?: unknown }) => {
      settle(({ resolve, reject }) => (results ? resolve(results) : reject(error)))
      idle.push(worker)
      next()
    })
    // Out of memory, mostly: the thread is gone, and the task with it.
    worker.on('error', (error) => {
      settle(({ reject }) => reject(error))
      all.delete(worker)
      next()
    })
    return worker
  }
  const next = (): void => {
    while (queue.length > 0) {
      if (closed) return
      const worker = idle.pop() ?? (all.size < size ? start() : undefined)
      if (!worker) return
      const waiting = queue.shift() as Waiting
      all.set(worker, waiting)
      worker.postMessage(waiting.task)
    }
  }
  return {
    size,
    run: (task) =>
      new Promise((resolve, reject) => {
        if (closed) reject(new Error('the test pool is closed'))
        queue.push({ task, resolve, reject })
        next()
      }),
    async close() {
      closed = true
      const gone = new Error('the test pool is closed')
      for (const { reject } of queue.splice(0)) reject(gone)
      for (const waiting of all.values()) waiting?.reject(gone)
      await Promise.all([...all.keys()].map((worker) => worker.terminate()))
    },
  }
}

/** Does `work` with a pool that is closed whatever happens; if `signal` aborts, at once, and its reason is thrown. */
export async function withTestPool<T>(
  size: number,
  signal: AbortSignal,
  work: (pool: TestPool) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted()
  const pool = openTestPool(size)
  const stop = () => void pool.close()
  signal.addEventListener('abort', stop, { once: true })
  try {
    return await work(pool)
  } catch (error) {
    // The pool was closed under its tasks.
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', stop)
    await pool.close()
  }
}
