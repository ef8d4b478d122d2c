import { totalmem } from 'node:os'
import { afterEach, expect, test, vi } from 'vitest'
import { analysisMemory, memoryCeiling, memoryLimit } from '../../infra/memory.ts'
import { createDatabase } from '../harness/database.ts'
import { createCli } from './run-cli.ts'

const MIB = 1024 ** 2
afterEach(() => vi.restoreAllMocks())

test('a worker has the memory that WORK_MEMORY says, else what its container may use, if that is less than the machine has', () => {
  const container = vi.spyOn(process, 'constrainedMemory').mockReturnValue(512 * MIB)
  expect(memoryLimit({ workMemoryBytes: 300 * MIB })).toBe(300 * MIB)
  expect(memoryLimit({ workMemoryBytes: undefined })).toBe(512 * MIB)
  // What Linux says where there is no limit, and what Node says where there are no containers.
  for (const none of [2 ** 63, totalmem(), 0]) {
    container.mockReturnValue(none)
    expect(memoryLimit({ workMemoryBytes: undefined })).toBeUndefined()
  }
})

test('it takes no new job above four fifths of it, and leaves an analysis what is not needed beside', () => {
  expect(memoryCeiling(1000 * MIB)).toBe(800 * MIB)
  expect(memoryCeiling(undefined)).toBeUndefined()
  expect(analysisMemory(1024 * MIB)).toBe(768 * MIB)
  expect(analysisMemory(128 * MIB)).toBe(32 * MIB)
  expect(analysisMemory(undefined)).toBe(totalmem() - 256 * MIB)
})

test('work ends when it holds nearly all of WORK_MEMORY, and says so', async () => {
  const database = await createDatabase()
  const cli = createCli({ DATABASE_URL: database.url, WORK_MEMORY: '64M' })
  try {
    await cli.run(['migrate'])
    await cli.run(['tick'])
    const { code, ...finished } = await cli.run(['work', '--drain', '--json'])
    expect(finished.json()).toMatchObject({ completed: {}, stopped: 'memory' })
    expect(code).toBe(0)
  } finally {
    cli.remove()
    await database.drop()
  }
})
