import { areaY, axisX, axisY, dot, gridY, line, type Markish, rectY, ruleY, text } from '@observablehq/plot'
import { chiSquareQuantile } from '../chi-square-quantile.ts'
import { formatFixed, formatInteger } from './format.ts'
import type { Html } from './html.ts'
import { drawSvg } from './plot.ts'
import type { TestsPart } from './report-data.ts'

/** Half of a wide page, and all of a phone: texts keep their size on both. */
export type FigureSize = 'wide' | 'narrow'
const MARGINS = { marginLeft: 48, marginRight: 16, marginTop: 16, marginBottom: 44 }
const FRAMES = { wide: { width: 420, height: 300, ...MARGINS }, narrow: { width: 336, height: 260, ...MARGINS } }
const GRID = { stroke: 'var(--line)', strokeOpacity: 1 }
/** Scores beyond are drawn at the edge, as triangles. */
export const MOST_SCORE = 6
/** Expected scores are drawn up to here: of a thousand devices the largest is 3.3. */
const WIDEST = 3.5
/** Scores from here on are marked; the caption names them: a name in the figure would lie on other devices' points. */
export const MARKED_FROM = 3.5

/** P-values in bins, beside what uniform ones would give: their expectation and the 99 % range of a bin's count. */
export function drawHistogram({ histogram, p_values: total }: TestsPart, size: FigureSize): Html {
  const share = 1 / histogram.length
  const expected = total * share
  const margin = 2.5758 * Math.sqrt(total * share * (1 - share))
  const bars = histogram.map((count, i) => ({ from: i * share, to: (i + 1) * share, count }))
  const most = histogram.reduce((a, b) => Math.max(a, b), expected + margin)
  return drawSvg(
    `p-histogram-${size}`,
    {
      title: 'Histogram of the P-values',
      description: `Twenty bins of ${formatInteger(total)} P-values; uniform ones would give ${formatFixed(expected, 0)} in each. The bins hold ${histogram.join(', ')}.`,
    },
    {
      ...FRAMES[size],
      x: { domain: [0, 1] },
      y: { domain: [0, most * 1.05] },
      marks: [
        gridY({ ...GRID, ticks: 4 }),
        rectY(bars, {
          x1: 'from',
          x2: 'to',
          y: 'count',
          fill: 'var(--accent)',
          fillOpacity: 0.55,
          insetLeft: 0.5,
          insetRight: 0.5,
        }),
        ruleY([expected - margin, expected + margin], { stroke: 'var(--muted)', strokeDasharray: '4 3' }),
        ruleY([expected], { stroke: 'var(--text)' }),
        ruleY([0], { stroke: 'var(--muted)' }),
        axisX({ label: 'P-value', labelAnchor: 'center', labelArrow: 'none', ticks: 5, tickSize: 4 }),
        axisY({ label: 'how many', labelArrow: 'none', ticks: 4, tickSize: 0 }),
      ],
    },
  )
}

/** The sorted P-values against those of uniform ones, both as -log10: what is rare is at the right. */
export function drawQuantiles({ qq, p_values: total }: TestsPart, size: FigureSize): Html {
  // Below the smallest double a P-value is 0 here; the edge of the figure stands for it.
  const rarity = (p: number) => -Math.log10(Math.max(p, 1e-300))
  const points = qq.map((point) => ({
    expected: rarity(point.expected),
    observed: rarity(point.observed),
    low: rarity(point.high),
    high: rarity(point.low),
  }))
  const end = Math.max(1, ...points.map(({ expected }) => expected))
  const top = Math.min(
    Math.max(2 * end, ...points.map(({ high }) => high)),
    Math.max(end, ...points.map((p) => Math.max(p.observed, p.high))),
  )
  const beyond = points.filter(({ observed }) => observed > top).length
  return drawSvg(
    `p-quantiles-${size}`,
    {
      title: 'QQ plot of the P-values',
      description: `${formatInteger(total)} sorted P-values against uniform ones. The smallest is ${qq[0]?.observed.toPrecision(2) ?? 'none'}, where ${qq[0]?.expected.toPrecision(2) ?? 'none'} is expected.`,
    },
    {
      ...FRAMES[size],
      x: { domain: [0, end * 1.02] },
      y: { domain: [0, top * 1.02], clamp: true },
      marks: [
        gridY({ ...GRID, ticks: 5 }),
        areaY(points, { x: 'expected', y1: 'low', y2: 'high', fill: 'var(--accent)', fillOpacity: 0.12 }),
        line(
          [
            [0, 0],
            [end, end],
          ],
          { stroke: 'var(--muted)' },
        ),
        dot(
          points.filter(({ observed }) => observed <= top),
          { x: 'expected', y: 'observed', r: 2.2, fill: 'var(--accent)' },
        ),
        ...(beyond > 0
          ? [text([`${beyond} beyond the edge ↑`], { frameAnchor: 'top-right', fill: 'var(--notice)', dx: -2, dy: 2 })]
          : []),
        axisX({ label: 'expected, −log₁₀ P', labelAnchor: 'center', labelArrow: 'none', ticks: 5, tickSize: 4 }),
        axisY({ label: 'observed, −log₁₀ P', labelArrow: 'none', ticks: 5, tickSize: 0 }),
      ],
    },
  )
}

