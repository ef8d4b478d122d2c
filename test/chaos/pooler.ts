import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { PGBOUNCER, startBouncer } from '../harness/pgbouncer.ts'

/** What stands between workers and Postgres, and can be cut. */
export interface Pooler {
  readonly name: string
  /** The database's URL through it. */
  readonly url: string
  cut(): Promise<void>
  mend(): Promise<void>
  close(): Promise<void>
}

/** PgBouncer in transaction mode, where it is installed; elsewhere a relay of connections. */
export async function startPooler(databaseUrl: string): Promise<Pooler> {
  if (PGBOUNCER === undefined) return await startRelay(databaseUrl)
  // Its own 15 s before it tries a server again that was down would hide how fast the pipeline is back.
  const bouncer = await startBouncer(databaseUrl, { connections: 20, loginRetrySeconds: 1 })
  return { name: 'PgBouncer, killed', url: bouncer.url, cut: bouncer.kill, mend: bouncer.start, close: bouncer.close }
}

/** Passes connections on, one for one, until it is cut: then all are reset and new ones refused. */
async function startRelay(databaseUrl: string): Promise<Pooler> {
  const real = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    const far = connect(Number(real.port), real.hostname)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  })
  const listen = async (port: number) => {
    server.listen(port, '127.0.0.1')
    await once(server, 'listening')
  }
  await listen(0)
  const { port } = server.address() as AddressInfo
  const cut = async () => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.resetAndDestroy()
    await closed
  }
  return {
    name: 'relay, cut',
    url: Object.assign(new URL(real), { port: String(port) }).href,
    cut,
    mend: () => listen(port),
    close: async () => {
      if (server.listening) await cut()
    },
  }
}
