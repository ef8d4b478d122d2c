import { expect, test } from 'vitest'
import { chunkKey, slicesKey } from '../../pipeline/chunk-key.ts'

const chunk = {
  chunkId: '0198c0de-0000-7000-8000-00000000000a',
  createdAt: new Date('2026-01-02T23:59:59.999Z'),
  sha256: 'abcdef0123456789'.repeat(4),
}

test('a key names the UTC day, the chunk and its contents', () => {
  expect(chunkKey(chunk)).toBe('v1/2026/01/02/0198c0de-0000-7000-8000-00000000000a-abcdef0123456789.arrow')
  expect(slicesKey(chunk)).toBe('v1/2026/01/02/0198c0de-0000-7000-8000-00000000000a-abcdef0123456789.slices.arrow')
})

test('the day does not depend on the time zone of the machine', () => {
  const createdAt = new Date('2026-01-03T01:00:00+02:00')
  expect(chunkKey({ ...chunk, createdAt })).toContain('v1/2026/01/02/')
})

test('malformed parts are refused', () => {
  expect(() => chunkKey({ ...chunk, chunkId: '../../etc' })).toThrow(RangeError)
  expect(() => chunkKey({ ...chunk, chunkId: chunk.chunkId.toUpperCase() })).toThrow(RangeError)
  expect(() => chunkKey({ ...chunk, sha256: 'abc' })).toThrow(RangeError)
  expect(() => chunkKey({ ...chunk, createdAt: new Date(Number.NaN) })).toThrow(RangeError)
  expect(() => chunkKey({ ...chunk, createdAt: new Date('+012026-01-02T00:00:00Z') })).toThrow(RangeError)
})
