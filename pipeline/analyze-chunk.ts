import { findAlarms } from './alarms.ts'
import type { SampleColumns } from './samples.ts'
import { segmentByDevice } from './segments.ts'
import { BATTERY_VERSION, runSuite } from './tests/registry.ts'

/** The chunk battery on every device of the chunk, per contiguous segment. */
export function analyzeChunk(samples: SampleColumns) {
  const devices = segmentByDevice(samples)
  const results = devices.map((device) =>
    runSuite(
      'chunk',
      device.segments.map((segment) => segment.bytes),
    ),
  )
  return {
    tests: {
      version: BATTERY_VERSION,
      bit_order: 'msb',
      devices: devices.map((device, i) => ({ device_id: device.deviceId, results: results[i] })),
    },
    metrics: {
      devices: devices.map(({ deviceId, segments, emptySamples, lengthMismatches, ...counts }, i) => ({
        device_id: deviceId,
        alarms: findAlarms(results[i]),
        ...counts,
        empty_samples: emptySamples,
        length_mismatches: lengthMismatches,
        segments: segments.length,
      })),
    },
  }
}
