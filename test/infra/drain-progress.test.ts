import { expect, it } from 'vitest'
import type { Queryable } from '../../db/pool.ts'
import { followDrain } from '../../infra/drain-progress.ts'
import type { Progress } from '../../infra/output.ts'

function openProgress(isSeen: boolean) {
  const shown: unknown[][] = []
  const progress: Progress = { isSeen, update: (...given) => shown.push(given), end: () => {} }
  let asked = 0
  const ready = { pack: 2, 'test-chunk': 5, sweep: 100 }
  const rows = Object.entries(ready).map(([name, count]) => ({ name, ready: count }))
  const db = { query: async () => ((asked += 1), { rows }) } as unknown as Queryable
  return { progress, db, shown, asked: () => asked }
}

it('a drain is shown as a part of what is done and ready in its queues, which are not counted after each job', async () => {
  const { progress, db, shown, asked } = openProgress(true)
  const onJob = followDrain(db, progress, ['pack', 'test-chunk'])
  for (let job = 0; job < 3; job++) {
    onJob({ queue: 'pack' })
    await new Promise(setImmediate)
  }
  expect(shown).toEqual([
    ['1 jobs, last pack', 1, undefined, 'jobs'],
    ['2 jobs, last pack', 2, 8, 'jobs'],
    ['3 jobs, last pack', 3, 8, 'jobs'],
  ])
  expect(asked()).toBe(1)
})

it('where nobody sees it nothing is counted', () => {
  const { progress, db, asked } = openProgress(false)
  followDrain(db, progress, ['pack'])({ queue: 'pack' })
  expect(asked()).toBe(0)
})
