import { areaY, axisX, axisY, gridY, lineY, type Markish, ruleY, text } from '@observablehq/plot'
import { formatFixed } from './format.ts'
import type { Html } from './html.ts'
import { drawSvg } from './plot.ts'
import type { NetworkPart } from './report-data.ts'

type Walk = 'pair' | 'netvar'

const TITLES: Record<Walk, string> = { pair: 'Walk of the pair products', netvar: 'Walk of the netvar' }

/** Seconds between the labels of short walks. */
const TICK_SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900]

interface Step {
  readonly at: Date
  readonly value: number
}

/** Cumulative deviation of the network over the window, its pointwise envelope, and the control. */
export function drawWalk(
  network: Pick<NetworkPart, 'trace' | 'control' | 'bucket_seconds'>,
  kind: Walk,
  frame: { from: string; to: string; width: number; height: number },
): Html {
  const domain = shownTimes(network, frame)
  const first = network.trace[0] ? Date.parse(network.trace[0].end) - 1000 * (network.bucket_seconds ?? 0) : 0
  const start = { at: new Date(Math.max(first, domain[0].getTime())), value: 0 }
  const walk = [start, ...network.trace.map((point) => ({ at: new Date(point.end), value: point[kind] }))]
  const control = (network.control.trace ?? []).map((point) => ({ at: new Date(point.end), value: point[kind] }))
  const envelope = [
    start,
    ...network.trace.map((point) => ({
      at: new Date(point.end),
      value: kind === 'pair' ? point.pair_95 : point.netvar_95,
    })),
  ]
  const [last, lastControl, edge] = [walk.at(-1)!, control.at(-1), envelope.at(-1)!]
  const isNarrow = frame.width < 500
  const mostTicks = isNarrow ? 4 : 8
  const hasSeconds = network.bucket_seconds === 1
  const seconds = (domain[1].getTime() - domain[0].getTime()) / 1000
  const apart = TICK_SECONDS.find((one) => one >= (hasSeconds ? 1 : 60) && seconds / one <= mostTicks)
  const labels = spread(
    [
      { at: last.at, value: last.value, label: 'network', fill: 'var(--accent)' },
      ...(lastControl ? [{ ...lastControl, label: 'control', fill: 'var(--control)' }] : []),
      { ...edge, label: '95 %', fill: 'var(--muted)' },
    ],
    [walk, control, envelope, ...(kind === 'pair' ? [envelope.map(negative)] : [])].flat(),
    frame.height,
  )
  const description =
    `It ends at ${formatFixed(last.value, 1)} after ${network.trace.at(-1)?.seconds ?? 0} seconds; the 95 % envelope there is ` +
    `${kind === 'pair' ? '± ' : ''}${formatFixed(edge.value, 1)}` +
    (lastControl ? `, and the pseudo-random control ends at ${formatFixed(lastControl.value, 1)}.` : '.')
  const marks: Markish[] = [
    gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: 5 }),
    areaY(envelope, {
      x: 'at',
      y1: kind === 'pair' ? (step: Step) => -step.value : () => 0,
      y2: 'value',
      fill: 'var(--accent)',
      fillOpacity: 0.08,
    }),
    ...(kind === 'pair' ? [envelope, envelope.map(negative)] : [envelope]).map((line) =>
      lineY(line, { x: 'at', y: 'value', stroke: 'var(--muted)', strokeWidth: 1, strokeDasharray: '4 3' }),
    ),
    ruleY([0], { stroke: 'var(--muted)' }),
    lineY([start, ...control], {
      x: 'at',
      y: 'value',
      stroke: 'var(--control)',
      strokeWidth: 1.25,
      strokeDasharray: '1 2',
    }),
    lineY(walk, { x: 'at', y: 'value', stroke: 'var(--accent)', strokeWidth: 2 }),
    axisX({
      // Whole seconds or minutes, so that no label is there twice, and no more of them than there is room for.
      ticks: apart === undefined ? mostTicks : apart < 60 ? `${apart} seconds` : `${apart / 60} minutes`,
      tickSize: 4,
      label: null,
      tickFormat: timeLabel(hasSeconds),
    }),
    axisY({ ticks: 5, tickSize: 0, label: null }),
    text(labels, {
      x: 'at',
      y: 'value',
      text: 'label',
      fill: 'fill',
      textAnchor: 'start',
      dx: 6,
      stroke: 'var(--paper)',
      strokeWidth: 4,
    }),
  ]
  return drawSvg(
    `walk-${kind}-${frame.width}`,
    { title: TITLES[kind], description },
    {
      width: frame.width,
      height: frame.height,
      marginLeft: isNarrow ? 48 : 56,
      marginRight: 60,
      marginTop: 12,
      marginBottom: 36,
      x: { type: 'utc', domain },
      y: { nice: true },
      color: { type: 'identity' },
      marks,
    },
  )
}

/** The window; if most of it is empty the hours that are not, or of minutes the minutes. */
function shownTimes(
  network: Pick<NetworkPart, 'trace' | 'bucket_seconds'>,
  frame: { from: string; to: string },
): [Date, Date] {
  const [from, to] = [Date.parse(frame.from), Date.parse(frame.to)]
  const bucket = 1000 * (network.bucket_seconds ?? 60)
  const [first, last] = [network.trace[0], network.trace.at(-1)].map((point) => (point ? Date.parse(point.end) : to))
  if (last - first > (to - from) / 2) return [new Date(from), new Date(to)]
  const unit = last - first > 3_600_000 ? 3_600_000 : 60_000
  return [new Date(Math.floor((first - bucket) / unit) * unit), new Date(Math.ceil(last / unit) * unit)]
}

/** 15:04, or with seconds where these are shown; the day beneath the first, and at midnight. */
function timeLabel(hasSeconds: boolean): (time: Date, place: number) => string {
  return (time, place) => {
    const iso = time.toISOString()
    const clock = iso.slice(11, hasSeconds ? 19 : 16)
    return place === 0 || clock.startsWith('00:00')
      ? `${clock}
${iso.slice(0, 10)}`
      : clock
  }
}

function negative(step: Step): Step {
  return { at: step.at, value: -step.value }
}

const LABEL_HEIGHT = 15

/** Labels far enough apart to be read, in the order of their values. */
function spread<Label extends Step>(labels: readonly Label[], drawn: readonly Step[], height: number): Label[] {
  const values = drawn.map(({ value }) => value)
  const [least, most] = [values.reduce((a, b) => Math.min(a, b), 0), values.reduce((a, b) => Math.max(a, b), 0)]
  const apart = ((most - least) * LABEL_HEIGHT) / (height - 48)
  let below = -Infinity
  return labels
    .toSorted((a, b) => a.value - b.value)
    .map((label) => {
      below = Math.max(label.value, below + apart)
      return { ...label, value: below }
    })
}
