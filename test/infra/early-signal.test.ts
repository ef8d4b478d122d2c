import { expect, test } from 'vitest'
import { createCli } from './run-cli.ts'

/** Sends itself SIGTERM as the last thing that loading does: the event loop, which would tell of it, has not turned since. */
const EARLY = `
import { registerHooks } from 'node:module'
registerHooks({
  load(url, context, next) {
    const loaded = next(url, context)
    if (!url.endsWith('/infra/cli.ts')) return loaded
    return { ...loaded, source: loaded.source + "\\nprocess.kill(process.pid, 'SIGTERM')" }
  },
})`

test('SIGTERM that comes while a command is loading ends it', async () => {
  const cli = createCli({ NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(EARLY)}` })
  const { child, finished } = cli.start(['analyze', '-'])
  // Its input stays open: it would wait for ever.
  const late = setTimeout(() => child.kill('SIGKILL'), 15_000)
  try {
    const { code, stderr } = await finished
    expect({ code, signal: child.signalCode, stderr }).toMatchObject({ code: 143, signal: null })
  } finally {
    clearTimeout(late)
    cli.remove()
  }
})
