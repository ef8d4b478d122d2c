import { readPipelineHealth } from '../../db/health.ts'
import { measureQueues } from '../../db/queues.ts'
import type { JobContext } from '../../jobs/context.ts'
import { runTick } from '../../jobs/tick.ts'
import type { Register } from '../command.ts'
import { formatList } from '../output.ts'
import { addOtherBuildOption, leaveToOtherBuild, type OtherBuildFlags, withTelemetry } from './with-context.ts'

export const tickCommand: Register = (command, bind) => {
  addOtherBuildOption(command).action(
    bind(async ({ output }, flags: OtherBuildFlags) => {
      await leaveToOtherBuild(output, flags, () =>
        withTelemetry(async ({ context }) => {
          const outcome = await runTick(context)
          if (context.telemetry.on) await tellHealth(context)
          output.result(outcome, () => {
            const ready = Object.entries(outcome.ready).map(([queue, jobs]) => `${queue} ${jobs}`)
            return formatList([
              ['sent', outcome.sent.join(', ') || 'nothing is due'],
              ['ready', ready.join(', ') || 'no jobs'],
              ...(outcome.deadLetters > 0
                ? [['dead', `${outcome.deadLetters} letters; see \`coherence status\``] as const]
                : []),
            ])
          })
        }),
      )
    }),
  )
}

/** The tick tells of the whole system, for all workers: theirs would be the same numbers again. */
async function tellHealth({ pool, telemetry, log }: JobContext): Promise<void> {
  try {
    telemetry.recordHealth(await readPipelineHealth(pool), await measureQueues(pool))
  } catch (error) {
    log.warn({ err: error }, 'the state of the pipeline could not be read for telemetry')
  }
}
