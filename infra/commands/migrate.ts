import { migrate, pendingMigrations } from '../../db/migrate.ts'
import { installQueues, missingQueues } from '../../jobs/install.ts'
import type { Register } from '../command.ts'
import { parseConfig, readEnvironment } from '../config.ts'
import { openStore } from '../context.ts'
import { openStoreAt } from '../stores.ts'

export const migrateCommand: Register = (program, bind) => {
  program
    .command('migrate')
    .description(
      'bring schema and queues up to date, make the folder or Supabase bucket of the store; safe to run again',
    )
    .option('--check', 'only say what would run; exit 1 if anything would')
    .action(
      bind(async ({ output }, { check }: { check?: boolean }) => {
        const config = parseConfig(readEnvironment())
        const options = { databaseUrl: config.databaseUrl, caCert: config.databaseCaCert }
        if (check) {
          const pending = (await pendingMigrations(options)).map(({ version, name }) => `${version}_${name}`)
          const queues = await missingQueues(options)
          output.result({ pending, queues }, () =>
            pending.length + queues.length === 0
              ? 'Up to date: nothing would run.'
              : [
                  ...pending.map((name) => `would run     ${name}`),
                  ...queues.map((name) => `would create  queue ${name}`),
                ].join('\n'),
          )
          return pending.length + queues.length === 0 ? 0 : 1
        }
        const { applied } = await migrate({ ...options, log: (line) => output.say(line) })
        const queues = await installQueues(options)
        await openStore(config, { create: true })
        if (config.mirror) await openStoreAt(config, config.mirror, { create: true })
        output.result({ applied, queues }, () =>
          applied.length + queues.length === 0
            ? 'Up to date: nothing was changed.'
            : `${applied.length} migrations applied, ${queues.length} queues created or changed.`,
        )
      }),
    )
}
