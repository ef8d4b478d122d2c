import {
  declareEvent,
  EVENT_GRACE_SECONDS,
  type EventDeclaration,
  type EventRow,
  listEventBlockers,
  listEvents,
  withdrawEvent,
} from '../../db/events.ts'
import type { Queryable } from '../../db/pool.ts'
import { CoherenceError } from '../../pipeline/errors.ts'
import { HYPOTHESES, TAILS } from '../../pipeline/event.ts'
import { PROFILES } from '../../pipeline/network-buckets.ts'
import { uuidBytes } from '../../pipeline/samples.ts'
import { adjustPValues } from '../../pipeline/second-level.ts'
import { usage, type Register } from '../command.ts'
import { describeDeclaration, describeEvent, describeEvents, type EventDocument } from '../event-text.ts'
import { formatAge } from '../output.ts'
import { parseSecond } from '../trial-second.ts'
import { withContext } from './with-context.ts'

/** As the table has it. */
const MOST_SECONDS = 31 * 86_400

interface AddFlags {
  name: string
  from: string
  to: string
  hypothesis: string
  tail?: string
  profile?: string
  devices?: string
  description?: string
}

export const eventCommand: Register = (event, bind) => {
  event
    .command('add')
    .description('declare a window and the one test whose P-value will count')
    .requiredOption('--name <name>', 'a name of its own')
    .requiredOption('--from <time>', 'begin of the window, ISO 8601 with its zone, whole seconds')
    .requiredOption('--to <time>', 'its end, not included; at most 31 days later')
    .requiredOption('--hypothesis <test>', `the test: ${HYPOTHESES.join(', ')}`)
    .option('--tail <tail>', 'upper (default for pair and netvar: devices agree) or two_sided (default for the others)')
    .option('--profile <name>', `what a trial is: ${PROFILES.join(', ')} (default: ${PROFILES[0]})`)
    .option('--devices <ids>', 'only these, separated by commas (default: every device that sends)')
    .option('--description <text>', 'what is expected, and why')
    .action(
      bind(async ({ output }, flags: AddFlags) => {
        const declaration = parseDeclaration(flags)
        await withContext(async ({ context: { pool } }) => {
          const row = await declareEvent(pool, declaration)
          output.result(documentOf(row), () => describeDeclaration(documentOf(row), formatAge(EVENT_GRACE_SECONDS)))
        })
      }),
    )
  event
    .command('list')
    .description('all events, with their P-values and what those not yet computed wait for')
    .action(
      bind(async ({ output }) => {
        await withContext(async ({ context: { pool } }) => {
          const events = await readDocuments(pool)
          output.result({ events }, () => describeEvents(events))
        })
      }),
    )
  event
    .command('show')
    .argument('<name>', 'its name')
    .description('one event: its declaration, result and control, and the data it was computed from')
    .action(
      bind(async ({ output }, name: string) => {
        await withContext(async ({ context: { pool } }) => {
          const found = (await readDocuments(pool)).find((document) => document.name === name)
          if (!found) throw unknownEvent(name)
          output.result(found, () => describeEvent(found))
        })
      }),
    )
  event
    .command('withdraw')
    .argument('<name>', 'its name')
    .description('take back what was declared by mistake, before its window begins; the row stays')
    .action(
      bind(async ({ output }, name: string) => {
        await withContext(async ({ context: { pool } }) => {
          const row = await withdrawEvent(pool, name)
          if (!row) throw unknownEvent(name)
          output.result(documentOf(row), () => `${name} is withdrawn; it will not be computed.`)
        })
      }),
    )
}

function unknownEvent(name: string): CoherenceError {
  return new CoherenceError(
    'EVENT_INVALID',
    `there is no event ${JSON.stringify(name)}; \`coherence event list\` has them.`,
  )
}

/** Every event, with its P-value among those computed (Holm), and what it waits for. */
async function readDocuments(db: Queryable): Promise<EventDocument[]> {
  const rows = await listEvents(db)
  const { holm } = adjustPValues(rows.map(({ result }) => result?.p ?? null))
  const documents: EventDocument[] = []
  for (const [i, row] of rows.entries()) {
    const pending = row.status === 'declared' && row.withdrawnAt === null
    const waitsFor = pending ? await listEventBlockers(db, row.id) : null
    // Complete: the next tick sends its job, if none is there.
    documents.push({ ...documentOf(row), waits_for: waitsFor?.length === 0 ? ['a worker'] : waitsFor, holm: holm[i] })
  }
  return documents
}

/** The row in the words of its table. */
function documentOf(row: EventRow): EventDocument {
  return {
    id: row.id,
    name: row.name,
    hypothesis: row.hypothesis,
    tail: row.tail,
    profile: row.profile,
    event_start: new Date(row.start * 1000),
    event_end: new Date(row.end * 1000),
    device_ids: row.deviceIds,
    description: row.description,
    control_seed: row.controlSeed,
    declared_at: row.declaredAt,
    declared_by: row.declaredBy,
    declared_before_start: row.declaredBeforeStart,
    withdrawn_at: row.withdrawnAt,
    status: row.status,
    computed_at: row.computedAt,
    method_version: row.methodVersion,
    result: row.result,
  }
}

function parseDeclaration(flags: AddFlags): EventDeclaration {
  const start = parseTime('--from', flags.from)
  const end = parseTime('--to', flags.to)
  if (flags.name.trim() === '' || flags.name.length > 200) throw usage('--name takes 1 to 200 characters.')
  if (start >= end) throw usage('--from must be before --to.')
  if (end - start > MOST_SECONDS) throw usage('--to must be at most 31 days after --from.')
  return {
    name: flags.name,
    start,
    end,
    hypothesis: oneOf('--hypothesis', flags.hypothesis, HYPOTHESES),
    tail: flags.tail === undefined ? undefined : oneOf('--tail', flags.tail, TAILS),
    profile: flags.profile === undefined ? undefined : oneOf('--profile', flags.profile, PROFILES),
    deviceIds: flags.devices === undefined ? null : parseDevices(flags.devices, flags.hypothesis),
    description: flags.description ?? null,
  }
}

function parseTime(option: string, text: string): number {
  const second = /(Z|[+-]\d\d(:?\d\d)?)$/i.test(text) ? parseSecond(text) : null
  if (second !== null && text.includes(':')) return second
  throw usage(
    `${option} takes a time with its zone, in whole seconds, as 2026-01-31T12:00:00Z, not ${JSON.stringify(text)}.`,
  )
}

function oneOf<T extends string>(option: string, given: string, names: readonly T[]): T {
  const found = names.find((name) => name === given)
  if (found === undefined) throw usage(`${option} is one of ${names.join(', ')}, not ${JSON.stringify(given)}.`)
  return found
}

function parseDevices(text: string, hypothesis: string): string[] {
  const ids = new Set(text.split(',').map((id) => id.trim().toLowerCase()))
  for (const id of ids) {
    try {
      uuidBytes(id)
    } catch {
      throw usage(`--devices takes uuids separated by commas, not ${JSON.stringify(id)}.`)
    }
  }
  if (ids.size < 2 && (hypothesis === 'pair' || hypothesis === 'covar')) {
    throw usage(`${hypothesis} is about what devices do together: name two or more.`)
  }
  return [...ids]
}
