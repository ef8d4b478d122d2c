import type { Listing, StrictBucket } from './strict-s3-bucket.ts'
import { S3Refusal } from './strict-s3-signature.ts'

export interface Answer {
  status: number
  headers: Record<string, string | number>
  body: Buffer
}

/** An object, or the range of it that is asked for. */
export function readObject(bucket: StrictBucket, key: string, range: string | undefined): Answer {
  const { body, etag, modifiedAt, metadata } = bucket.find(key)
  const headers: Record<string, string | number> = {
    etag: `"${etag}"`,
    'last-modified': modifiedAt.toUTCString(),
    'accept-ranges': 'bytes',
    ...Object.fromEntries(Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
  }
  if (range === undefined) return { status: 200, headers: { ...headers, 'content-length': body.length }, body }
  const match = /^bytes=(\d+)-(\d+)$/.exec(range)
  if (match === null) throw new S3Refusal(501, 'NotImplemented', range)
  const [start, last] = match.slice(1).map(Number)
  if (start >= body.length || last < start) throw new S3Refusal(416, 'InvalidRange')
  const part = body.subarray(start, last + 1)
  const covered = `bytes ${start}-${start + part.length - 1}/${body.length}`
  return { status: 206, headers: { ...headers, 'content-length': part.length, 'content-range': covered }, body: part }
}

/** A page of ListObjectsV2, by prefix and token alone. */
export function listObjects(bucket: StrictBucket, query: URLSearchParams, pageSize: number): Answer {
  for (const name of query.keys()) {
    const known = ['list-type', 'prefix', 'continuation-token', 'encoding-type', 'max-keys'].includes(name)
    if (!known) throw new S3Refusal(501, 'NotImplemented', `listing by ${name}`)
  }
  const size = Math.min(pageSize, Number(query.get('max-keys') ?? pageSize))
  const page: Listing = bucket.list(query.get('prefix') ?? '', query.get('continuation-token') ?? undefined, size)
  const url = query.get('encoding-type') === 'url'
  const contents = page.objects.map(([key, { body, etag, modifiedAt }]) => {
    const name = url ? encodeURIComponent(key).replaceAll('%2F', '/').replaceAll('%20', '+') : escapeXml(key)
    return `<Contents><Key>${name}</Key><LastModified>${modifiedAt.toISOString()}</LastModified><ETag>&quot;${etag}&quot;</ETag><Size>${body.length}</Size></Contents>`
  })
  const next = page.nextToken === undefined ? '' : `<NextContinuationToken>${page.nextToken}</NextContinuationToken>`
  const truncated = `<IsTruncated>${page.nextToken !== undefined}</IsTruncated>`
  const encoding = url ? '<EncodingType>url</EncodingType>' : ''
  return xml(200, 'ListBucketResult', encoding + truncated + next + contents.join(''))
}

/** A page of ListMultipartUploads. */
export function listUploads(bucket: StrictBucket, after: string | null, pageSize: number): Answer {
  const all = [...bucket.uploads.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
  const rest = all.filter(({ id }) => after === null || id > after)
  const page = rest.slice(0, pageSize)
  const more = rest.length > pageSize
  const uploads = page.map(
    ({ key, id, initiatedAt }) =>
      `<Upload><Key>${escapeXml(key)}</Key><UploadId>${id}</UploadId><Initiated>${initiatedAt.toISOString()}</Initiated></Upload>`,
  )
  const last = page.at(-1)
  const next = more
    ? `<NextKeyMarker>${escapeXml(last?.key ?? '')}</NextKeyMarker><NextUploadIdMarker>${last?.id}</NextUploadIdMarker>`
    : ''
  return xml(200, 'ListMultipartUploadsResult', `<IsTruncated>${more}</IsTruncated>${next}${uploads.join('')}`)
}

/** An answer without a body. */
export function empty(status: number, headers: Record<string, string> = {}): Answer {
  return { status, headers, body: Buffer.alloc(0) }
}

/** An answer in XML. */
export function xml(status: number, root: string, content: string): Answer {
  const body = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>\n<${root}>${content}</${root}>`)
  return { status, headers: { 'content-type': 'application/xml' }, body }
}

/** Text as XML holds it. */
export function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
