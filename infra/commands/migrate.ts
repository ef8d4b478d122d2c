import { findMissingLinks, mendLinks } from '../../db/links.ts'
import { migrate, pendingMigrations } from '../../db/migrate.ts'
import { installQueues, missingQueues } from '../../jobs/install.ts'
import type { Register } from '../command.ts'
import { parseConfig, readEnvironment } from '../config.ts'
import { openStore, openStoreAt } from '../stores.ts'

export const migrateCommand: Register = (command, bind) => {
  command.option('--check', 'only say what would run; exit 1 if anything would').action(
    bind(async ({ output }, { check }: { check?: boolean }) => {
      const config = parseConfig(readEnvironment())
      const options = { databaseUrl: config.databaseUrl, caCert: config.databaseCaCert }
      if (check) {
        const pending = (await pendingMigrations(options)).map(({ version, name }) => `${version}_${name}`)
        const queues = await missingQueues(options)
        // Migrations that are pending make them.
        const links = pending.length > 0 ? [] : await findMissingLinks(options)
        const count = pending.length + queues.length + links.length
        output.result({ pending, queues, links }, () =>
          count === 0
            ? 'Up to date: nothing would run.'
            : [
                ...pending.map((name) => `would run     ${name}`),
                ...queues.map((name) => `would create  queue ${name}`),
                ...links.map((name) => `would restore ${name}`),
              ].join('\n'),
        )
        return count === 0 ? 0 : 1
      }
      const { applied } = await migrate({ ...options, log: (line) => output.say(line) })
      const mended = await mendLinks(options)
      const queues = await installQueues(options)
      await openStore(config, { create: true })
      if (config.mirror) await openStoreAt(config, config.mirror, { create: true })
      output.result({ applied, queues, mended }, () =>
        applied.length + queues.length + mended.length === 0
          ? 'Up to date: nothing was changed.'
          : [
              ...mended.map((name) => `restored ${name}`),
              `${applied.length} migrations applied, ${queues.length} queues created or changed.`,
            ].join('\n'),
      )
    }),
  )
}
