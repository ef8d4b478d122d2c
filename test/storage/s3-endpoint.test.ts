import { randomBytes } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openS3Store, type S3Store, type S3StoreOptions } from '../../storage/s3.ts'
import { describeObjectStore, listAll, putBytes } from './contract.ts'

// Any S3 service: an empty bucket of its own, and keys that may do everything in it.
const {
  S3_TEST_ENDPOINT: endpoint = '',
  S3_TEST_REGION: region = 'us-east-1',
  S3_TEST_BUCKET: bucket = '',
  S3_TEST_ACCESS_KEY_ID: accessKeyId = '',
  S3_TEST_SECRET_ACCESS_KEY: secretAccessKey = '',
} = process.env

const isSet = [endpoint, bucket, accessKeyId, secretAccessKey].every((value) => value !== '')
const PART_BYTES = 5 << 20

function openEndpoint(options: Partial<S3StoreOptions> = {}): S3Store {
  const keys = { accessKeyId, secretAccessKey }
  return openS3Store({ backend: 'storj', endpoint, region, bucket, ...keys, partBytes: PART_BYTES, ...options })
}

/** The bucket, which must be empty: what is in it afterwards is deleted. */
async function openEmpty(): Promise<{ store: S3Store; cleanup: () => Promise<void> }> {
  const store = openEndpoint()
  if ((await listAll(store, '')).length > 0) {
    throw new Error(`the bucket ${bucket} at ${endpoint} is not empty: give the test one of its own`)
  }
  const cleanup = async (): Promise<void> => {
    for (const { key } of await listAll(store, '')) await store.delete(key)
  }
  return { store, cleanup }
}

if (isSet) describeObjectStore(`the S3 service ${endpoint}`, openEmpty)

const NAME = isSet
  ? `the S3 service ${endpoint}`
  : 'an S3 service (not given: set S3_TEST_ENDPOINT, _BUCKET, _ACCESS_KEY_ID and _SECRET_ACCESS_KEY)'

describe.skipIf(!isSet)(`${NAME} and its parts, pages and errors`, () => {
  let store: S3Store
  let cleanup: () => Promise<void>
  beforeEach(async () => ({ store, cleanup } = await openEmpty()))
  afterEach(() => cleanup())

  test('takes objects in parts, once', async () => {
    const bytes = randomBytes(2 * PART_BYTES + 1)
    expect(await putBytes(store, 'v1/parts', bytes)).toEqual({ created: true })
    expect(Buffer.compare(await store.get('v1/parts'), bytes)).toBe(0)
    const range = { start: PART_BYTES - 1, end: PART_BYTES + 1 }
    expect([...(await store.get('v1/parts', { range }))]).toEqual([...bytes.subarray(range.start, range.end)])
    expect(await putBytes(store, 'v1/parts', bytes)).toEqual({ created: false })
    const other = randomBytes(bytes.length)
    await expect(putBytes(store, 'v1/parts', other)).rejects.toMatchObject({ code: 'STORE_CONFLICT' })
  })

  test('takes odd characters and lists more than a page', async () => {
    const keys = ['a b+c&d=e', 'é/ü/日本語/🎲', `q?x#y%20z/~!'()*;:@$,[]{}"<>|^\``, '%2e%2e/%2F', 'a%']
    for (const key of keys) {
      await putBytes(store, key, Buffer.from(key))
      expect(Buffer.from(await store.get(key)).toString()).toBe(key)
    }
    expect((await listAll(store, '')).map(({ key }) => key)).toEqual(keys.toSorted())
    const many = Array.from({ length: 1100 }, (_, i) => `v1/${i}`)
    for (let at = 0; at < many.length; at += 50) {
      await Promise.all(many.slice(at, at + 50).map((key) => putBytes(store, key, Buffer.from(key))))
    }
    expect((await listAll(store, 'v1/')).map(({ key }) => key)).toEqual(many.toSorted())
  }, 300_000)

  test('tells wrong keys, a missing bucket and old uploads apart', async () => {
    const wrong = openEndpoint({ secretAccessKey: 'not the secret' })
    await expect(wrong.get('a')).rejects.toMatchObject({ code: 'STORE_FORBIDDEN' })
    await expect(wrong.head('a')).rejects.toMatchObject({ code: 'STORE_FORBIDDEN' })
    await expect(putBytes(wrong, 'a', randomBytes(20_000_000))).rejects.toMatchObject({ code: 'STORE_FORBIDDEN' })
    const missing = openEndpoint({ bucket: `${bucket}-that-is-missing` })
    const calls = [
      () => missing.get('a'),
      () => missing.head('a'),
      () => missing.delete('a'),
      () => listAll(missing, ''),
      () => putBytes(missing, 'a', randomBytes(10)),
    ]
    for (const call of calls) {
      await expect(call()).rejects.toMatchObject({ code: 'STORE_NOT_FOUND', message: /create the bucket/ })
    }
    expect(await store.removeTemporary(new Date('2020-01-01'))).toBe(0)
  })

  test('lets one of two writers in parts win', async (context) => {
    const rivals = [randomBytes(2 * PART_BYTES), randomBytes(2 * PART_BYTES)]
    const results = await Promise.allSettled(rivals.map((rival) => putBytes(store, 'rivals', rival)))
    const failed = results.filter((result) => result.status === 'rejected')
    const ignored = failed.length === 0
    context.skip(ignored, 'CompleteMultipartUpload ignores If-None-Match here: objects above a part are not safe')
    expect(failed).toHaveLength(1)
    expect(failed[0].reason).toMatchObject({ code: 'STORE_CONFLICT' })
    const winner = rivals[results.findIndex((result) => result.status === 'fulfilled')]
    expect(Buffer.compare(await store.get('rivals'), winner)).toBe(0)
  })
})
