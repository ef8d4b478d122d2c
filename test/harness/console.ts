import type { Page } from 'playwright-core'
import { pino } from 'pino'
import { openPool } from '../../db/pool.ts'
import { parseConfig } from '../../infra/config.ts'
import { consoleApi } from '../../infra/console/api.ts'
import { consoleFiles } from '../../infra/console/files.ts'
import { type ConsoleServer, serveConsole } from '../../infra/console/server.ts'

const log = pino({ level: 'silent' })

/** The console of a database, in this process. */
export async function serveDatabase(url: string, config = parseConfig({ DATABASE_URL: url })): Promise<ConsoleServer> {
  const pool = openPool({ databaseUrl: url, max: 2 })
  const files = await consoleFiles({ mode: 'local', command: 'coherence' }, [])
  const server = await serveConsole({ host: '127.0.0.1', port: 0, files, api: consoleApi(pool, config), log })
  return {
    url: server.url,
    close: async () => {
      await server.close()
      await pool.end()
    },
  }
}

/** The console that people sign in to, of a project at `url`. */
export async function serveSignIn(url: string): Promise<ConsoleServer> {
  const files = await consoleFiles({ mode: 'sign-in', url, key: 'public' }, [])
  return await serveConsole({ host: '127.0.0.1', port: 0, files, api: null, log })
}

export const originOf = (url: string) => new URL(url).origin
export const tokenOf = (url: string) => url.split('#token=')[1]

export const PHONE = { viewport: { width: 360, height: 800 }, colorScheme: 'light' as const }
export const DESK = { viewport: { width: 1280, height: 800 }, colorScheme: 'dark' as const }
export const PHONE_DARK = { ...PHONE, colorScheme: 'dark' as const }
export const DESK_LIGHT = { ...DESK, colorScheme: 'light' as const }

/** What is wider than the page, and on a desk the tables that hide a part of themselves. */
export async function findTooWide(page: Page): Promise<string[]> {
  return await page.evaluate<string[]>(
    `[document.documentElement, ...(innerWidth < 1000 ? [] : document.querySelectorAll('main .scroll'))]
       .filter((one) => one.scrollWidth > one.clientWidth)
       .map((one) => one.className + ' ' + one.scrollWidth + ' > ' + one.clientWidth)`,
  )
}
