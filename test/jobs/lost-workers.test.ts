import { afterEach, beforeEach, expect, test } from 'vitest'
import { listDeadLetters } from '../../db/queues.ts'
import { sendJob } from '../../jobs/boss.ts'
import { QUEUES, QUEUE_NAMES } from '../../jobs/queues.ts'
import { openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const SCHEDULED = QUEUE_NAMES.filter((name) => QUEUES[name].everySeconds !== undefined)

let pipeline: TestPipeline
beforeEach(async () => {
  pipeline = await openPipeline()
})
afterEach(() => pipeline.close())

test.each(SCHEDULED)(
  'a %s whose worker is lost three times in a row leaves nothing for a person to do',
  async (name) => {
    const { boss } = pipeline.context
    await sendJob(boss, pipeline.db, name, {})
    for (let loss = 0; loss < 3; loss++) {
      expect(await boss.fetch(name)).toHaveLength(1)
      await pipeline.expireJobs()
      await pipeline.db.query(`update pgboss.job set start_after = now() where state = 'retry'`)
    }
    expect((await pipeline.drain()).completed).toEqual({ [name]: 1 })
    expect(await listDeadLetters(pipeline.db, 10)).toEqual([])
  },
)
