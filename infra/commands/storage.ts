import type { Command } from 'commander'
import { countUnprovedObjects, listMissingCopies } from '../../db/replicas.ts'
import { sendCopies } from '../../jobs/copy-object.ts'
import { ORPHAN_AGE_HOURS, sweepOrphans } from '../../jobs/sweep.ts'
import { verifyStorage } from '../../jobs/verify-storage.ts'
import { runWorker } from '../../jobs/work.ts'
import type { Backend, StorePlace } from '../../pipeline/store-place.ts'
import { usage, type Bind, type Register } from '../command.ts'
import { formatBytes } from '../output.ts'
import { openStoreAt } from '../stores.ts'
import { withContext } from './with-context.ts'

const BACKENDS: readonly Backend[] = ['local', 'storj']
const PLACES = 'a backend, or backend:bucket for another bucket than STORAGE_BUCKET'
const BATCH = 500
/** Below live uploads and tests. */
const LOW_PRIORITY = -10

export const storageCommand: Register = (program, bind) => {
  const storage = program.command('storage').description('look after the object store: move, prove, tidy')
  addCopy(storage, bind)
  addVerify(storage, bind)
  addCutover(storage, bind)
  addSweep(storage, bind)
}

function addCopy(storage: Command, bind: Bind): void {
  storage
    .command('copy')
    .description('copy every object that is missing in another store, and prove it there; go on by running it again')
    .requiredOption('--from <place>', PLACES)
    .requiredOption('--to <place>', PLACES)
    .option('--concurrency <n>', 'copies at a time', '4')
    .option('--dry-run', 'only say what would be copied')
    .action(
      bind(async ({ output, signal }, flags: { from: string; to: string; concurrency: string; dryRun?: boolean }) => {
        const concurrency = Number(flags.concurrency)
        if (!Number.isInteger(concurrency) || concurrency < 1 || concurrency > 64) {
          throw usage('--concurrency takes a whole number from 1 to 64.')
        }
        return await withContext(async ({ context, config }) => {
          const from = parsePlace(flags.from, config.storageBucket)
          const to = parsePlace(flags.to, config.storageBucket)
          if (from.backend === to.backend && from.bucket === to.bucket)
            throw usage('--from and --to are the same place.')
          const missing = await listMissingCopies(context.pool, from, to)
          const bytes = missing.reduce((sum, object) => sum + object.size, 0)
          if (flags.dryRun) {
            output.result(
              { objects: missing.length, bytes, copied: 0 },
              () => `would copy ${missing.length} objects, ${formatBytes(bytes)}`,
            )
            return 0
          }
          await (await openStoreAt(config, to, { create: true })).probe()
          const progress = output.progress(`copying to ${flags.to}`)
          for (let sent = 0; sent < missing.length && !signal.aborted; sent += BATCH) {
            await sendCopies(context, context.pool, missing.slice(sent, sent + BATCH), to, LOW_PRIORITY)
          }
          let copied = 0
          const { failed } = await runWorker(context, {
            mode: 'drain',
            queues: ['copy-object'],
            concurrency,
            signal,
            onJob: ({ ok }) => {
              if (ok) copied++
              progress.update(`${copied} of ${missing.length}`, copied, missing.length)
            },
          })
          progress.end()
          const left = (await listMissingCopies(context.pool, from, to)).length
          output.result({ objects: missing.length, bytes, copied: missing.length - left, left }, () =>
            left === 0
              ? `copied ${missing.length} objects, ${formatBytes(bytes)}; every object of ${flags.from} is in ${flags.to}`
              : `copied ${missing.length - left} objects, ${left} are left (${failed['copy-object'] ?? 0} attempts failed): run it again, or let the workers go on`,
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
            onProgress: (done, total) => progress.update(`${done} of ${total} objects`, done, total),
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

function addSweep(storage: Command, bind: Bind): void {
  storage
    .command('sweep')
    .description(`find objects that no row names, older than ${ORPHAN_AGE_HOURS} h by the store’s own clock`)
    .option('--delete', 'remove them; without it nothing is removed')
    .action(
      bind(async ({ output, signal }, flags: { delete?: boolean }) => {
        await withContext(async ({ context }) => {
          const progress = output.progress('sweeping')
          const outcome = await sweepOrphans(context, {
            deletes: flags.delete === true,
            signal,
            onProgress: (objects) => progress.update(`${objects} objects`),
          })
          progress.end()
          output.result(outcome, () =>
            [
              ...outcome.orphans.map(({ key, size, modifiedAt }) => `${modifiedAt}  ${formatBytes(size)}  ${key}`),
              `${outcome.objects} objects, ${outcome.orphans.length} orphans, ${outcome.deleted} removed` +
                (outcome.orphans.length > 0 && !outcome.deletes ? ' (dry run; add --delete to remove them)' : ''),
            ].join('\n'),
          )
        })
      }),
    )
}

function parsePlace(text: string, defaultBucket: string): StorePlace {
  const [name, bucket = defaultBucket] = text.split(':')
  const backend = BACKENDS.find((candidate) => candidate === name)
  if (!backend) throw usage(`no backend is named ${JSON.stringify(name)}; there are ${BACKENDS.join(', ')}.`)
  return { backend, bucket }
}
