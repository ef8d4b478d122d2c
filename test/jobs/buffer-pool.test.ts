import { expect, test } from 'vitest'
import { openBufferPool } from '../../jobs/buffer-pool.ts'

const MEGABYTE = 1_000_000

test('a buffer that was released is given out again, and then to nobody else', () => {
  const pool = openBufferPool()
  const first = pool.lease()
  const { buffer } = first.take(MEGABYTE)
  first.release()
  // Nothing is given back twice.
  first.release()
  const [second, third] = [pool.lease(), pool.lease()]
  const again = second.take(MEGABYTE + 100)
  expect([again.buffer, again.length, again.byteOffset]).toEqual([buffer, MEGABYTE + 100, 0])
  expect(third.take(10).buffer).not.toBe(buffer)
})

test('a buffer that is not released is never given out again', () => {
  const pool = openBufferPool()
  const { buffer } = pool.lease().take(MEGABYTE)
  const other = pool.lease()
  expect(other.take(MEGABYTE).buffer).not.toBe(buffer)
  other.release()
  expect(pool.lease().take(MEGABYTE).buffer).not.toBe(buffer)
})

test('the smallest that is large enough is taken; one that is too small makes room for a larger', () => {
  const pool = openBufferPool()
  const lease = pool.lease()
  const [small, large] = [lease.take(MEGABYTE).buffer, lease.take(3 * MEGABYTE).buffer]
  lease.release()
  const next = pool.lease()
  expect(next.take(1000).buffer).toBe(small)
  expect(next.take(2 * MEGABYTE).buffer).toBe(large)
  next.release()
  const larger = pool.lease()
  const buffers = [larger.take(5 * MEGABYTE).buffer, larger.take(1000).buffer, larger.take(1000).buffer]
  // Of the two that were kept, one went for the larger one.
  expect(buffers.filter((buffer) => buffer === small || buffer === large)).toHaveLength(1)
})
