/** `npm run test:chaos`: what runChaos does, from the command line. */
import { parseArgs } from 'node:util'
import { formatReport } from './report.ts'
import { runChaos } from './run-chaos.ts'

const HELP = `npm run test:chaos -- [--minutes 4] [--seed TEXT] [--kills-per-minute 70] [--json]

Devices send at a steady rate, a user asks for analyses and backfills are sent, while worker processes are killed or told to stop,
Postgres is restarted, the pooler is cut, the object store fails and a disk fills. Then all must be there: every acknowledged sample in
exactly one verified chunk, byte for byte; every rollup as a recomputation gives it; every analysis answered, once; no job left;
maintenance_log as what left. Exit code 0 only then.

The seed makes data and schedule the same; what runs into what is the machine's.
`

process.exitCode = await main(process.argv.slice(2))

async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: 'string', default: '4' },
      seed: { type: 'string', default: '1' },
      'kills-per-minute': { type: 'string', default: '70' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  const [minutes, killsPerMinute] = [Number(values.minutes), Number(values['kills-per-minute'])]
  if (values.help || !(minutes > 0 && minutes <= 60) || !(killsPerMinute > 0 && killsPerMinute <= 600)) {
    process.stderr.write(HELP)
    return values.help ? 0 : 2
  }
  const stop = new AbortController()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, () => stop.abort())
  const log = (line: string) => process.stderr.write(`${line}\n`)
  try {
    const report = await runChaos({
      seconds: minutes * 60,
      seed: values.seed,
      killsPerMinute,
      log,
      signal: stop.signal,
    })
    process.stdout.write(`${values.json ? JSON.stringify(report) : formatReport(report)}\n`)
    return report.problems.length === 0 ? 0 : 1
  } catch (error) {
    if (!stop.signal.aborted) throw error
    log('stopped')
    return 130
  }
}
