import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { CoherenceError } from '../../pipeline/errors.ts'
import { BATTERY_VERSION, runSuite } from '../../pipeline/tests/registry.ts'
import { usage, type Register } from '../command.ts'
import { readPieces } from '../input.ts'
import { formatBytes, formatP, formatTable } from '../output.ts'

const SUITES = ['chunk'] as const
/** The whole input is held in memory. */
const MAX_BYTES = 1024 ** 3

export const analyzeCommand: Register = (program, bind) => {
  program
    .command('analyze')
    .argument('<file>', 'the bytes to test; - for a pipe')
    .description('run the randomness battery on any file; needs no database')
    .option('--suite <name>', `which battery: ${SUITES.join(', ')}`, 'chunk')
    .action(
      bind(async ({ output, signal }, file: string, { suite }: { suite: string }) => {
        if (!SUITES.includes(suite as (typeof SUITES)[number])) {
          throw usage(`no suite is named ${JSON.stringify(suite)}; there is: ${SUITES.join(', ')}.`)
        }
        if (file === '-' && process.stdin.isTTY) throw usage('name a file, or pipe bytes in.')
        const bytes = await readInput(file, signal)
        const sha256 = createHash('sha256').update(bytes).digest('hex')
        const results = runSuite('chunk', [bytes])
        const document = {
          file,
          bytes: bytes.length,
          sha256,
          bit_order: 'msb',
          suite,
          version: BATTERY_VERSION,
          results,
        }
        output.result(document, () => {
          const rows = results.map((result) => [
            result.test,
            result.status,
            result.p_values.map(formatP).join(' '),
            result.reason ?? (result.statistic === null ? '' : result.statistic.toPrecision(6)),
          ])
          return [
            `${file}: ${formatBytes(bytes.length)}, sha256 ${sha256}`,
            formatTable(['test', 'status', 'P', 'statistic'], rows),
          ].join('\n')
        })
      }),
    )
}

async function readInput(file: string, signal: AbortSignal): Promise<Uint8Array> {
  const name = file === '-' ? 'the pipe' : file
  const source = file === '-' ? process.stdin : createReadStream(file)
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of readPieces(source, { name, signal })) {
    pieces.push(piece)
    length += piece.length
    if (length > MAX_BYTES) {
      throw new CoherenceError(
        'INPUT_INVALID',
        `${name} is larger than ${formatBytes(MAX_BYTES)}, the most this command takes.`,
      )
    }
  }
  // A verdict on half a file would pass for one on the whole.
  signal.throwIfAborted()
  return Buffer.concat(pieces, length)
}
