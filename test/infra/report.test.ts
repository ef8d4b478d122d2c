import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runReport } from '../../jobs/report.ts'
import { storeNetworkHours } from '../fixtures/network-hours.ts'
import { openPipeline, type TestPipeline } from '../harness/pipeline.ts'
import { type Cli, createCli } from './run-cli.ts'

const HOUR = 3600
const FROM = Date.UTC(2026, 4, 4, 10) / 1000

let pipeline: TestPipeline
let cli: Cli
let deviceIds: string[]
beforeAll(async () => {
  pipeline = await openPipeline()
  deviceIds = (await pipeline.addDevices(3)).map(({ deviceId }) => deviceId)
  await storeNetworkHours(pipeline.context, { deviceIds, from: FROM, to: FROM + HOUR, chunkSeconds: HOUR })
  cli = createCli({
    DATABASE_URL: pipeline.config.databaseUrl,
    LOCAL_STORAGE_DIR: pipeline.config.localStorageDir,
  })
})
afterAll(async () => {
  cli?.remove()
  await pipeline?.close()
})

describe('coherence report', () => {
  it('writes one page, of the newest data, and says what it says', async () => {
    const { code, stdout, stderr } = await cli.run(['report'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const [verdict, address] = stdout.trim().split('\n')
    expect(verdict).toBe('3 devices, 10.8 k samples: nothing stands out.')
    expect(address).toMatch(/^file:\/\/.*coherence-report-2026-05-03\.html$/)
    expect(readFileSync(fileURLToPath(address), 'utf8')).toContain(verdict)
    const again = await cli.run(['report'])
    expect(again.code).toBe(2)
    expect(again.stderr).toContain('exists; name another file for --out, or say --force')
  })

  it('takes a day, a window, devices and a file', async () => {
    writeFileSync(join(cli.directory, 'page.html'), 'mine')
    const refused = await cli.run(['report', '--day', '2026-05-04', '--out', 'page.html', '--json'])
    expect(refused.code).toBe(2)
    expect(readFileSync(join(cli.directory, 'page.html'), 'utf8')).toBe('mine')
    const day = (await cli.run(['report', '--day', '2026-05-04', '--out', 'page.html', '--force', '--json'])).json()
    expect(day).toMatchObject({ file: 'page.html', from: '2026-05-04T00:00:00.000Z', to: '2026-05-05T00:00:00.000Z' })
    expect(readFileSync(join(cli.directory, 'page.html'), 'utf8')).toMatch(/^<!doctype html>/)
    const window = ['--from', '2026-05-04T12:00:00+02:00', '--to', '2026-05-04T11:00:00Z']
    const two = (
      await cli.run(['report', ...window, '--device', deviceIds[0].toUpperCase(), deviceIds[1], '--json'])
    ).json()
    expect(two).toMatchObject({
      file: null,
      from: '2026-05-04T10:00:00.000Z',
      samples: 7200,
      device_ids: deviceIds.slice(0, 2),
    })
    expect(two.pairs.tested).toBe(1)
    const none = (await cli.run(['report', '--day', '2026-05-01', '--json'])).json()
    expect(none.verdict).toBe('No samples came from 3 devices.')
  })

  it.each([
    [['--day', '2026-02-30'], '--day takes a UTC day'],
    [['--day', '2026-05-04', '--from', '2026-05-04T00:00:00Z'], '--day stands for'],
    [['--from', '2026-05-04T00:00:00Z'], 'belong together'],
    [['--from', '2026-05-04T00:00:00Z', '--to', '2026-05-04T00:00:00Z'], '--from must be before --to'],
    [['--from', '2026-05-04T00:30:00Z', '--to', '2026-05-05T00:00:00Z'], '--from takes a whole hour'],
    [['--from', '2026-05-04T00:00:00', '--to', '2026-05-05T00:00:00Z'], '--from takes a whole hour with its zone'],
    [['--from', '2026-01-01T00:00:00Z', '--to', '2026-05-05T00:00:00Z'], 'at most 31 days'],
    [['--device', 'attic'], '--device takes the uuids of devices, not "attic"'],
  ])('refuses %j', async (args, message) => {
    const { code, stderr } = await cli.run(['report', ...args])
    expect(code).toBe(2)
    expect(stderr).toContain(message)
  })

  it('gives a link to the newest that the scheduled job wrote', async () => {
    const none = await cli.run(['report', '--latest'])
    expect(none.code).toBe(2)
    expect(none.stderr).toContain('no report has been written to the store yet')
    const signal = new AbortController().signal
    const { output } = await runReport(pipeline.context, { signal }, new Date((FROM + 24 * HOUR) * 1000))
    const { code, stdout } = await cli.run(['report', '--latest'])
    expect(code).toBe(0)
    const [day, verdict, address] = stdout.trim().split('\n')
    expect([day, verdict]).toEqual(['2026-05-04', '3 devices, 10.8 k samples: nothing stands out.'])
    expect(readFileSync(fileURLToPath(address), 'utf8')).toContain(verdict)
    expect((await cli.run(['report', '--latest', '--json'])).json()).toMatchObject({ key: output.key, url: address })
    expect((await cli.run(['report', '--latest', '--day', '2026-05-04'])).stderr).toContain('leave --day out')
  })

  it('does not know a device that is not there', async () => {
    const { code, stderr } = await cli.run(['report', '--device', '00000000-0000-4000-8000-000000000000'])
    expect(code).not.toBe(0)
    expect(stderr).toContain('DEVICE_UNKNOWN: there is no device 00000000-0000-4000-8000-000000000000')
  })
})
