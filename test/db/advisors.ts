import { runSupabase } from './supabase-cli.ts'

interface Finding {
  readonly name: string
  readonly level: string
  readonly detail: string
}

/** Findings that are as they should be: the advisor's name, whom it is about, why. */
const EXPLAINED: readonly (readonly [name: string, about: RegExp, why: string])[] = [
  [
    'rls_enabled_no_policy',
    /`(app_private|entropy_partitions)\./,
    'No role of users may use the schema. Row level security without a policy is the second lock.',
  ],
  [
    'rls_enabled_no_policy',
    /`public\.(chunk_analysis|chunk_replicas)`/,
    'They tell of all devices of a chunk and of where objects are: for the service, which no policy binds, and nobody else.',
  ],
  [
    'function_search_path_mutable',
    /`pgboss\./,
    'Made by pg-boss, run with the rights of their caller, in a schema that no role of users may use.',
  ],
]

// `npm run advisors`: the security findings of `supabase db advisors`; ends with 1 if one of them is not explained here.
const findings: Finding[] = JSON.parse(await runSupabase(['db', 'advisors', '--type', 'security', '--level', 'info']))
const explanationOf = ({ name, detail }: Finding) =>
  EXPLAINED.find(([explained, about]) => explained === name && about.test(detail))
for (const [why, explained] of Map.groupBy(findings, (finding) => explanationOf(finding)?.[2] ?? 'NOT EXPLAINED')) {
  process.stdout.write(`${why}\n${explained.map(({ level, detail }) => `  ${level} ${detail}\n`).join('')}`)
}
process.exitCode = findings.every(explanationOf) ? 0 : 1
