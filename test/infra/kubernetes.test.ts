import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { ScaledJob } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledJob'
import { TriggerAuthentication } from '@kubernetes-models/keda/keda.sh/v1alpha1/TriggerAuthentication'
import { CronJob } from 'kubernetes-models/batch/v1/CronJob'
import { Job } from 'kubernetes-models/batch/v1/Job'
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap'
import { Namespace } from 'kubernetes-models/v1/Namespace'
import { Client } from 'pg'
import { afterAll, expect, test } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { countReadyJobs } from '../../db/queues.ts'
import { parseConfig } from '../../infra/config.ts'
import { GRACE_MS } from '../../jobs/work.ts'
import { QUEUES } from '../../jobs/queues.ts'
import { createDatabase } from '../harness/database.ts'
import { createCli } from './run-cli.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const FOLDER = join(ROOT, 'infra/k8s')
const read = (name: string) => readFileSync(join(FOLDER, name), 'utf8')
const directory = mkdtempSync(join(tmpdir(), 'coherence-k8s-'))
const cli = createCli()
afterAll(() => {
  rmSync(directory, { recursive: true })
  cli.remove()
})

/** A manifest, as loose as YAML is: its schema is what is tested first. */
// oxlint-disable-next-line typescript/no-explicit-any -- see above
type Manifest = any
const parse = (name: string): Manifest[] =>
  parseAllDocuments(read(name)).map((document) => {
    expect([...document.errors, ...document.warnings]).toEqual([])
    return document.toJS()
  })
const kustomization = parse('kustomization.yaml')[0]
const manifests: Manifest[] = kustomization.resources.flatMap(parse)
const find = (kind: string, name: string) => manifests.find((one) => one.kind === kind && one.metadata.name === name)

const MODELS = { Namespace, ConfigMap, Job, CronJob, ScaledJob, TriggerAuthentication }
const specOf = (manifest: Manifest) =>
  (manifest.spec.jobTemplate?.spec ?? manifest.spec.jobTargetRef ?? manifest.spec).template.spec
const workers = manifests.filter((one) => ['Job', 'CronJob', 'ScaledJob'].includes(one.kind))
const named = workers.map((one) => [one.metadata.name, one] as const)
const containerOf = (manifest: Manifest) => specOf(manifest).containers[0]

/** NAME=value lines of an example, its placeholders filled. */
const example = (name: string): Record<string, string> =>
  Object.fromEntries(
    [...read(`${name}.env.example`).matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, key, value]) => [
      key,
      value.replaceAll(/<[^>]*>/g, 'x').replaceAll(' ', '-'),
    ]),
  )

test('kustomization.yaml names every manifest', () => {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.yaml') && name !== 'kustomization.yaml')
  expect(kustomization.resources.toSorted()).toEqual(files.toSorted())
  expect(workers).toHaveLength(3)
})

test('every manifest is valid by the schemas of Kubernetes and KEDA', () => {
  for (const manifest of manifests) {
    const Model = MODELS[manifest.kind as keyof typeof MODELS]
    expect(Model?.apiVersion).toBe(manifest.apiVersion)
    new Model(manifest).validate()
  }
})

test('no manifest has a field that does not exist', () => {
  // Schemas allow more fields than they name; TypeScript does not, in a literal.
  const models = Object.keys(MODELS).map((kind) => {
    const { apiVersion } = MODELS[kind as keyof typeof MODELS]
    const library = apiVersion.startsWith('keda.sh') ? '@kubernetes-models/keda' : 'kubernetes-models'
    return `import type { I${kind} } from '${library}/${apiVersion}/${kind}'`
  })
  const literals = manifests.map(
    (one, index) => `export const m${index}: I${one.kind} = ${JSON.stringify(one, null, 1)}`,
  )
  writeFileSync(join(directory, 'manifests.ts'), [...models, ...literals].join('\n'))
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const options = ['--noEmit', '--strict', '--skipLibCheck', '--module', 'nodenext', '--types', '']
  const { stdout } = spawnSync(process.execPath, [tsc, ...options, 'manifests.ts'], {
    cwd: directory,
    encoding: 'utf8',
  })
  expect(stdout).toBe('')
})

