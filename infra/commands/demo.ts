import { basename, dirname } from 'node:path'
import { usage, type Register } from '../command.ts'
import { runDemo, type DemoReport } from '../demo.ts'
import { formatBytes, formatP, formatTable } from '../output.ts'

/** Pairs need 30 whole seconds; this leaves room for the two that are cut at the ends. */
const DEFAULT_SECONDS = '35'

export const demoCommand: Register = (program, bind) => {
  program
    .command('demo')
    .description('the whole pipeline on this machine’s own live devices; needs nothing but this package')
    .option('--seconds <n>', 'how long the devices sample; pairs of devices need 32 and more', DEFAULT_SECONDS)
    .option('--dir <path>', 'where the chunks are kept', '.coherence/demo')
    .action(
      bind(async ({ output, signal }, flags: { seconds: string; dir: string }) => {
        const seconds = Number(flags.seconds)
        if (!(seconds >= 1 && seconds <= 3600))
          throw usage(`--seconds takes a number from 1 to 3600, not ${JSON.stringify(flags.seconds)}.`)
        const report = await runDemo({ seconds, directory: flags.dir, output, signal })
        output.result(report, () => describe(report))
      }),
    )
}

function describe(report: DemoReport): string {
  const p = (device: DemoReport['devices'][number], test: string) => {
    const result = device.results.find((one) => one.test === test)
    return result?.status === 'ok' ? formatP(Math.min(...result.p_values)) : (result?.status ?? '–')
  }
  const entropy = (device: DemoReport['devices'][number]) =>
    device.results.find((one) => one.test === 'most_common_value')?.statistic?.toFixed(2) ?? '–'
  const devices = report.devices.map((device) => [
    device.name,
    formatBytes(device.bytes),
    p(device, 'frequency'),
    p(device, 'runs'),
    p(device, 'serial'),
    p(device, 'byte_chi_square'),
    entropy(device),
  ])
  const pairs = report.pairs.map((pair) =>
    pair.status === 'ok'
      ? [`${pair.a} × ${pair.b}`, pair.seconds, pair.r?.toFixed(3) ?? '–', formatP(pair.p), formatP(pair.q)]
      : [`${pair.a} × ${pair.b}`, pair.seconds, '–', pair.status, '–'],
  )
  const { pruned } = report
  const folder = dirname(report.chunks.at(-1)?.path ?? '')
  const files = report.chunks.map((chunk) =>
    dirname(chunk.path) === folder ? [chunk.rows, basename(chunk.path)] : [chunk.rows, chunk.path],
  )
  return [
    '',
    `${report.samples} samples, ${formatBytes(report.bytes)}, in ${report.chunks.length} verified chunks:`,
    `  ${folder}/`,
    formatTable(['rows', 'file'], files, 'rl'),
    '',
    'Devices (P of each test; min-entropy in bits a byte, a lower bound that so few bytes keep below 8):',
    formatTable(['device', 'bytes', 'frequency', 'runs', 'serial', 'bytes χ²', 'entropy'], devices, 'lrrrrrr'),
    '',
    'Pairs (Pearson r of the devices’ z per second; q is P corrected for the number of pairs):',
    formatTable(['pair', 'seconds', 'r', 'P', 'q'], pairs, 'lrrrr'),
    '',
    'What stands out:',
    ...(report.findings.length === 0
      ? ['  nothing']
      : report.findings.map((one) => `  ${one.subject}: ${one.finding} (P ${relation(one.p)})`)),
    '',
    ...(pruned.partitions.length === 0
      ? ['Pruned: nothing was old enough.']
      : [
          `Pruned: ${pruned.rows} rows, ${formatBytes(pruned.bytes)} freed by dropping ${pruned.partitions.join(', ')};`,
          '        their chunk stays.',
        ]),
    '',
    `Report, for a browser: ${report.report}`,
    '',
    'Open a chunk (FILE is one of the above):',
    '  python   pyarrow.ipc.open_file(FILE).read_all()',
    '  node     tableFromIPC(readFileSync(FILE))        // apache-arrow',
    '',
    `${report.seconds.toFixed(1)} s`,
  ].join('\n')
}

function relation(p: number | null): string {
  const text = formatP(p)
  return text.startsWith('<') ? `< ${text.slice(1)}` : `= ${text}`
}
