import { ORPHAN_AGE_HOURS, sweepOrphans } from '../../jobs/sweep.ts'
import type { Register } from '../command.ts'
import { formatBytes } from '../output.ts'
import { withContext } from './with-context.ts'

export const storageCommand: Register = (program, bind) => {
  const storage = program.command('storage').description('look after the object store')
  storage
    .command('sweep')
    .description(`find objects that no row names, older than ${ORPHAN_AGE_HOURS} h by the store’s own clock`)
    .option('--delete', 'remove them; without it nothing is removed')
    .action(
      bind(async ({ output, signal }, flags: { delete?: boolean }) => {
        await withContext(async ({ context }) => {
          const progress = output.progress('sweeping')
          const outcome = await sweepOrphans(context, {
            deletes: flags.delete === true,
            signal,
            onProgress: (objects) => progress.update(`${objects} objects`),
          })
          progress.end()
          output.result(outcome, () =>
            [
              ...outcome.orphans.map(({ key, size, modifiedAt }) => `${modifiedAt}  ${formatBytes(size)}  ${key}`),
              `${outcome.objects} objects, ${outcome.orphans.length} orphans, ${outcome.deleted} removed` +
                (outcome.orphans.length > 0 && !outcome.deletes ? ' (dry run; add --delete to remove them)' : ''),
            ].join('\n'),
          )
        })
      }),
    )
}
