import { ListObjectsV2Command, type ListObjectsV2CommandOutput, type S3Client } from '@aws-sdk/client-s3'
import { CoherenceError } from '../pipeline/errors.ts'
import { assertObjectKey, type ObjectInfo } from './object-store.ts'
import type { Send } from './s3-multipart.ts'

/**
 * The objects under a prefix, page by page and in the service's order, which need not be one. Only the continuation token says
 * where the next page begins. STORE_UNAVAILABLE if the service loses its place.
 */
export async function* listObjects(
  client: S3Client,
  { bucket, prefix }: { bucket: string; prefix: string },
  send: Send,
): AsyncGenerator<ObjectInfo> {
  let token: string | undefined
  do {
    const from = { Bucket: bucket, Prefix: prefix, ContinuationToken: token }
    const page: ListObjectsV2CommandOutput = await send((abortSignal) =>
      client.send(new ListObjectsV2Command({ ...from, EncodingType: 'url' }), { abortSignal }),
    )
    for (const object of page.Contents ?? []) {
      const key = keyOf(object.Key, page.EncodingType)
      if (key === null || object.LastModified === undefined) continue
      yield { key, size: object.Size ?? 0, modifiedAt: object.LastModified }
    }
    const next = page.IsTruncated ? page.NextContinuationToken : undefined
    if (page.IsTruncated && (next === undefined || next === token)) {
      throw new CoherenceError('STORE_UNAVAILABLE', `listing ${prefix} in ${bucket}: the store lost its place`)
    }
    token = next
  } while (token !== undefined)
}

/** The name of a listed object; null for one that no driver could ask for, such as a console's folder marker. */
function keyOf(listed: string | undefined, encoding: string | undefined): string | null {
  try {
    const key = encoding === 'url' ? decodeURIComponent((listed ?? '').replaceAll('+', ' ')) : (listed ?? '')
    assertObjectKey(key)
    return key
  } catch (error) {
    if (error instanceof RangeError || error instanceof URIError) return null
    throw error
  }
}
