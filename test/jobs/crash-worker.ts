// Run by crash.test.ts in a process of its own: packs, works and prunes until a checkpoint, where it kills itself.
import { pino } from 'pino'
import { parseConfig } from '../../infra/config.ts'
import { openContext } from '../../infra/context.ts'
import { packOnce } from '../../jobs/pack.ts'
import { runWorker } from '../../jobs/work.ts'

const [databaseUrl, directory, step] = process.argv.slice(2)
const config = {
  ...parseConfig({ DATABASE_URL: databaseUrl, LOCAL_STORAGE_DIR: directory, RETENTION_DAYS: '30' }),
  chunkMaxAgeSeconds: 0,
}
const { context } = await openContext(config, pino({ level: 'silent' }), {
  checkpoint: (reached) => {
    if (reached === step) process.kill(process.pid, 'SIGKILL')
  },
})
await packOnce(context)
await runWorker(context, { mode: 'drain', concurrency: 1 })
process.stdout.write(`nothing reached ${step}\n`)
process.exit(0)
