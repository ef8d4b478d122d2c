import { listTroubledChunks, readPipelineHealth } from '../../db/health.ts'
import { countUnprovedObjects } from '../../db/replicas.ts'
import { countJobs, listDeadLetters } from '../../db/queues.ts'
import { DEAD_LETTER } from '../../jobs/queues.ts'
import type { Register } from '../command.ts'
import { formatAge, formatList, formatTable, wrap } from '../output.ts'
import { withContext } from './with-context.ts'

export const statusCommand: Register = (program, bind) => {
  program
    .command('status')
    .description('what an operator looks at: backlog, chunks, queues, failures')
    .action(
      bind(async ({ output }) => {
        await withContext(async ({ context: { pool, mirror } }) => {
          const health = await readPipelineHealth(pool)
          const jobs = (await countJobs(pool)).filter((row) => row.queue !== DEAD_LETTER)
          const deadLetters = await listDeadLetters(pool, 10)
          const troubled = await listTroubledChunks(pool, 10)
          const unmirrored = mirror ? await countUnprovedObjects(pool, mirror) : null
          output.result({ ...health, unmirrored, jobs, deadLetters, troubledChunks: troubled }, () => {
            const { chunks, analyses } = health
            const oldest =
              health.oldestWaitingSeconds === null ? '' : `, the oldest for ${formatAge(health.oldestWaitingSeconds)}`
            const lines = [
              formatList([
                ['waiting', `${health.waitingSamples} samples${oldest}`],
                [
                  'chunks',
                  `${chunks.pending} pending, ${chunks.uploading} uploading, ${chunks.unverified} unverified, ` +
                    `${chunks.verified} verified, ${chunks.failed} failed`,
                ],
                ...(unmirrored === null ? [] : [['mirror', `${unmirrored} objects not there yet`] as const]),
                ['analyses', `${analyses.queued} queued, ${analyses.running} running`],
                ['last prune', health.lastPrune?.toISOString() ?? 'never'],
              ]),
            ]
            if (jobs.length > 0) {
              const rows = jobs.map((row) => [row.queue, row.state, row.jobs])
              lines.push('', formatTable(['queue', 'state', 'jobs'], rows, 'llr'))
            }
            if (deadLetters.length > 0) {
              lines.push('', 'Dead letters (`coherence backfill redrive` tries them again):')
              for (const letter of deadLetters) {
                lines.push(`  ${letter.queue}  ${letter.failedAt.toISOString()}`, wrap(letter.error ?? 'no reason', 4))
              }
            }
            if (troubled.length > 0) {
              lines.push('', 'Chunks that need a look (`coherence backfill chunks` revives those that failed):')
              for (const chunk of troubled) {
                lines.push(`  ${chunk.id}  ${chunk.status}`, wrap(chunk.error ?? 'no reason', 4))
              }
            }
            return lines.join('\n')
          })
        })
      }),
    )
}
