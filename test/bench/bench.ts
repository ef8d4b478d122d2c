import { parseArgs } from 'node:util'
import { benchBattery } from './battery.ts'
import { benchCoherence } from './coherence.ts'
import { type BenchOptions, formatHead, formatLines, type Line, type Measured, showProgress } from './figures.ts'
import { benchIngest } from './ingest.ts'
import { benchInserts } from './inserts.ts'
import { benchLife } from './life.ts'
import { benchIdle } from './idle.ts'
import { benchPack } from './pack.ts'
import { benchReport } from './report.ts'
import { benchScale } from './scale.ts'
import { benchStores } from './stores.ts'
import { benchWork } from './work.ts'

const GROUPS: Record<string, (options: BenchOptions) => Promise<Measured>> = {
  pack: benchPack,
  life: benchLife,
  inserts: benchInserts,
  ingest: benchIngest,
  work: benchWork,
  stores: benchStores,
  battery: benchBattery,
  coherence: benchCoherence,
  scale: benchScale,
  idle: benchIdle,
  report: benchReport,
}
/** These take many minutes, and run when they are named. */
const LONG = ['scale', 'idle', 'report']

const HELP = `npm run bench -- [group …] [--quick] [--json]

Median, lowest and highest of several rounds. Compare ratios, whose two sides are measured side by side; rates are the machine's.

  pack      samples to chunks, as a ratio to a binary COPY of the same rows
  life      write-ahead log of a sample's whole life, as a ratio to that of inserting it
  inserts   latency of inserts beside packing and pruning, as a ratio to inserts alone
  ingest    insert_entropy_samples through one connection, by samples a call
  work      start, queue, verification, rollups and memory of a worker
  stores    put and get of a 32 MiB object per driver, as a ratio to the same bytes through a bare call to the same server: a disk and
            strict stand-ins of S3 and Supabase on this machine, or real ones that S3_TEST_* or SUPABASE_TEST_* name
  battery   randomness tests, the light ones as a ratio to copying the bytes
  coherence pairs and network of an hour of 1,000 devices, as a ratio to numpy.corrcoef if there is a python3 with numpy
  scale     a backlog and 1, 2, 4, 8 workers; a worker's memory over 10 million rows; a million analyses that wait. Only when named:
            half an hour, and 15 GB of disk
  idle      queries, WAL and connections of a system with nothing to do. Only when named: 20 minutes, of waiting
  report    the report of a day of 60 devices, from rollups; its network must equal coherence network on the same
            trials. Only when named: 2 minutes

  --quick   fewer rounds and less data
  --json    a list of {name, figure, unit, goal, goal_met, ratio_to, spread} on stdout
`

process.exitCode = await main(process.argv.slice(2))

async function main(args: string[]): Promise<number> {
  let flags: { quick?: boolean; json?: boolean; help?: boolean }
  let names: string[]
  try {
    const boolean = { type: 'boolean' } as const
    const options = { quick: boolean, json: boolean, help: { ...boolean, short: 'h' } }
    const parsed = parseArgs({ args, options, allowPositionals: true })
    flags = parsed.values
    names =
      parsed.positionals.length > 0 ? parsed.positionals : Object.keys(GROUPS).filter((name) => !LONG.includes(name))
    const unknown = names.find((name) => !Object.hasOwn(GROUPS, name))
    if (unknown !== undefined) throw new Error(`there is no group ${unknown}`)
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${HELP}`)
    return 2
  }
  if (flags.help) {
    process.stdout.write(HELP)
    return 0
  }
  const stop = new AbortController()
  // Stays in place: the second Ctrl-C of an impatient hand must not leave the server's files behind.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort())
  const lines: Line[] = []
  const notes: string[] = []
  if (!flags.json) process.stdout.write(`${formatHead()}\n`)
  try {
    for (const name of names) {
      const measured = await GROUPS[name]({ quick: flags.quick ?? false, signal: stop.signal })
      showProgress('')
      lines.push(...measured.lines)
      if (measured.more !== undefined) notes.push(measured.more)
      if (!flags.json) process.stdout.write(`${formatLines(measured.lines)}\n`)
    }
  } catch (error) {
    if (!stop.signal.aborted) throw error
    process.stderr.write('\nstopped\n')
    return 130
  }
  if (!flags.json && notes.length > 0) process.stdout.write(`\n${notes.join('\n\n')}\n`)
  if (flags.json) process.stdout.write(`${JSON.stringify(lines)}\n`)
  return 0
}
