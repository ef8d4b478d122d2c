// Run by s3.test.ts in a process of its own: what it takes, at most, to put and get 200 MB.
import { randomFillSync } from 'node:crypto'
import { hashBytes, sha256Hex } from '../../storage/object-store.ts'
import { openS3Store } from '../../storage/s3.ts'
import { peakMemory } from '../harness/process-memory.ts'

const store = openS3Store(JSON.parse(process.argv[2]))
const bytes = randomFillSync(Buffer.allocUnsafe(200_000_000))
const object = hashBytes(bytes)

await store.head('warm')
const idle = peakMemory()
await store.put('large', object)
const put = peakMemory()
if (sha256Hex(await store.get('large')) !== object.sha256) throw new Error('other bytes came back')
process.stdout.write(JSON.stringify({ idle, put, get: peakMemory() }))
