import { execFileSync } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { migrate } from '../../db/migrate.ts'
import { startEmbedded } from '../../infra/embedded.ts'
import { applyShim } from '../../infra/supabase-shim.ts'
import { installQueues } from '../../jobs/install.ts'

/** Not a dependency: it is 141 MB, and only those who change the schema need it. */
export const CLI = 'supabase@3.1.0'

/** What a command of the Supabase CLI prints about an embedded Postgres that has our schema and queues. No Docker is used. */
export async function runSupabase(command: readonly string[]): Promise<string> {
  const directory = join(tmpdir(), `coherence-cli-${randomUUID()}`)
  const server = await startEmbedded({ directory, fast: true, persistent: false })
  try {
    const databaseUrl = server.urlFor('postgres')
    await applyShim(server.urlFor('postgres', 'supabase_admin'))
    await migrate({ databaseUrl })
    await installQueues({ databaseUrl })
    return execFileSync('npx', ['--yes', CLI, ...command, `--remote=${databaseUrl}?sslmode=disable`], {
      encoding: 'utf8',
      // Where there is no project of the CLI's.
      cwd: tmpdir(),
      env: { ...process.env, DO_NOT_TRACK: '1' },
    })
  } finally {
    await server.stop()
  }
}
