import { createHash, createHmac } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { crc32 } from 'node:zlib'

/** An error as S3 answers it. */
export class S3Refusal extends Error {
  readonly status: number
  readonly code: string
  constructor(status: number, code: string, message: string = code) {
    super(message)
    this.status = status
    this.code = code
  }
}

const MAX_SKEW_MS = 15 * 60_000

/**
 * Refuses a request whose AWS Signature Version 4 is not exactly that of its method, path, query, headers and declared
 * payload hash. The payload itself is `verifyPayload`'s. `now` is the server's clock.
 */
export function verifySignature(request: IncomingMessage, keys: Keys): void {
  const { headers } = request
  if (isLink(request)) {
    verifyLink(request, keys)
    return
  }
  const authorization = headers.authorization ?? ''
  if (authorization === '') throw new S3Refusal(403, 'AccessDenied', 'anonymous requests are refused')
  const match = /^AWS4-HMAC-SHA256 Credential=([^,]+), ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})$/.exec(
    authorization,
  )
  if (match === null) throw new S3Refusal(400, 'AuthorizationHeaderMalformed', 'not an AWS4-HMAC-SHA256 authorization')
  const [, credential, signedList, signature] = match
  const stamp = String(headers['x-amz-date'])
  if (Math.abs(timeOf(stamp) - keys.now) > MAX_SKEW_MS) {
    throw new S3Refusal(
      403,
      'RequestTimeTooSkewed',
      'The difference between the request time and the server is too large.',
    )
  }
  const signed = signedList.split(';')
  for (const name of Object.keys(headers)) {
    const must = name === 'host' || name === 'content-type' || name === 'content-md5' || name.startsWith('x-amz-')
    if (must && !signed.includes(name)) throw new S3Refusal(403, 'AccessDenied', `the header ${name} is not signed`)
  }
  const payload = String(headers['x-amz-content-sha256'])
  assertSignature(request, { credential, stamp, signed, payload, signature }, keys)
}

interface Keys {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  readonly region: string
  readonly now: number
}

/** Whether a request is signed in its query, as by a browser that was given a presigned URL. */
export function isLink({ method, url }: IncomingMessage): boolean {
  return method === 'GET' && /[?&]X-Amz-Signature=/.test(url ?? '')
}

