import { basename, dirname } from 'node:path'
import { usage, type Register } from '../command.ts'
import { runDemo, type DemoReport } from '../demo.ts'
import { formatBytes, formatP, printable, wrap } from '../output.ts'
import { formatTable } from '../table.ts'

/** Pairs need 30 whole seconds; this leaves room for the two that are cut at the ends. */
const DEFAULT_SECONDS = '35'

/** One is mostly that of all. */
const MOST_REASONS = 3

export const demoCommand: Register = (command, bind) => {
  command
    .option('--seconds <n>', 'how long the devices sample; pairs of devices need 32 and more', DEFAULT_SECONDS)
    .option('--dir <path>', 'where the chunks are kept', '.coherence/demo')
    .action(
      bind(async ({ output, signal }, flags: { seconds: string; dir: string }) => {
        const seconds = Number(flags.seconds)
        if (!(seconds >= 1 && seconds <= 3600))
          throw usage(`--seconds takes a number from 1 to 3600, not ${JSON.stringify(flags.seconds)}.`)
        const report = await runDemo({ seconds, directory: flags.dir, output, signal })
        output.result(report, () => describe(report))
        return report.unproved.samples === 0 ? 0 : 1
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
    ...describeProof(report),
    ...(files.length === 0 ? [] : [`  ${folder}/`, formatTable(['rows', 'file'], files, 'rl')]),
    '',
    'Devices (P of each test; min-entropy in bits a byte, a lower bound that so few',
    'bytes keep below 8):',
    formatTable(['device', 'bytes', 'frequency', 'runs', 'serial', 'bytes χ²', 'entropy'], devices, 'lrrrrrr'),
    '',
    'Pairs (Pearson r of the devices’ z per second; q is P corrected for the number',
    'of pairs):',
    pairs.length === 0 ? '  none' : formatTable(['pair', 'seconds', 'r', 'P', 'q'], pairs, 'lrrrr'),
    '',
    'What stands out:',
    ...(report.findings.length === 0 ? ['  nothing'] : describeFindings(report.findings).map(indented)),
    '',
    ...(pruned.partitions.length === 0
      ? ['Pruned: nothing that is proved was old enough.']
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

/** How much of what was stored is proved. */
function describeProof({ samples, bytes, chunks, unproved }: DemoReport): string[] {
  const all = `${samples} samples, ${formatBytes(bytes)}`
  const verified = `${chunks.length} verified ${chunks.length === 1 ? 'chunk' : 'chunks'}`
  if (unproved.samples === 0) return [`${all}, in ${verified}:`]
  return [
    wrap(
      `${all} were stored; ${unproved.samples} of them are NOT proved, ${samples - unproved.samples} are in ${verified}.`,
    ),
    ...unproved.reasons.slice(0, MOST_REASONS).map(indented),
  ]
}

/** A line each; of the tests that one device fails the worst, and the names of the others. */
function describeFindings(findings: DemoReport['findings']): string[] {
  const bySubject = Map.groupBy(findings, ({ subject }) => subject)
  return [...bySubject].flatMap(([subject, all]) => {
    const [failed, others] = [true, false].map((fails) =>
      all.filter(({ finding }) => finding.startsWith('fails ') === fails),
    )
    const [worst, ...rest] = failed.toSorted((a, b) => (a.p ?? 1) - (b.p ?? 1))
    const names = rest.map(({ finding }) => finding.replace('fails ', ''))
    return [
      ...others.map(({ finding, p }) => `${subject}: ${finding} (P ${relation(p)})`),
      ...(worst === undefined
        ? []
        : [
            `${subject}: ${worst.finding} (P ${relation(worst.p)})${names.length === 0 ? '' : `, and ${names.join(', ')}`}`,
          ]),
    ]
  })
}

/** In lines of 80 columns, the first by two, the others by four. */
function indented(text: string): string {
  return `  ${wrap(printable(text), 4).trimStart()}`
}

function relation(p: number | null): string {
  const text = formatP(p)
  return text.startsWith('<') ? `< ${text.slice(1)}` : `= ${text}`
}
