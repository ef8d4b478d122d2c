// Run by inserts.ts in a process of its own: inserts at a steady rate until its input ends, then prints when each was due,
// in milliseconds since 1970, and how many it took.
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '../../db/pool.ts'
import { insertSamples } from '../../db/samples.ts'
import { addBenchDevices } from './bench-stack.ts'

const WRITERS = 8
const BYTES = 256
/** Each writer's. Together 400 a second, of 10 samples each. */
const INTERVAL_MS = 20
const BATCH = 10

const pool = openPool({ databaseUrl: process.argv[2], max: WRITERS })
const devices = await addBenchDevices(pool, BYTES, WRITERS)
const stop = new AbortController()
process.stdin.on('end', () => stop.abort()).resume()
const inserts: [due: number, latency: number][] = []
await Promise.all(
  devices.map(async (device, writer) => {
    const began = performance.now() + (writer * INTERVAL_MS) / WRITERS
    for (let turn = 0; !stop.signal.aborted; turn++) {
      // By the clock, so that a stall is felt by all who come in it, not by one.
      const due = began + turn * INTERVAL_MS
      await sleep(Math.max(0, due - performance.now()))
      const samples = Array.from({ length: BATCH }, (_, i) => ({
        ...device,
        timestamp: new Date(),
        sequence: BigInt(turn * BATCH + i),
        data: randomBytes(BYTES),
      }))
      await insertSamples(pool, samples)
      inserts.push([performance.timeOrigin + due, performance.now() - due])
    }
  }),
)
await pool.end()
process.stdout.write(JSON.stringify(inserts))
