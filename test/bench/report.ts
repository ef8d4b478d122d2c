import { randomUUID } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { openContext } from '../../infra/context.ts'
import { createLogger } from '../../infra/logger.ts'
import { startStack } from '../../infra/stack.ts'
import type { JobContext } from '../../jobs/context.ts'
import { collectReport, DAY } from '../../jobs/report-data.ts'
import { readWindowSeries } from '../../jobs/report-series.ts'
import { renderReport } from '../../jobs/report.ts'
import type { NetworkTests } from '../../pipeline/network.ts'
import type { ReportData } from '../../pipeline/report/report-data.ts'
import { storeNetworkHours } from '../fixtures/network-hours.ts'
import { createCli } from '../infra/run-cli.ts'
import { type BenchOptions, type Measured, showProgress, toLine } from './figures.ts'

const DEVICES = 60
const SAMPLE_BYTES = 64
const HOUR = 3600

/**
 * The report of a day of 60 devices, 64 bytes a second each, from what rollups and slices keep of it; and that its network equals
 * `coherence network` on the trial sums of the same day.
 */
export async function benchReport({ quick, signal }: BenchOptions): Promise<Measured> {
  const hours = quick ? 2 : 24
  const folder = join(tmpdir(), `coherence-bench-${randomUUID()}`)
  const stack = await startStack({
    databaseDirectory: `${folder}-database`,
    storageDirectory: folder,
    persistent: false,
    environment: { LOG_LEVEL: 'error' },
    signal,
  })
  try {
    const { context, close } = await openContext(stack.config, createLogger('error'))
    try {
      showProgress(`making ${hours} hours`)
      const from = Math.floor(Date.now() / 1000 / DAY) * DAY - DAY
      const to = from + hours * HOUR
      const deviceIds = await addDevices(context)
      await storeNetworkHours(context, { deviceIds, from, to, sampleBytes: SAMPLE_BYTES })
      await context.pool.query('analyze')
      const window = { from, to, deviceIds: null }
      const [seconds, bytes]: [number[], number[]] = [[], []]
      let report: ReportData | undefined
      for (let round = 0; round < (quick ? 2 : 5); round++) {
        signal.throwIfAborted()
        showProgress(`report, round ${round + 1}`)
        const start = performance.now()
        report = await collectReport(context, window, { now: new Date(), signal })
        const page = await renderReport(report)
        seconds.push((performance.now() - start) / 1000)
        bytes.push(Buffer.byteLength(page))
      }
      showProgress('comparing')
      await compare(context, window, report!, signal)
      const what = `of ${DEVICES} devices, ${hours} h`
      return {
        lines: [
          toLine(`report ${what}`, 's', seconds, { goal: quick ? null : 10 }),
          toLine(`its page ${what}`, 'bytes', bytes, { goal: 5e6 }),
        ],
        more: `${report!.verdict} Its network is that of coherence network, to nine digits.`,
      }
    } finally {
      await close()
    }
  } finally {
    await stack.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function addDevices({ pool }: JobContext): Promise<string[]> {
  const userId = await createLocalUser(pool, 'you@localhost')
  const ids: string[] = []
  for (let i = 0; i < DEVICES; i++) {
    const device = { userId, name: `device ${i}`, description: '', clientType: 'raspi', sampleRateHz: 1 }
    ids.push((await createDevice(pool, { ...device, sampleSizeBytes: SAMPLE_BYTES })).deviceId)
  }
  return ids
}

/** Throws unless the command line finds the same network, and the same control, in a file of the same trials. */
async function compare(
  { pool }: JobContext,
  window: { from: number; to: number; deviceIds: null },
  { network, devices }: ReportData,
  signal: AbortSignal,
): Promise<void> {
  const { control } = network
  if (!('seed' in control) || network.tests === null) throw new Error('the report has no control')
  const trials = devices.map(({ id }) => ({ deviceId: id }))
  const read = await readWindowSeries(pool, window, { trials, seed: control.seed, signal })
  if ('reason' in read) throw new Error(read.reason)
  const lines = [`second,${read.series.map(({ deviceId }) => deviceId).join(',')}`]
  for (let t = 0; t < window.to - window.from; t++) {
    lines.push(`${window.from + t},${read.series.map(({ ones }) => ones[t]).join(',')}`)
  }
  const cli = createCli()
  const args = ['network', '-', '--bits', String(8 * SAMPLE_BYTES), '--control', control.seed, '--json']
  const said = (await cli.run(args, { input: `${lines.join('\n')}\n` })).json()
  cli.remove()
  assertEqual(network.tests, said)
  assertEqual(control.tests, said.control)
}

function assertEqual(ours: NetworkTests, theirs: NetworkTests): void {
  for (const test of ['netvar', 'pair', 'devvar', 'covar'] as const) {
    for (const [name, value] of Object.entries(ours[test])) {
      const other = (theirs[test] as unknown as Record<string, unknown>)[name]
      const isSame = typeof value === 'number' ? Math.abs(value / Number(other) - 1) < 1e-9 : value === other
      if (!isSame) throw new Error(`${test}.${name} is ${value} in the report, ${String(other)} on the command line`)
    }
  }
}
