import * as fc from 'fast-check'
import type { SampleColumns } from '../../pipeline/samples.ts'

const INT64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(-(2n ** 63n), 2n ** 63n - 1n, -1n, 0n),
)
const UUID = fc.uint8Array({ minLength: 16, maxLength: 16 })

export interface Sample {
  id: Uint8Array
  deviceId: Uint8Array
  profileId: Uint8Array
  timestamp: bigint
  sequence: bigint
  byteLength: number
  data: Uint8Array
}

/** The rows as columns. With `lead`, the payload does not begin at the start of `data`. */
export function columnsOf(rows: readonly Sample[], lead = 0): SampleColumns {
  const dataOffsets = new Int32Array(rows.length + 1)
  dataOffsets[0] = lead
  for (const [index, row] of rows.entries()) dataOffsets[index + 1] = dataOffsets[index] + row.data.length
  return {
    rows: rows.length,
    id: joined(rows.map((row) => row.id)),
    deviceId: joined(rows.map((row) => row.deviceId)),
    profileId: joined(rows.map((row) => row.profileId)),
    timestamp: BigInt64Array.from(rows, (row) => row.timestamp),
    sequence: BigInt64Array.from(rows, (row) => row.sequence),
    byteLength: Int32Array.from(rows, (row) => row.byteLength),
    dataOffsets,
    data: joined([new Uint8Array(lead), ...rows.map((row) => row.data)]),
  }
}

/** Rows of a few devices and profiles in any order, with extreme numbers, empty and unequal payloads. */
export const sampleRows: fc.Arbitrary<Sample[]> = fc
  .tuple(fc.array(UUID, { minLength: 1, maxLength: 5 }), fc.array(UUID, { minLength: 1, maxLength: 3 }))
  .chain(([devices, profiles]) =>
    fc.array(
      fc.record({
        id: UUID,
        deviceId: fc.constantFrom(...devices),
        profileId: fc.constantFrom(...profiles),
        timestamp: INT64,
        sequence: INT64,
        byteLength: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
        data: fc.uint8Array({ maxLength: 40 }),
      }),
      { maxLength: 40 },
    ),
  )

/** `count` rows of `devices` devices in runs, with payloads of 0 to 6 bytes. Always the same. */
export function fixedRows(count: number, devices: number): Sample[] {
  return Array.from({ length: count }, (_, row) => {
    const device = Math.floor((row * devices) / count)
    return {
      id: Uint8Array.from({ length: 16 }, (_byte, i) => (row * 31 + i * 7) & 255),
      deviceId: Uint8Array.from({ length: 16 }, (_byte, i) => (device >> (8 * (i & 1))) & 255),
      profileId: new Uint8Array(16).fill(device % 3),
      timestamp: 1_763_670_000_000_001n + BigInt(row) * 1_000_003n,
      sequence: BigInt(row) - 2n,
      byteLength: row % 7,
      data: Uint8Array.from({ length: row % 7 }, (_byte, i) => (row * 13 + i) & 255),
    }
  })
}

function joined(pieces: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(pieces))
}
