/** What a sample's life costs the database, where that is exact: write-ahead log and sizes. Times are for `npm run bench`. */
import { expect, test } from 'vitest'
import { runPrune } from '../../jobs/prune.ts'
import { measureLife } from '../bench/life.ts'
import { makeSamples, openPipeline } from '../harness/pipeline.ts'

const { signal } = new AbortController()
const DAY = 86_400_000

test('a sample of 256 bytes, inserted, packed, verified, rolled up and pruned, is written once', async () => {
  const life = await measureLife({ bytes: 256, rows: 20_000 }, signal)
  const whole = life.insert + life.pack + life.verify + life.prune
  expect(life.insert).toBeGreaterThan(20_000 * 256)
  expect(whole / life.insert).toBeLessThanOrEqual(1.6)
  // No row is written again to be packed: that is the chunk's own row and jobs.
  expect(life.pack / life.insert).toBeLessThan(0.02)
}, 60_000)

test('cycles of insert, pack and prune leave the tables of samples as they were', async () => {
  const pipeline = await openPipeline({ chunkTargetBytes: 32 * 1024 ** 2 })
  try {
    const [device] = await pipeline.addDevices(1)
    const day = Math.floor(Date.now() / DAY) * DAY - 40 * DAY
    const sizes: number[] = []
    for (let cycle = 0; cycle < 8; cycle++) {
      await pipeline.db.query('select app_private.ensure_partitions($1::date, $1::date)', [new Date(day)])
      await pipeline.insert(makeSamples(device, 1000, { start: day, sequence: BigInt(1000 * cycle) }))
      await pipeline.pack()
      await pipeline.drain(['upload-chunk', 'test-chunk'])
      const { output } = await runPrune(pipeline.context, { signal })
      expect(output.dropped.map(({ rows }) => rows)).toEqual([1000])
      const { rows } = await pipeline.db.query<{ bytes: number }>(
        `select sum(pg_total_relation_size(relid))::float8 as bytes from pg_partition_tree('public.entropy_samples')`,
      )
      sizes.push(rows[0].bytes)
    }
    expect(new Set(sizes).size).toBe(1)
  } finally {
    await pipeline.close()
  }
}, 60_000)
