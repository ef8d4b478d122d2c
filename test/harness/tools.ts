import { accessSync, constants } from 'node:fs'
import { join } from 'node:path'

/** Programs that tests run where they are: npm does not bring them, `.ci/run` installs them. What each may be called. */
const TOOLS = {
  bash: ['bash'],
  chromium: ['chromium', 'chromium-browser', 'google-chrome'],
  fish: ['fish'],
  pgbouncer: ['pgbouncer'],
  python3: ['python3'],
  zsh: ['zsh'],
} as const
export type Tool = keyof typeof TOOLS
export const TOOL_NAMES = Object.keys(TOOLS) as Tool[]

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The tool's path; undefined, for its tests to be skipped, if this machine has none. Where COHERENCE_TEST_ALL is 1, as `.ci/run` sets
 * it, nothing may be skipped: then it throws.
 */
export function findTool(tool: Tool, environment: Environment = process.env): string | undefined {
  const found = lookUp(tool, environment)
  if (found === undefined && environment.COHERENCE_TEST_ALL === '1') {
    throw new Error(`COHERENCE_TEST_ALL is set and ${tool} is missing: apt-get install ${tool}`)
  }
  return found
}

/** A line on what is skipped here; undefined if nothing is. */
export function tellOfMissing(environment: Environment = process.env): string | undefined {
  const missing = TOOL_NAMES.filter((tool) => lookUp(tool, environment) === undefined)
  if (missing.length === 0) return undefined
  return `Not on this machine, and their tests were skipped: ${missing.join(', ')} (apt-get install ${missing.join(' ')}).`
}

function lookUp(tool: Tool, { PATH = '' }: Environment): string | undefined {
  // Debian has daemons where an ordinary user's path does not lead.
  const directories = [...PATH.split(':'), ...(tool === 'pgbouncer' ? ['/usr/sbin'] : [])].filter(Boolean)
  const places = directories.flatMap((directory) => TOOLS[tool].map((name) => join(directory, name)))
  return places.find((path) => {
    try {
      accessSync(path, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}
