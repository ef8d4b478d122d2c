import { execFileSync } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { CLI, runSupabase } from './supabase-cli.ts'

// `npm run types:database`
const file = resolve(import.meta.dirname, '../../db/database.types.ts')
const header = `// Made by ${CLI} (npm run types:database); test/db/types.test.ts compares it with the database.
// oxlint-disable typescript/no-redundant-type-constituents -- there are no composite types
`
await writeFile(file, header + (await runSupabase(['gen', 'types', 'typescript', '--schema', 'public'])))
execFileSync('npx', ['oxfmt', file])
