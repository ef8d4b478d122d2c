/** What the functions read from the environment. */
export interface Environment {
  readonly url: string
  /** Passes for service_role: it looks up devices' tokens. */
  readonly secretKey: string
  /** Passes the gateway and allows nothing by itself. */
  readonly publishableKey: string
  /** Signs and verifies the devices' JWTs; the platform does not set it. */
  readonly jwtSecret: string
}

type Get = (name: string) => string | undefined

/** `get` is Deno.env.get. Throws an Error that names every variable that is missing. */
export function readEnvironment(get: Get): Environment {
  const found = {
    SUPABASE_URL: get('SUPABASE_URL'),
    SUPABASE_SECRET_KEYS: key(get, 'SUPABASE_SECRET_KEY', 'SUPABASE_SERVICE_ROLE_KEY'),
    SUPABASE_PUBLISHABLE_KEYS: key(get, 'SUPABASE_PUBLISHABLE_KEY', 'SUPABASE_ANON_KEY'),
    JWT_SECRET: get('JWT_SECRET'),
  }
  const missing = Object.entries(found).filter(([, value]) => !value)
  if (missing.length > 0) throw new Error(`missing in the environment: ${missing.map(([name]) => name).join(', ')}`)
  if (found.JWT_SECRET!.length < 32) throw new Error('JWT_SECRET must have 32 characters or more')
  return {
    url: found.SUPABASE_URL!,
    secretKey: found.SUPABASE_SECRET_KEYS!,
    publishableKey: found.SUPABASE_PUBLISHABLE_KEYS!,
    jwtSecret: found.JWT_SECRET!,
  }
}

/** The key named `default`, or the first, of the platform's JSON dictionary; else the single key, else the legacy one. */
function key(get: Get, single: string, legacy: string): string | undefined {
  const keys: Record<string, string> = JSON.parse(get(`${single}S`) || '{}')
  return keys.default ?? Object.values(keys)[0] ?? (get(single) || get(legacy))
}
