import { randomUUID } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import type { TestProject } from 'vitest/node'
import { migrate } from '../../db/migrate.ts'
import { type EmbeddedServer, startEmbedded } from '../../infra/embedded.ts'
import { applyShim } from '../../infra/supabase-shim.ts'
import { installQueues } from '../../jobs/install.ts'
import { tellOfMissing } from './tools.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** URLs of the test server's database `postgres`: as role postgres, and as the superuser. */
    databaseServer: { url: string; adminUrl: string }
  }
}

/**
 * One server for the whole run, with two templates: `coherence_bare` is a new Supabase project, `coherence_template` has
 * our schema and queues as well. An interrupted run leaves nothing: the server's watchdog deletes its directory.
 */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const lines: string[] = []
  const server = await startEmbedded({
    directory: join(tmpdir(), `coherence-test-${randomUUID()}`),
    fast: true,
    persistent: false,
    log: (line) => lines.push(line),
  })
  try {
    await makeTemplates(server)
  } catch (error) {
    await server.stop()
    throw new Error(`The template databases were not made. The server's last words:\n${lines.slice(-20).join('\n')}`, {
      cause: error,
    })
  }
  project.provide('databaseServer', {
    url: server.urlFor('postgres'),
    adminUrl: server.urlFor('postgres', 'supabase_admin'),
  })
  return async () => {
    await server.stop()
    const told = tellOfMissing()
    if (told !== undefined) process.stderr.write(`\n${told}\n`)
  }
}

async function makeTemplates(server: EmbeddedServer): Promise<void> {
  const admin = new Client({ connectionString: server.urlFor('postgres', 'supabase_admin') })
  await admin.connect()
  try {
    await admin.query('create database coherence_bare')
    await applyShim(server.urlFor('coherence_bare', 'supabase_admin'))
    await admin.query('create database coherence_template template coherence_bare owner postgres')
    const databaseUrl = server.urlFor('coherence_template')
    await migrate({ databaseUrl })
    await installQueues({ databaseUrl })
    for (const name of ['coherence_bare', 'coherence_template']) {
      // Closed to connections, or a clone fails with "source database is being accessed by other users".
      await admin.query(`alter database ${name} with is_template true allow_connections false`)
    }
  } finally {
    await admin.end()
  }
}
