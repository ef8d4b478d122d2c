import { expect, it } from 'vitest'
import { drawWalk } from '../../pipeline/report/figure-walks.ts'

const START = Date.UTC(2026, 0, 5, 13)
const iso = (seconds: number) => new Date(START + 1000 * seconds).toISOString()

/** The labels under a walk of so many buckets. */
function labelsOf(buckets: number, bucketSeconds: number, width: number): string[] {
  const trace = Array.from({ length: buckets }, (_, i) => ({
    end: iso((i + 1) * bucketSeconds),
    seconds: i + 1,
    netvar: i,
    netvar_95: 10,
    pair: i,
    pair_95: 10,
  }))
  const network = { trace, control: { reason: 'none' }, bucket_seconds: bucketSeconds }
  const { html } = drawWalk(network, 'pair', {
    from: iso(-6 * 3600),
    to: iso(buckets * bucketSeconds),
    width,
    height: 300,
  })
  return [...html.matchAll(/>(\d\d:\d\d(?::\d\d)?)</g)].map(([, label]) => label)
}

it.each([880, 344])('no label under a walk is there twice, however short it is, at %i px', (width) => {
  for (const [buckets, seconds] of [...[1, 2, 3, 5, 9, 15, 61].map((n) => [n, 60]), [20, 1], [90, 1]]) {
    const labels = labelsOf(buckets, seconds, width)
    expect(labels.length, `${buckets} of ${seconds} s`).toBeGreaterThan(1)
    expect(new Set(labels).size, labels.join(' ')).toBe(labels.length)
    // One more than there are steps.
    expect(labels.length, labels.join(' ')).toBeLessThanOrEqual(width < 500 ? 5 : 9)
  }
})
