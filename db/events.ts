import { CoherenceError } from '../pipeline/errors.ts'
import type { EventResult, Hypothesis, Tail } from '../pipeline/event.ts'
import type { Profile } from '../pipeline/network-buckets.ts'
import type { Queryable } from './pool.ts'

/** How long after its end an event waits for samples that come late. */
export const EVENT_GRACE_SECONDS = 3600

/** What is declared. Times in seconds since 1970 UTC; what is left out has the default that the table's comments say. */
export interface EventDeclaration {
  readonly name: string
  readonly hypothesis: Hypothesis
  readonly tail?: Tail
  readonly profile?: Profile
  readonly start: number
  readonly end: number
  /** Null: every device that sends. */
  readonly deviceIds: readonly string[] | null
  readonly description: string | null
}

/** A row of coherence_events. */
export interface EventRow extends Required<EventDeclaration> {
  readonly id: string
  readonly controlSeed: string
  readonly declaredAt: Date
  readonly declaredBy: string | null
  readonly declaredBeforeStart: boolean
  readonly withdrawnAt: Date | null
  readonly status: 'declared' | 'computed'
  readonly computedAt: Date | null
  readonly methodVersion: string | null
  readonly result: EventResult | null
}

const COLUMNS = `id, name, hypothesis, tail, profile, extract(epoch from event_start)::float8 as start,
  extract(epoch from event_end)::float8 as "end", device_ids as "deviceIds", description,
  control_seed as "controlSeed", declared_at as "declaredAt", declared_by as "declaredBy",
  declared_before_start as "declaredBeforeStart", withdrawn_at as "withdrawnAt", status, computed_at as "computedAt",
  method_version as "methodVersion", result`

/** Throws EVENT_INVALID with what the database says, and what to do, if it does not take the declaration. */
export async function declareEvent(db: Queryable, event: EventDeclaration): Promise<EventRow> {
  const { rows } = await refusable(
    db.query<EventRow>(
      `insert into public.coherence_events
         (name, hypothesis, tail, profile, event_start, event_end, device_ids, description)
       values ($1, $2, $3, coalesce($4, 'all_bits'), to_timestamp($5), to_timestamp($6), $7, $8)
       returning ${COLUMNS}`,
      [
        event.name,
        event.hypothesis,
        event.tail ?? null,
        event.profile ?? null,
        event.start,
        event.end,
        event.deviceIds,
        event.description,
      ],
    ),
    `event ${JSON.stringify(event.name)}`,
  )
  return rows[0]
}

/** Takes back what has not begun; the row stays. Null if no event has the name; throws EVENT_INVALID if it is too late. */
export async function withdrawEvent(db: Queryable, name: string): Promise<EventRow | null> {
  const { rows } = await refusable(
    db.query<EventRow>(`update public.coherence_events set withdrawn_at = now() where name = $1 returning ${COLUMNS}`, [
      name,
    ]),
    `event ${JSON.stringify(name)}`,
  )
  return rows[0] ?? null
}

/** Refusals of the table's triggers, checks and unique key, told to whoever asked. */
async function refusable<T>(asked: Promise<T>, what: string): Promise<T> {
  try {
    return await asked
  } catch (cause) {
    const { code, message, hint, constraint } = cause as {
      [key in 'code' | 'message' | 'hint' | 'constraint']?: string
    }
    if (code === '23505') {
      throw new CoherenceError('EVENT_INVALID', `${what}: there is one of this name already. Choose another name.`, {
        cause,
      })
    }
    if (code !== '23514' && code !== '42501') throw cause
    const said = constraint === undefined ? message : `the declaration breaks the rule ${constraint}`
    throw new CoherenceError('EVENT_INVALID', `${what}: ${said}.${hint === undefined ? '' : ` ${hint}`}`, { cause })
  }
}

/** All events by the start of their window. */
export async function listEvents(db: Queryable): Promise<EventRow[]> {
  const { rows } = await db.query<EventRow>(
    `select ${COLUMNS} from public.coherence_events order by event_start, event_end, name`,
  )
  return rows
}

const PENDING = `status = 'declared' and withdrawn_at is null`

/** The event, if it is neither computed nor withdrawn. */
export async function findPendingEvent(db: Queryable, id: string): Promise<EventRow | null> {
  const { rows } = await db.query<EventRow>(
    `select ${COLUMNS} from public.coherence_events where id = $1 and ${PENDING}`,
    [id],
  )
  return rows[0] ?? null
}

