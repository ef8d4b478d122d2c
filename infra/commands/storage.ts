import type { Command } from 'commander'
import { countReplicas, countUnprovedObjects, forgetReplicas, listMissingCopies } from '../../db/replicas.ts'
import { copyStore } from '../../jobs/copy-store.ts'
import { listSweptPlaces, ORPHAN_AGE_HOURS, sweepOrphans, type SweepOutcome } from '../../jobs/sweep.ts'
import { verifyStorage } from '../../jobs/verify-storage.ts'
import type { Backend, StorePlace } from '../../pipeline/store-place.ts'
import { usage, type Bind, type Register } from '../command.ts'
import { formatBytes } from '../output.ts'
import { openStoreAt } from '../stores.ts'
import { withContext } from './with-context.ts'

const BACKENDS: readonly Backend[] = ['local', 'supabase', 'storj']
const PLACES = 'a backend, or backend:bucket for another bucket than STORAGE_BUCKET'

interface CopyFlags {
  from: string
  to: string
  concurrency: string
  maxRate?: string
  dryRun?: boolean
}

export const storageCommand: Register = (storage, bind) => {
  addCopy(storage, bind)
  addVerify(storage, bind)
  addCutover(storage, bind)
  addForget(storage, bind)
  addSweep(storage, bind)
}

function addCopy(storage: Command, bind: Bind): void {
  storage
    .command('copy')
    .description('copy every object that is missing in another store, and prove it there; go on by running it again')
    .requiredOption('--from <place>', PLACES)
    .requiredOption('--to <place>', PLACES)
    .option('--concurrency <n>', 'copies at a time', '4')
    .option('--max-rate <MB/s>', 'copy no faster than this on average (1 MB is 10^6 bytes)')
    .option('--dry-run', 'only say what would be copied')
    .action(
      bind(async ({ output, signal }, flags: CopyFlags) => {
        const concurrency = Number(flags.concurrency)
        if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 64) {
          throw usage('--concurrency takes a whole number from 1 to 64.')
        }
        const bytesPerSecond = flags.maxRate === undefined ? undefined : Number(flags.maxRate) * 1e6
        if (bytesPerSecond !== undefined && !(bytesPerSecond > 0)) throw usage('--max-rate takes MB/s above 0.')
        return await withContext(async ({ context, config }) => {
          const from = parsePlace(flags.from, config.storageBucket)
          const to = parsePlace(flags.to, config.storageBucket)
          if (isSamePlace(from, to)) throw usage('--from and --to are the same place.')
          if (flags.dryRun) {
            const missing = await listMissingCopies(context.pool, from, to)
            const bytes = missing.reduce((sum, object) => sum + object.size, 0)
            output.result(
              { objects: missing.length, bytes, copied: 0 },
              () => `would copy ${missing.length} objects, ${formatBytes(bytes)}`,
            )
            return 0
          }
          await (await openStoreAt(config, to, { create: true })).probe()
          const progress = output.progress(`copying to ${flags.to}`)
          const { failedAttempts, ...outcome } = await copyStore(context, {
            from,
            to,
            concurrency,
            bytesPerSecond,
            signal,
            onProgress: (copied, total) => progress.update(`${copied} of ${total}`, copied, total, 'objects'),
          })
          progress.end()
          const { objects, bytes, copied, left } = outcome
          output.result(outcome, () =>
            left === 0
              ? `copied ${objects} objects, ${formatBytes(bytes)}; every object of ${flags.from} is in ${flags.to}`
              : `copied ${copied} objects, ${left} are left (${failedAttempts} attempts failed): run it again, or let the workers go on`,
          )
          return left === 0 ? 0 : 1
        })
      }),
    )
}

function addVerify(storage: Command, bind: Bind): void {
  storage
    .command('verify')
    .description(
      'read objects back and compare their hashes; a wrong one loses its proof, so that nothing of it is pruned',
    )
    .option('--backend <place>', `only ${PLACES}`)
    .option('--sample <p>', 'look at this fraction of the objects', '1')
    .action(
      bind(async ({ output, signal }, flags: { backend?: string; sample: string }) => {
        const sample = Number(flags.sample)
        if (!(sample > 0 && sample <= 1)) throw usage('--sample takes a fraction above 0, up to 1.')
        return await withContext(async ({ context, config }) => {
          const place = flags.backend === undefined ? undefined : parsePlace(flags.backend, config.storageBucket)
          const progress = output.progress('verifying')
          const outcome = await verifyStorage(context, {
            place,
            sample,
            signal,
            onProgress: (done, total) => progress.update(`${done} of ${total}`, done, total, 'objects'),
          })
          progress.end()
          output.result(outcome, () =>
            [
              ...outcome.bad.map((one) => `BAD  ${one.place}/${one.objectKey}\n     ${one.error}`),
              `${outcome.checked} objects, ${formatBytes(outcome.bytes)} read back, ${outcome.bad.length} bad`,
            ].join('\n'),
          )
          return outcome.bad.length === 0 ? 0 : 1
        })
      }),
    )
}

