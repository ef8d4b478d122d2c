import { createReadStream, existsSync, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { coherencePairs } from '../../pipeline/coherence.ts'
import { CONTROL_GENERATOR } from '../../pipeline/control.ts'
import type { NetworkSums } from '../../pipeline/network.ts'
import type { Normalization } from '../../pipeline/normalization.ts'
import { usage, type Register } from '../command.ts'
import { writeCumulative } from '../cumulative-file.ts'
import { readPieces } from '../input.ts'
import {
  denseSeries,
  describeFile,
  describeSums,
  LEAST_REFERENCE_TRIALS,
  openSource,
  sumNetwork,
  type TrialSource,
  type Watch,
} from '../network-file.ts'
import { describeNetworkText } from '../network-text.ts'
import { formatBytes } from '../output.ts'
import { readTrialFile, type TrialFile } from '../trial-file.ts'

interface Flags {
  bits?: string
  normalization: string
  control?: string
  pairs?: true
  cumulative?: string
  force?: true
}

const MIB = 1024 ** 2
/** With more devices only the pairs that pass the screen of `coherencePairs` are told. */
const MOST_PAIRED_DEVICES = 64

export const networkCommand: Register = (command, bind) => {
  command
    .argument('<file>', 'CSV of per-second trial sums, gzipped or not; - for a pipe')
    .option('--bits <n>', 'bits of a trial (default: 200; a basket file says it itself)')
    .option(
      '--normalization <kind>',
      "theoretical, or empirical: each device's scores by its own mean and variance over the file. That costs two degrees of " +
        `freedom a device, so P-values are approximate; every device needs ${LEAST_REFERENCE_TRIALS} trials`,
      'theoretical',
    )
    .option('--control <seed>', 'the same for a pseudo-random network that reports when the devices do')
    .option('--pairs', 'test every pair of devices too, always by theoretical scores')
    .option('--cumulative <file>', 'write the cumulative deviations, second by second, to this CSV file')
    .option('--force', 'let --cumulative write over a file that is there')
    .action(
      bind(async ({ output, signal }, file: string, flags: Flags) => {
        const bits = flags.bits === undefined ? undefined : parseBits(flags.bits)
        const normalization = parseNormalization(flags.normalization)
        if (flags.cumulative !== undefined) assertWritable(flags.cumulative, file, flags.force === true)
        if (file === '-' && process.stdin.isTTY) throw usage('name a file, or pipe a CSV in.')
        const name = file === '-' ? 'the pipe' : file
        const progress = output.progress('reading')
        const input = file === '-' ? process.stdin : createReadStream(file, { highWaterMark: MIB })
        const size = file === '-' ? undefined : statSync(file, { throwIfNoEntry: false })?.size
        const trials = await readTrialFile(readPieces(input, { name, signal }), {
          name,
          bits,
          signal,
          onProgress: (bytes) => progress.update(formatBytes(bytes), bytes, size, 'bytes'),
        })
        const watch: Watch = {
          signal,
          onRows: (done, of) => progress.update(`${done.toLocaleString('en-US')} seconds computed`, done, of),
        }
        const { network, source } = await computeNetwork(trials, { normalization }, watch)
        const control =
          flags.control === undefined
            ? undefined
            : await computeNetwork(trials, { normalization, seed: flags.control }, watch)
        if (flags.cumulative !== undefined) {
          const options = { seconds: trials.seconds, control: control?.source, force: flags.force === true }
          await writeCumulative(flags.cumulative, source, options, watch)
        }
        const found = flags.pairs && coherencePairs(denseSeries(trials), { mostDevices: MOST_PAIRED_DEVICES })
        progress.end()
        const document = {
          ...describeFile(file, trials, network.deviceIds),
          normalization,
          ...describeNetwork(network.sums, source),
          control: control && {
            seed: flags.control,
            generator: CONTROL_GENERATOR,
            ...describeNetwork(control.network.sums, control.source),
          },
          ...(found && { pairs: found.pairs, pairs_tested: found.tested }),
          cumulative: flags.cumulative,
        }
        output.result(document, () => describeNetworkText(document))
      }),
    )
}

async function computeNetwork(
  trials: TrialFile,
  options: { normalization: Normalization; seed?: string },
  watch: Watch,
) {
  const source = await openSource(trials, options, watch)
  return { source, network: await sumNetwork(source, trials, watch) }
}

function describeNetwork(sums: NetworkSums, { references }: TrialSource) {
  return { ...describeSums(sums), references }
}

function parseBits(text: string): number {
  const bits = Number(text)
  if (!(Number.isInteger(bits) && bits >= 1 && bits <= 1e9)) {
    throw usage(`--bits takes a whole number from 1 to 1000000000, not ${JSON.stringify(text)}.`)
  }
  return bits
}

function parseNormalization(name: string): Normalization {
  if (name !== 'theoretical' && name !== 'empirical') throw usage('--normalization is theoretical or empirical.')
  return name
}

/** Told before anything is read; the file is opened so that it cannot be written over in between either. */
function assertWritable(path: string, input: string, force: boolean): void {
  if (resolve(path) === resolve(input)) throw usage(`--cumulative ${path} is the file that is read.`)
  if (!force && existsSync(path)) throw usage(`${path} exists; name another file for --cumulative, or say --force.`)
}
