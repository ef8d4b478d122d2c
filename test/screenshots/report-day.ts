import { createDevice, createLocalUser } from '../../db/devices.ts'
import { openContext } from '../../infra/context.ts'
import { createLogger } from '../../infra/logger.ts'
import { startStack } from '../../infra/stack.ts'
import { collectReport, DAY } from '../../jobs/report-data.ts'
import { renderReport } from '../../jobs/report.ts'
import { storeNetworkHours } from '../fixtures/network-hours.ts'

const FROM = Date.UTC(2026, 10, 20) / 1000
const NAMES = 'Amsterdam Athens Auckland Boulder Delhi Edinburgh Geneva Kyoto Lima Nairobi Oslo Princeton Tartu'.split(
  ' ',
)
const BIASED = NAMES.indexOf('Lima')

/** One bit in 512 is always 1: nobody sees it in a second, and everybody in a day. */
function withBias(device: number, _second: number, fair: Uint8Array): Uint8Array {
  return device === BIASED ? fair.with(0, fair[0] | 1) : fair
}

/**
 * The report of a day of twelve fair devices and one that is a little biased, 64 bytes a second each, through the pipeline's own tests,
 * slices and rollups. A demo's minute of broken sources would show no more of the network than that it is broken.
 */
export async function reportOfDay(folder: string): Promise<string> {
  const { signal } = new AbortController()
  const directories = { databaseDirectory: `${folder}/database`, storageDirectory: `${folder}/store` }
  const stack = await startStack({ ...directories, persistent: false, environment: { LOG_LEVEL: 'error' }, signal })
  try {
    const { context, close } = await openContext(stack.config, createLogger('error'))
    try {
      const { pool } = context
      const userId = await createLocalUser(pool, 'you@localhost')
      const deviceIds: string[] = []
      for (const name of NAMES) {
        const device = { userId, name, description: '', clientType: 'raspi', sampleRateHz: 1, sampleSizeBytes: 64 }
        deviceIds.push((await createDevice(pool, device)).deviceId)
      }
      const window = { from: FROM, to: FROM + DAY }
      await storeNetworkHours(context, { ...window, deviceIds, bytesAt: withBias })
      await pool.query('update public.devices set last_seen_at = to_timestamp($1)', [window.to - 1])
      const made = { now: new Date(1000 * (window.to + 2 * 3600)), signal }
      return await renderReport(await collectReport(context, { ...window, deviceIds: null }, made))
    } finally {
      await close()
    }
  } finally {
    await stack.stop()
  }
}
