import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const BROWSER = join(import.meta.dirname, 'browser')

/**
 * The console's scripts for a browser, by file name: `console.js`, `chunk-worker.js` and what they share or load later. They hold the
 * pipeline's own code. Observable Plot draws into the browser's document there, so linkedom is left out.
 */
export async function bundleConsole(): Promise<Map<string, string>> {
  const bundle = await rolldown({
    input: { console: join(BROWSER, 'console.ts'), 'chunk-worker': join(BROWSER, 'chunk-worker.ts') },
    platform: 'browser',
    resolve: { alias: { linkedom: join(BROWSER, 'document.ts') } },
    logLevel: 'warn',
  })
  try {
    const { output } = await bundle.generate({
      format: 'esm',
      minify: true,
      entryFileNames: '[name].js',
      chunkFileNames: '[name]-[hash].js',
    })
    return new Map(output.map((file) => [file.fileName, file.type === 'chunk' ? file.code : String(file.source)]))
  } finally {
    await bundle.close()
  }
}

// `npm run build` gives the folder; in a clone nothing is written.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [directory] = process.argv.slice(2)
  for (const [name, code] of await bundleConsole()) {
    const path = join(directory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, code)
  }
}