/** The same signature, of headers and query but not of the payload, for as long as it says. */
function verifyLink(request: IncomingMessage, keys: Keys): void {
  const query = new URL(request.url ?? '', 'http://s3').searchParams
  const [credential, stamp, signedList, signature] = ['Credential', 'Date', 'SignedHeaders', 'Signature'].map((name) =>
    String(query.get(`X-Amz-${name}`)),
  )
  const seconds = Number(query.get('X-Amz-Expires'))
  if (query.get('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256' || !(seconds >= 1 && seconds <= 604_800)) {
    throw new S3Refusal(400, 'AuthorizationQueryParametersError')
  }
  if (keys.now > timeOf(stamp) + seconds * 1000) throw new S3Refusal(403, 'AccessDenied', 'Request has expired')
  const signed = signedList.split(';')
  assertSignature(request, { credential, stamp, signed, payload: 'UNSIGNED-PAYLOAD', signature }, keys)
}

function timeOf(stamp: string): number {
  const time = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(stamp)
  if (time === null) throw new S3Refusal(403, 'AccessDenied', 'x-amz-date is missing or malformed')
  const [year, month, day, hour, minute, second] = time.slice(1).map(Number)
  return Date.UTC(year, month - 1, day, hour, minute, second)
}

function assertSignature(
  request: IncomingMessage,
  claim: { credential: string; stamp: string; signed: string[]; payload: string; signature: string },
  keys: Keys,
): void {
  const { stamp } = claim
  const [accessKeyId, date, region, service, terminator] = claim.credential.split('/')
  if (accessKeyId !== keys.accessKeyId) {
    throw new S3Refusal(403, 'InvalidAccessKeyId', 'The access key id you provided does not exist in our records.')
  }
  if (service !== 's3' || terminator !== 'aws4_request' || region !== keys.region) {
    throw new S3Refusal(
      400,
      'AuthorizationHeaderMalformed',
      `the credential's scope is wrong; expecting ${keys.region}`,
    )
  }
  if (!stamp.startsWith(date)) throw new S3Refusal(403, 'SignatureDoesNotMatch', 'scope and x-amz-date differ in date')
  const canonical = canonicalRequest(request, claim)
  const scope = `${date}/${region}/s3/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', stamp, scope, createHash('sha256').update(canonical).digest('hex')].join('\n')
  const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
  const key = [date, region, 's3', 'aws4_request'].reduce<string | Buffer>(hmac, `AWS4${keys.secretAccessKey}`)
  if (createHmac('sha256', key).update(toSign).digest('hex') !== claim.signature) {
    throw new S3Refusal(
      403,
      'SignatureDoesNotMatch',
      'The signature does not match the one calculated from the request.',
    )
  }
}

function canonicalRequest(
  request: IncomingMessage,
  { signed, payload }: { signed: readonly string[]; payload: string },
): string {
  const [path, query = ''] = (request.url ?? '').split(/\?(.*)/s)
  const encode = (text: string): string =>
    encodeURIComponent(decodeURIComponent(text)).replace(
      /[!'()*]/g,
      (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
    )
  const parameters = query
    .split('&')
    .filter((pair) => pair !== '' && !pair.startsWith('X-Amz-Signature='))
    .map((pair) => pair.split(/=(.*)/s))
    .map(([name, value = '']) => `${encode(name)}=${encode(value)}`)
    .toSorted()
  const lines = signed.map(
    (name) =>
      `${name}:${String(request.headers[name] ?? '')
        .trim()
        .replace(/ +/g, ' ')}\n`,
  )
  return [
    request.method,
    path.split('/').map(encode).join('/'),
    parameters.join('&'),
    lines.join(''),
    signed.join(';'),
    payload,
  ].join('\n')
}

/** Refuses what this server does not take whatever the body: no length, checksum trailers, a payload that is not signed. */
export function verifyFraming({ method, headers }: IncomingMessage): void {
  const sha256 = String(headers['x-amz-content-sha256'])
  const chunked = /aws-chunked/.test(headers['content-encoding'] ?? '') || sha256.startsWith('STREAMING-')
  if (chunked || headers['x-amz-trailer'] !== undefined || headers['transfer-encoding'] !== undefined) {
    throw new S3Refusal(411, 'MissingContentLength', 'aws-chunked bodies and trailers are not taken')
  }
  if ((method === 'PUT' || method === 'POST') && headers['content-length'] === undefined) {
    throw new S3Refusal(411, 'MissingContentLength')
  }
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new S3Refusal(400, 'InvalidRequest', `payload hash ${sha256} is refused`)
  const md5 = headers['content-md5']
  if (md5 !== undefined && Buffer.from(String(md5), 'base64').length !== 16) throw new S3Refusal(400, 'InvalidDigest')
}

/** Refuses a body that is not the one its headers announce: payload hash, Content-MD5 and each x-amz-checksum. */
export function verifyPayload({ headers }: IncomingMessage, body: Buffer): void {
  const digest = (algorithm: string, encoding: 'hex' | 'base64'): string =>
    createHash(algorithm).update(body).digest(encoding)
  if (headers['x-amz-content-sha256'] !== digest('sha256', 'hex')) throw new S3Refusal(400, 'XAmzContentSHA256Mismatch')
  const md5 = headers['content-md5']
  if (md5 !== undefined && md5 !== digest('md5', 'base64')) throw new S3Refusal(400, 'BadDigest')
  for (const [name, value] of Object.entries(headers)) {
    const algorithm = /^x-amz-checksum-(.+)$/.exec(name)?.[1]
    if (algorithm === undefined || algorithm === 'mode') continue
    if (!(algorithm in CHECKSUMS)) throw new S3Refusal(501, 'NotImplemented', `the checksum ${algorithm} is not taken`)
    if (CHECKSUMS[algorithm](body) !== value) throw new S3Refusal(400, 'BadDigest', `${name} is wrong`)
  }
}

const CHECKSUMS: Readonly<Record<string, (body: Buffer) => string>> = {
  sha1: (body) => createHash('sha1').update(body).digest('base64'),
  sha256: (body) => createHash('sha256').update(body).digest('base64'),
  crc32: (body) => {
    const four = Buffer.alloc(4)
    four.writeUInt32BE(crc32(body))
    return four.toString('base64')
  },
}
