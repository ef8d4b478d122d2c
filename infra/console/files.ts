import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { STYLE } from '../../pipeline/report/style.ts'
import type { ConsoleConfig } from './model.ts'
import { consolePage, contentPolicy } from './page.ts'
import { CONSOLE_STYLE } from './style.ts'

/** Where `npm run build` puts the scripts; a clone has none and makes them when they are asked for. */
const BUILT = join(import.meta.dirname, 'page')

export interface ConsoleFiles {
  /** By name; `index.html` is the page. */
  readonly files: ReadonlyMap<string, string>
  readonly policy: string
}

/** All files of the console's page for this configuration. `origins` are further ones that it may fetch from. */
export async function consoleFiles(config: ConsoleConfig, origins: readonly string[]): Promise<ConsoleFiles> {
  const allowed = config.mode === 'local' ? [] : [new URL(config.url).origin, ...origins]
  const policy = contentPolicy(allowed)
  const files = new Map([
    ['index.html', consolePage(policy)],
    ['console.css', STYLE + CONSOLE_STYLE],
    ['config.json', `${JSON.stringify(config)}\n`],
    ...(await readScripts()),
  ])
  return { files, policy }
}

async function readScripts(): Promise<Iterable<[string, string]>> {
  if (existsSync(BUILT)) return readdirSync(BUILT).map((name) => [name, readFileSync(join(BUILT, name), 'utf8')])
  const { bundleConsole } = await import('./bundle.ts')
  return await bundleConsole()
}
