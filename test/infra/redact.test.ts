import { expect, test } from 'vitest'
import { parseConfig } from '../../infra/config.ts'
import { createRedactor, redactUrls } from '../../infra/redact.ts'

const redactorOf = (DATABASE_URL: string) =>
  createRedactor(
    parseConfig({
      DATABASE_URL,
      SUPABASE_URL: 'https://abc.supabase.co',
      SUPABASE_SECRET_KEY: 'sb_secret_0123',
      STORJ_ACCESS_KEY_ID: 'the-access-key-id',
      STORJ_SECRET_ACCESS_KEY: 'storj"secret/0123',
      OTEL_EXPORTER_OTLP_ENDPOINT: 'https://otlp.example.org',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20otlp-0123,x-scope=lab',
    }),
  )
const redact = redactorOf('postgres://postgres:hunter%402hunter@db.example.org:5432/postgres')

test.each([
  ['the password', 'hunter@2hunter', '[secret]'],
  ['the password as the URL has it', 'p=hunter%402hunter', 'p=[secret]'],
  ['each key, however often', 'sb_secret_0123 sb_secret_0123', '[secret] [secret]'],
  ['a key with a quote, within JSON', JSON.stringify({ a: 'storj"secret/0123' }), '{"a":"[secret]"}'],
  ['a header of the collector', 'sent Bearer otlp-0123', 'sent [secret]'],
  ['the password of any URL', '"redis://me:sesame@host/0"', '"redis://me:[secret]@host/0"'],
])('takes out %s', (_, text, clean) => {
  expect(redact(text)).toBe(clean)
})

test.each(['lab', 'the-access-key-id', 'https://abc.supabase.co:443/a@b', 'postgres'])('leaves %s', (text) => {
  expect(redact(text)).toBe(text)
})

test('a password that is the name of the user is no secret, but for in a URL', () => {
  const url = 'postgres://postgres:postgres@127.0.0.1/db'
  expect(redactorOf(url)(`the role postgres at ${url}`)).toBe(
    'the role postgres at postgres://postgres:[secret]@127.0.0.1/db',
  )
  expect(redactUrls(url)).toBe('postgres://postgres:[secret]@127.0.0.1/db')
})
