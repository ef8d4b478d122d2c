import { runTick } from '../../jobs/tick.ts'
import type { Register } from '../command.ts'
import { formatList } from '../output.ts'
import { addOtherBuildOption, leaveToOtherBuild, withContext, type OtherBuildFlags } from './with-context.ts'

export const tickCommand: Register = (program, bind) => {
  const command = program
    .command('tick')
    .description('the pulse: rescue lost jobs, send what is due, say how much is ready; run it every few minutes')
  addOtherBuildOption(command).action(
    bind(async ({ output }, flags: OtherBuildFlags) => {
      await leaveToOtherBuild(output, flags, () =>
        withContext(async ({ context }) => {
          const outcome = await runTick(context)
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
