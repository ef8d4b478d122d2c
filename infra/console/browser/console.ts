import type { Session, SupabaseClient } from '@supabase/supabase-js'
import { html, render } from 'htm/preact'
import type { VNode } from 'preact'
import { useEffect, useMemo, useState } from 'preact/hooks'
import type { Database } from '../../../db/database.types.ts'
import type { ConsoleConfig } from '../model.ts'
import { App, page } from './app.ts'
import { localSource } from './local-source.ts'
import { SignIn } from './sign-in.ts'
import { supabaseSource } from './supabase-source.ts'

type Hosted = Extract<ConsoleConfig, { mode: 'sign-in' }>

const config = (await (await fetch('config.json')).json()) as ConsoleConfig
if (config.mode === 'local') {
  render(html`<${App} source=${localSource(config.command)} />`, document.body)
} else {
  const { createClient } = await import('@supabase/supabase-js')
  const auth = { flowType: 'pkce' } as const
  const client = createClient<Database>(config.url, config.key, { auth })
  render(html`<${Signed} client=${client} config=${config} />`, document.body)
}

/** The console of whoever is signed in, or the form to do so. */
function Signed({ client, config: { url } }: { client: SupabaseClient<Database>; config: Hosted }): VNode {
  const [session, setSession] = useState<Session | null | undefined>(undefined)
  useEffect(() => {
    const { data } = client.auth.onAuthStateChange((_event, now) => setSession(now))
    return () => data.subscription.unsubscribe()
  }, [])
  const [user, email] = [session?.user.id, session?.user.email ?? 'you']
  const source = useMemo(() => supabaseSource(client, email), [user])
  if (session === undefined) return page({ verdict: 'Reading …' })
  if (session === null) {
    return page({ verdict: 'Sign in', body: html`<${SignIn} client=${client} project=${new URL(url).host} />` })
  }
  return html`<${App} key=${user} source=${source} />`
}
