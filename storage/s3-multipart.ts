import { createHash } from 'node:crypto'
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  ListMultipartUploadsCommand,
  type ListMultipartUploadsCommandOutput,
  type S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3'
import { CoherenceError } from '../pipeline/errors.ts'
import { answerOf } from './s3-errors.ts'

/** What a put is to create. */
export interface NewObject {
  readonly key: string
  readonly bytes: Uint8Array
  readonly sha256: string
}

/** Sends one request, again while it fails in ways that may pass, until `signal`. */
export type Send = <T>(request: (signal: AbortSignal) => Promise<T>, signal?: AbortSignal) => Promise<T>

/** The MD5 of `bytes` as the header Content-MD5 has it. */
export function contentMd5(bytes: Uint8Array): string {
  return createHash('md5').update(bytes).digest('base64')
}

/** A view of the same bytes; the SDK sends a Buffer in one piece with its length, which every store takes. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Creates an object from parts of `partBytes`, one after the other; the parts are views, so no memory is needed. False if the
 * key has been taken, or was completed by an answer that got lost: the caller compares. Whatever else happens the upload
 * is aborted with `sendLast`, which must not depend on the caller's signal. If that fails too, or this process is killed,
 * the parts stay until `abortUploads`.
 */
export async function putInParts(
  client: S3Client,
  object: NewObject & { bucket: string; partBytes: number },
  { send, sendLast, signal }: { send: Send; sendLast: Send; signal?: AbortSignal },
): Promise<boolean> {
  const { bytes, sha256, partBytes } = object
  const target = { Bucket: object.bucket, Key: object.key }
  const begun = await send((abortSignal) => {
    const command = new CreateMultipartUploadCommand({ ...target, Metadata: { sha256 } })
    return client.send(command, { abortSignal })
  }, signal)
  const upload = { ...target, UploadId: begun.UploadId }
  try {
    const parts: { PartNumber: number; ETag: string | undefined }[] = []
    for (let at = 0; at < bytes.length; at += partBytes) {
      const Body = asBuffer(bytes.subarray(at, at + partBytes))
      const part = { ...upload, PartNumber: parts.length + 1, Body, ContentMD5: contentMd5(Body) }
      const { ETag } = await send((abortSignal) => client.send(new UploadPartCommand(part), { abortSignal }), signal)
      parts.push({ PartNumber: part.PartNumber, ETag })
    }
    await send((abortSignal) => {
      const command = new CompleteMultipartUploadCommand({
        ...upload,
        IfNoneMatch: '*',
        MultipartUpload: { Parts: parts },
      })
      return client.send(command, { abortSignal })
    }, signal)
    return true
  } catch (error) {
    await abortUpload(client, upload, sendLast)
    const answer = answerOf(error)
    if (answer?.status === 412 || answer?.name === 'NoSuchUpload') return false
    throw error
  }
}

/**
 * Aborts the unfinished uploads to `bucket` that began before `before`, by the store's clock, and says how many: what killed
 * writers left. One that still runs fails then, so leave running puts some hours.
 */
export async function abortUploads(client: S3Client, bucket: string, before: Date, send: Send): Promise<number> {
  let aborted = 0
  let KeyMarker: string | undefined
  let UploadIdMarker: string | undefined
  for (;;) {
    const from = { Bucket: bucket, KeyMarker, UploadIdMarker }
    const page: ListMultipartUploadsCommandOutput = await send((abortSignal) =>
      client.send(new ListMultipartUploadsCommand(from), { abortSignal }),
    )
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Initiated === undefined || Initiated >= before) continue
      await send((abortSignal) => {
        return client.send(new AbortMultipartUploadCommand({ Bucket: bucket, Key, UploadId }), { abortSignal })
      })
      aborted++
    }
    if (!page.IsTruncated) return aborted
    KeyMarker = page.NextKeyMarker
    UploadIdMarker = page.NextUploadIdMarker
    if (KeyMarker === from.KeyMarker && UploadIdMarker === from.UploadIdMarker) {
      throw new CoherenceError('STORE_UNAVAILABLE', `listing the unfinished uploads of ${bucket} gets nowhere`)
    }
  }
}

async function abortUpload(
  client: S3Client,
  upload: { Bucket: string; Key: string; UploadId: string | undefined },
  sendLast: Send,
): Promise<void> {
  try {
    await sendLast((abortSignal) => client.send(new AbortMultipartUploadCommand(upload), { abortSignal }))
  } catch {
    // The error that led here says more, and abortUploads finds what is left.
  }
}