test.skipIf(spawnSync('kubectl', ['version', '--client']).status !== 0)('kubectl builds it', () => {
  const copy = join(directory, 'k8s')
  cpSync(FOLDER, copy, { recursive: true })
  for (const name of ['worker', 'migrate', 'keda']) cpSync(join(copy, `${name}.env.example`), join(copy, `${name}.env`))
  const built: Manifest[] = parseAllDocuments(execFileSync('kubectl', ['kustomize', copy], { encoding: 'utf8' })).map(
    (document) => document.toJS(),
  )
  expect(built.filter((one) => one.kind === 'Secret').map((one) => one.metadata.name)).toEqual([
    'coherence',
    'coherence-keda',
    'coherence-migrate',
  ])
  const images = built.filter((one) => one.kind in MODELS && one.spec?.triggers).map((one) => containerOf(one).image)
  expect(images).toEqual([`${kustomization.images[0].newName}:${kustomization.images[0].newTag}`])
})

test('the settings are settings of ours, and right', () => {
  const { data } = find('ConfigMap', 'coherence')
  const settings = { ...data, ...example('worker') }
  const config = parseConfig(settings)
  expect(config.storageDriver).not.toBe('local')
  expect(parseConfig({ ...settings, ...example('migrate') }).databaseUrl).toContain(':5432/')
  const known = [...readFileSync(join(ROOT, 'infra/config.ts'), 'utf8').matchAll(/^ {2}([A-Z_]+):/gm)].map(
    ([, key]) => key,
  )
  const used = Object.keys({ ...settings, ...example('migrate') })
  expect(used.filter((name) => !known.includes(name))).toEqual([])
})

test.each(named)('%s takes settings and secrets that are there', (_name, manifest) => {
  const secrets = kustomization.secretGenerator.map((secret: { name: string }) => secret.name)
  const settings = manifests.filter((one) => one.kind === 'ConfigMap').map((one) => one.metadata.name)
  const sources: Manifest[] = containerOf(manifest).envFrom
  const missing = sources.filter(
    ({ configMapRef, secretRef }) => !settings.includes(configMapRef?.name) && !secrets.includes(secretRef?.name),
  )
  expect(sources.length).toBeGreaterThan(1)
  expect(missing).toEqual([])
})

test.each(named)('%s runs a command that there is', async (_name, manifest) => {
  const { image, args, command } = containerOf(manifest)
  expect(image).toBe(kustomization.images[0].name)
  expect(command).toBeUndefined()
  // Bad usage would be found before the missing configuration.
  const own = (args as string[]).map((word) => word.replace(/^\/tmp\//, `${cli.directory}/`))
  const finished = await cli.run([...own, '--json'])
  expect(finished.code).toBe(2)
  expect(finished.json().error.code).toBe('CONFIG_INVALID')
})

test.each(named)('%s may do little, and has limits', (_name, manifest) => {
  const pod = specOf(manifest)
  expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } })
  expect(pod.automountServiceAccountToken).toBe(false)
  expect(pod.containers[0].securityContext).toEqual({
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
  })
  expect(pod.containers[0].volumeMounts).toEqual([{ name: 'tmp', mountPath: '/tmp' }])
  const { limits, requests } = pod.containers[0].resources
  expect(limits.memory).toMatch(/^\d+[MG]i$/)
  const cores = (text: string) => (text.endsWith('m') ? Number(text.slice(0, -1)) / 1000 : Number(text))
  expect(cores(limits.cpu)).toBeGreaterThanOrEqual(cores(requests.cpu))
})