function addCutover(storage: Command, bind: Bind): void {
  storage
    .command('cutover')
    .description('say whether every object is proved in a store, so that it may become STORAGE_DRIVER; exit 1 if not')
    .requiredOption('--to <place>', PLACES)
    .action(
      bind(async ({ output }, flags: { to: string }) => {
        return await withContext(async ({ context, config }) => {
          const to = parsePlace(flags.to, config.storageBucket)
          const missing = await countUnprovedObjects(context.pool, to)
          output.result({ ready: missing === 0, missing }, () =>
            missing === 0
              ? `Ready: every object is proved in ${flags.to}. Set STORAGE_DRIVER=${to.backend} and restart the workers.`
              : `Not yet: ${missing} objects have no proved copy in ${flags.to}; run \`coherence storage copy\`.`,
          )
          return missing === 0 ? 0 : 1
        })
      }),
    )
}

function addForget(storage: Command, bind: Bind): void {
  storage
    .command('forget')
    .description('stop reading a store whose objects are proved in STORAGE_DRIVER’s; what is there is left to sweep')
    .requiredOption('--from <place>', PLACES)
    .option('--dry-run', 'only say what would be forgotten')
    .action(
      bind(async ({ output }, flags: { from: string; dryRun?: boolean }) => {
        return await withContext(async ({ context, config }) => {
          const from = parsePlace(flags.from, config.storageBucket)
          const { store, mirror } = context
          if (isSamePlace(from, store)) throw usage(`${flags.from} is the STORAGE_DRIVER.`)
          if (mirror && isSamePlace(from, mirror))
            throw usage(`${flags.from} is the STORAGE_MIRROR; take that away first.`)
          const dryRun = flags.dryRun === true
          const outcome = await forgetReplicas(context.pool, from, store, { dryRun })
          output.result({ ...outcome, dryRun }, () =>
            [
              `${dryRun ? 'would forget' : 'forgot'} ${outcome.objects} objects, ${formatBytes(outcome.bytes)}`,
              ...(outcome.left > 0 ? [`kept ${outcome.left} that ${store.backend} has no proved copy of`] : []),
              ...(dryRun
                ? []
                : [`\`coherence storage sweep --backend ${flags.from} --delete\` removes them from the store`]),
            ].join('\n'),
          )
          return outcome.left === 0 ? 0 : 1
        })
      }),
    )
}

function addSweep(storage: Command, bind: Bind): void {
  storage
    .command('sweep')
    .description(`find objects that no row names, older than ${ORPHAN_AGE_HOURS} h by the store’s own clock`)
    .option('--backend <place>', `only ${PLACES}; if not given, the store and its mirror`)
    .option('--delete', 'remove them; without it nothing is removed')
    .action(
      bind(async ({ output, signal }, flags: { backend?: string; delete?: boolean }) => {
        await withContext(async ({ context, config }) => {
          const asked = flags.backend === undefined ? undefined : parsePlace(flags.backend, config.storageBucket)
          const progress = output.progress('sweeping')
          const outcomes: SweepOutcome[] = []
          for (const place of asked ? [asked] : listSweptPlaces(context)) {
            const name = formatPlace(place)
            const known = await countReplicas(context.pool, place)
            const onProgress = (objects: number) =>
              progress.update(`${name}: ${objects}`, objects, Math.max(known, objects), 'objects')
            outcomes.push(await sweepOrphans(context, place, { deletes: flags.delete === true, signal, onProgress }))
          }
          progress.end()
          output.result({ places: outcomes }, () => outcomes.flatMap(describeSweep).join('\n'))
        })
      }),
    )
}

function describeSweep({ place, objects, orphans, deleted, deletes }: SweepOutcome): string[] {
  return [
    ...orphans.map(({ key, size, modifiedAt }) => `${modifiedAt}  ${formatBytes(size)}  ${key}`),
    `${formatPlace(place)}: ${objects} objects, ${orphans.length} orphans, ${deleted} removed` +
      (orphans.length > 0 && !deletes ? ' (dry run; add --delete to remove them)' : ''),
  ]
}

function formatPlace({ backend, bucket }: StorePlace): string {
  return `${backend}:${bucket}`
}

function isSamePlace(a: StorePlace, b: StorePlace): boolean {
  return a.backend === b.backend && a.bucket === b.bucket
}

function parsePlace(text: string, defaultBucket: string): StorePlace {
  const [name, bucket = defaultBucket] = text.split(':')
  const backend = BACKENDS.find((candidate) => candidate === name)
  if (!backend) throw usage(`no backend is named ${JSON.stringify(name)}; there are ${BACKENDS.join(', ')}.`)
  return { backend, bucket }
}
