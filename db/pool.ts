import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, Pool, type ClientBase, type ClientConfig, type PoolClient } from 'pg'
import { CoherenceError } from '../pipeline/errors.ts'

/** Anything that runs one statement: the pool, or the client of a transaction. */
export type Queryable = Pick<ClientBase, 'query'>

export interface PoolOptions {
  readonly databaseUrl: string
  /** A PEM text or the path of one; for Supabase the CA of the project's settings page. */
  readonly caCert?: string
  /** Connections at most. A drain worker takes 2: one for its work, one for the queue. */
  readonly max?: number
  readonly applicationName?: string
}

/**
 * Options for node-postgres from a connection URL. TLS is verified whenever the URL asks for it or a CA is given:
 * verification is never turned off. Without a CA the system's authorities are used.
 */
export function connectionOptions(options: PoolOptions): ClientConfig {
  const url = new URL(options.databaseUrl)
  const mode = url.searchParams.get('sslmode')
  url.searchParams.delete('sslmode')
  const timeout = Number(url.searchParams.get('connect_timeout') ?? 15)
  url.searchParams.delete('connect_timeout')
  const wantsTls = options.caCert !== undefined || (mode !== null && mode !== 'disable' && mode !== 'prefer')
  const config: ClientConfig = {
    connectionString: url.toString(),
    application_name: options.applicationName ?? 'coherence',
    // Seconds, as libpq has it; 0 waits as long as the system does.
    connectionTimeoutMillis: Number.isFinite(timeout) && timeout >= 0 ? timeout * 1000 : 15_000,
    keepAlive: true,
  }
  if (wantsTls) config.ssl = options.caCert === undefined ? true : { ca: readCertificate(options.caCert) }
  return config
}

function readCertificate(value: string): string {
  if (value.includes('-----BEGIN')) return value.replaceAll('\\n', '\n')
  try {
    return readFileSync(value, 'utf8')
  } catch (cause) {
    throw new CoherenceError('CONFIG_INVALID', `DATABASE_CA_CERT: neither a PEM text nor a readable file: ${value}`, {
      cause,
    })
  }
}

/** The connections that each pool has. */
const CONNECTIONS = new WeakMap<Pool, Set<PoolClient>>()

/** A pool of connections. Idle connections that the server closes are dropped quietly and made anew on demand. */
export function openPool(options: PoolOptions): Pool {
  const pool = new Pool({ ...connectionOptions(options), max: options.max ?? 4, idleTimeoutMillis: 10_000 })
  // Without a listener a dropped connection would end the process; the next query reports what matters. The pool's own
  // listener hears of idle connections only, the client's also of one that is lost within a transaction.
  pool.on('error', () => {})
  pool.on('connect', (client) => client.on('error', () => {}))
  const connections = new Set<PoolClient>()
  pool.on('connect', (client) => connections.add(client))
  pool.on('remove', (client) => connections.delete(client))
  CONNECTIONS.set(pool, connections)
  return pool
}

/** How long a pool that is closed waits for statements that are under way. */
const CLOSING_MS = 1000

/**
 * Ends the pool. Whoever still waits for an answer after a moment is cut off: the server rolls back what that connection had open. A
 * statement that is blocked there may end later, and commits nothing if it was in a transaction.
 */
export async function closePool(pool: Pool): Promise<void> {
  const closed = new AbortController()
  const patience = sleep(CLOSING_MS, false, { signal: closed.signal }).catch(() => true)
  const ended = await Promise.race([pool.end().then(() => true), patience])
  closed.abort()
  if (ended) return
  // Without waiting for the server's goodbye: it may be what does not answer.
  for (const client of CONNECTIONS.get(pool) ?? []) void client.end().catch(() => {})
}

/** One connection outside any pool, for sessions that hold something: migrations and COPY. The caller ends it. */
export async function openClient(options: PoolOptions): Promise<Client> {
  const client = new Client(connectionOptions(options))
  client.on('error', () => {})
  try {
    await client.connect()
  } catch (cause) {
    throw unreachable(options.databaseUrl, cause)
  }
  return client
}

/** The error of a database that does not answer, without the password. */
export function unreachable(databaseUrl: string, cause: unknown): CoherenceError {
  const url = new URL(databaseUrl)
  const reason = cause instanceof AggregateError ? cause.errors.map(String).join('; ') : String(cause)
  return new CoherenceError(
    'DATABASE_UNREACHABLE',
    `cannot connect to Postgres at ${url.hostname}:${url.port || '5432'}${url.pathname} as ${decodeURIComponent(url.username)}: ` +
      `${reason}. ${adviceOn(cause)}`,
    { cause },
  )
}

const UNKNOWN_AUTHORITY = /SELF_SIGNED_CERT|UNABLE_TO_VERIFY|UNABLE_TO_GET_ISSUER|CERT_UNTRUSTED|CERT_SIGNATURE_FAILURE/

function adviceOn(cause: unknown): string {
  const { code } = cause as { code?: string }
  if (UNKNOWN_AUTHORITY.test(code ?? '')) {
    return "DATABASE_CA_CERT takes the certificate of the server's authority, a PEM or its path (Supabase: Database settings, SSL)."
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'Write the host in DATABASE_URL as its certificate has it.'
  return "Check DATABASE_URL (Supabase: the pooler's string from the dashboard) and that the server is up."
}

/** Fails with DATABASE_UNREACHABLE, and a sentence on what to check, unless the database answers. */
export async function assertReachable(pool: Pool, databaseUrl: string): Promise<void> {
  try {
    await pool.query('select 1')
  } catch (cause) {
    throw unreachable(databaseUrl, cause)
  }
}

/**
 * How long the server waits for the next statement of a transaction before it rolls back. A worker that is frozen, or cut
 * off without a word, would hold its locks for as long as TCP takes to notice, and the supervisor would wait for them.
 */
const IDLE_IN_TRANSACTION_MS = 120_000

/** Runs `work` in one transaction: commits when it returns, rolls back and rethrows when it throws. */
export async function inTransaction<T>(pool: Pool, work: (tx: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query(`begin; set local idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS}`)
    const result = await work(client)
    await client.query('commit')
    return result
  } catch (error) {
    await client.query('rollback').catch((rollbackError: Error) => (broken = rollbackError))
    throw error
  } finally {
    client.release(broken)
  }
}

/** Runs `work` in one transaction that sees one moment, can change nothing, and whose statements end after `timeoutMs`. */
export async function inReadOnlyTransaction<T>(
  pool: Pool,
  timeoutMs: number,
  work: (tx: PoolClient) => Promise<T>,
): Promise<T> {
  return await inTransaction(pool, async (tx) => {
    await tx.query(
      `set transaction isolation level repeatable read, read only; set local statement_timeout = ${Math.ceil(timeoutMs)}`,
    )
    return await work(tx)
  })
}
