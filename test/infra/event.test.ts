import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { createDevice, createLocalUser } from '../../db/devices.ts'
import { declareEvent } from '../../db/events.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'
import { type Cli, createCli } from './run-cli.ts'

let database: TestDatabase
let db: Client
let cli: Cli
let devices: string[]

beforeAll(async () => {
  database = await createDatabase()
  db = new Client({ connectionString: database.url })
  await db.connect()
  cli = createCli({ DATABASE_URL: database.url, LOCAL_STORAGE_DIR: 'store' })
  mkdirSync(join(cli.directory, 'store', 'entropy-chunks'), { recursive: true })
  const userId = await createLocalUser(db, 'someone@example.org')
  const kind = { name: 'pi', description: '', clientType: 'linux', sampleRateHz: 1, sampleSizeBytes: 64 }
  devices = []
  for (const _ of [1, 2]) devices.push((await createDevice(db, { userId, ...kind })).deviceId)
  devices.sort()
})

afterAll(async () => {
  await db.end()
  await database.drop()
  cli.remove()
})

beforeEach(async () => {
  await asOwner('delete from public.coherence_events')
})

/** Behind the guards' back, to arrange what they would not let happen. */
async function asOwner(sql: string, values: unknown[] = []): Promise<void> {
  await db.query('alter table public.coherence_events disable trigger user')
  await db.query(sql, values)
  await db.query('alter table public.coherence_events enable trigger user')
}

const HOUR = 3_600_000
const now = Math.floor(Date.now() / 1000) * 1000
/** Hours from now, as people write times. */
const at = (hours: number) => new Date(now + hours * HOUR).toISOString().replace('.000', '')
const add = (name: string, from = at(1), to = at(2), ...more: string[]) =>
  cli.run(['event', 'add', '--name', name, '--from', from, '--to', to, '--hypothesis', 'pair', ...more])

const declare = (name: string, from: number, to: number) =>
  declareEvent(db, {
    name,
    hypothesis: 'pair',
    start: now / 1000 + from * 3600,
    end: now / 1000 + to * 3600,
    deviceIds: null,
    description: null,
  })

/** A computed event, with as much of a result as is shown. */
async function compute(name: string, p: number | null): Promise<void> {
  await declare(name, 1, 2)
  const tests = Object.fromEntries(
    ['pair', 'netvar', 'devvar', 'covar'].map((hypothesis) => [hypothesis, { status: 'ok', z: 1.5, p: 0.13 }]),
  )
  const said = p === null ? { p, statistic: null, reason: 'too short' } : { p, statistic: 1.5 }
  const sums = { devices: 2, seconds: 3600, missing: 7, failed: 1 }
  const control = { seed: 'c', generator: 'g', tests, p: 0.5, statistic: 0 }
  const result = { ...said, tests, sums, control, normalization: 'theoretical', chunks: 12 }
  await asOwner(
    `update public.coherence_events set status = 'computed', computed_at = now(), method_version = 'event-1', result = $2,
       event_start = event_start - interval '1 day', event_end = event_end - interval '1 day',
       declared_at = declared_at - interval '1 day'
     where name = $1`,
    [name, JSON.stringify(result)],
  )
}

test('add declares all that is said, and says when it is computed', async () => {
  const options = ['--tail', 'two_sided', '--profile', 'gcp200', '--description', 'devices agree']
  const ids = ['--devices', `${devices[1].toUpperCase()}, ${devices[0]}`]
  const outcome = await add('solstice', at(1), at(2), ...options, ...ids, '--json')
  expect(outcome).toMatchObject({ code: 0, stderr: '' })
  const { rows } = await db.query('select * from public.coherence_events')
  expect(rows).toMatchObject([
    {
      name: 'solstice',
      hypothesis: 'pair',
      tail: 'two_sided',
      profile: 'gcp200',
      event_start: new Date(now + HOUR),
      event_end: new Date(now + 2 * HOUR),
      device_ids: devices,
      description: 'devices agree',
      declared_by: null,
    },
  ])
  expect(outcome.json()).toEqual(JSON.parse(JSON.stringify(rows[0])))
  const said = await add('second', at(1), at(2))
  expect(said.stdout.replaceAll('\n', ' ')).toContain(
    `second is declared: pair, upper tail, profile all_bits, every device that sends, from ${at(1)} to ${at(2)}. It is ` +
      'computed once, 60 min after its end or later',
  )
  expect((await add('third', at(-1), at(2))).stdout.replaceAll(/\s+/g, ' ')).toContain(
    'It had begun when it was declared',
  )
})

test('add takes times with their zone', async () => {
  // The same moment twice.
  expect((await add('zoned', '2099-12-31T23:30:00-01:00', '2100-01-01T02:30+02')).code).toBe(2)
  await add('zoned', '2099-12-31T23:30:00-01:00', '2100-01-01T02:31+01:00')
  const { rows } = await db.query('select event_start, event_end from public.coherence_events')
  expect(rows).toEqual([{ event_start: new Date('2100-01-01T00:30:00Z'), event_end: new Date('2100-01-01T01:31:00Z') }])
})

