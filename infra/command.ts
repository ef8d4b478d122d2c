import type { Command } from 'commander'
import { CoherenceError } from '../pipeline/errors.ts'
import type { Output } from './output.ts'

/** What every command is given: how to speak, and the signal that Ctrl-C and SIGTERM raise. */
export interface CommandContext {
  readonly output: Output
  readonly json: boolean
  readonly signal: AbortSignal
}

/** A command's action; resolves to the exit code, 0 if to nothing. */
export type Action<Arguments extends unknown[]> = (
  context: CommandContext,
  ...given: Arguments
) => Promise<number | void>

/** Gives a command, which has its name and description, its options, subcommands and action. */
export type Register = (command: Command, bind: Bind) => void
/** Binds an action to a command. */
export type Bind = <Arguments extends unknown[]>(action: Action<Arguments>) => (...given: Arguments) => Promise<void>

/** A bad argument: what it is, what it was, what it should be. Exits with 2. */
export function usage(message: string): CoherenceError {
  return new CoherenceError('USAGE', message)
}
