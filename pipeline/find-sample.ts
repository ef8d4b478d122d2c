import { sampleData, type SampleColumns, uuidAt } from './samples.ts'

/** What makes a sample the same sample again. */
export interface SampleKey {
  readonly deviceId: string
  readonly profileId: string
  /** Microseconds since 1970. */
  readonly timestamp: bigint
  readonly sequence: bigint
}

/** The payload of the first sample of this key, among samples in the order of a chunk (`sortSamples`); undefined if there is none. */
export function findSample(samples: SampleColumns, key: SampleKey): Uint8Array | undefined {
  let [low, high] = [0, samples.rows]
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareToKey(samples, middle, key) < 0) low = middle + 1
    else high = middle
  }
  for (let row = low; row < samples.rows && compareToKey(samples, row, key) === 0; row++) {
    if (uuidAt(samples.profileId, row) === key.profileId) return sampleData(samples, row)
  }
  return undefined
}

/** By device, timestamp and sequence. Texts of uuids are in the order of their bytes. */
function compareToKey(samples: SampleColumns, row: number, key: SampleKey): number {
  return (
    compare(uuidAt(samples.deviceId, row), key.deviceId) ||
    compare(samples.timestamp[row], key.timestamp) ||
    compare(samples.sequence[row], key.sequence)
  )
}

function compare(a: bigint | string, b: bigint | string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