const usage: [what: string, args: [from?: string, to?: string, ...more: string[]], said: RegExp][] = [
  ['a time without zone', ['2099-01-01T00:00:00'], /--from takes a time with its zone.*not "2099-01-01T00:00:00"/],
  ['a day', [at(1), '2099-01-31'], /--to takes a time with its zone, in whole seconds/],
  ['parts of a second', ['2099-01-01T00:00:00.5Z'], /in whole seconds/],
  ['the 30th of February', ['2099-02-30T00:00:00Z'], /--from takes a time/],
  ['a number of seconds', ['4000000000'], /--from takes a time/],
  ['times the wrong way round', [at(2), at(1)], /--from must be before --to/],
  ['more than 31 days', [at(1), at(1 + 24 * 31 + 1)], /at most 31 days/],
  [
    'another test',
    [at(1), at(2), '--hypothesis', 'all'],
    /--hypothesis is one of pair, netvar, devvar, covar, not "all"/,
  ],
  ['another tail', [at(1), at(2), '--tail', 'lower'], /--tail is one of upper, two_sided/],
  ['another profile', [at(1), at(2), '--profile', 'x'], /--profile is one of all_bits, gcp200/],
  ['a device that is no uuid', [at(1), at(2), '--devices', 'pi'], /--devices takes uuids.*not "pi"/],
  ['one device for a pair', [at(1), at(2), '--devices', '00000000-0000-4000-8000-000000000000'], /name two or more/],
  ['a blank name', [at(1), at(2), '--name', ' '], /--name takes 1 to 200 characters/],
]
test('add says what is wrong with what it is given', async () => {
  await Promise.all(
    usage.map(async ([what, args, said]) => {
      const outcome = await add('wrong', ...args)
      expect(outcome, what).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(said) })
    }),
  )
})

test('what the database refuses is told, with what to do', async () => {
  await declare('taken', 1, 2)
  const refused = async (args: Parameters<typeof add>) => (await add(...args, '--json')).json().error
  expect(await refused(['late', at(-2), at(-1)])).toEqual({
    code: 'EVENT_INVALID',
    message: expect.stringMatching(
      /"late": the window is over: an event is declared before its window ends\. .*to come/,
    ),
  })
  expect((await refused(['taken', at(1), at(2)])).message).toContain('one of this name already. Choose another name.')
  const other = '00000000-0000-4000-8000-000000000000'
  expect((await refused(['who', at(1), at(2), '--devices', `${devices[0]},${other}`])).message).toContain(
    `there is no device ${other}. Name devices that exist`,
  )
  for (const command of ['show', 'withdraw']) {
    const outcome = await cli.run(['event', command, 'nobody', '--json'])
    expect(outcome.code).toBe(2)
    expect(outcome.json().error).toMatchObject({
      code: 'EVENT_INVALID',
      message: expect.stringMatching(/no event "nobody"/),
    })
  }
})

test('list has P of each, what Holm leaves of it, and what the others wait for', async () => {
  expect((await cli.run(['event', 'list'])).stdout).toBe('No events; `coherence event add` declares one.\n')
  await compute('first', 0.01)
  await compute('second', 0.04)
  await compute('silent', null)
  await declare('coming', 1, 2)
  await declare('mistake', 3, 4)
  await db.query(`update public.coherence_events set withdrawn_at = now() where name = 'mistake'`)
  const { events } = (await cli.run(['event', 'list', '--json'])).json() as { events: Record<string, unknown>[] }
  const byName = Object.fromEntries(events.map((event) => [event.name, event]))
  expect(byName).toMatchObject({
    first: { status: 'computed', holm: 0.02, waits_for: null, result: { p: 0.01 } },
    second: { holm: 0.04, waits_for: null },
    silent: { holm: null, waits_for: null, result: { p: null } },
    coming: { status: 'declared', holm: null, waits_for: ['its window to end'] },
    mistake: { status: 'declared', holm: null, waits_for: null, withdrawn_at: expect.any(String) },
  })
  const { stdout } = await cli.run(['event', 'list'])
  expect(stdout).toMatch(/^ {2}event +from +to +hypothesis +declared +P +Holm +control P\n/)
  expect(stdout).toMatch(/\n {2}first .* pair upper +before +0\.010 +0\.020 +0\.500\n/)
  expect(stdout).toMatch(/\n {2}silent .* – +– +0\.500\n/)
  expect(stdout).toMatch(/\n {2}mistake .* withdrawn +– +–\n/)
  expect(stdout).toMatch(/\n\nNot computed yet:\n {2}coming waits for its window to end\n$/)
})

test('an event whose data are complete waits for a worker', async () => {
  await declare('over', 1, 2)
  await asOwner(
    `update public.coherence_events set event_start = event_start - interval '1 day', event_end = event_end - interval '1 day',
       declared_at = declared_at - interval '1 day'`,
  )
  expect((await cli.run(['event', 'show', 'over', '--json'])).json().waits_for).toEqual(['a worker'])
})

test('show tells the declaration, the result, its control and its data', async () => {
  await compute('first', 0.01)
  await compute('second', 0.04)
  const { stdout } = await cli.run(['event', 'show', 'first'])
  for (const line of [
    /^event +first \([\da-f-]{36}\)$/m,
    /^hypothesis +pair, upper tail, profile all_bits, every device that sends$/m,
    /^declared +20.*Z, before it began$/m,
    /^P +0\.010 \(z 1\.500\); by Holm among all computed events 0\.020$/m,
    /^control +0\.500 \(z 0\.000\); pseudo-random, seed c$/m,
    /^others +netvar z 1\.500, devvar z 1\.500, covar z 1\.500: for information only$/m,
    /^data +2 devices, 3600 seconds, 7 trials missing, 1 failed; 12 chunks$/m,
  ]) {
    expect(stdout).toMatch(line)
  }
  expect((await cli.run(['event', 'show', 'first', '--json'])).json()).toMatchObject({ name: 'first', holm: 0.02 })
})

test('withdraw takes back what has not begun, and nothing else', async () => {
  await declare('mistake', 1, 2)
  expect(await cli.run(['event', 'withdraw', 'mistake'])).toMatchObject({
    code: 0,
    stdout: 'mistake is withdrawn; it will not be computed.\n',
  })
  await declare('running', -1, 2)
  const refused = await cli.run(['event', 'withdraw', 'running'])
  expect(refused).toMatchObject({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(/running has begun: it can no longer/),
  })
})
