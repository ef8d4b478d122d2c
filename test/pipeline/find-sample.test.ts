import { expect, it } from 'vitest'
import { findSample } from '../../pipeline/find-sample.ts'
import { sortSamples } from '../../pipeline/merge-samples.ts'
import { allocateSamples, sampleData, type SampleColumns, uuidAt, uuidBytes } from '../../pipeline/samples.ts'

const uuid = (n: number) => `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`

/** Devices 1 to 3, profiles 7 and 8, times -2 to 2, sequences -1 to 1, each once; a byte that tells them apart. */
function makeAll(): SampleColumns {
  const samples = allocateSamples(3 * 2 * 5 * 3, 3 * 2 * 5 * 3)
  let row = 0
  for (const sequence of [1n, -1n, 0n])
    for (const timestamp of [0n, -2n, 1n, 2n, -1n])
      for (const profile of [8, 7])
        for (const device of [2, 3, 1]) {
          samples.id.set(uuidBytes(uuid(row)), 16 * row)
          samples.deviceId.set(uuidBytes(uuid(device)), 16 * row)
          samples.profileId.set(uuidBytes(uuid(profile)), 16 * row)
          samples.timestamp[row] = timestamp
          samples.sequence[row] = sequence
          samples.data[row] = row
          samples.dataOffsets[++row] = row
        }
  return sortSamples(samples)
}

it('finds each sample by device, profile, timestamp and sequence, and none that is not there', () => {
  const samples = makeAll()
  const keyOf = (row: number) => ({
    deviceId: uuidAt(samples.deviceId, row),
    profileId: uuidAt(samples.profileId, row),
    timestamp: samples.timestamp[row],
    sequence: samples.sequence[row],
  })
  for (let row = 0; row < samples.rows; row++) {
    expect(findSample(samples, keyOf(row))).toEqual(sampleData(samples, row))
    for (const other of [{ deviceId: uuid(4) }, { profileId: uuid(9) }, { timestamp: 3n }, { sequence: -2n }])
      expect(findSample(samples, { ...keyOf(row), ...other })).toBeUndefined()
  }
  expect(findSample(allocateSamples(0, 0), keyOf(0))).toBeUndefined()
})
