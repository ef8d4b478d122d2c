/** The examples of docs/examples make of chunks what the pipeline made of them. */
import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../..')
const EXAMPLES = join(ROOT, 'docs/examples')
const HOUR = Date.UTC(2026, 0, 5, 12)
const RANGE = ['2026-01-05T12:00:00Z', '2026-01-05T13:00:00Z']
/** Names another Python, such as that of a virtual environment with pyarrow. */
const PYTHON = process.env.EXAMPLES_PYTHON ?? 'python3'

let pipeline: TestPipeline
let chunks: string[]
let expected: { seconds: number; chi2: number }
beforeAll(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 32_768 })
  const devices = await pipeline.addDevices(3)
  for (const [seed, device] of devices.entries()) {
    // One with gaps, one that begins before the hour, sizes that differ.
    const start = HOUR - 10_000 * seed
    const samples = makeSamples(device, 500, {
      start,
      seed: String(seed),
      bytes: (index) => 20 + ((index * 7 + seed) % 30),
    })
    await pipeline.insert(samples.filter((_, index) => seed !== 1 || index % 5 !== 0))
  }
  // A stuck sensor, and a sample that came twice.
  const stuck = makeSamples(devices[0], 1, { start: HOUR + 600_000, sequence: 900n })
  await pipeline.insert(stuck.map((sample) => ({ ...sample, data: new Uint8Array(32) })))
  const [twice] = makeSamples(devices[1], 1, { start: HOUR + 601_000, sequence: 901n })
  await pipeline.insert([twice, twice])
  await pipeline.pack()
  await pipeline.drain()
  chunks = []
  for await (const { key } of pipeline.store.list('v1/')) {
    if (/\/[0-9a-f-]{36}-[0-9a-f]{16}\.arrow$/.test(key)) chunks.push(join(pipeline.store.root, key))
  }
  const { rows } = await pipeline.db.query(
    `select (sums ->> 'seconds')::int as seconds, (netvar ->> 'chi2')::float8 as chi2 from network_stats
     where profile = 'all_bits' and normalization = 'theoretical' and bucket_start = $1 and bucket_end = $2`,
    RANGE,
  )
  ;[expected] = rows
})
afterAll(() => pipeline.close())

async function netvarBy(file: string, args: string[]): Promise<object> {
  const { stdout } = await run(file, [...args, ...RANGE, ...chunks])
  return JSON.parse(stdout) as object
}

const same = () => ({ seconds: expected.seconds, chi2: expect.closeTo(expected.chi2, 9) as number })

it('is about several chunks', () => {
  expect(chunks.length).toBeGreaterThan(1)
  expect(expected.seconds).toBe(501)
})

it('JavaScript', async () => {
  // As a user has it: a folder of its own with apache-arrow.
  const folder = await mkdtemp(join(tmpdir(), 'coherence-example-'))
  try {
    await copyFile(join(EXAMPLES, 'netvar.mjs'), join(folder, 'netvar.mjs'))
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    expect(await netvarBy(process.execPath, [join(folder, 'netvar.mjs')])).toEqual(same())
  } finally {
    await rm(folder, { recursive: true })
  }
})

const missing = async (modules: string) =>
  await run(PYTHON, ['-c', `import ${modules}`]).then(
    () => false,
    () => true,
  )

it.skipIf(await missing('pyarrow, pandas'))('pyarrow and pandas', async () => {
  expect(await netvarBy(PYTHON, [join(EXAMPLES, 'netvar_pandas.py')])).toEqual(same())
})

it.skipIf(await missing('pyarrow, duckdb'))('DuckDB', async () => {
  expect(await netvarBy(PYTHON, [join(EXAMPLES, 'netvar_duckdb.py')])).toEqual(same())
})
