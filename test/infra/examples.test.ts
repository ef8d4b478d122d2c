/** The examples of docs/examples make of chunks what the pipeline made of them. */
import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient } from '@supabase/supabase-js'
import { hashBytes } from '../../storage/object-store.ts'
import { openS3Store } from '../../storage/s3.ts'
import { openSupabaseStore } from '../../storage/supabase.ts'
import { makeSamples, openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { startStrictS3, type StrictS3 } from '../storage/strict-s3.ts'
import { startStrictSupabase, type StrictSupabase } from '../storage/strict-supabase.ts'

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, '../..')
const EXAMPLES = join(ROOT, 'docs/examples')
const HOUR = Date.UTC(2026, 0, 5, 12)
const RANGE = ['2026-01-05T12:00:00Z', '2026-01-05T13:00:00Z']
/** Names another Python, such as that of a virtual environment with pyarrow. */
const PYTHON = process.env.COHERENCE_PYTHON ?? 'python3'

let pipeline: TestPipeline
let s3: StrictS3
let supabase: StrictSupabase
/** The same chunks as paths, as objects of S3, and as links that Supabase Storage signed. */
let places: { paths: string[]; s3: string[]; links: string[] }
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
  const keys: string[] = []
  for await (const { key } of pipeline.store.list('v1/')) {
    if (/\/[0-9a-f-]{36}-[0-9a-f]{16}\.arrow$/.test(key)) keys.push(key)
  }
  s3 = await startStrictS3()
  supabase = await startStrictSupabase()
  const { secretKey, bucketName } = supabase.state
  const stores = [
    openS3Store({ backend: 'storj', endpoint: s3.endpoint, ...s3.state }),
    openSupabaseStore({ bucket: bucketName, url: supabase.url, secretKey }),
  ]
  for (const key of keys) {
    const object = hashBytes(await pipeline.store.get(key))
    for (const store of stores) await store.put(key, object)
  }
  // As README.md of the examples has it.
  const storage = createClient(supabase.url, secretKey).storage
  const signed = await Promise.all(keys.map((key) => storage.from(bucketName).createSignedUrl(key, 3600)))
  places = {
    paths: keys.map((key) => join(pipeline.store.root, key)),
    s3: keys.map((key) => `s3://${s3.state.bucket}/${key}`),
    links: signed.map(({ data, error }) => {
      if (error !== null) throw error
      return data.signedUrl
    }),
  }
  const { rows } = await pipeline.db.query(
    `select (sums ->> 'seconds')::int as seconds, (netvar ->> 'chi2')::float8 as chi2 from network_stats
     where profile = 'all_bits' and normalization = 'theoretical' and bucket_start = $1 and bucket_end = $2`,
    RANGE,
  )
  ;[expected] = rows
})
afterAll(() => Promise.all([pipeline.close(), s3.close(), supabase.close()]))

async function netvarBy(file: string, args: string[], chunks: string[]): Promise<object> {
  const { endpoint, state } = s3
  const env = {
    PATH: process.env.PATH,
    PYTHONDONTWRITEBYTECODE: '1',
    STORJ_ENDPOINT: endpoint,
    STORJ_REGION: state.region,
    STORJ_ACCESS_KEY_ID: state.accessKeyId,
    STORJ_SECRET_ACCESS_KEY: state.secretAccessKey,
  }
  const { stdout } = await run(file, [...args, ...RANGE, ...chunks], { env })
  return JSON.parse(stdout) as object
}

const same = () => ({ seconds: expected.seconds, chi2: expect.closeTo(expected.chi2, 9) as number })

it('is about several chunks', () => {
  expect(places.paths.length).toBeGreaterThan(1)
  expect(expected.seconds).toBe(501)
})

const missing = async (modules: string) =>
  await run(PYTHON, ['-c', `import ${modules}`]).then(
    () => false,
    () => true,
  )
const NEEDS = 'COHERENCE_PYTHON names a Python that has'
const [noPandas, noDuckdb] = [await missing('pyarrow, pandas'), await missing('pyarrow, duckdb')]

describe.each(['paths', 's3', 'links'] as const)('from %s', (from) => {
  it('JavaScript', async () => {
    // As a user has it: a folder of its own with apache-arrow.
    const folder = await mkdtemp(join(tmpdir(), 'coherence-example-'))
    try {
      await copyFile(join(EXAMPLES, 'netvar.mjs'), join(folder, 'netvar.mjs'))
      await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
      expect(await netvarBy(process.execPath, [join(folder, 'netvar.mjs')], places[from])).toEqual(same())
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it.skipIf(noPandas)(`pyarrow and pandas${noPandas ? ` (${NEEDS} them)` : ''}`, async () => {
    expect(await netvarBy(PYTHON, [join(EXAMPLES, 'netvar_pandas.py')], places[from])).toEqual(same())
  })

  it.skipIf(noDuckdb)(`DuckDB${noDuckdb ? ` (${NEEDS} it, and pyarrow)` : ''}`, async () => {
    expect(await netvarBy(PYTHON, [join(EXAMPLES, 'netvar_duckdb.py')], places[from])).toEqual(same())
  })
})

it('JavaScript says that a link no longer holds', async () => {
  const [link] = places.links
  const over = new URL(link)
  over.searchParams.set('token', 'over')
  await expect(netvarBy(process.execPath, [join(EXAMPLES, 'netvar.mjs')], [over.href])).rejects.toThrow(
    /40\d for .*: links hold for some hours/,
  )
})
