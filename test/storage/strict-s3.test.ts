import { Readable } from 'node:stream'
import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { startStrictS3, type StrictS3 } from './strict-s3.ts'

// The SDK warns on the console of what is refused here on purpose.
const logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

describe('the strict S3 server', () => {
  let server: StrictS3
  beforeEach(async () => (server = await startStrictS3()))
  afterEach(() => server.close())

  const client = (options: S3ClientConfig = {}): S3Client => {
    const { accessKeyId, secretAccessKey, region } = server.state
    const credentials = { accessKeyId, secretAccessKey }
    return new S3Client({
      endpoint: server.endpoint,
      region,
      credentials,
      forcePathStyle: true,
      maxAttempts: 1,
      logger,
      ...options,
    })
  }
  const object = { Bucket: 'chunks', Key: 'a' }
  /** A put whose headers are changed before, or after, they are signed. */
  const putWith = async (change: (headers: Record<string, string>) => void, step: 'build' | 'finalizeRequest') => {
    const changed = client()
    const touch = (request: unknown): void => change((request as { headers: Record<string, string> }).headers)
    const { middlewareStack } = changed
    if (step === 'build') {
      middlewareStack.add((next) => (args) => (touch(args.request), next(args)), { step, priority: 'low' })
    } else {
      middlewareStack.add((next) => (args) => (touch(args.request), next(args)), { step, priority: 'low' })
    }
    return await changed.send(new PutObjectCommand({ ...object, Body: Buffer.from('abc') }))
  }

  test('takes what the SDK sends by default, checksum and all', async () => {
    await client().send(new PutObjectCommand({ ...object, Body: Buffer.from('abc') }))
    const { Body } = await client().send(new GetObjectCommand(object))
    expect(await Body?.transformToString()).toBe('abc')
  })

  test('refuses streams with trailers, for want of a length', async () => {
    const put = new PutObjectCommand({ ...object, Body: Readable.from([Buffer.from('abc')]), ContentLength: 3 })
    await expect(client().send(put)).rejects.toMatchObject({ $metadata: { httpStatusCode: 411 } })
    expect(server.bucket.objects.size).toBe(0)
  })

  test('refuses wrong digests, of each kind', async () => {
    const wrong = { 'content-md5': 'AAAAAAAAAAAAAAAAAAAAAA==', 'x-amz-checksum-crc32': 'AAAAAA==' }
    for (const [name, value] of Object.entries(wrong)) {
      await expect(putWith((headers) => (headers[name] = value), 'build')).rejects.toMatchObject({ name: 'BadDigest' })
    }
    const short = putWith((headers) => (headers['content-md5'] = 'AAAA'), 'build')
    await expect(short).rejects.toMatchObject({ name: 'InvalidDigest' })
    const zeros = putWith((headers) => (headers['x-amz-content-sha256'] = '0'.repeat(64)), 'build')
    await expect(zeros).rejects.toMatchObject({ name: 'XAmzContentSHA256Mismatch' })
    const unsigned = putWith((headers) => (headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'), 'build')
    await expect(unsigned).rejects.toMatchObject({ name: 'InvalidRequest' })
    expect(server.bucket.objects.size).toBe(0)
  })

  test('refuses headers changed or added after signing, and other keys', async () => {
    const changed = putWith((headers) => (headers['x-amz-user-agent'] = 'another'), 'finalizeRequest')
    await expect(changed).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' })
    const added = putWith((headers) => (headers['x-amz-meta-more'] = '1'), 'finalizeRequest')
    await expect(added).rejects.toMatchObject({ name: 'AccessDenied' })
    const secretAccessKey = 'another'
    const { accessKeyId } = server.state
    const other = client({ credentials: { accessKeyId, secretAccessKey } }).send(new GetObjectCommand(object))
    await expect(other).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' })
    const anonymous = await fetch(`${server.endpoint}/chunks/a`, {
      headers: { 'x-amz-content-sha256': '0'.repeat(64) },
    })
    expect(anonymous.status).toBe(403)
  })

  test('refuses clocks more than 15 minutes off, either way', async () => {
    for (const minutes of [16, -16]) {
      server.state.clockOffsetMs = minutes * 60_000
      const get = client({ disableClockSkewCorrection: true }).send(new GetObjectCommand(object))
      await expect(get).rejects.toMatchObject({ name: 'RequestTimeTooSkewed' })
    }
    server.state.clockOffsetMs = 14 * 60_000
    await expect(client().send(new GetObjectCommand(object))).rejects.toMatchObject({ name: 'NoSuchKey' })
  })

  test('refuses small parts, parts it does not know, and a key that is taken', async () => {
    const s3 = client()
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(object))
    const part = async (PartNumber: number, Body: Buffer) => {
      const { ETag } = await s3.send(new UploadPartCommand({ ...object, UploadId, PartNumber, Body }))
      return { PartNumber, ETag }
    }
    const small = await part(1, Buffer.alloc(1000))
    const second = await part(2, Buffer.alloc(1000))
    const complete = (Parts: { PartNumber: number; ETag: string | undefined }[], IfNoneMatch?: string) =>
      s3.send(new CompleteMultipartUploadCommand({ ...object, UploadId, MultipartUpload: { Parts }, IfNoneMatch }))
    const large = await part(3, Buffer.alloc(5 << 20))
    await expect(complete([small, second])).rejects.toMatchObject({ name: 'EntityTooSmall' })
    await expect(complete([large, small])).rejects.toMatchObject({ name: 'InvalidPartOrder' })
    await expect(complete([{ ...small, ETag: '"00"' }])).rejects.toMatchObject({ name: 'InvalidPart' })
    await s3.send(new PutObjectCommand({ ...object, Body: Buffer.from('abc') }))
    await expect(complete([small], '*')).rejects.toMatchObject({ name: 'PreconditionFailed' })
    await complete([small])
    await expect(complete([small])).rejects.toMatchObject({ name: 'NoSuchUpload' })
  })

  test('refuses to list from a key, or by a token that is not its own', async () => {
    const list = (options: object) => client().send(new ListObjectsV2Command({ Bucket: 'chunks', ...options }))
    await expect(list({ StartAfter: 'a' })).rejects.toMatchObject({ name: 'NotImplemented' })
    await expect(list({ ContinuationToken: 'a' })).rejects.toMatchObject({ name: 'InvalidArgument' })
    const elsewhere = client().send(new ListObjectsV2Command({ Bucket: 'other' }))
    await expect(elsewhere).rejects.toMatchObject({ name: 'NoSuchBucket' })
  })
})
