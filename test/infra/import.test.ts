import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { NewSample } from '../../db/samples.ts'
import { makeSamples, openPipeline, type TestDevice, type TestPipeline } from '../harness/pipeline.ts'
import { type Cli, createCli } from './run-cli.ts'

const BYTES = 32
const START = Date.UTC(2019, 5, 1, 12)
let pipeline: TestPipeline
let cli: Cli
let device: TestDevice
beforeEach(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 1024 ** 2 })
  ;[device] = await pipeline.addDevices(1)
  await pipeline.db.query('update public.sampling_profiles set sample_size_bytes = $1', [BYTES])
  cli = createCli({ DATABASE_URL: pipeline.config.databaseUrl, LOCAL_STORAGE_DIR: pipeline.config.localStorageDir })
})
afterEach(async () => {
  cli.remove()
  await pipeline.close()
})

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(cli.directory, name)
  await writeFile(path, content)
  return path
}

const made = (count: number, sequence = 0n) =>
  makeSamples(device, count, { start: START + Number(sequence) * 1000, sequence, bytes: BYTES })

/** As Postgres and the dashboard export a row. */
const rowOf = ({ deviceId, profileId, timestamp, sequence, data }: NewSample) => ({
  id: randomUUID(),
  device_id: deviceId,
  profile_id: profileId,
  timestamp: (timestamp as Date).toISOString().replace('T', ' ').replace('Z', '+00'),
  sequence: String(sequence),
  byte_length: data.length,
  sample_data: `\\x${Buffer.from(data).toString('hex')}`,
})

async function stored(): Promise<{ sequence: string; data: Buffer; at: Date }[]> {
  return (
    await pipeline.db.query(
      'select sequence, sample_data as data, "timestamp" as at from public.entropy_samples order by sequence, "timestamp"',
    )
  ).rows
}

const expected = (samples: readonly NewSample[]) =>
  samples.map(({ sequence, data, timestamp }) => ({
    sequence: String(sequence),
    data: Buffer.from(data),
    at: timestamp,
  }))

describe('coherence import', () => {
  it('stores an archive of years ago once, from CSV, JSON and JSON lines', async () => {
    const samples = made(30)
    const rows = samples.map(rowOf)
    const csv = [
      Object.keys(rows[0]).join(','),
      ...rows.slice(0, 10).map((row) =>
        Object.values(row)
          .map((value) => `"${value}"`)
          .join(','),
      ),
    ].join('\r\n')
    const files = [
      await file('a.csv', `\ufeff${csv}\n`),
      await file('b.json', JSON.stringify(rows.slice(10, 20))),
      await file(
        'c.jsonl',
        rows
          .slice(20)
          .map((row) =>
            JSON.stringify({ ...row, sample_data: Buffer.from(row.sample_data.slice(2), 'hex').toString('base64') }),
          )
          .join('\n'),
      ),
    ]
    const first = await cli.run(['import', ...files, '--json'])
    expect({ code: first.code, stderr: first.stderr }).toEqual({ code: 0, stderr: '' })
    expect(first.json()).toEqual({ accepted: 30, duplicate: 0, rejected: 0, rejections: [], stopped: false })
    expect(await stored()).toEqual(expected(samples))
    const again = await cli.run(['import', ...files])
    expect(again).toMatchObject({ code: 0, stdout: '0 samples stored, 30 known already, 0 rejected.\n' })
    expect(await stored()).toHaveLength(30)
  })

  it('puts back what a chunk holds, to the microsecond', async () => {
    const samples = made(20)
    await pipeline.insert(samples)
    await pipeline.db.query(`update public.entropy_samples set "timestamp" = "timestamp" + interval '123 microseconds'`)
    const times = async () =>
      (await pipeline.db.query(`select "timestamp"::text as at from public.entropy_samples order by 1`)).rows
    const before = await times()
    await pipeline.pack()
    await pipeline.drain()
    const keys: string[] = []
    for await (const { key } of pipeline.store.list('v1/')) if (!key.includes('slices')) keys.push(key)
    const path = await file('chunk.arrow', await pipeline.store.get(keys[0]))
    expect(keys).toHaveLength(1)
    expect(await cli.run(['import', path])).toMatchObject({
      stdout: '0 samples stored, 20 known already, 0 rejected.\n',
    })
    // As a database that was restored to before: it knows neither.
    await pipeline.db.query('delete from public.storj_chunks')
    await pipeline.db.query('delete from public.entropy_samples')
    expect(await cli.run(['import', path])).toMatchObject({
      stdout: '20 samples stored, 0 known already, 0 rejected.\n',
    })
    expect(await times()).toEqual(before)
  })

  it('says what it refused and where, stores the rest, and exits with 1', async () => {
    const [good, ...bad] = made(9).map(rowOf)
    const path = await file(
      'mixed.json',
      JSON.stringify([
        good,
        { ...bad[0], sample_data: 'not base64!' },
        { ...bad[1], device_id: 'pi-1' },
        { ...bad[2], sequence: 1.5 },
        { ...bad[3], timestamp: 'yesterday' },
        { ...bad[4], profile_id: randomUUID() },
        { ...bad[5], sample_data: '\\x00' },
        { ...bad[6], timestamp: '2999-01-01T00:00:00Z' },
        'no row',
      ]),
    )
    const { code, stdout } = await cli.run(['import', path, '--json'])
    const { rejections, ...counts } = JSON.parse(stdout) as { rejections: { reason: string; places: string[] }[] }
    expect({ code, ...counts }).toEqual({ code: 1, accepted: 1, duplicate: 0, rejected: 8, stopped: false })
    const told = Object.fromEntries(
      rejections.map(({ reason, places }) => [reason, places.map((place) => place.split(', ')[1])]),
    )
    expect(told).toEqual({
      'sample_data is neither \\x… nor base64': ['row 2'],
      'device_id is no uuid': ['row 3'],
      'sequence is no whole number': ['row 4'],
      'timestamp is no time': ['row 5'],
      'this device has no such profile': ['row 6'],
      '1 bytes, where the profile says 32': ['row 7'],
      'timestamp is more than 00:05:00 ahead': ['row 8'],
      'Invalid input: expected object, received string': ['row 9'],
    })
    expect(await stored()).toHaveLength(1)
  })

  it.each([
    ['no such file', ['import', 'nowhere.csv'], 2, /INPUT_INVALID: cannot read nowhere.csv/],
    ['a name that says nothing', ['import', 'samples'], 2, /what is samples\? Say --format arrow, csv, json, jsonl/],
    ['a format there is not', ['import', 'a.csv', '--format', 'xml'], 2, /--format is one of .*, not "xml"/],
  ])('refuses %s', async (_, args, code, message) => {
    const run = await cli.run(args)
    expect(run.code).toBe(code)
    expect(run.stderr).toMatch(message)
  })

  it('refuses what is not of its format, and a device that is not there', async () => {
    const rubbish = await file('rubbish.arrow', 'not arrow at all')
    expect(await cli.run(['import', rubbish])).toMatchObject({ code: 2, stderr: expect.stringMatching(/as arrow/) })
    const object = await file('object.json', '{"a": 1}')
    expect(await cli.run(['import', object])).toMatchObject({ stderr: expect.stringMatching(/not a list of rows/) })
    const foreign = await file('foreign.json', JSON.stringify([{ ...rowOf(made(1)[0]), device_id: randomUUID() }]))
    expect(await cli.run(['import', foreign])).toMatchObject({ stderr: expect.stringMatching(/DEVICE_UNKNOWN/) })
    expect(await stored()).toEqual([])
  })
})
