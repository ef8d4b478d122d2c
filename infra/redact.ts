import type { Config } from './config.ts'

const CENSOR = '[secret]'
/** Shorter ones are words that anything may contain. */
const LEAST_LENGTH = 8

export type Redactor = (text: string) => string

/** Takes the password out of every URL in a text. */
export const redactUrls: Redactor = (text) =>
  text.replaceAll(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@"]*):[^\s/@"]+@/gi, `$1:${CENSOR}@`)

/**
 * Takes every secret of the configuration out of a text, wherever it got in, as it is and as JSON and URLs write it; and the
 * password of any URL. For lines of the log and texts of telemetry.
 */
export function createRedactor(config: Config): Redactor {
  const secrets = [
    passwordOf(config.databaseUrl),
    config.supabase?.secretKey,
    config.storj?.secretAccessKey,
    ...Object.values(config.otlp?.headers ?? {}),
  ].filter((secret) => secret !== undefined && secret.length >= LEAST_LENGTH) as string[]
  const written = secrets.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1), encodeURIComponent(secret)])
  // The longest first: one may contain another.
  const ordered = [...new Set(written)].toSorted((a, b) => b.length - a.length)
  return (text) => redactUrls(ordered.reduce((clean, secret) => clean.replaceAll(secret, CENSOR), text))
}

/** Undefined where it is no more than the name of the user or database, as on a local machine. */
function passwordOf(databaseUrl: string): string | undefined {
  const { username, password, pathname } = new URL(databaseUrl)
  return [username, pathname.slice(1)].includes(password) ? undefined : decodeURIComponent(password)
}
