import { expect, test } from 'vitest'
import { oneByOne } from '../../jobs/one-by-one.ts'

test('work is done one after the other, in the order given, and one that fails holds up nobody', async () => {
  const run = oneByOne()
  const said: string[] = []
  const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const works = gates.map(({ promise }, n) =>
    run(async () => {
      said.push(`begin ${n}`)
      await promise
      said.push(`end ${n}`)
      if (n === 1) throw new Error('no')
      return n
    }),
  )
  for (const { resolve } of gates.toReversed()) resolve()
  expect(await Promise.allSettled(works)).toEqual([
    { status: 'fulfilled', value: 0 },
    { status: 'rejected', reason: new Error('no') },
    { status: 'fulfilled', value: 2 },
  ])
  expect(said).toEqual(['begin 0', 'end 0', 'begin 1', 'end 1', 'begin 2', 'end 2'])
})
