/** What a sample's life costs the database, where that is exact: write-ahead log and sizes. Times are for `npm run bench`. */
import { expect, test } from 'vitest'
import { measureCycles, measureLife } from '../bench/life.ts'

const { signal } = new AbortController()

test('a sample of 256 bytes, inserted, packed, verified, rolled up and pruned, is written once', async () => {
  const life = await measureLife({ bytes: 256, rows: 20_000 }, signal)
  const whole = life.insert + life.pack + life.verify + life.prune
  expect(life.insert).toBeGreaterThan(20_000 * 256)
  expect(whole / life.insert).toBeLessThanOrEqual(1.6)
  // No row is written again to be packed: that is the chunk's own row and jobs.
  expect(life.pack / life.insert).toBeLessThan(0.02)
}, 60_000)

test('cycles of insert, pack and prune leave the tables of samples as they were', async () => {
  const left = await measureCycles(20, signal)
  expect(new Set(left.map(({ samples }) => samples)).size).toBe(1)
}, 60_000)
