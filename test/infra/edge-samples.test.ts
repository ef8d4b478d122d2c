import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Batch, MOST_SAMPLES, reportBatch } from '../../infra/supabase/functions/_shared/batch.ts'
import { parseJson } from '../../infra/supabase/functions/_shared/json.ts'
import { Refusal } from '../../infra/supabase/functions/_shared/refusal.ts'
import { parseBinaryBatch } from '../../infra/supabase/functions/_shared/samples-binary.ts'
import { parseJsonBatch } from '../../infra/supabase/functions/_shared/samples-json.ts'
import { binaryBatch, type Record } from './edge-records.ts'

const PROFILE = '0b1f5a3e-7c2d-4e9f-8a6b-1c2d3e4f5a6b'
const GOOD = { profile_id: PROFILE, timestamp: '2026-11-20T12:00:00.000001Z', sequence: 7, data: 'AAEC' }
const EXPECTED = { profileId: PROFILE, timestamp: GOOD.timestamp, sequence: '7', payload: '\\x000102' }

const utf8 = (text: string) => new TextEncoder().encode(text)
const parse = (value: unknown) => parseJsonBatch(utf8(JSON.stringify(value)))

/** Why a sample is rejected in a batch whose other one is good. */
function reasonOf(sample: unknown): string {
  const { samples, rejected } = parse({ samples: [sample, GOOD] })
  expect(samples).toEqual([{ index: 1, ...EXPECTED }])
  return rejected[0]?.status === 'rejected' ? rejected[0].reason : 'not rejected'
}

function refusalOf(run: () => unknown): Pick<Refusal, 'status' | 'message'> {
  try {
    run()
  } catch (error) {
    if (error instanceof Refusal) return { status: error.status, message: error.message }
    throw error
  }
  throw new Error('not refused')
}

/** How many samples there were, or why it was refused; any other error is passed on. */
function outcomeOf(run: () => Batch): string {
  try {
    const { samples, rejected } = run()
    return `${samples.length + rejected.length} samples`
  } catch (error) {
    if (error instanceof Refusal) return error.message
    throw error
  }
}

