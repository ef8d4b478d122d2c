import { parentPort } from 'node:worker_threads'
import { runTask, type TestTask } from './test-pool.ts'

// The other side of test-pool.ts, in a thread of its own.
parentPort?.on('message', (task: TestTask) => {
  try {
    parentPort?.postMessage({ results: runTask(task) })
  } catch (error) {
    parentPort?.postMessage({ error })
  }
})
