import type { Pool } from 'pg'
import {
  listBacklog,
  listChunkRows,
  listDeadLetterRows,
  listDeviceActivity,
  listFailedRequests,
  listQueues,
  listTroubledChunkRows,
  readHealthRow,
  readLastReport,
  readNetworkDeviation,
} from '../../db/console.ts'
import { inReadOnlyTransaction, type Queryable } from '../../db/pool.ts'
import { DEAD_LETTER } from '../../jobs/queues.ts'
import { readObject } from '../../jobs/read-object.ts'
import type { Backend } from '../../pipeline/store-place.ts'
import { usage } from '../command.ts'
import type { Config } from '../config.ts'
import { storeCache } from '../stores.ts'
import {
  MOST_CHUNKS,
  MOST_FAILURES,
  type ChunksView,
  type DevicesView,
  type PipelineView,
  type ReportRow,
} from './model.ts'

/** A page asks every few seconds: what takes longer than this is not worth the database's time. */
const STATEMENT_MS = 15_000
const MOST_BUCKETS = 5_000
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** What the console's server answers: a document, the bytes of a chunk or of the report, or null where there is no such thing. */
export type Answer = object | Uint8Array | null

/** Answers a path under /api/ from the database, in read-only transactions. Throws USAGE for values that are malformed. */
export function consoleApi(pool: Pool, config: Config): (path: string, query: URLSearchParams) => Promise<Answer> {
  const storeOf = storeCache(config)
  const read = <T>(work: (tx: Queryable) => Promise<T>) => inReadOnlyTransaction(pool, STATEMENT_MS, work)
  return async (path, query) => {
    switch (path) {
      case 'pipeline':
        return await read(readPipeline)
      case 'devices':
        return await read(readDevices)
      case 'network': {
        const range = parseRange(query)
        return { range, walk: await read((tx) => readNetworkDeviation(tx, range)) }
      }
      case 'chunks':
        return await read(readChunks)
      case 'report': {
        const report = await read((tx) => readLastReport<ReportRow>(tx))
        if (report === null) return null
        const store = await storeOf({ backend: report.backend as Backend, bucket: report.bucket })
        return await store.get(report.key)
      }
    }
    const id = path.startsWith('chunks/') ? path.slice('chunks/'.length) : ''
    if (!UUID.test(id)) return null
    const store = { backend: config.storageDriver }
    // The store takes its time: no transaction is open meanwhile.
    return (await readObject({ pool, store, storeOf }, id, 'chunk')).bytes
  }
}

// One after the other: a transaction has one connection.

async function readPipeline(tx: Queryable): Promise<PipelineView> {
  return {
    health: await readHealthRow(tx),
    queues: await listQueues(tx, DEAD_LETTER),
    deadLetters: await listDeadLetterRows(tx, DEAD_LETTER, MOST_FAILURES),
    troubledChunks: await listTroubledChunkRows(tx, MOST_FAILURES),
    failedAnalyses: await listFailedRequests(tx, 'analysis_jobs', MOST_FAILURES),
    failedExports: await listFailedRequests(tx, 'sample_exports', MOST_FAILURES),
    report: await readLastReport(tx),
  }
}

async function readDevices(tx: Queryable): Promise<DevicesView> {
  return { devices: await listDeviceActivity(tx), backlog: await listBacklog(tx) }
}

async function readChunks(tx: Queryable): Promise<ChunksView> {
  return { chunks: await listChunkRows(tx, MOST_CHUNKS), exports: null }
}

function parseRange(query: URLSearchParams): { from: string; to: string; bucketSeconds: number } {
  const [from, to] = ['from', 'to'].map((name) => new Date(query.get(name) ?? ''))
  const bucketSeconds = Number(query.get('bucket'))
  if (Number.isNaN(from.getTime()) || Number.isNaN(to.getTime())) throw usage('from and to are ISO 8601 times.')
  if (!(bucketSeconds > 0)) throw usage('bucket is in seconds.')
  if (to.getTime() - from.getTime() > MOST_BUCKETS * 1000 * bucketSeconds) throw usage('from and to are too far apart.')
  return { from: from.toISOString(), to: to.toISOString(), bucketSeconds }
}
