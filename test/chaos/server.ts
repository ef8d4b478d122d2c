import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Client } from 'pg'
import type { Config } from '../../infra/config.ts'
import { startEmbedded } from '../../infra/embedded.ts'
import { startStack } from '../../infra/stack.ts'
import { freePort } from '../harness/pgbouncer.ts'

/** How a server ends: clients cut and all written; no time for anything; not even asked. */
export type Ending = 'fast' | 'immediate' | 'kill'

/** A durable embedded Postgres with our schema, which can be ended and started again on the same port. */
export interface Server {
  readonly config: Config
  readonly port: number
  /** As the superuser. */
  readonly adminUrl: string
  end(how: Ending): Promise<void>
  start(): Promise<void>
}

/** `settings` are of the server itself, as `alter system` takes them; it is restarted once for them. */
export async function startServer(directory: string, settings: Readonly<Record<string, string>> = {}): Promise<Server> {
  const port = await freePort()
  const databaseDirectory = join(directory, 'postgres')
  // Kept data means fsync and synchronous commits: what was acknowledged survives a SIGKILL.
  const stack = await startStack({
    databaseDirectory,
    storageDirectory: join(directory, 'storage'),
    persistent: true,
    port,
  })
  let stop = () => stack.stop()
  const end = async (how: Ending) => {
    if (how !== 'fast') {
      const [pid] = (await readFile(join(databaseDirectory, 'data', 'postmaster.pid'), 'utf8')).split('\n')
      process.kill(Number(pid), how === 'kill' ? 'SIGKILL' : 'SIGQUIT')
    }
    await stop()
  }
  const start = async () => {
    const server = await startEmbedded({ directory: databaseDirectory, persistent: true, port })
    stop = () => server.stop()
  }
  const adminUrl = Object.assign(new URL(stack.config.databaseUrl), { username: 'supabase_admin' }).href
  if (Object.keys(settings).length > 0) {
    const admin = new Client({ connectionString: adminUrl })
    await admin.connect()
    for (const [name, value] of Object.entries(settings)) await admin.query(`alter system set ${name} = ${value}`)
    await admin.end()
    await end('fast')
    await start()
  }
  return { config: stack.config, port, adminUrl, end, start }
}
