import { chiSquareUpper, normalTwoSided } from '../special.ts'
import { entropyBand } from './entropy-band.ts'
import type { DevicePart } from './report-data.ts'

/** A device as its table has it; null where it was deleted. */
export interface KnownDevice {
  readonly id: string
  readonly name: string | null
  readonly status: string | null
  readonly clientType: string | null
  readonly lastSeenAt: string | null
}

/** What the report reads of one device's hour. */
export interface DeviceHour {
  readonly deviceId: string
  readonly samples: number
  readonly bytes: number
  readonly entropy: number | null
  readonly ones: number
  readonly bits: number
  readonly gaps: number
  readonly duplicates: number
  readonly secondsCovered: number
  readonly chiSquare: number | null
}

/** At least as many bits as the frequency test of SP 800-22 asks for (2.1.7). */
const MIN_BITS = 100
const BYTE_DF = 255

/** One device over the window of so many seconds, from its hours. */
export function devicePart(
  device: KnownDevice,
  hours: readonly DeviceHour[],
  found: Pick<DevicePart, 'failed' | 'chunk_tests' | 'alarms'>,
  windowSeconds: number,
): DevicePart {
  const total = (of: (hour: DeviceHour) => number) => hours.reduce((sum, hour) => sum + of(hour), 0)
  const [samples, covered] = [total((hour) => hour.samples), total((hour) => hour.secondsCovered)]
  const [ones, bits] = [total((hour) => hour.ones), total((hour) => hour.bits)]
  // SP 800-22 rev 1a, 2.1.
  const z = bits < MIN_BITS ? null : (2 * ones - bits) / Math.sqrt(bits)
  const tested = hours.filter((hour) => hour.chiSquare !== null)
  const statistic = tested.reduce((sum, hour) => sum + (hour.chiSquare ?? 0), 0)
  const df = BYTE_DF * tested.length
  return {
    id: device.id,
    name: device.name,
    status: device.status,
    client_type: device.clientType,
    last_seen_at: device.lastSeenAt,
    samples,
    bytes: total((hour) => hour.bytes),
    rate_hz: covered === 0 ? null : samples / covered,
    seconds_covered: covered,
    coverage: covered / windowSeconds,
    gaps: total((hour) => hour.gaps),
    duplicates: total((hour) => hour.duplicates),
    ...found,
    z,
    p: z === null ? null : normalTwoSided(z),
    entropy: entropyBand(hours),
    byte_chi_square: df === 0 ? null : { statistic, df, p: chiSquareUpper(statistic, df) },
  }
}
