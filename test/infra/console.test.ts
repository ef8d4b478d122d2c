import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inReadOnlyTransaction, openPool } from '../../db/pool.ts'
import type { ConsoleServer } from '../../infra/console/server.ts'
import { originOf, serveDatabase, tokenOf } from '../harness/console.ts'
import { createDatabase, type TestDatabase } from '../harness/database.ts'

describe('the console’s server', () => {
  let database: TestDatabase
  let server: ConsoleServer
  beforeAll(async () => {
    database = await createDatabase()
    server = await serveDatabase(database.url)
  })
  afterAll(async () => {
    await server.close()
    await database.drop()
  })

  /** fetch() sets Host itself. */
  const ask = (path: string, options: { method?: string; headers?: Record<string, string> } = {}) =>
    new Promise<{ status?: number; headers: NodeJS.Dict<string | string[]>; body: string }>((resolve, reject) => {
      const asked = request(`${originOf(server.url)}${path}`, options, (response) => {
        let body = ''
        response.setEncoding('utf8').on('data', (text: string) => (body += text))
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body }))
      })
      asked.on('error', reject).end()
    })
  const withToken = () => ({ Authorization: `Bearer ${tokenOf(server.url)}` })

  it('gives data to those who have the token of this start', async () => {
    expect(await ask('/api/devices', { headers: withToken() })).toMatchObject({
      status: 200,
      body: '{"devices":[],"backlog":[]}',
    })
    for (const Authorization of ['', 'Bearer ', 'Bearer wrong', `Bearer ${'A'.repeat(32)}`]) {
      expect((await ask('/api/devices', { headers: { Authorization } })).status).toBe(401)
    }
    expect((await ask(`/api/devices?token=${tokenOf(server.url)}`)).status).toBe(401)
    expect(tokenOf(server.url)).toHaveLength(32)
    expect(tokenOf((await serveAndClose(database.url)).url)).not.toBe(tokenOf(server.url))
  })

  it.each(['evil.example', 'evil.example:80', '127.0.0.1.evil.example'])(
    'answers nothing to a browser that takes it for %j',
    async (Host) => {
      for (const path of ['/', '/config.json', '/api/devices']) {
        const answer = await ask(path, { headers: { ...withToken(), Host } })
        expect([400, 421]).toContain(answer.status)
        expect(answer.body).not.toContain('devices')
      }
    },
  )

  it.each(['localhost', '127.0.0.1:1234', '[::1]:80'])('answers to %s', async (Host) => {
    expect((await ask('/', { headers: { Host } })).status).toBe(200)
  })

  it('only reads, and only what there is', async () => {
    for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS']) {
      expect((await ask('/api/devices', { method, headers: withToken() })).status).toBe(405)
    }
    for (const path of [
      '/nothing',
      '/../package.json',
      '/api/',
      '/api/chunks/x',
      "/api/chunks/'; drop table devices",
    ]) {
      expect((await ask(encodeURI(path), { headers: withToken() })).status, path).toBe(404)
    }
    const times = 'from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z'
    for (const query of ['', `${times}&bucket=0`, `${times}&bucket=1`, 'from=x&to=y&bucket=60']) {
      expect((await ask(`/api/network?${query}`, { headers: withToken() })).status, query).toBe(400)
    }
    expect((await ask(`/api/network?${times}&bucket=60`, { headers: withToken() })).status).toBe(200)
  })

  it('asks the database in transactions that can change nothing', async () => {
    const pool = openPool({ databaseUrl: database.url })
    try {
      const write = inReadOnlyTransaction(pool, 1000, (tx) => tx.query('delete from public.devices'))
      await expect(write).rejects.toMatchObject({ code: '25006' })
      const wait = inReadOnlyTransaction(pool, 50, (tx) => tx.query('select pg_sleep(20)'))
      await expect(wait).rejects.toMatchObject({ code: '57014' })
    } finally {
      await pool.end()
    }
  })

  it('lets no other site show, read or extend the page', async () => {
    const { headers } = await ask('/')
    expect(headers['access-control-allow-origin']).toBe(undefined)
    expect(headers['cross-origin-resource-policy']).toBe('same-origin')
    expect(headers['content-security-policy']).toBe(
      "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src data:; " +
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    )
  })
})

async function serveAndClose(url: string): Promise<ConsoleServer> {
  const server = await serveDatabase(url)
  await server.close()
  return server
}
