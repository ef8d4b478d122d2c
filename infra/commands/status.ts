import { listTroubledChunks, readPipelineHealth } from '../../db/health.ts'
import { countUnprovedObjects } from '../../db/replicas.ts'
import { countJobs, listDeadLetters, measureQueues } from '../../db/queues.ts'
import { DEAD_LETTER } from '../../jobs/queues.ts'
import { usage, type Register } from '../command.ts'
import { findHealthProblems } from '../health-problems.ts'
import { formatAge, formatList, formatTable, wrap } from '../output.ts'
import { withContext } from './with-context.ts'

/** A sample should be proved when its chunk is due and this much later: several ticks, retries, a restart of the workers. */
const LAG_SECONDS = 1800
/** Five ticks of every three minutes. */
const TICK_SECONDS = 900

export const statusCommand: Register = (program, bind) => {
  program
    .command('status')
    .description('what an operator looks at: backlog, chunks, queues, failures')
    .option('--check', 'exit 1 if something needs a person: for monitors')
    .option('--max-lag <seconds>', `a sample this old should be proved (default: CHUNK_MAX_AGE + ${LAG_SECONDS})`)
    .option('--max-tick-age <seconds>', 'a tick should have run within', String(TICK_SECONDS))
    .action(
      bind(async ({ output }, flags: { check?: boolean; maxLag?: string; maxTickAge: string }) => {
        const maxLag = flags.maxLag === undefined ? undefined : parseSeconds('--max-lag', flags.maxLag)
        const tickSeconds = parseSeconds('--max-tick-age', flags.maxTickAge)
        return await withContext(async ({ context: { pool, mirror, settings } }) => {
          const health = await readPipelineHealth(pool)
          const deadLetterCount = (await measureQueues(pool)).find(({ queue }) => queue === DEAD_LETTER)?.ready ?? 0
          const lagSeconds = maxLag ?? settings.chunkMaxAgeSeconds + LAG_SECONDS
          const problems = findHealthProblems(health, deadLetterCount, { lagSeconds, tickSeconds })
          const jobs = (await countJobs(pool)).filter((row) => row.queue !== DEAD_LETTER)
          const deadLetters = await listDeadLetters(pool, 10)
          const troubled = await listTroubledChunks(pool, 10)
          const unmirrored = mirror ? await countUnprovedObjects(pool, mirror) : null
          output.result({ ...health, problems, unmirrored, jobs, deadLetters, troubledChunks: troubled }, () => {
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
                ['last tick', health.lastTick?.toISOString() ?? 'never'],
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
            if (problems.length > 0) lines.push('', 'What needs a person:')
            for (const { message } of problems) lines.push(wrap(message, 2))
            return lines.join('\n')
          })
          return flags.check && problems.length > 0 ? 1 : 0
        })
      }),
    )
}

function parseSeconds(name: string, text: string): number {
  const seconds = Number(text)
  if (!(seconds > 0)) throw usage(`${name} takes seconds above 0, not ${JSON.stringify(text)}.`)
  return seconds
}
