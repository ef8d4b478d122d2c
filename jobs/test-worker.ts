import { parentPort } from 'node:worker_threads'
import { runTests } from '../pipeline/tests/registry.ts'
import type { TestTask } from './test-pool.ts'

// The other side of test-pool.ts, in a thread of its own.
parentPort?.on('message', ({ segments, tests }: TestTask) => {
  try {
    const results = tests.flatMap(({ name, params }) => runTests([name], segments, { params: { [name]: params } }))
    parentPort?.postMessage({ results })
  } catch (error) {
    parentPort?.postMessage({ error })
  }
})
