import { Command, CommanderError } from 'commander'
import { isConnectionLost } from '../db/connection-lost.ts'
import { isCoherenceError } from '../pipeline/errors.ts'
import type { Bind, Register } from './command.ts'
import { libraryVersion } from './version.ts'
import { exitCodeOf } from './exit-codes.ts'
import { createOutput } from './output.ts'

/** In the order of the help. Only the one that is asked for is loaded. */
const COMMANDS: Readonly<Record<string, () => Promise<Register>>> = {
  demo: async () => (await import('./commands/demo.ts')).demoCommand,
  dev: async () => (await import('./commands/dev.ts')).devCommand,
  migrate: async () => (await import('./commands/migrate.ts')).migrateCommand,
  doctor: async () => (await import('./commands/doctor.ts')).doctorCommand,
  ingest: async () => (await import('./commands/ingest.ts')).ingestCommand,
  import: async () => (await import('./commands/import.ts')).importCommand,
  tick: async () => (await import('./commands/tick.ts')).tickCommand,
  work: async () => (await import('./commands/work.ts')).workCommand,
  status: async () => (await import('./commands/status.ts')).statusCommand,
  report: async () => (await import('./commands/report.ts')).reportCommand,
  console: async () => (await import('./commands/console.ts')).consoleCommand,
  backfill: async () => (await import('./commands/backfill.ts')).backfillCommand,
  storage: async () => (await import('./commands/storage.ts')).storageCommand,
  analyze: async () => (await import('./commands/analyze.ts')).analyzeCommand,
  network: async () => (await import('./commands/network.ts')).networkCommand,
  event: async () => (await import('./commands/event.ts')).eventCommand,
  keys: async () => (await import('./commands/keys.ts')).keysCommand,
  completion: async () => (await import('./commands/completion.ts')).completionCommand,
}

type StopSignal = 'SIGINT' | 'SIGTERM'

/** What shells expect of a command that a signal ended: 128 and the signal's number. */
const SIGNAL_EXIT_CODES: Record<StopSignal, number> = { SIGINT: 130, SIGTERM: 143 }

/**
 * Runs one command line; resolves to the exit code. Never throws. A command whose end is to be stopped returns its own
 * code; any other that a signal has cut short exits as shells expect.
 */
export async function main(argv: readonly string[]): Promise<number> {
  const stop = new AbortController()
  let stoppedBy: StopSignal | undefined
  const onSignal = (name: StopSignal) => {
    if (stoppedBy !== undefined) process.exit(SIGNAL_EXIT_CODES[name])
    stoppedBy = name
    process.stderr.write('\nstopping; once more stops at once\n')
    stop.abort()
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
  const json = argv.includes('--json')
  let exitCode: number | undefined
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
      const output = await createOutput(json)
      try {
        exitCode = (await action({ output, json, signal: stop.signal }, ...given)) ?? undefined
      } finally {
        output.close()
      }
    }
  // The help needs all of them, the advice on a misspelt name, and the completion.
  const asked = Object.keys(COMMANDS).filter((name) => name === argv[0] && name !== 'completion')
  for (const name of asked.length > 0 ? asked : Object.keys(COMMANDS)) (await COMMANDS[name]())(program, bind)
  describeEach(program)
  try {
    if (argv.length === 0) {
      program.outputHelp({ error: true })
      return 2
    }
    await program.parseAsync([...argv], { from: 'user' })
    return exitCode ?? (stoppedBy === undefined ? 0 : SIGNAL_EXIT_CODES[stoppedBy])
  } catch (error) {
    return report(error, json, stoppedBy)
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

/** Says what went wrong, on stderr and with --json on stdout too; returns the exit code. */
function report(error: unknown, json: boolean, stoppedBy: StopSignal | undefined): number {
  const tell = (code: string, message: string, shown = `${code}: ${message}`) => {
    if (json) process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`)
    if (shown !== '') process.stderr.write(`${shown}\n`)
  }
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    // Commander has written message and help to stderr.
    const given = error.code === 'commander.help' ? 'a subcommand is missing' : error.message.replace(/^error: /, '')
    tell('USAGE', `${given}; see --help.`, '')
    return 2
  }
  const { name, message, stack } = error as Error
  if (stoppedBy !== undefined && name === 'AbortError') {
    tell('INTERRUPTED', `stopped by ${stoppedBy} before the end.`, '')
    return SIGNAL_EXIT_CODES[stoppedBy]
  }
  if (isCoherenceError(error)) {
    tell(error.code, message)
    return exitCodeOf(error.code)
  }
  if (isConnectionLost(error)) {
    tell(
      'DATABASE_UNREACHABLE',
      `the connection to Postgres was lost (${message}). Run it again when the server is up.`,
    )
  } else {
    tell('UNEXPECTED', message, `UNEXPECTED: ${stack ?? String(error)}`)
  }
  return 1
}
