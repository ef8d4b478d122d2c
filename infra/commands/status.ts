import { setTimeout as sleep } from 'node:timers/promises'
import { listProofLags, listTroubledChunks, readPipelineHealth } from '../../db/health.ts'
import { countJobs, listDeadLetters, measureQueues } from '../../db/queues.ts'
import { countUnprovedObjects } from '../../db/replicas.ts'
import type { JobContext } from '../../jobs/context.ts'
import { DEAD_LETTER } from '../../jobs/queues.ts'
import { usage, type Register } from '../command.ts'
import { findHealthProblems, type HealthLimits } from '../health-problems.ts'
import { redraw } from '../redraw.ts'
import { describeReading, describeStatus, type StatusDocument } from '../status-text.ts'
import { withContext } from './with-context.ts'

interface Flags {
  watch?: string | true
  check?: boolean
  maxLag?: string
  maxTickAge: string
}

/** A sample should be proved when its chunk is due and this much later: several ticks, retries, a restart of the workers. */
const LAG_SECONDS = 1800
/** Five ticks of every three minutes. */
const TICK_SECONDS = 900

export const statusCommand: Register = (command, bind) => {
  command
    .option('--watch [seconds]', 'again and again, every 5 seconds unless told, until Ctrl-C')
    .option('--check', 'exit 1 if something needs a person: for monitors')
    .option('--max-lag <seconds>', `a sample this old should be proved (default: CHUNK_MAX_AGE + ${LAG_SECONDS})`)
    .option('--max-tick-age <seconds>', 'a tick should have run within', String(TICK_SECONDS))
    .action(
      bind(async ({ output, json, signal }, flags: Flags) => {
        const maxLag = flags.maxLag === undefined ? undefined : parseSeconds('--max-lag', flags.maxLag)
        const tickSeconds = parseSeconds('--max-tick-age', flags.maxTickAge)
        const every =
          flags.watch === undefined ? undefined : parseSeconds('--watch', flags.watch === true ? '5' : flags.watch)
        if (every !== undefined && (json || flags.check))
          throw usage('--watch is for people: not with --json or --check.')
        return await withContext(async ({ context }) => {
          const lagSeconds = maxLag ?? context.settings.chunkMaxAgeSeconds + LAG_SECONDS
          const read = () => readStatus(context, { lagSeconds, tickSeconds })
          const colours = process.stdout.isTTY && process.stdout.hasColors()
          let rows = 0
          for (;;) {
            const status = await read()
            const text = () => describeStatus(status, { colours })
            if (json) output.result(status, text)
            // As it is: `result` would take the colours for somebody's control characters.
            else if (every === undefined) process.stdout.write(`${text()}\n`)
            else rows = show(`${describeReading(new Date(), every, colours)}\n\n${text()}`, rows)
            if (every === undefined) return flags.check && status.problems.length > 0 ? 1 : 0
            await sleep(every * 1000, undefined, { signal }).catch(() => {})
            if (signal.aborted) return 0
          }
        })
      }),
    )
}

/** In the place of what it showed before, which took so many rows; below it in a pipe. Returns the rows that it takes. */
function show(text: string, before: number): number {
  const { isTTY, columns, rows } = process.stdout
  if (!isTTY || !columns) {
    process.stdout.write(`${text}\n`)
    return 0
  }
  const drawn = redraw(text, before, { columns, rows })
  process.stdout.write(drawn.sent)
  return drawn.rows
}

async function readStatus({ pool, mirror }: JobContext, limits: HealthLimits): Promise<StatusDocument> {
  const health = await readPipelineHealth(pool)
  const deadLetterCount = (await measureQueues(pool)).find(({ queue }) => queue === DEAD_LETTER)?.ready ?? 0
  return {
    ...health,
    problems: findHealthProblems(health, deadLetterCount, limits),
    unmirrored: mirror ? await countUnprovedObjects(pool, mirror) : null,
    lag: await listProofLags(pool),
    jobs: (await countJobs(pool)).filter((row) => row.queue !== DEAD_LETTER),
    deadLetters: await listDeadLetters(pool, 10),
    troubledChunks: await listTroubledChunks(pool, 10),
  }
}

function parseSeconds(name: string, text: string): number {
  const seconds = Number(text)
  if (!(seconds > 0)) throw usage(`${name} takes seconds above 0, not ${JSON.stringify(text)}.`)
  return seconds
}