describe('a JSON batch', () => {
  it('becomes what the database takes', () => {
    expect(parse({ samples: [GOOD] })).toEqual({ samples: [{ index: 0, ...EXPECTED }], rejected: [] })
    expect(parse({ samples: [] })).toEqual({ samples: [], rejected: [] })
  })

  it.each([
    ['2026-11-20T12:00:00Z', '2026-11-20T12:00:00.000000Z'],
    ['2026-11-20T12:00:00.5Z', '2026-11-20T12:00:00.500000Z'],
    ['2026-11-20T12:00:00.123456789Z', '2026-11-20T12:00:00.123456Z'],
    ['2026-11-20T23:30:00.000001-02:30', '2026-11-21T02:00:00.000001Z'],
    ['2024-02-29T00:00:00+00:00', '2024-02-29T00:00:00.000000Z'],
    ['1970-01-01T00:00:00Z', '1970-01-01T00:00:00.000000Z'],
    ['9999-12-31T23:59:59.999999Z', '9999-12-31T23:59:59.999999Z'],
  ])('keeps the microseconds of %s', (timestamp, expected) => {
    expect(parse({ samples: [{ ...GOOD, timestamp }] }).samples[0].timestamp).toBe(expected)
  })

  it.each([
    '2026-02-30T00:00:00Z',
    '2026-11-20T24:00:00Z',
    '2026-11-20T12:00:00',
    '2026-11-20',
    'now',
    'infinity',
    '1969-12-31T23:59:59Z',
    '9999-12-31T23:59:59-01:00',
    `2026-11-20T12:00:00.${'9'.repeat(20)}`,
    1_700_000_000,
    null,
  ])('rejects the timestamp %s', (timestamp) => {
    expect(reasonOf({ ...GOOD, timestamp })).toMatch(/^timestamp must be /)
  })

  it.each([
    [0, '0'],
    [-0, '0'],
    [-1, '-1'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'],
    ['9007199254740993', '9007199254740993'],
    ['9223372036854775807', '9223372036854775807'],
    ['-9223372036854775808', '-9223372036854775808'],
    ['0007', '7'],
  ])('takes the sequence %j exactly', (sequence, expected) => {
    expect(parse({ samples: [{ ...GOOD, sequence }] }).samples[0].sequence).toBe(expected)
  })

  it.each([
    '9223372036854775808',
    '-9223372036854775809',
    '99999999999999999999',
    '1e3',
    '0x10',
    ' 7',
    '',
    1.5,
    true,
    [],
  ])('rejects the sequence %j', (sequence) => {
    expect(reasonOf({ ...GOOD, sequence })).toMatch(/^sequence must /)
  })

  it.each(['1e400', '-1e400', '9007199254740993', '1e300'])(
    'rejects the number %s, which is not what was meant',
    (number) => {
      const { rejected } = parseJsonBatch(
        utf8(`{"samples":[${JSON.stringify({ ...GOOD, sequence: 0 }).replace(':0,', `:${number},`)}]}`),
      )
      expect(rejected).toEqual([{ index: 0, status: 'rejected', reason: expect.stringMatching(/^sequence must be/) }])
    },
  )

  it.each(['AAE', 'AAEC=', 'AA EC', 'AAE_', 'AAF=', '=', 'é', '\ud800', 5, null])('rejects the data %j', (data) => {
    expect(reasonOf({ ...GOOD, data })).toMatch(/^data must be /)
  })

  it.each([null, 5, 'x', [], {}, [GOOD], { profile_id: '\ud800' }])(
    'rejects the sample %j and keeps the other',
    (sample) => {
      expect(reasonOf(sample)).toMatch(/must be/)
    },
  )

  it('names everything that is wrong with a sample', () => {
    expect(reasonOf({ profile_id: 'x', timestamp: 'x', sequence: 'x', data: 'x' })).toMatch(
      /^profile_id must be .*; timestamp must be .*; sequence must be .*; data must be /,
    )
  })

  it('does not take values from __proto__, nor leave any there', () => {
    const body = `{"__proto__":{"samples":[]},"samples":[{"__proto__":${JSON.stringify(GOOD)}},${JSON.stringify(GOOD)}]}`
    const { samples, rejected } = parseJsonBatch(utf8(body))
    expect(samples).toEqual([{ index: 1, ...EXPECTED }])
    expect(rejected).toHaveLength(1)
    expect(refusalOf(() => parseJsonBatch(utf8('{"__proto__":{"samples":[]}}')))).toMatchObject({ status: 400 })
    expect(Object.keys(Object.prototype)).toEqual([])
  })

  it.each([
    ['', /not JSON/],
    ['{"samples": [NaN]}', /not JSON/],
    ['{"samples": [Infinity]}', /not JSON/],
    ['{"samples": [', /not JSON \(end of JSON input\)\./],
    ['{"samples": []', /not JSON \(at position 14/],
    ['{"samples": [}', /not JSON\./],
    ['\u0000', /not JSON/],
    ['[]', /The body must be \{"samples"/],
    ['null', /The body must be/],
    ['{}', /samples must be a list/],
    ['{"samples": {"length": 3}}', /samples must be a list/],
  ])('%j is no batch', (text, message) => {
    expect(refusalOf(() => parseJsonBatch(utf8(text)))).toEqual({
      status: 400,
      message: expect.stringMatching(message),
    })
  })

  it('that is not UTF-8 is refused', () => {
    const body = utf8('{"samples":["é"]}').slice(0, -4)
    expect(refusalOf(() => parseJsonBatch(Uint8Array.of(...body, 0xff, 0x22, 0x5d, 0x7d)))).toEqual({
      status: 400,
      message: 'The body is not UTF-8.',
    })
  })

  it('never repeats the body in a refusal', () => {
    for (const text of ['secret', '{"device_token": secret}', '{"device_token": "secret" "secret"}', '["secret'])
      expect(refusalOf(() => parseJson(utf8(text))).message).not.toContain('secret')
  })

  it('of more samples than are taken is refused, whether they are good or not', () => {
    const most = JSON.stringify({ samples: Array.from({ length: MOST_SAMPLES }, () => GOOD) })
    expect(parseJsonBatch(utf8(most)).samples).toHaveLength(MOST_SAMPLES)
    expect(refusalOf(() => parse({ samples: Array.from({ length: MOST_SAMPLES + 1 }, () => 0) }))).toEqual({
      status: 413,
      message: 'A batch has at most 10000 samples; send it in parts.',
    })
    // The objects would take 264 MB once parsed.
    for (const element of ['0,', '{},', '{"a":0},', '"a",']) {
      const body = utf8(`{"samples":[${element.repeat(2_000_000)}0]}`)
      const message = 'The body holds more than 200000 values; send it in parts.'
      expect(refusalOf(() => parseJsonBatch(body))).toEqual({ status: 413, message })
    }
  })

  it('is refused for its nesting before it is parsed', () => {
    for (const [open, close] of ['[]', ['{"a":', '}']]) {
      const deep = (depth: number) => utf8(`{"samples":[{"x":${open.repeat(depth)}0${close.repeat(depth)}}]}`)
      expect(parseJsonBatch(deep(13)).rejected).toHaveLength(1)
      expect(refusalOf(() => parseJsonBatch(deep(14)))).toMatchObject({
        status: 400,
        message: expect.stringMatching(/nested/),
      })
      expect(refusalOf(() => parseJsonBatch(deep(1_000_000)))).toMatchObject({ status: 400 })
    }
    // Brackets within a string are text, also after a quote that is escaped.
    expect(parse({ samples: [{ ...GOOD, note: `\\"${'[{,'.repeat(300_000)}` }] }).samples).toHaveLength(1)
  })

  it('of anything at all gives a batch or a refusal', () => {
    const junk = fc.oneof(fc.jsonValue(), fc.string({ unit: 'binary' }))
    const fieldOf = (good: unknown) => fc.oneof({ weight: 4, arbitrary: fc.constant(good) }, junk)
    const sample = fc.oneof(
      fc.record({
        profile_id: fieldOf(PROFILE),
        timestamp: fieldOf(GOOD.timestamp),
        sequence: fieldOf(GOOD.sequence),
        data: fieldOf(GOOD.data),
      }),
      junk,
    )
    fc.assert(
      fc.property(fc.array(sample), (given) => {
        const { samples, rejected } = parse({ samples: given })
        const indices = [...samples, ...rejected].map(({ index }) => index)
        expect(indices.toSorted((a, b) => a - b)).toEqual([...given.keys()])
        for (const { profileId, sequence, timestamp, payload } of samples) {
          expect([profileId, timestamp]).toEqual([PROFILE, GOOD.timestamp])
          expect(`${sequence} ${payload}`).toMatch(/^-?\d+ \\x([0-9a-f]{2})*$/)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('of bytes at random gives a batch or a refusal', () => {
    const bytes = fc.oneof(fc.uint8Array(), fc.string().map(utf8), fc.json().map(utf8))
    fc.assert(
      fc.property(bytes, (body) => {
        expect(outcomeOf(() => parseJsonBatch(body))).toMatch(/^\d+ samples$|\.$/)
      }),
      { numRuns: 2000 },
    )
  })
})

const RECORD: fc.Arbitrary<Record> = fc.record({
  profileId: fc.uuid(),
  microseconds: fc.bigInt(0n, 253_402_300_799_999_999n),
  sequence: fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n),
  payload: fc.uint8Array({ maxLength: 80 }),
})

describe('a binary batch', () => {
  it('becomes what was recorded, and the same as its JSON', () => {
    fc.assert(
      fc.property(fc.array(RECORD), (records) => {
        const { samples, rejected } = parseBinaryBatch(binaryBatch(records))
        expect(rejected).toEqual([])
        const json = records.map(({ profileId, microseconds, sequence, payload }) => ({
          profile_id: profileId,
          timestamp: `${new Date(Number(microseconds / 1000n)).toISOString().slice(0, -1)}${String(microseconds % 1000n).padStart(3, '0')}Z`,
          sequence: String(sequence),
          data: Buffer.from(payload).toString('base64'),
        }))
        expect(samples).toEqual(parse({ samples: json }).samples)
        expect(samples).toHaveLength(records.length)
      }),
    )
  })

  it('cut anywhere but between records is refused with the place', () => {
    const records = [3, 0, 40].map((length, i) => ({
      profileId: PROFILE,
      microseconds: 1_700_000_000_000_000n,
      sequence: BigInt(i),
      payload: new Uint8Array(length),
    }))
    const whole = binaryBatch(records)
    const ends = [0, 39, 75, whole.length]
    for (let length = 0; length <= whole.length; length++) {
      const record = ends.findLastIndex((end) => end <= length)
      expect(outcomeOf(() => parseBinaryBatch(whole.slice(0, length)))).toMatch(
        ends[record] === length
          ? `${record} samples`
          : new RegExp(`^The body ends within .* bytes: record ${record}, which begins at byte ${ends[record]}\\.$`),
      )
    }
  })

  it('is read where it lies in a larger buffer', () => {
    const whole = binaryBatch([{ profileId: PROFILE, microseconds: 1n, sequence: 2n, payload: Uint8Array.of(255) }])
    const larger = new Uint8Array(whole.length + 20)
    larger.set(whole, 7)
    expect(parseBinaryBatch(larger.subarray(7, 7 + whole.length))).toEqual(parseBinaryBatch(whole))
  })

  it.each([-1n, -(2n ** 63n), 253_402_300_800_000_000n, 2n ** 63n - 1n])('rejects %d microseconds', (microseconds) => {
    const good = { profileId: PROFILE, microseconds: 5n, sequence: 0n, payload: Uint8Array.of(1) }
    const { samples, rejected } = parseBinaryBatch(binaryBatch([{ ...good, microseconds }, good]))
    expect(samples.map(({ index }) => index)).toEqual([1])
    expect(rejected).toEqual([{ index: 0, status: 'rejected', reason: 'timestamp must be from 1970 to 9999' }])
  })

  it('of more samples than are taken is refused', () => {
    const record = { profileId: PROFILE, microseconds: 5n, sequence: 0n, payload: new Uint8Array(0) }
    const records = Array.from({ length: MOST_SAMPLES }, () => record)
    expect(parseBinaryBatch(binaryBatch(records)).samples).toHaveLength(MOST_SAMPLES)
    expect(refusalOf(() => parseBinaryBatch(binaryBatch([...records, record]))).status).toBe(413)
  })

  it('of bytes at random gives a batch or a refusal', () => {
    const body = fc.uint8Array({ maxLength: 300 }).map((bytes) => new Uint8Array(bytes))
    fc.assert(
      fc.property(body, (bytes) => {
        expect(outcomeOf(() => parseBinaryBatch(bytes))).toMatch(/^\d+ samples$|\.$/)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('the report', () => {
  const sample = (index: number) => ({ index, ...EXPECTED })

  it('says of each sample, at its place in what was sent, what became of it', () => {
    const batch = {
      samples: [sample(0), sample(2), sample(3)],
      rejected: [{ index: 1, status: 'rejected' as const, reason: 'shape' }],
    }
    const answered = [
      { index: 0, status: 'accepted', reason: null },
      { index: 1, status: 'duplicate', reason: null },
      { index: 2, status: 'rejected', reason: 'size' },
    ]
    expect(reportBatch(batch, answered)).toEqual({
      accepted: 1,
      duplicate: 1,
      rejected: 2,
      results: [
        { index: 0, status: 'accepted' },
        { index: 1, status: 'rejected', reason: 'shape' },
        { index: 2, status: 'duplicate' },
        { index: 3, status: 'rejected', reason: 'size' },
      ],
    })
  })

  it('is not made from an answer that leaves samples out', () => {
    const batch = { samples: [sample(0), sample(1)], rejected: [] }
    expect(() => reportBatch(batch, [{ index: 0, status: 'accepted', reason: null }])).toThrow(
      '1 rows answer 2 samples',
    )
    expect(() => reportBatch(batch, { code: 'x' })).toThrow('expected array')
  })
})
