// The same in JavaScript, in Node or a browser.
//
//     npm install apache-arrow
//     node netvar.mjs 2026-01-05T12:00:00Z 2026-01-05T13:00:00Z chunks/*.arrow
//
// A link (of an export, or a signed one of Supabase Storage or Storj) opens as
//     tableFromIPC(await (await fetch(url)).arrayBuffer())

import { readFileSync } from 'node:fs'
import { tableFromIPC } from 'apache-arrow'

const [start, end, ...paths] = process.argv.slice(2)
const [from, to] = [start, end].map((text) => Date.parse(text) * 1000)
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
const countOnes = (byte) => byte.toString(2).replaceAll('0', '').length
const ONES = Array.from({ length: 256 }, (_, byte) => countOnes(byte))

/** `second device` → bits and ones. */
const trials = new Map()
const seen = new Set()
for (const path of paths) {
  const table = tableFromIPC(readFileSync(path))
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
