import { PgBoss } from 'pg-boss'
import { bossDb } from './boss.ts'
import { openPool, type PoolOptions } from '../db/pool.ts'
import { DEAD_LETTER, DEAD_LETTER_OPTIONS, QUEUES, QUEUE_NAMES } from './queues.ts'

/**
 * Installs or upgrades pg-boss in schema `pgboss` and makes every queue as the table in queues.ts has it. Needs a session
 * connection, as migrations do. Returns the names of the queues that were created or changed.
 */
export async function installQueues(options: PoolOptions): Promise<string[]> {
  const pool = openPool({ ...options, max: 2, applicationName: 'coherence migrate' })
  const boss = new PgBoss({ db: bossDb(pool), schema: 'pgboss', migrate: true, supervise: false, schedule: false })
  const errors: Error[] = []
  boss.on('error', (error) => errors.push(error))
  try {
    await boss.start()
    const changed: string[] = []
    const wanted = [
      { name: DEAD_LETTER, options: DEAD_LETTER_OPTIONS },
      ...QUEUE_NAMES.map((name) => ({ name, options: QUEUES[name].options })),
    ]
    const existing = new Map((await boss.getQueues()).map((queue) => [queue.name, queue]))
    for (const { name, options: settings } of wanted) {
      const queue = existing.get(name)
      if (!queue) {
        await boss.createQueue(name, settings)
        changed.push(name)
        continue
      }
      const { policy: _fixedAtCreation, ...changeable } = settings
      if (Object.entries(changeable).some(([key, value]) => queue[key as keyof typeof queue] !== value)) {
        await boss.updateQueue(name, changeable)
        changed.push(name)
      }
    }
    if (errors.length > 0) throw errors[0]
    return changed
  } finally {
    await boss.stop({ graceful: false, close: false }).catch(() => {})
    await pool.end()
  }
}

/** Which queues `installQueues` would make, without making them. All of them when pg-boss is not there yet. */
export async function missingQueues(options: PoolOptions): Promise<string[]> {
  const pool = openPool({ ...options, max: 1 })
  const all = [DEAD_LETTER, ...QUEUE_NAMES]
  try {
    const { rows: found } = await pool.query(`select to_regclass('pgboss.queue') is not null as installed`)
    if (!found[0].installed) return all
    const { rows } = await pool.query<{ name: string }>('select name from pgboss.queue')
    return all.filter((name) => !rows.some((row) => row.name === name))
  } finally {
    await pool.end()
  }
}
