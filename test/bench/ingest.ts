import { randomBytes } from 'node:crypto'
import { storeChecked } from '../../db/samples.ts'
import { addBenchDevices, withBenchStack } from './bench-stack.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'

const SIZES = [32, 256]
const BATCHES = [1, 100, 1000, 5000]
/** Of calls of a thousand, which is what a bulk path is called with. */
const GOAL_BATCH = 1000
const GOAL = 20_000

/** insert_entropy_samples, as devices and imports call it, through one connection: samples a second by how many a call brings. */
export async function benchIngest({ quick, signal }: BenchOptions): Promise<Measured> {
  const rounds = quick ? 2 : 7
  const lines: Line[] = []
  await withBenchStack(async ({ pool }) => {
    const client = await pool.connect()
    try {
      for (const bytes of SIZES) {
        const [{ deviceId, profileId }] = await addBenchDevices(pool, bytes, 1)
        // A day in which nothing else is stored, each sample a millisecond after the one before.
        const start = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 86_400_000
        let sent = 0
        const call = async (batch: number) => {
          const samples = Array.from({ length: batch }, () => {
            sent += 1
            return { profileId, timestamp: new Date(start + sent), sequence: BigInt(sent), data: randomBytes(bytes) }
          })
          const began = performance.now()
          const stored = await storeChecked(client, deviceId, samples)
          const seconds = (performance.now() - began) / 1000
          if (stored.some(({ status }) => status !== 'accepted')) throw new Error('a sample was not accepted')
          return batch / seconds
        }
        for (const batch of BATCHES) {
          const rates: number[] = []
          // The first plans its statements.
          await call(batch)
          for (let round = 0; round < rounds; round++) {
            signal.throwIfAborted()
            showProgress(`ingest: ${bytes} bytes, ${batch} a call, round ${round + 1} of ${rounds}`)
            rates.push(await call(batch))
          }
          const goal = batch === GOAL_BATCH ? GOAL : null
          lines.push(
            toLine(`samples of ${bytes} bytes, ${batch.toLocaleString('en-US')} a call`, 'samples/s', rates, { goal }),
          )
        }
      }
    } finally {
      client.release()
    }
  })
  return { lines }
}
