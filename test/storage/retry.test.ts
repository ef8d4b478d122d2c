import { describe, expect, test } from 'vitest'
import { isTransportError, readRetryAfter, TransientError, withRetries } from '../../storage/retry.ts'

const POLICY = { attempts: 5, baseMs: 100, maxMs: 400, deadlineMs: 60_000, doing: 'trying' }

/** Runs an operation that always fails so; the pauses it made. */
async function pausesOf(
  failure: Error,
  options: object = {},
): Promise<{ pauses: number[]; tries: number; end: unknown }> {
  const pauses: number[] = []
  let tries = 0
  const operation = async (): Promise<never> => {
    tries++
    throw failure
  }
  const sleep = async (ms: number): Promise<void> => void pauses.push(ms)
  const [outcome] = await Promise.allSettled([
    withRetries(operation, { ...POLICY, random: () => 1, sleep, ...options }),
  ])
  return { pauses, tries, end: outcome.status === 'rejected' ? outcome.reason : undefined }
}

describe('retries', () => {
  test('pause for a random time within a doubling, bounded span', async () => {
    const { pauses, tries, end } = await pausesOf(new TransientError('cut off'))
    expect(pauses).toEqual([100, 200, 400, 400])
    expect(tries).toBe(5)
    expect(end).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('tried 5 times') })
    expect((await pausesOf(new TransientError('cut off'), { random: () => 0.25 })).pauses).toEqual([25, 50, 100, 100])
  })

  test('pause at least as long as the store asks, and not past the deadline', async () => {
    const asking = new TransientError('later', { afterMs: 7_000 })
    expect((await pausesOf(asking)).pauses).toEqual([7_000, 7_000, 7_000, 7_000])
    const { pauses, end } = await pausesOf(asking, { deadlineMs: 5_000 })
    expect(pauses).toEqual([])
    expect(end).toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('wait 7 s') })
  })

  test('are for what may pass only', async () => {
    const final = new Error('no')
    expect(await pausesOf(final)).toEqual({ pauses: [], tries: 1, end: final })
    expect((await pausesOf(final, { transient: () => ({}) })).tries).toBe(5)
    for (const code of ['ECONNRESET', 'EPIPE', 'ETIMEDOUT']) {
      expect(isTransportError(new TypeError('fetch failed', { cause: Object.assign(new Error(code), { code }) }))).toBe(
        true,
      )
    }
    expect(isTransportError(new Error('socket hang up'))).toBe(true)
    expect(isTransportError(Object.assign(new Error('x'), { code: 'ENOTFOUND' }))).toBe(false)
    expect(isTransportError(Object.assign(new Error('x'), { code: 'CERT_HAS_EXPIRED' }))).toBe(false)
  })

  test('end at the deadline even while a try runs', async () => {
    const hang = (signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)))
    const ended = withRetries(hang, { ...POLICY, deadlineMs: 20 })
    await expect(ended).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('20 ms') })
  })

  test('end with the reason of an abort, before, during and between tries', async () => {
    const reason = new Error('preempted')
    const never = async (): Promise<never> => expect.unreachable()
    await expect(withRetries(never, { ...POLICY, signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    const controller = new AbortController()
    const failing = async (): Promise<never> => {
      setImmediate(() => controller.abort(reason))
      throw new TransientError('cut off', { afterMs: 30_000 })
    }
    await expect(withRetries(failing, { ...POLICY, signal: controller.signal })).rejects.toBe(reason)
  })

  test('read Retry-After in seconds and as a date', () => {
    const now = Date.parse('2026-11-20T12:00:00Z')
    expect(readRetryAfter('3', now)).toBe(3000)
    expect(readRetryAfter('Fri, 20 Nov 2026 12:00:05 GMT', now)).toBe(5000)
    expect(readRetryAfter('Fri, 20 Nov 2026 11:00:00 GMT', now)).toBe(0)
    for (const nothing of [undefined, null, '', 'soon', '-3']) expect(readRetryAfter(nothing, now)).toBeUndefined()
  })
})