test('a worker has the time to hand back its jobs, and the longest job to end', () => {
  const { jobTargetRef } = find('ScaledJob', 'coherence-drain').spec
  expect(jobTargetRef.template.spec.terminationGracePeriodSeconds).toBeGreaterThan((2 * GRACE_MS) / 1000)
  const { args } = jobTargetRef.template.spec.containers[0]
  const lastStart = Number(args[args.indexOf('--max-seconds') + 1])
  const longest = Math.max(...Object.values(QUEUES).map((queue) => queue.options.expireInSeconds!))
  expect(jobTargetRef.activeDeadlineSeconds).toBeGreaterThanOrEqual(lastStart + longest)
})

test('the probe lets a worker live that has written its file, and no other', () => {
  const { args, livenessProbe } = containerOf(find('ScaledJob', 'coherence-drain'))
  const file = args[args.indexOf('--alive-file') + 1]
  const [shell, ...given] = livenessProbe.exec.command
  const here = join(directory, 'alive')
  const probe = () =>
    spawnSync(
      shell,
      given.map((text: string) => text.replaceAll(file, here)),
    ).status
  expect(given.join(' ')).toContain(file)
  expect(probe()).not.toBe(0)
  writeFileSync(here, '')
  expect(probe()).toBe(0)
  const minutesAgo = (minutes: number) => Date.now() / 1000 - 60 * minutes
  utimesSync(here, minutesAgo(2), minutesAgo(2))
  expect(probe()).toBe(0)
  utimesSync(here, minutesAgo(5), minutesAgo(5))
  expect(probe()).not.toBe(0)
})

test('leaving queues to another build is no failure', () => {
  const scheduled = workers.filter((one) => one.kind !== 'Job')
  expect(scheduled).toHaveLength(2)
  for (const manifest of scheduled) expect(containerOf(manifest).args).toContain('--other-build-ok')
})

test('KEDA’s query counts what tick says is ready, as a role that can do nothing else', async () => {
  const page = readFileSync(join(ROOT, 'docs/deploy-containers.md'), 'utf8')
  const role = page.match(/```sql\n\s*(create role coherence_scaler[^]*?)```/)![1].replace(/login password '[^']*'/, '')
  const query = find('ScaledJob', 'coherence-drain').spec.triggers[0].metadata.query
  const database = await createDatabase()
  const admin = new Client({ connectionString: database.adminUrl })
  await admin.connect()
  try {
    const env = { DATABASE_URL: database.url }
    expect(await cli.run(['migrate'], { env })).toMatchObject({ code: 0 })
    const { readyTotal } = (await cli.run(['tick', '--json'], { env })).json()
    expect(readyTotal).toBeGreaterThan(1)
    await admin.query(`
      update pgboss.job set start_after = now() + interval '1 hour' where name = 'sweep';
      insert into pgboss.job (name, state) values ('dead-letter', 'created'), ('pack', 'active'), ('pack', 'completed')`)
    const { maxReplicaCount, triggers } = find('ScaledJob', 'coherence-drain').spec
    expect(query).toContain(`limit ${maxReplicaCount * Number(triggers[0].metadata.targetQueryValue)}\n`.trim())
    const { 'dead-letter': _dead, ...ready } = await countReadyJobs(admin)
    // Roles are the server's, not the database's: what is made here is rolled back.
    await admin.query(`begin; ${role}; set local role coherence_scaler`)
    const { rows } = await admin.query(query)
    expect(Number(rows[0].count)).toBe(Object.values(ready).reduce((sum, count) => sum + count, 0))
    expect(Number(rows[0].count)).toBe(readyTotal - 1)
    for (const forbidden of ['delete from pgboss.job', 'select * from entropy_samples', 'select * from devices']) {
      await admin.query('savepoint before')
      await expect(admin.query(forbidden)).rejects.toThrow(/permission denied/)
      await admin.query('rollback to before')
    }
  } finally {
    await admin.query('rollback')
    await admin.end()
    await database.drop()
  }
})
