// Field numbers as in the .proto files of open-telemetry/opentelemetry-proto, v1: the receiver shares no code with the sender.

type Scalar = 'string' | 'hex' | 'varint' | 'fixed64' | 'double' | 'doubles' | 'fixed64s'
interface Message {
  readonly [field: number]: readonly [name: string, type: Scalar | Message | readonly [Message]]
}

const ANY: Message = { 1: ['string', 'string'], 2: ['bool', 'varint'], 3: ['int', 'varint'], 4: ['double', 'double'] }
const ATTRIBUTE: Message = { 1: ['key', 'string'], 2: ['value', ANY] }
const RESOURCE: Message = { 1: ['attributes', [ATTRIBUTE]] }
const SPAN: Message = {
  1: ['traceId', 'hex'],
  2: ['spanId', 'hex'],
  4: ['parentSpanId', 'hex'],
  5: ['name', 'string'],
  6: ['kind', 'varint'],
  7: ['start', 'fixed64'],
  8: ['end', 'fixed64'],
  9: ['attributes', [ATTRIBUTE]],
  15: ['status', { 2: ['message', 'string'], 3: ['code', 'varint'] }],
}
const NUMBER_POINT: Message = { 4: ['value', 'double'], 6: ['value', 'fixed64'], 7: ['attributes', [ATTRIBUTE]] }
const HISTOGRAM_POINT: Message = {
  4: ['count', 'fixed64'],
  5: ['sum', 'double'],
  6: ['buckets', 'fixed64s'],
  7: ['bounds', 'doubles'],
  9: ['attributes', [ATTRIBUTE]],
}
const METRIC: Message = {
  1: ['name', 'string'],
  3: ['unit', 'string'],
  5: ['gauge', { 1: ['points', [NUMBER_POINT]] }],
  7: ['sum', { 1: ['points', [NUMBER_POINT]], 2: ['temporality', 'varint'] }],
  9: ['histogram', { 1: ['points', [HISTOGRAM_POINT]], 2: ['temporality', 'varint'] }],
}
const TRACES: Message = { 1: ['resources', [{ 1: ['resource', RESOURCE], 2: ['scopes', [{ 2: ['spans', [SPAN]] }]] }]] }
const METRICS: Message = {
  1: ['resources', [{ 1: ['resource', RESOURCE], 2: ['scopes', [{ 2: ['metrics', [METRIC]] }]] }]],
}

export type Attributes = Record<string, string | number>

export interface ReceivedSpan {
  readonly resource: Attributes
  readonly traceId: string
  readonly spanId: string
  /** Empty for a root. */
  readonly parentSpanId: string
  readonly name: string
  readonly attributes: Attributes
  readonly status: { message?: string; code?: number }
  /** Nanoseconds since 1970. */
  readonly start: number
  readonly end: number
}

export interface ReceivedPoint {
  readonly resource: Attributes
  readonly metric: string
  readonly unit: string
  readonly kind: 'gauge' | 'sum' | 'histogram'
  /** 1: delta, 2: cumulative. */
  readonly temporality: number | undefined
  readonly attributes: Attributes
  readonly value?: number
  readonly count?: number
  readonly sum?: number
}

export function decodeSpans(body: Buffer): ReceivedSpan[] {
  return decode(body, TRACES).resources.flatMap(({ resource, scopes }: Decoded) =>
    scopes.flatMap(({ spans }: Decoded) =>
      spans.map((span: Decoded) => ({
        parentSpanId: '',
        status: {},
        ...span,
        attributes: plain(span.attributes),
        resource: plain(resource.attributes),
      })),
    ),
  )
}

export function decodePoints(body: Buffer): ReceivedPoint[] {
  return decode(body, METRICS).resources.flatMap(({ resource, scopes }: Decoded) =>
    scopes.flatMap(({ metrics }: Decoded) =>
      metrics.flatMap((metric: Decoded) => {
        const kind = (['gauge', 'sum', 'histogram'] as const).find((name) => metric[name] !== undefined)!
        const { points, temporality } = metric[kind]
        return points.map((point: Decoded) => ({
          ...point,
          attributes: plain(point.attributes),
          resource: plain(resource.attributes),
          metric: metric.name,
          unit: metric.unit,
          kind,
          temporality,
        }))
      }),
    ),
  )
}

// oxlint-disable-next-line typescript/no-explicit-any -- the shape is the message's
type Decoded = any

function plain(attributes: { key: string; value: Record<string, string | number> }[] = []): Attributes {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
}

/** The fields that `message` names; the others are passed over. Wire format: protobuf.dev/programming-guides/encoding. */
function decode(body: Buffer, message: Message): Decoded {
  const decoded: Decoded = {}
  for (const [name, type] of Object.values(message)) if (Array.isArray(type)) decoded[name] = []
  let at = 0
  const varint = () => {
    let value = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = body[at++]
      value += (byte & 127) * scale
      if (byte < 128) return value
    }
  }
  while (at < body.length) {
    const tag = varint()
    const field = message[Math.floor(tag / 8)]
    const wire = tag % 8
    const size = wire === 2 ? varint() : wire === 1 ? 8 : wire === 5 ? 4 : 0
    const value = wire === 0 ? varint() : undefined
    const from = at
    at += size
    if (at > body.length) throw new Error(`a field of ${size} bytes at ${from} of ${body.length}`)
    if (field === undefined) continue
    const [name, type] = field
    const bytes = body.subarray(from, at)
    if (Array.isArray(type)) decoded[name].push(decode(bytes, type[0]))
    else decoded[name] = typeof type === 'object' ? decode(bytes, type as Message) : (value ?? scalar(bytes, type))
  }
  return decoded
}

function scalar(bytes: Buffer, type: unknown): unknown {
  const eights = Array.from({ length: bytes.length / 8 }, (_, index) => index * 8)
  if (type === 'string') return bytes.toString('utf8')
  if (type === 'hex') return bytes.toString('hex')
  if (type === 'double') return bytes.readDoubleLE()
  if (type === 'fixed64') return Number(bytes.readBigInt64LE())
  return eights.map((at) => (type === 'doubles' ? bytes.readDoubleLE(at) : Number(bytes.readBigInt64LE(at))))
}
