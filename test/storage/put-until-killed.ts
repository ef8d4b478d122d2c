// Run by local.test.ts in a process of its own: puts objects one after the other until somebody kills it.
import { randomBytes } from 'node:crypto'
import { openLocalStore } from '../../storage/local.ts'
import { hashBytes } from '../../storage/object-store.ts'

const [directory, bucket, hardLinks] = process.argv.slice(2)
const store = await openLocalStore(directory, bucket, { create: false, hardLinks: hardLinks === 'true' })
process.stdout.write('ready\n')
for (;;) {
  const bytes = randomBytes(2_000_000)
  const object = hashBytes(bytes)
  await store.put(`v1/killed/${object.sha256}`, object)
}
