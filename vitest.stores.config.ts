import { defineConfig } from 'vitest/config'

// For object stores that are given by the environment: no Postgres is started.
// oxlint-disable-next-line import/no-default-export -- vitest reads its configuration from the default export
export default defineConfig({
  test: { include: ['test/storage/*-endpoint.test.ts'], testTimeout: 120_000, hookTimeout: 60_000 },
})
