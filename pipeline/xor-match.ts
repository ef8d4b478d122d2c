/** Agreement of two devices bit by bit. It needs their bytes: what slices keep of a second does not say which bits were set. */
import { countOnes } from './bits.ts'
import { type DeviceSeries, isTrial, MIN_SECONDS } from './trials.ts'
import type { Profile } from './network-buckets.ts'
import type { NotTested } from './pair-tests.ts'
import { sameUuid, sampleData, type SampleColumns } from './samples.ts'
import { forEachContiguous } from './segments.ts'
import { GCP_TRIAL_BITS } from './slice.ts'
import { normalTwoSided } from './special.ts'

const TRIAL_BYTES = GCP_TRIAL_BITS / 8
const ONES = Uint8Array.from({ length: 256 }, (_, byte) => countOnes(Uint8Array.of(byte)))

/** The bytes of one device, second by second: second s from the start is data[offsets[s], offsets[s + 1]). */
export interface SecondBytes {
  readonly deviceId: string
  readonly offsets: Int32Array
  readonly data: Uint8Array
  /** 1 where they are of several profiles, which have no order among each other. */
  readonly mixed: Uint8Array
  /** 1 where all their bits are equal, and too many for chance. */
  readonly failed: Uint8Array
}

/** `p` is of fair bits; `centred_p` of bits as biased as these, independent of each other. */
export interface XorMatch {
  n_bits: number
  matches: number
  /** z. */
  stat: number
  p: number
  expected_match: number
  centred_z: number
  centred_p: number
}

/**
 * The payloads of one device's samples, which are sorted as in a chunk, by the UTC seconds of [start, start + seconds);
 * duplicates are left out.
 */
export function bytesBySecond(deviceId: string, samples: SampleColumns, start: number, seconds: number): SecondBytes {
  const duplicate = new Uint8Array(samples.rows)
  forEachContiguous(samples, (row, _isStart, isDuplicate) => (duplicate[row] = isDuplicate ? 1 : 0))
  const offsets = new Int32Array(seconds + 1)
  const data = new Uint8Array(samples.data.length)
  const mixed = new Uint8Array(seconds)
  let [filled, next, first] = [0, 0, -1]
  for (let row = 0; row < samples.rows; row++) {
    const second = Number(samples.timestamp[row] / 1_000_000n) - start
    if (duplicate[row] === 1 || second < 0 || second >= seconds) continue
    if (next <= second) first = row
    else if (!sameUuid(samples.profileId, row, first)) mixed[second] = 1
    while (next <= second) offsets[next++] = filled
    const payload = sampleData(samples, row)
    data.set(payload, filled)
    filled += payload.length
  }
  offsets.fill(filled, next)
  const failed = mixed.map((_, t) => {
    const bytes = data.subarray(offsets[t], offsets[t + 1])
    return bytes.length > 0 && !isTrial(8 * bytes.length, countOnes(bytes)) ? 1 : 0
  })
  return { deviceId, offsets, data, mixed, failed }
}

/** The trials of those seconds: all their bits, or the first 200 where there are so many, of one profile. */
export function trialsOfSeconds({ deviceId, offsets, data, mixed }: SecondBytes, profile: Profile): DeviceSeries {
  const bits = new Uint32Array(mixed.length)
  const ones = new Uint32Array(mixed.length)
  for (let t = 0; t < bits.length; t++) {
    const length = offsets[t + 1] - offsets[t]
    const hasTrial = length >= TRIAL_BYTES && mixed[t] === 0
    const used = profile === 'all_bits' ? length : hasTrial ? TRIAL_BYTES : 0
    bits[t] = 8 * used
    ones[t] = countOnes(data.subarray(offsets[t], offsets[t] + used))
  }
  return { deviceId, bits, ones }
}

/**
 * Matches m among the n bits that two devices sent in the same places of the same seconds, as many as the shorter of the two
 * has: z = (2 m - n) / sqrt(n). Centred: against n (pa pb + (1 - pa) (1 - pb)), pa and pb the proportions of ones in those bits.
 * Seconds of a failed sensor are left out.
 */
export function xorMatch(a: SecondBytes, b: SecondBytes): XorMatch | NotTested {
  let [seconds, n, onesA, onesB, differing] = [0, 0, 0, 0, 0]
  for (let t = 0; t < a.failed.length; t++) {
    const [fromA, fromB] = [a.offsets[t], b.offsets[t]]
    const length = Math.min(a.offsets[t + 1] - fromA, b.offsets[t + 1] - fromB)
    if (length === 0 || a.failed[t] === 1 || b.failed[t] === 1) continue
    seconds++
    n += 8 * length
    for (let i = 0; i < length; i++) {
      const [x, y] = [a.data[fromA + i], b.data[fromB + i]]
      onesA += ONES[x]
      onesB += ONES[y]
      differing += ONES[x ^ y]
    }
  }
  if (seconds < MIN_SECONDS) {
    return { status: 'insufficient', reason: `${MIN_SECONDS} seconds in common needed, ${seconds} found` }
  }
  const matches = n - differing
  const [pa, pb] = [onesA / n, onesB / n]
  const expected = pa * pb + (1 - pa) * (1 - pb)
  const stat = (2 * matches - n) / Math.sqrt(n)
  const spread = Math.sqrt(n * expected * (1 - expected))
  const centred = spread === 0 ? 0 : (matches - n * expected) / spread
  return {
    n_bits: n,
    matches,
    stat,
    p: normalTwoSided(stat),
    expected_match: expected,
    centred_z: centred,
    centred_p: normalTwoSided(centred),
  }
}
