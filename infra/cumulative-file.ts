import { open, rm } from 'node:fs/promises'
import { cumulativeDeviation, type Deviation, netvarEnvelope, pairEnvelope } from '../pipeline/cumulative-deviation.ts'
import { CoherenceError } from '../pipeline/errors.ts'
import { blocksOf, type TrialSource, type Watch } from './network-file.ts'

/** The names say whether an envelope is of one side or of both. */
const COLUMNS = 'second,netvar_deviation,netvar_pointwise_95_one_sided,pair_deviation,pair_pointwise_95_two_sided'
const CONTROL_COLUMNS = ',control_netvar_deviation,control_pair_deviation'

export interface CumulativeOptions {
  /** The second of each row. */
  readonly seconds: ArrayLike<number>
  readonly control?: TrialSource
  /** Whether a file that is there may be written over. */
  readonly force: boolean
}

/**
 * Writes the walks of a network, and of its control, as CSV: a line for each row. Throws INPUT_INVALID if it cannot, or if the
 * file is there already. Nothing half written is left, not when the signal is raised either.
 */
export async function writeCumulative(
  path: string,
  source: TrialSource,
  options: CumulativeOptions,
  watch: Watch,
): Promise<void> {
  const unwritable = (error: unknown) =>
    new CoherenceError('INPUT_INVALID', `cannot write ${path}: ${(error as Error).message}.`, { cause: error })
  const file = await open(path, options.force ? 'w' : 'wx').catch((error: unknown) => {
    throw unwritable(error)
  })
  try {
    await file.writeFile(cumulativeLines(source, options, watch))
  } catch (error) {
    await rm(path, { force: true })
    throw 'syscall' in (error as Error) ? unwritable(error) : error
  } finally {
    await file.close()
  }
}

async function* cumulativeLines(source: TrialSource, { seconds, control }: CumulativeOptions, watch: Watch) {
  yield `${COLUMNS}${control ? CONTROL_COLUMNS : ''}\n`
  let last: Deviation | undefined
  let lastOfControl: Deviation | undefined
  for await (const [from, to] of blocksOf(source.rows, watch)) {
    const walk = cumulativeDeviation(source.series(from, to), last)
    const controlWalk = control && cumulativeDeviation(control.series(from, to), lastOfControl)
    last = walk.at(-1)
    lastOfControl = controlWalk?.at(-1)
    const lines = walk.map((at, t) => {
      const cells = [seconds[from + t], at.netvar, netvarEnvelope(at), at.pair, pairEnvelope(at)]
      if (controlWalk) cells.push(controlWalk[t].netvar, controlWalk[t].pair)
      return `${cells.join(',')}\n`
    })
    yield lines.join('')
  }
}
