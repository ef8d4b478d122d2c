import { rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { JobContext } from '../../jobs/context.ts'
import { runTick } from '../../jobs/tick.ts'
import { runWorker } from '../../jobs/work.ts'
import { usage, type Register } from '../command.ts'
import { DEV_DIRECTORY, DEV_ENVIRONMENT, readEnvironment } from '../config.ts'
import { openContext } from '../context.ts'
import { invocation } from '../invocation.ts'
import { registerLiveDevices, registerOwnDevice, sampleLive } from '../live-devices.ts'
import { createLogger } from '../logger.ts'
import { startStack } from '../stack.ts'

const TICK_MS = 15_000

export const devCommand: Register = (command, bind) => {
  command
    .option('--dir <path>', 'where the data is kept', DEV_DIRECTORY)
    .option('--port <n>', 'the port of Postgres; a free one if not given')
    .option('--live', 'let this machine’s own devices sample all the while')
    .action(
      bind(async ({ output, signal }, flags: { dir: string; port?: string; live?: boolean }) => {
        const port = flags.port === undefined ? undefined : Number(flags.port)
        if (port !== undefined && !(Number.isInteger(port) && port > 0 && port < 65_536))
          throw usage('--port takes a number from 1 to 65535.')
        const directory = resolve(flags.dir)
        const coherence = invocation(readEnvironment())
        const settings = join(directory, DEV_ENVIRONMENT)
        const setup = output.progress('starting Postgres')
        const stack = await startStack({
          databaseDirectory: join(directory, 'postgres'),
          storageDirectory: join(directory, 'storage'),
          persistent: true,
          port,
          environment: { LOG_LEVEL: 'info', CHUNK_MAX_AGE: '60' },
          signal,
        })
        try {
          const { context, close } = await openContext(stack.config, createLogger(stack.config.logLevel), {
            poolSize: 6,
          })
          try {
            const device = await registerOwnDevice(context.pool)
            const ready = { DATABASE_URL: stack.config.databaseUrl, LOCAL_STORAGE_DIR: stack.config.localStorageDir }
            const lines = Object.entries({ ...ready, STORAGE_DRIVER: 'local' }).map(
              ([key, value]) => `${key}='${value}'\n`,
            )
            await writeFile(settings, lines.join(''), { mode: 0o600 })
            setup.end('PostgreSQL 17, schema, queues and a store on disk are ready')
            output.result(ready, () =>
              [
                'Ready, until Ctrl-C. In another terminal:',
                ...(directory === resolve(DEV_DIRECTORY)
                  ? []
                  : Object.entries(ready).map(([key, value]) => `  export ${key}='${value}'`)),
                `  cat FILE | ${coherence} ingest --device ${device}`,
                `  ${coherence} console --open`,
              ].join('\n'),
            )
            await Promise.all([
              runWorker(context, { mode: 'watch', signal }),
              tickUntil(context, signal),
              ...(flags.live === true ? [sampleForever(context.pool, signal)] : []),
            ])
            output.say('stopped')
          } finally {
            await close()
          }
        } finally {
          await rm(settings, { force: true })
          await stack.stop()
        }
        return 0
      }),
    )
}

async function tickUntil(context: JobContext, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await runTick(context)
    await sleep(TICK_MS, undefined, { signal }).catch(() => {})
  }
}

async function sampleForever(pool: Parameters<typeof registerLiveDevices>[0], signal: AbortSignal): Promise<void> {
  const { devices } = await registerLiveDevices(pool)
  await sampleLive(pool, devices, { seconds: Number.POSITIVE_INFINITY, signal })
}
