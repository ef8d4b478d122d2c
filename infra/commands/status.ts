import { listTroubledChunks, readPipelineHealth } from '../../db/health.ts'
import { countJobs, listDeadLetters } from '../../db/queues.ts'
import { DEAD_LETTER } from '../../jobs/queues.ts'
import type { Register } from '../command.ts'
import { formatTable } from '../output.ts'
import { withContext } from './with-context.ts'

export const statusCommand: Register = (program, bind) => {
  program
    .command('status')
    .description('what an operator looks at: backlog, chunks, queues, failures')
    .action(
      bind(async ({ output }) => {
        await withContext(async ({ context: { pool } }) => {
          const health = await readPipelineHealth(pool)
          const jobs = (await countJobs(pool)).filter((row) => row.queue !== DEAD_LETTER)
          const deadLetters = await listDeadLetters(pool, 10)
          const troubled = await listTroubledChunks(pool, 10)
          output.result({ ...health, jobs, deadLetters, troubledChunks: troubled }, () => {
            const { chunks, analyses } = health
            const oldest =
              health.oldestWaitingSeconds === null
                ? ''
                : `, the oldest for ${Math.round(health.oldestWaitingSeconds)} s`
            const lines = [
              `waiting    ${health.waitingSamples} samples${oldest}`,
              `chunks     ${chunks.pending} pending, ${chunks.uploading} uploading, ${chunks.unverified} unverified, ${chunks.verified} verified, ${chunks.failed} failed`,
              `analyses   ${analyses.queued} queued, ${analyses.running} running`,
              `last prune ${health.lastPrune === null ? 'never' : health.lastPrune.toISOString()}`,
            ]
            if (jobs.length > 0) {
              const rows = jobs.map((row) => [row.queue, row.state, row.jobs])
              lines.push('', formatTable(['queue', 'state', 'jobs'], rows, 'llr'))
            }
            if (deadLetters.length > 0) {
              const rows = deadLetters.map((letter) => [
                letter.queue,
                letter.failedAt.toISOString(),
                letter.error ?? '?',
              ])
              lines.push(
                '',
                'Dead letters (`coherence backfill redrive` tries them again):',
                formatTable(['queue', 'failed at', 'why'], rows),
              )
            }
            if (troubled.length > 0) {
              const rows = troubled.map((chunk) => [chunk.id, chunk.status, chunk.error ?? '?'])
              lines.push(
                '',
                'Chunks that need a look (`coherence backfill chunks` revives them):',
                formatTable(['chunk', 'status', 'why'], rows),
              )
            }
            return lines.join('\n')
          })
        })
      }),
    )
}
