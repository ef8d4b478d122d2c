import { Command, CommanderError } from 'commander'
import { isCoherenceError, type ErrorCode } from '../pipeline/errors.ts'
import type { Bind, Register } from './command.ts'
import { analyzeCommand } from './commands/analyze.ts'
import { backfillCommand } from './commands/backfill.ts'
import { demoCommand } from './commands/demo.ts'
import { devCommand } from './commands/dev.ts'
import { doctorCommand } from './commands/doctor.ts'
import { ingestCommand } from './commands/ingest.ts'
import { migrateCommand } from './commands/migrate.ts'
import { statusCommand } from './commands/status.ts'
import { storageCommand } from './commands/storage.ts'
import { tickCommand } from './commands/tick.ts'
import { workCommand } from './commands/work.ts'
import { libraryVersion } from './context.ts'
import { createOutput } from './output.ts'

const COMMANDS: readonly Register[] = [
  demoCommand,
  devCommand,
  migrateCommand,
  doctorCommand,
  ingestCommand,
  tickCommand,
  workCommand,
  statusCommand,
  backfillCommand,
  storageCommand,
  analyzeCommand,
]

const EXIT_CODES: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: 2,
  USAGE: 2,
  NODE_TOO_OLD: 2,
  INPUT_INVALID: 2,
  // "Try again later" of sysexits.h: the other build's workers do the work meanwhile.
  QUEUE_VERSION: 75,
}

/** Runs one command line; resolves to the exit code. Never throws. */
export async function main(argv: readonly string[]): Promise<number> {
  const stop = new AbortController()
  const onSignal = () => {
    if (stop.signal.aborted) process.exit(130)
    process.stderr.write('\nstopping; once more stops at once\n')
    stop.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const json = argv.includes('--json')
  let exitCode = 0
  const program = new Command('coherence')
    .description('Packs, proves, tests, rolls up and prunes the samples of a network of random number devices.')
    .version(libraryVersion())
    .showHelpAfterError()
    .enablePositionalOptions()
    .exitOverride()
  program.configureOutput({ writeErr: (text) => process.stderr.write(text) })
  const bind: Bind =
    (action) =>
    async (...given) => {
      exitCode = (await action({ output: createOutput(json), json, signal: stop.signal }, ...given)) ?? 0
    }
  for (const register of COMMANDS) register(program, bind)
  describeEach(program)
  try {
    if (argv.length === 0) {
      program.outputHelp({ error: true })
      return 2
    }
    await program.parseAsync([...argv], { from: 'user' })
    return stop.signal.aborted && exitCode === 0 ? 130 : exitCode
  } catch (error) {
    return report(error, json, stop.signal.aborted)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

/** Options and behaviour that all commands share. */
function describeEach(command: Command): void {
  for (const child of command.commands) {
    child.exitOverride().showHelpAfterError()
    if (child.commands.length === 0) child.option('--json', 'print one JSON document on stdout')
    describeEach(child)
  }
}

function report(error: unknown, json: boolean, stopped: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2
  if (stopped && (error as Error).name === 'AbortError') return 130
  const known = isCoherenceError(error)
  const { message, stack } = error as Error
  const code = known ? error.code : 'UNEXPECTED'
  if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`)
  process.stderr.write(known ? `${code}: ${message}\n` : `UNEXPECTED: ${stack ?? String(error)}\n`)
  return known ? (EXIT_CODES[error.code] ?? 1) : 1
}