/** One score a device. */
export interface DeviceScore {
  readonly id: string
  readonly name: string
  readonly z: number
}

export interface ScorePoint extends DeviceScore {
  /** Of the score of this rank among as many standard normals. */
  readonly expected: number
}

/** The scores in order. */
export function scorePoints(scores: readonly DeviceScore[]): ScorePoint[] {
  return scores
    .toSorted((a, b) => a.z - b.z)
    .map((score, i) => ({ ...score, expected: normalQuantile((i + 0.5) / scores.length) }))
}

/** Those that stand out of the figure, the furthest first. */
export function markedScores(points: readonly ScorePoint[]): ScorePoint[] {
  return points.filter(({ z }) => Math.abs(z) >= MARKED_FROM).toSorted((a, b) => Math.abs(b.z) - Math.abs(a.z))
}

/** Scores of the devices in order, against those of as many standard normals. `id` must be of this drawing alone. */
export function drawScores(id: string, title: string, points: readonly ScorePoint[], size: FigureSize): Html {
  const shown = points.map((point) => ({ ...point, at: Math.max(-MOST_SCORE, Math.min(MOST_SCORE, point.z)) }))
  const isMarked = (point: ScorePoint) => Math.abs(point.z) >= MARKED_FROM
  const isBeyond = (point: ScorePoint) => Math.abs(point.z) > MOST_SCORE
  const place = { x: 'expected', y: 'at' } as const
  const notice = { ...place, fill: 'var(--notice)', stroke: 'var(--paper)', strokeWidth: 0.75 } as const
  const [low, high] = [points[0]?.z ?? 0, points.at(-1)?.z ?? 0]
  const reach = Math.max(3, ...shown.map(({ at }) => Math.abs(at))) * 1.08
  const edge = Math.min(reach, WIDEST)
  const marks: Markish[] = [
    gridY({ ...GRID, ticks: 6 }),
    line(
      [
        [-edge, -edge],
        [edge, edge],
      ],
      { stroke: 'var(--muted)' },
    ),
    dot(
      shown.filter((point) => !isMarked(point)),
      { ...place, r: points.length > 200 ? 2 : 3.2, fill: 'var(--accent)', fillOpacity: 0.75 },
    ),
    dot(
      shown.filter((point) => isMarked(point) && !isBeyond(point)),
      { ...notice, r: 4, symbol: 'diamond' },
    ),
    dot(
      shown.filter((point) => isBeyond(point)),
      { ...notice, r: 5, symbol: 'triangle', rotate: ({ z }: ScorePoint) => (z > 0 ? 0 : 180) },
    ),
    axisX({
      label: 'z expected of as many ideal devices',
      labelAnchor: 'center',
      labelArrow: 'none',
      ticks: 7,
      tickSize: 4,
    }),
    axisY({ label: 'z', labelArrow: 'none', ticks: 6, tickSize: 0 }),
  ]
  return drawSvg(
    id,
    { title, description: `${points.length} devices, z from ${formatFixed(low, 2)} to ${formatFixed(high, 2)}.` },
    { ...FRAMES[size], x: { domain: [-WIDEST, WIDEST] }, y: { domain: [-reach, reach] }, marks },
  )
}

/** Of the standard normal, 0 < p < 1. */
function normalQuantile(p: number): number {
  return p === 0.5 ? 0 : Math.sign(p - 0.5) * Math.sqrt(chiSquareQuantile(Math.abs(2 * p - 1), 1))
}
