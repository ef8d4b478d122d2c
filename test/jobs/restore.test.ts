/** The drill on a copy of the server's files, as a snapshot or point-in-time recovery gives it. test/infra/backup.test.ts has a dump's. */
import { pino } from 'pino'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openContext, type OpenContext } from '../../infra/context.ts'
import { runAsAdmin } from '../harness/database.ts'
import { beginLife, expectNothingLost, goOn } from '../harness/drill.ts'
import { openPipeline, type TestPipeline } from '../harness/pipeline.ts'

let pipeline: TestPipeline
let opened: OpenContext[]
let copies: string[]
beforeEach(async () => {
  pipeline = await openPipeline({ chunkTargetBytes: 4096 })
  opened = []
  copies = []
})
afterEach(async () => {
  await Promise.all(opened.map(({ close }) => close()))
  await pipeline.close()
  for (const name of copies) await runAsAdmin(`drop database if exists ${name} with (force)`)
})

/** Workers and a connection on a database of this name, with the same store. */
async function open(name: string) {
  const url = new URL(pipeline.config.databaseUrl)
  url.pathname = `/${name}`
  const worker = await openContext({ ...pipeline.config, databaseUrl: url.href }, pino({ level: 'silent' }), {
    poolSize: 8,
  })
  opened.push(worker)
  return worker.context
}

it('a database that was restored goes on where its backup was, and loses or repeats nothing', async () => {
  const [device] = await beginLife(pipeline)
  await pipeline.vanish()
  await pipeline.db.end()
  const original = new URL(pipeline.config.databaseUrl).pathname.slice(1)
  const backup = `${original}_backup`
  copies.push(backup)
  await runAsAdmin(`create database ${backup} template ${original} strategy file_copy owner postgres`)
  const objects = await goOn(await open(original), device)
  // The database is lost, and comes back as it was at the backup.
  expect(await expectNothingLost(await open(backup), objects)).toBe(720)
})