/**
 * As findPendingEvent, and nobody else's until the transaction ends; null also if it is somebody's already. In a snapshot
 * whoever comes too late by less than a statement gets a serialization failure instead.
 */
export async function lockPendingEvent(tx: Queryable, id: string): Promise<EventRow | null> {
  const { rows } = await tx.query<EventRow>(
    `select ${COLUMNS} from public.coherence_events where id = $1 and ${PENDING} for update skip locked`,
    [id],
  )
  return rows[0] ?? null
}

const MOST_CHUNKS_NAMED = 3

/**
 * What an event waits for, as sentences; empty when its data are complete: its window and the grace are over, every sample
 * of its devices in the window is claimed, and every chunk that overlaps it is proved.
 */
export async function listEventBlockers(db: Queryable, id: string): Promise<string[]> {
  const { rows } = await db.query<{ blocker: string }>(
    `with event as (
       select *, event_end + $2 * interval '1 second' as due from public.coherence_events where id = $1
     ), unproved as (
       select c.id, c.status, c.last_error, row_number() over (order by c.created_at, c.id) as place, count(*) over () as all
       from public.storj_chunks c, event e
       where now() >= e.due and c.min_timestamp < e.event_end and c.max_timestamp >= e.event_start
         and (e.device_ids is null or c.device_ids && e.device_ids::text[])
         and (c.status = 'uploaded' and c.verified_at is not null) is not true
     )
     select 'its window to end' as blocker from event where now() < event_end
     union all
     select 'late samples, until ' || to_char(due at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
     from event where now() >= event_end and now() < due
     union all
     select count(*) || ' samples that no chunk has claimed'
     from event e join public.entropy_samples s on s."timestamp" >= e.event_start and s."timestamp" < e.event_end
     where now() >= e.due and (s.storj_chunk_id is null or s.storj_chunk_id = any (app_private.unpacked_chunks()))
       and (e.device_ids is null or s.device_id = any (e.device_ids))
     having count(*) > 0
     union all
     select 'chunk ' || id || ', which is not verified (' || status || coalesce(': ' || last_error, '') || ')'
     from unproved where place <= $3
     union all
     select 'and ' || "all" - $3 || ' more such chunks' from unproved where place = $3 + 1`,
    [id, EVENT_GRACE_SECONDS, MOST_CHUNKS_NAMED],
  )
  return rows.map((row) => row.blocker)
}

/** Events whose grace is over, that no job is about to compute, and whose computation has not been given up. */
export async function listDueEvents(db: Queryable): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from public.coherence_events e
     where ${PENDING} and event_end + $1 * interval '1 second' <= now()
       and not exists (select from pgboss.job j
         where j.name = 'compute-event' and j.singleton_key = e.id::text and j.state < 'completed')
       and not exists (select from pgboss.job d
         where d.name = 'dead-letter' and d.source_name = 'compute-event' and d.state = 'created'
           and d.singleton_key = e.id::text)
     order by event_end, id`,
    [EVENT_GRACE_SECONDS],
  )
  return rows.map((row) => row.id)
}

/** The proved chunks that overlap an event: how many, the newest proof, and `id sha256` of each in order. */
export async function listEventChunks(
  tx: Queryable,
  id: string,
): Promise<{ chunks: string[]; lastVerifiedAt: Date | null }> {
  const { rows } = await tx.query<{ chunks: string[]; lastVerifiedAt: Date | null }>(
    `select coalesce(array_agg(c.id || ' ' || c.sha256 order by c.id), '{}') as chunks,
            max(c.verified_at) as "lastVerifiedAt"
     from public.coherence_events e
     join public.storj_chunks c on c.min_timestamp < e.event_end and c.max_timestamp >= e.event_start
       and (e.device_ids is null or c.device_ids && e.device_ids::text[])
     where e.id = $1 and c.verified_at is not null`,
    [id],
  )
  return rows[0]
}

/** Writes the result of a pending event, which happens once. */
export async function writeEventResult(
  tx: Queryable,
  id: string,
  methodVersion: string,
  result: EventResult,
): Promise<void> {
  await tx.query(
    `update public.coherence_events set status = 'computed', computed_at = now(), method_version = $2, result = $3
     where id = $1`,
    [id, methodVersion, JSON.stringify(result)],
  )
}
