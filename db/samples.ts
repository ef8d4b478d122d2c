import type pg from 'pg'
import { CoherenceError } from '../pipeline/errors.ts'
import { sortSamples } from '../pipeline/merge-samples.ts'
import type { SampleColumns } from '../pipeline/samples.ts'
import { openSampleParser, SAMPLE_COLUMNS } from './copy-binary.ts'
import { readCopy } from './copy-out.ts'
import type { Queryable } from './pool.ts'

/** One sample on its way in. `timestamp` is UTC with microseconds as text, or a Date. */
export interface NewSample {
  readonly deviceId: string
  readonly profileId: string
  readonly timestamp: Date | string
  readonly sequence: bigint
  readonly data: Uint8Array
}

/**
 * Inserts a batch in one statement, all or nothing, and notes when its devices were last seen. Throws SAMPLES_REJECTED
 * with the database's reason; nothing of the batch is stored then.
 */
export async function insertSamples(db: Queryable, samples: readonly NewSample[]): Promise<void> {
  if (samples.length === 0) return
  try {
    await db.query(
      `with stored as (
         insert into public.entropy_samples (device_id, profile_id, "timestamp", sequence, byte_length, sample_data)
         select device_id, profile_id, "timestamp", sequence, octet_length(sample_data), sample_data
         from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::bigint[], $5::bytea[])
           as batch (device_id, profile_id, "timestamp", sequence, sample_data)
       )
       update public.devices set last_seen_at = now()
       where id in (
         select id from public.devices
         where id = any ($1::uuid[]) and (last_seen_at is null or last_seen_at < now() - interval '1 minute')
         -- Two batches of the same devices must neither wait for each other nor deadlock over this.
         for no key update skip locked
       )`,
      [
        samples.map((sample) => sample.deviceId),
        samples.map((sample) => sample.profileId),
        samples.map((sample) => sample.timestamp),
        samples.map((sample) => sample.sequence),
        samples.map((sample) => Buffer.from(sample.data.buffer, sample.data.byteOffset, sample.data.byteLength)),
      ],
    )
  } catch (cause) {
    const { code, message } = cause as { code?: string; message: string }
    // Classes 22 and 23: the data is at fault, not the connection.
    if (code?.startsWith('22') || code?.startsWith('23')) {
      throw new CoherenceError('SAMPLES_REJECTED', `the batch of ${samples.length} samples was refused: ${message}`, {
        cause,
      })
    }
    throw cause
  }
}

/**
 * All rows of one chunk, in no order: the server would take as long to sort them as to read them. `bounds` are the chunk's own
 * extents, which let the planner open only the partitions that can hold its rows; its rows and bytes size the columns, which
 * are in `memory` of `sizeOfSamples` if that is given.
 */
export async function readChunkSamples(
  pool: pg.Pool,
  chunkId: string,
  bounds: { from: string; to: string; rows: number; bytes: number },
  memory?: Uint8Array,
): Promise<SampleColumns> {
  const client = await pool.connect()
  let failed: Error | undefined
  try {
    return await runCopy(
      client,
      `storj_chunk_id = ${literal(chunkId)}
       and "timestamp" between ${literal(bounds.from)}::timestamptz and ${literal(bounds.to)}::timestamptz`,
      bounds,
      { memory },
    )
  } catch (error) {
    failed = error as Error
    throw error
  } finally {
    // A connection whose COPY broke off is of no more use.
    client.release(failed)
  }
}

/**
 * The rows of `deviceId` in [from, to) that no uploaded chunk holds, in the order of a file. Runs in the caller's
 * transaction, so that its snapshot and the caller's list of chunks cut the samples in two without overlap. `admit` is told
 * of rows and payload bytes before more memory is taken for them, and may throw.
 */
export async function readUnpackedSamples(
  tx: pg.PoolClient,
  deviceId: string,
  from: string,
  to: string,
  admit: (rows: number, bytes: number) => void,
): Promise<SampleColumns> {
  const samples = await runCopy(
    tx,
    `device_id = ${literal(deviceId)}
     and "timestamp" >= ${literal(from)}::timestamptz and "timestamp" < ${literal(to)}::timestamptz
     and (storj_chunk_id is null or not exists (
       select from public.storj_chunks c where c.id = storj_chunk_id and c.status = 'uploaded'))`,
    { rows: 1024, bytes: 65_536 },
    { admit },
  )
  return sortSamples(samples)
}

/** What became of one sample of a batch; `index` is its place there. */
export interface StoredSample {
  readonly index: number
  readonly status: 'accepted' | 'duplicate' | 'rejected'
  readonly reason: string | null
}

/**
 * Stores samples of one device through the checks that devices go through: each is accepted, known already (same profile,
 * timestamp and sequence), or rejected with the reason. Throws DEVICE_UNKNOWN if the device does not exist or is not active.
 */
export async function storeChecked(
  db: Queryable,
  deviceId: string,
  samples: readonly Omit<NewSample, 'deviceId'>[],
): Promise<StoredSample[]> {
  try {
    const { rows } = await db.query<{ stored: StoredSample[] }>(
      'select public.insert_entropy_samples($1, $2, $3::timestamptz[], $4, $5) as stored',
      [
        deviceId,
        samples.map((sample) => sample.profileId),
        samples.map((sample) => sample.timestamp),
        samples.map((sample) => sample.sequence),
        samples.map((sample) => sample.data),
      ],
    )
    return rows[0].stored
  } catch (cause) {
    if ((cause as { code?: string }).code !== '42501') throw cause
    throw new CoherenceError('DEVICE_UNKNOWN', `device ${deviceId} does not exist, or is not active.`, { cause })
  }
}

async function runCopy(
  tx: pg.PoolClient,
  where: string,
  expected: { rows: number; bytes: number },
  options: Parameters<typeof openSampleParser>[1],
): Promise<SampleColumns> {
  const parser = openSampleParser(expected, options)
  const query = `copy (select ${SAMPLE_COLUMNS} from public.entropy_samples where ${where}) to stdout (format binary)`
  await readCopy(tx, query, parser.push)
  return parser.end()
}

/** COPY takes no parameters; everything that comes here is a uuid or a time that Postgres itself printed. */
function literal(value: string): string {
  if (!/^[0-9A-Za-z :.+TZ-]+$/.test(value)) throw new RangeError(`not a plain literal: ${JSON.stringify(value)}`)
  return `'${value}'`
}
