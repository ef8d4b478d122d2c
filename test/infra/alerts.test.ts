import { readFileSync } from 'node:fs'
import type { Meter, MetricOptions } from '@opentelemetry/api'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { createInstruments } from '../../infra/otlp-metrics.ts'
import { QUEUE_NAMES } from '../../jobs/queues.ts'

const page = readFileSync(new URL('../../docs/operations.md', import.meta.url), 'utf8')
const block = (language: string) => new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, 's').exec(page)![1]
const { groups } = parse(block('yaml')) as { groups: { rules: { alert: string; expr: string }[] }[] }
const rules = groups.flatMap((group) => group.rules)

const instruments: { kind: string; name: string; unit: string }[] = []
createInstruments(
  new Proxy({} as Meter, {
    get: (_, kind: string) => (name: string, options: MetricOptions) => {
      instruments.push({ kind, name, unit: options.unit ?? '' })
    },
  }),
)

test('the page lists exactly the metrics there are, with their units', () => {
  const listed = [...page.matchAll(/^\| `(coherence\.[a-z_.]+)` +\| ([A-Za-z]*) +\|/gm)].map(([, name, unit]) => ({
    name,
    unit,
  }))
  expect(listed).toEqual(instruments.map(({ name, unit }) => ({ name, unit: unit.replace(/\{.*\}/, '') })))
})

test('the rules are about metrics there are, under the names that Prometheus gives them', () => {
  const suffixes: Record<string, string> = { createCounter: '_total', createHistogram: '_bucket', createGauge: '' }
  const units: Record<string, string> = { s: '_seconds', By: '_bytes' }
  const known = instruments.map(({ kind, name, unit }) => {
    const plain = name.replaceAll('.', '_')
    const unitOf = units[unit] ?? ''
    return `${plain}${plain.endsWith(unitOf) ? '' : unitOf}${suffixes[kind]}`
  })
  expect(rules.length).toBeGreaterThan(5)
  for (const { alert, expr } of rules) {
    const named = [...expr.matchAll(/\bcoherence_[a-z_]+/g)].map(([name]) => name)
    expect(named.length, alert).toBeGreaterThan(0)
    for (const name of named) expect(known, alert).toContain(name)
  }
})

test('the queues of the rules are queues', () => {
  const named = rules.flatMap(({ expr }) =>
    [...expr.matchAll(/queue=~"([^"]+)"/g)].flatMap(([, names]) => names.split('|')),
  )
  expect(named).toContain('pack')
  for (const name of named) expect(QUEUE_NAMES).toContain(name)
})
