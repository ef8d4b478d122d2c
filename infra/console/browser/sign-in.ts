import type { SupabaseClient } from '@supabase/supabase-js'
import { html } from 'htm/preact'
import type { VNode } from 'preact'
import { useState } from 'preact/hooks'
import type { Database } from '../../../db/database.types.ts'

/** Signs in by password, or by a link that Supabase Auth sends by mail. */
export function SignIn({ client, project }: { client: SupabaseClient<Database>; project: string }): VNode {
  const [said, setSaid] = useState<{ error?: string; done?: string }>({})
  const [isBusy, setBusy] = useState(false)
  const signIn = async (event: SubmitEvent) => {
    event.preventDefault()
    const fields = new FormData(event.target as HTMLFormElement)
    const [email, password] = ['email', 'password'].map((field) => fields.get(field) as string)
    setBusy(true)
    setSaid({})
    const { error } =
      password === ''
        ? await client.auth.signInWithOtp({
            email,
            options: { shouldCreateUser: false, emailRedirectTo: location.origin + location.pathname },
          })
        : await client.auth.signInWithPassword({ email, password })
    setBusy(false)
    if (error !== null) setSaid({ error: error.message })
    else if (password === '') setSaid({ done: `A link is on its way to ${email}. Open it in this browser.` })
  }
  return html`<form class="sign-in" onSubmit=${signIn}>
    <p>
      Sign in to <strong>${project}</strong> with your account there. You see your own devices, and the network of all.
    </p>
    <label>E-mail <input name="email" type="email" autocomplete="username" required /></label>
    <label>Password <input name="password" type="password" autocomplete="current-password" /></label>
    <p class="unit">Without a password a link to sign in is sent to you.</p>
    <button type="submit" disabled=${isBusy}>Sign in</button>
    <div role="alert">${said.error !== undefined && html`<p class="flagged">${said.error}</p>`}</div>
    <div role="status">${said.done !== undefined && html`<p>${said.done}</p>`}</div>
  </form>`
}
