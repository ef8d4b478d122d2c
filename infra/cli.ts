import { Command, CommanderError } from 'commander'
import { isConnectionLost } from '../db/connection-lost.ts'
import { isCoherenceError } from '../pipeline/errors.ts'
import type { Bind, Register } from './command.ts'
import { libraryVersion } from './version.ts'
import { exitCodeOf } from './exit-codes.ts'
import { createOutput } from './output.ts'

interface Entry {
  readonly description: string
  readonly load: () => Promise<Register>
}

/** In the order of the help, which loads none of them: a command's file brings along all that it works with. */
const COMMANDS: Readonly<Record<string, Entry>> = {
  demo: {
    description: 'the whole pipeline on this machine’s own live devices; needs nothing but this package',
    load: async () => (await import('./commands/demo.ts')).demoCommand,
  },
  dev: {
    description: 'the embedded stack, kept running, its data kept; ends with Ctrl-C',
    load: async () => (await import('./commands/dev.ts')).devCommand,
  },
  migrate: {
    description:
      'bring schema and queues up to date, make the folder or Supabase bucket of the store; safe to run again',
    load: async () => (await import('./commands/migrate.ts')).migrateCommand,
  },
  doctor: {
    description: 'check every assumption: connection, roles, schema, queues, store; exit 1 if one fails',
    load: async () => (await import('./commands/doctor.ts')).doctorCommand,
  },
  ingest: {
    description:
      'bytes from a file or a pipe become samples of a device: cat /dev/hwrng | coherence ingest --device ID',
    load: async () => (await import('./commands/ingest.ts')).ingestCommand,
  },
  import: {
    description: 'store the samples of an archive, each through the checks that devices go through; safe to run again',
    load: async () => (await import('./commands/import.ts')).importCommand,
  },
  tick: {
    description: 'the pulse: rescue lost jobs, send what is due, say how much is ready; run it every few minutes',
    load: async () => (await import('./commands/tick.ts')).tickCommand,
  },
  work: {
    description: 'do jobs: until none is ready (--drain), or until stopped (--watch)',
    load: async () => (await import('./commands/work.ts')).workCommand,
  },
  status: {
    description: 'what an operator looks at: backlog, chunks, queues, failures',
    load: async () => (await import('./commands/status.ts')).statusCommand,
  },
  report: {
    description:
      'what a researcher looks at: one HTML file, with nothing to load, of the network, its devices, their tests and pairs, and events; ' +
      'of yesterday (UTC) if it has data, else of the last 24 hours that have any',
    load: async () => (await import('./commands/report.ts')).reportCommand,
  },
  console: {
    description:
      'a web page that shows pipeline, devices, network and chunks while they change; it only reads; ends with Ctrl-C',
    load: async () => (await import('./commands/console.ts')).consoleCommand,
  },
  backfill: {
    description: 'do past work again: plan, then send low-priority jobs',
    load: async () => (await import('./commands/backfill.ts')).backfillCommand,
  },
  storage: {
    description: 'look after the object store: move, prove, tidy',
    load: async () => (await import('./commands/storage.ts')).storageCommand,
  },
  analyze: {
    description: 'run a randomness battery on any file or pipe, however long; needs no database',
    load: async () => (await import('./commands/analyze.ts')).analyzeCommand,
  },
  network: {
    description:
      'what a network of devices does together, from a table of ones per device and second (second,<device>,…) or a basket file ' +
      'of the Global Consciousness Project; needs no database',
    load: async () => (await import('./commands/network.ts')).networkCommand,
  },
  event: {
    description: 'hypotheses about a window, declared before it is over and computed once, whatever comes out',
    load: async () => (await import('./commands/event.ts')).eventCommand,
  },
  keys: {
    description: 'the JWT secret and keys of a project that you host yourself, and what is wrong with a token',
    load: async () => (await import('./commands/keys.ts')).keysCommand,
  },
  completion: {
    description: 'print a script with which the shell completes commands and options',
    load: async () => (await import('./commands/completion.ts')).completionCommand,
  },
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
  // The completion tells the shell of all that there is.
  const asked = argv.find((word) => !word.startsWith('-') && word !== 'help')
  for (const [name, { description, load }] of Object.entries(COMMANDS)) {
    const command = program.command(name).description(description)
    if (name === asked || asked === 'completion') (await load())(command, bind)
  }
  // What arguments and options those take that are not loaded is not known here.
  program.configureHelp({ subcommandTerm: (command) => command.name() })
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
