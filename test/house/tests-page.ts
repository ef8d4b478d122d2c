import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { BATTERY_VERSION, TESTS } from '../../pipeline/tests/registry.ts'

const PAGE = join(resolve(import.meta.dirname, '../..'), 'docs/tests.md')

/** docs/tests.md, made from the registry. `npm run docs` writes it; a test compares. */
export function testsPage(): string {
  const sections = TESTS.map((test) =>
    [
      `## ${test.name}`,
      '',
      `${test.title}. ${test.formula.endsWith('.') ? test.formula : `${test.formula}.`}`,
      '',
      `- Source: ${test.source}`,
      `- Fewest bits: ${test.minimumBits.toLocaleString('en-US')}`,
      ...(test.notes === undefined ? [] : [`- Notes: ${test.notes}`]),
      `- Batteries: ${Object.entries(test.suites)
        .map(([suite, params]) =>
          [`\`${suite}\``, ...Object.entries(params).map(([name, value]) => `${name} ${String(value)}`)].join(', '),
        )
        .join('; ')}`,
      `- Parameters: ${
        Object.entries(test.defaults)
          .map(([name, value]) => `\`${name}\` (${JSON.stringify(value)})`)
          .join(', ') || 'none'
      }`,
    ].join('\n'),
  )
  return `${[
    '# Randomness tests',
    `Battery version ${BATTERY_VERSION}. Bits are taken most significant first. A test gets the contiguous segments of one device (sequence numbers without a gap); counts are summed over segments, and nothing is read across a break; a test that needs one unbroken sequence takes the longest and says how many bits it left out. A result is \`ok\`, \`insufficient\` (with how many bits would do) or \`not_applicable\` (with why); only \`ok\` has P-values. These are the names that \`test_names\` of an analysis job takes; \`parameters\` of the job may hold \`{"serial": {"m": 3}}\`, and \`{"sequences": {"length_bits": 1000000}}\` to cut the data into sequences, test each, and judge them together (SP 800-22 rev 1a, 4.2: how many pass, and whether their P-values are uniform), as \`coherence analyze --length\` does.`,
    ...sections,
  ].join('\n\n')}\n`
}

if (import.meta.main) writeFileSync(PAGE, testsPage())
