import { setImmediate } from 'node:timers/promises'
import { controlSeries } from '../pipeline/control.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { windowSums } from '../pipeline/network-buckets.ts'
import { NETWORK_METHOD_VERSION, type NetworkSums, networkTests, type Tested } from '../pipeline/network.ts'
import type { DeviceSeries } from '../pipeline/trials.ts'
import { type Normalization, normalize, type Reference, referenceOf, trialSums } from '../pipeline/normalization.ts'
import { sha256OfLines } from '../storage/object-store.ts'
import type { TrialFile } from './trial-file.ts'

/** The trials of a file, or made from them, by row. */
export interface TrialSource {
  readonly rows: number
  /** Of rows `from` to `to` (not included). */
  series(from: number, to: number): DeviceSeries[]
  /** What scores are normalised by, if they are. */
  readonly references?: readonly Reference[]
}

export interface Watch {
  readonly signal: AbortSignal
  readonly onRows: (done: number, of: number) => void
}

/** Rows that are computed at once: between them Ctrl-C is heard. */
const BLOCK_ROWS = 3600
/** With fewer trials a device's variance is known to no better than 4.5 % (one standard error). */
export const LEAST_REFERENCE_TRIALS = 1000

/** Rows `from` to `to` (not included), block by block. Throws AbortError once the signal is raised. */
export async function* blocksOf(rows: number, { signal, onRows }: Watch): AsyncGenerator<[from: number, to: number]> {
  for (let from = 0; from < rows; from += BLOCK_ROWS) {
    const to = Math.min(rows, from + BLOCK_ROWS)
    yield [from, to]
    onRows(to, rows)
    await setImmediate(undefined, { signal })
  }
}

/** The file's own trials, or those of its control network; with 'empirical' their scores by each device's mean and variance. */
export async function openSource(
  file: TrialFile,
  { seed, normalization }: { seed?: string; normalization: Normalization },
  watch: Watch,
): Promise<TrialSource> {
  const rows = file.seconds.length
  const plain: TrialSource = {
    rows,
    series(from, to) {
      const real = file.series(from, to)
      return seed === undefined ? real : controlSeries(real, { seed, seconds: file.seconds.subarray(from, to) })
    },
  }
  if (normalization === 'theoretical') return plain
  const references = await ownReferences(plain, file.deviceIds, watch)
  return { rows, references, series: (from, to) => normalize(plain.series(from, to), references) }
}

/** Throws INPUT_INVALID on a device of too few trials, or that did not vary. Those without any have no reference. */
async function ownReferences(source: TrialSource, deviceIds: readonly string[], watch: Watch): Promise<Reference[]> {
  const sums = deviceIds.map(() => ({ trials: 0, sumZ: 0, sumZ2: 0 }))
  for await (const [from, to] of blocksOf(source.rows, watch)) {
    source.series(from, to).forEach((series, d) => {
      const { trials, sumZ, sumZ2 } = trialSums(series)
      sums[d].trials += trials
      sums[d].sumZ += sumZ
      sums[d].sumZ2 += sumZ2
    })
  }
  return deviceIds.flatMap((deviceId, d) => {
    if (sums[d].trials === 0) return []
    const reference = referenceOf(deviceId, sums[d], LEAST_REFERENCE_TRIALS)
    if (reference !== null) return reference
    throw new CoherenceError(
      'INPUT_INVALID',
      `device ${JSON.stringify(deviceId)} has ${sums[d].trials} trials: its own mean and variance need ` +
        `${LEAST_REFERENCE_TRIALS} that are not all the same. Take its column out, or use --normalization theoretical.`,
    )
  })
}

/** A network over all rows of the file. */
export interface SummedNetwork {
  /** Of the devices with a trial, in order. */
  readonly deviceIds: readonly string[]
  /** Seconds between rows that have none are missing, as empty cells are. */
  readonly sums: NetworkSums
}

export async function sumNetwork(source: TrialSource, file: TrialFile, watch: Watch): Promise<SummedNetwork> {
  const window = windowSums()
  for await (const [from, to] of blocksOf(source.rows, watch)) window.add(source.series(from, to), from, to - from)
  const { sums, deviceIds } = window.finish()
  const at = sums.max_abs_stouffer_at
  return {
    deviceIds,
    sums: {
      ...sums,
      missing: sums.missing + deviceIds.length * gapSeconds(file),
      max_abs_stouffer_at: at === null ? null : file.seconds[at],
    },
  }
}

/** Seconds between the first row and the last that have no row. */
export function gapSeconds({ seconds }: TrialFile): number {
  return seconds[seconds.length - 1] - seconds[0] + 1 - seconds.length
}

/** What `--json` says of one network, the file's or its control. */
export function describeSums(sums: NetworkSums) {
  const { netvar, ...others } = networkTests(sums)
  const [none, noZ] = [
    { p_upper: null, p_two: null, z: null },
    { z: null, p: null },
  ]
  const filled = <Numbers extends object>(test: Tested<Numbers>) => ({ ...noZ, ...test })
  return {
    seconds: sums.seconds,
    devices: sums.devices,
    missing: sums.missing,
    failed: sums.failed,
    netvar: { chi2: sums.sum_s2, df: sums.seconds, ...none, ...netvar },
    pair: filled(others.pair),
    devvar: filled(others.devvar),
    covar: filled(others.covar),
    max_abs_stouffer: sums.max_abs_stouffer,
    max_abs_stouffer_at: sums.max_abs_stouffer_at,
    sums,
  }
}

/** What `--json` says of the file. `device_set_hash` is that of `network_stats`: of the ids of those with a trial. */
export function describeFile(name: string, file: TrialFile, deviceIds: readonly string[]) {
  return {
    file: name,
    bytes: file.bytes,
    sha256: file.sha256,
    layout: file.layout,
    bits: file.bits,
    rows: file.seconds.length,
    from: file.seconds[0],
    to: file.seconds[file.seconds.length - 1],
    gap_seconds: gapSeconds(file),
    duplicates: file.duplicates,
    notes: file.notes,
    device_set_hash: sha256OfLines(deviceIds),
    method_version: NETWORK_METHOD_VERSION,
  }
}

/** Longer, for the rows there are, a series by second would be mostly gaps, and might not fit in memory. */
const mostDenseSeconds = (rows: number) => 4 * rows + 3600

/** The series by second: lags and frequencies need those without a row too. Throws INPUT_INVALID if most would be gaps. */
export function denseSeries(file: TrialFile): DeviceSeries[] {
  const { seconds } = file
  const length = seconds.length + gapSeconds(file)
  if (length > mostDenseSeconds(seconds.length)) {
    throw new CoherenceError(
      'INPUT_INVALID',
      `--pairs cannot compare devices over gaps as long as these: ${seconds.length} rows in ${length} seconds. ` +
        'Cut the file at its longest gaps and give it the pieces one by one.',
    )
  }
  return file.series(0, seconds.length).map((series) => {
    const dense = { ...series, bits: new Uint32Array(length), ones: new Uint32Array(length) }
    for (let row = 0; row < seconds.length; row++) {
      const t = seconds[row] - seconds[0]
      dense.bits[t] = series.bits[row]
      dense.ones[t] = series.ones[row]
    }
    return dense
  })
}
