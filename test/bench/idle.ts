import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'pg'
import { startServer } from '../chaos/server.ts'
import { createCli } from '../infra/run-cli.ts'
import { type BenchOptions, type Line, type Measured, showProgress, toLine } from './figures.ts'
import { difference, LOAD_SETTINGS, readLoad, type ServerLoad } from './server-load.ts'

const TICK_EVERY_MS = 180_000
const HOUR_MS = 3_600_000

/**
 * What a system costs that has nothing to do: `watch` is one `work --watch` and a tick every 3 minutes; `serverless` a tick every 3
 * minutes, and a `work --drain` only when the tick says that something is ready. Real processes, on an embedded Postgres whose own
 * work (a snapshot each 15 s, checkpoints) is in its WAL and CPU; what statements wrote stands beside it. Scaled to an hour.
 */
export async function benchIdle({ quick, signal }: BenchOptions): Promise<Measured> {
  const directory = join(tmpdir(), `coherence-bench-${randomUUID()}`)
  const span = quick ? TICK_EVERY_MS : 3 * TICK_EVERY_MS
  try {
    const server = await startServer(directory, LOAD_SETTINGS)
    const admin = new Pool({
      connectionString: Object.assign(new URL(server.adminUrl), { pathname: '/postgres' }).href,
      max: 1,
    })
    const { config } = server
    const cli = createCli({
      DATABASE_URL: config.databaseUrl,
      LOCAL_STORAGE_DIR: config.localStorageDir,
      LOG_LEVEL: 'error',
    })
    try {
      await admin.query('create extension if not exists pg_stat_statements')
      const database = new URL(config.databaseUrl).pathname.slice(1)
      const pid = Number(readFileSync(join(directory, 'postgres', 'data', 'postmaster.pid'), 'utf8').split('\n')[0])
      const connections: number[] = []
      const measure = async (name: string, ms: number, step?: () => Promise<unknown>): Promise<ServerLoad> => {
        const before = await readLoad(admin, database, pid)
        const until = performance.now() + ms
        connections.length = 0
        // Between the tick that was and the next, so that it finds slots of its own.
        for (let next = performance.now() + TICK_EVERY_MS / 2; performance.now() < until;) {
          if (step && performance.now() >= next) {
            await step()
            next += TICK_EVERY_MS
          }
          connections.push(await countConnections(admin, database))
          showProgress(`idle, ${name}: ${Math.round((until - performance.now()) / 1000)} s left`)
          await sleep(1000, undefined, { signal })
        }
        return difference(await readLoad(admin, database, pid), before)
      }
      const tick = async () => await runCli(cli, ['tick'])
      const tickAndDrain = async () => {
        const { readyTotal } = (await runCli(cli, ['tick'])) as { readyTotal: number }
        if (readyTotal > 0) drains.push(await runCli(cli, ['work', '--drain']))
      }
      const drains: unknown[] = []
      // What comes once an hour or a day is done first, and is not scaled to each hour.
      await tickAndDrain()
      await admin.query('checkpoint')
      drains.length = 0
      const serverless = await measure('serverless', span, tickAndDrain)
      const lines = toLines('serverless', serverless, span, connections)
      lines.push(toLine('serverless: drain workers woken', 'an hour', [(drains.length * HOUR_MS) / span]))
      const worker = cli.start(['work', '--watch', '--json'])
      worker.child.stdin.end()
      try {
        const watch = await measure('watch', span, tick)
        lines.push(...toLines('watch', watch, span, connections))
      } finally {
        worker.child.kill('SIGTERM')
        await worker.finished
      }
      return { lines }
    } finally {
      await admin.end()
      await server.end('fast')
      cli.remove()
    }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

async function runCli(cli: ReturnType<typeof createCli>, args: readonly string[]): Promise<unknown> {
  const finished = await cli.run([...args, '--json'])
  if (finished.code !== 0) throw new Error(`${args.join(' ')} failed: ${finished.stderr}`)
  return finished.json()
}

async function countConnections(admin: Pool, database: string): Promise<number> {
  const { rows } = await admin.query<{ n: number }>(
    'select count(*)::int as n from pg_stat_activity where datname = $1',
    [database],
  )
  return rows[0].n
}

function toLines(name: string, load: ServerLoad, span: number, connections: readonly number[]): Line[] {
  const hours = span / HOUR_MS
  return [
    toLine(`${name}: queries`, 'an hour', [load.queries / hours]),
    toLine(`${name}: transactions`, 'an hour', [load.transactions / hours]),
    toLine(`${name}: WAL`, 'kB an hour', [load.walBytes / 1000 / hours]),
    toLine(`${name}: WAL of statements`, 'kB an hour', [load.statementWalBytes / 1000 / hours]),
    toLine(`${name}: server CPU`, 's an hour', [load.cpuSeconds / hours]),
    toLine(`${name}: connections`, '', connections),
  ]
}
