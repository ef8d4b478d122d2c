import { relative } from 'node:path'

/** What runs here was started from TypeScript: it is a clone, not the package. */
const IS_CLONE = import.meta.url.endsWith('.ts')

/**
 * How this command line was started, to be typed again before a command's name: by npm in a clone, by npx, by its name, or by its
 * file. npm tells what it starts in `environment`.
 */
export function invocation(
  environment: Readonly<Record<string, string | undefined>>,
  { file = process.argv[1], isClone = IS_CLONE }: { file?: string; isClone?: boolean } = {},
): string {
  const byNpm = environment.npm_lifecycle_event !== undefined
  const path = relative(process.cwd(), file)
  if (isClone) return byNpm ? 'npm run -s coherence --' : `node ${path.startsWith('..') ? file : path}`
  return byNpm ? 'npx coherence' : 'coherence'
}
