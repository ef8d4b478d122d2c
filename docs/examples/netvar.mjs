// The same in JavaScript.
//
//     npm install apache-arrow                 # and @aws-sdk/client-s3, for s3://
//     node netvar.mjs 2026-01-05T12:00:00Z 2026-01-05T13:00:00Z chunks/*.arrow
//
// Links (of an export, or signed by Supabase Storage or Storj) and s3://bucket/key do as well as paths; of an S3 service with the
// settings that the pipeline has: STORJ_ENDPOINT, STORJ_REGION, STORJ_ACCESS_KEY_ID, STORJ_SECRET_ACCESS_KEY.

import { readFileSync } from 'node:fs'
import { tableFromIPC } from 'apache-arrow'

/** A path, a link or s3://bucket/key as an Arrow table. A browser needs the second line alone. */
async function open(place) {
  if (place.startsWith('s3://')) return tableFromIPC(await readS3(place))
  if (/^https?:/.test(place)) return tableFromIPC(await readLink(place))
  return tableFromIPC(readFileSync(place))
}

async function readLink(url) {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${response.status} for ${new URL(url).pathname}: links hold for some hours`)
  return await response.arrayBuffer()
}

async function readS3(place) {
  const { GetObjectCommand, S3Client } = await import('@aws-sdk/client-s3')
  const { env } = process
  const client = new S3Client({
    endpoint: env.STORJ_ENDPOINT ?? 'https://gateway.storjshare.io',
    region: env.STORJ_REGION ?? 'us-east-1',
    credentials: { accessKeyId: env.STORJ_ACCESS_KEY_ID, secretAccessKey: env.STORJ_SECRET_ACCESS_KEY },
    forcePathStyle: true,
  })
  const [, bucket, key] = /^s3:\/\/([^/]+)\/(.+)$/.exec(place)
  const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }))
  return await Body.transformToByteArray()
}

const [start, end, ...places] = process.argv.slice(2)
const [from, to] = [start, end].map((text) => Date.parse(text) * 1000)
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const countOnes = (byte) => byte.toString(2).replaceAll('0', '').length
const ONES = Array.from({ length: 256 }, (_, byte) => countOnes(byte))

/** `second device` → bits and ones. */
const trials = new Map()
const seen = new Set()
for (const place of places) {
  const table = await open(place)
  const column = Object.fromEntries(table.schema.fields.map(({ name }) => [name, table.getChild(name)]))
  // Microseconds since 1970, of which `get` would make milliseconds.
  const times = column.timestamp.data.flatMap((data) => [...data.values])
  for (const [row, time] of times.entries()) {
    if (Number(time) < from || Number(time) >= to) continue
    const device = hex(column.device_id.get(row))
    const sample = [device, hex(column.profile_id.get(row)), time, column.sequence.get(row)].join(' ')
    if (seen.has(sample)) continue
    seen.add(sample)
    const key = `${Math.floor(Number(time) / 1e6)} ${device}`
    const trial = trials.get(key) ?? { second: key.split(' ')[0], bits: 0, ones: 0 }
    const payload = column.sample_data.get(row)
    trial.bits += 8 * payload.length
    for (const byte of payload) trial.ones += ONES[byte]
    trials.set(key, trial)
  }
}

/** Second → the sum of scores and their number. */
const seconds = new Map()
for (const { second, bits, ones } of trials.values()) {
  const isStuck = bits >= 64 && (ones === 0 || ones === bits)
  if (bits === 0 || isStuck) continue
  const sums = seconds.get(second) ?? { z: 0, devices: 0 }
  sums.z += (2 * ones - bits) / Math.sqrt(bits)
  sums.devices += 1
  seconds.set(second, sums)
}
// Stouffer's S of each second, squared and summed.
const chi2 = [...seconds.values()].reduce((sum, { z, devices }) => sum + (z * z) / devices, 0)
process.stdout.write(`${JSON.stringify({ seconds: seconds.size, chi2 })}\n`)
