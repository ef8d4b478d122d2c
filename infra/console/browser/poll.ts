import { useCallback, useEffect, useState } from 'preact/hooks'
import { SignedOutError } from './source.ts'

const LIVE_MS = 5_000
/** While nobody looks. */
const HIDDEN_MS = 60_000
const MOST_BACK_OFF_MS = 60_000

export interface Polled<View> {
  /** The newest answer; what was shown before stays when a later question fails. */
  readonly view: View | null
  /** When it came. */
  readonly at: Date | null
  readonly error: Error | null
  /** Asks at once. */
  readonly refresh: () => void
}

/**
 * Asks again and again: 5 s after each answer, 60 s while the page is hidden, and after errors twice as long each time. Becoming
 * visible asks at once. Nothing is asked twice at a time. A new `key` forgets the view.
 */
export function usePoll<View>(key: string, read: () => Promise<View>): Polled<View> {
  const [state, setState] = useState<{ key: string; view: View | null; at: Date | null; error: Error | null }>({
    key,
    view: null,
    at: null,
    error: null,
  })
  const [round, setRound] = useState(0)
  const refresh = useCallback(() => setRound((now) => now + 1), [])
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    let isOver = false
    let isAsking = false
    let failures = 0
    const ask = async () => {
      if (isAsking || isOver) return
      clearTimeout(timer)
      isAsking = true
      try {
        const view = await read()
        failures = 0
        if (!isOver) setState({ key, view, at: new Date(), error: null })
      } catch (error) {
        failures++
        if (!isOver) setState((before) => ({ ...(before.key === key ? before : empty(key)), error: error as Error }))
        if (error instanceof SignedOutError) isOver = true
      }
      isAsking = false
      if (isOver) return
      const wait = document.hidden ? HIDDEN_MS : LIVE_MS
      timer = setTimeout(() => void ask(), Math.max(wait, Math.min(MOST_BACK_OFF_MS, LIVE_MS * 2 ** failures)))
    }
    const onVisible = () => {
      if (!document.hidden) void ask()
    }
    document.addEventListener('visibilitychange', onVisible)
    void ask()
    return () => {
      isOver = true
      clearTimeout(timer)
      document.removeEventListener('visibilitychange', onVisible)
    }
    // `read` is made anew at each drawing; the key says when it is another.
  }, [key, round])
  return state.key === key ? { ...state, refresh } : { ...empty(key), refresh }
}

function empty(key: string): { key: string; view: null; at: null; error: null } {
  return { key, view: null, at: null, error: null }
}
