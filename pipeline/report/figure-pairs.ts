import { axisX, axisY, cell, gridY, ruleX, ruleY, text } from '@observablehq/plot'
import { chiSquareQuantile } from '../chi-square-quantile.ts'
import { formatFixed, shortName } from './format.ts'
import type { Html } from './html.ts'
import { drawSvg } from './plot.ts'
import type { LagProfile, PairRow } from './report-data.ts'

/** r in standard errors, r sqrt(n), in nine classes; the page's style has a colour for each. */
export const HEAT_EDGES = [-4, -3, -2, -1, 1, 2, 3, 4] as const
/** At or below this q-value a cell is marked. */
export const MARKED_Q = 0.05

/** Each pair's correlation as a colour, rows and columns in the order of `devices`. */
export function drawHeatMap(
  rows: readonly PairRow[],
  devices: readonly { id: string; name: string }[],
  width: number,
): Html {
  const place = new Map(devices.map(({ id }, i) => [id, i]))
  const nameAt = (i: number) => shortName(devices[i].name)
  const cells = rows.flatMap((pair) => {
    const [a, b] = [place.get(pair.a), place.get(pair.b)]
    if (a === undefined || b === undefined || pair.r === null) return []
    const error = pair.r * Math.sqrt(pair.seconds)
    const level = HEAT_EDGES.filter((edge) => error >= edge).length
    const marked = pair.q !== null && pair.q <= MARKED_Q
    return [{ column: Math.min(a, b), row: Math.max(a, b), fill: `var(--heat-${level})`, marked }]
  })
  const named = width > 500 || devices.length <= 12
  const margin = named ? 124 : 12
  const side = width - margin - 12
  const height = Math.round(Math.min(side, 46 * devices.length)) + margin + 12
  const domain = devices.map((_, i) => i)
  const fontSize = Math.min(12, Math.max(7, (side / devices.length) * 0.8))
  // In ems: wide letters are cut before they leave the margin.
  const label = {
    label: null,
    tickSize: 0,
    fontSize,
    lineWidth: (margin - 12) / fontSize,
    textOverflow: 'ellipsis',
  } as const
  const strongest = cells.filter(({ marked }) => marked).length
  return drawSvg(
    `heat-${width}`,
    {
      title: 'Heat map of the pairs',
      description: `${cells.length} pairs of ${devices.length} devices; ${strongest} of them have a q-value of ${MARKED_Q} or less.`,
    },
    {
      width,
      height,
      marginLeft: margin,
      marginBottom: margin,
      marginTop: 12,
      marginRight: 12,
      x: { type: 'band', domain: domain.slice(0, -1), padding: 0.06 },
      y: { type: 'band', domain: domain.slice(1), padding: 0.06 },
      color: { type: 'identity' },
      marks: [
        cell(cells, { x: 'column', y: 'row', fill: 'fill' }),
        text(
          cells.filter(({ marked }) => marked),
          {
            x: 'column',
            y: 'row',
            text: () => '×',
            fill: 'var(--text)',
            stroke: 'var(--paper)',
            fontSize: Math.max(9, fontSize),
          },
        ),
        ...(named
          ? [
              axisX({ ...label, tickFormat: nameAt, tickRotate: -90, textAnchor: 'end' }),
              axisY({ ...label, tickFormat: nameAt }),
            ]
          : []),
      ],
    },
  )
}

/** r at each lag in standard errors; dashed, what the largest of them all stays within with probability .95 (Sidak). */
export function drawLags(profile: LagProfile, place: number): Html {
  const points = profile.lags.map((lag, i) => ({ lag, z: profile.z[i] })).filter(({ z }) => z !== null)
  const limit = Math.sqrt(chiSquareQuantile(0.95 ** (1 / Math.max(1, points.length)), 1))
  const reach = Math.max(limit, ...points.map(({ z }) => Math.abs(z ?? 0))) * 1.1
  const best = points.filter(({ lag }) => lag === profile.best_lag)
  return drawSvg(
    `lags-${place}`,
    {
      title: 'Correlation at each lag',
      description: `The largest is ${formatFixed(best[0]?.z, 2)} at a lag of ${profile.best_lag} s; the 95 % limit is ${formatFixed(limit, 2)}.`,
    },
    {
      width: 280,
      height: 170,
      marginLeft: 34,
      marginRight: 8,
      marginTop: 10,
      marginBottom: 38,
      x: { domain: [-21, 21] },
      y: { domain: [-reach, reach] },
      marks: [
        gridY({ stroke: 'var(--line)', strokeOpacity: 1, ticks: 4 }),
        ruleY([-limit, limit], { stroke: 'var(--muted)', strokeDasharray: '4 3' }),
        ruleY([0], { stroke: 'var(--muted)' }),
        ruleX(points, { x: 'lag', y1: 0, y2: 'z', stroke: 'var(--accent)', strokeWidth: 3 }),
        ruleX(best, { x: 'lag', y1: 0, y2: 'z', stroke: 'var(--notice)', strokeWidth: 3 }),
        axisX({
          label: 'lag in seconds',
          labelAnchor: 'center',
          labelArrow: 'none',
          ticks: [-20, -10, 0, 10, 20],
          tickSize: 4,
        }),
        axisY({ label: null, ticks: 4, tickSize: 0 }),
      ],
    },
  )
}
