import type { Queryable } from './pool.ts'

/** A user's request for the samples of one device, as it stands in sample_exports. Times are texts of full precision. */
export interface SampleExport {
  readonly id: string
  readonly deviceId: string
  readonly from: string
  readonly to: string
  /** Whether the device is the user's; an admin may ask for anybody's. */
  readonly isReadable: boolean
}

/** A file that answers an export, as sample_exports.files has it. */
export interface ExportFile {
  readonly url: string
  readonly file_name: string
  readonly bytes: number
  readonly sha256: string
  readonly samples: number
}

/** Sets a queued export running, or a running one running again (its worker died). Null if it is done or deleted. */
export async function startExport(db: Queryable, exportId: string): Promise<SampleExport | null> {
  const { rows } = await db.query<SampleExport>(
    `update public.sample_exports e set status = 'running', started_at = coalesce(started_at, now())
     where id = $1 and status in ('queued', 'running')
     returning id, device_id as "deviceId", to_jsonb(time_range_start) #>> '{}' as "from",
       to_jsonb(time_range_end) #>> '{}' as "to",
       exists (select from public.devices d join public.profiles p on p.id = e.user_id
               where d.id = e.device_id and (d.user_id = e.user_id or p.role = 'admin')) as "isReadable"`,
    [exportId],
  )
  return rows[0] ?? null
}

/** Ends the export with its files, whose links hold from now on for so many seconds. */
export async function completeExport(
  tx: Queryable,
  exportId: string,
  files: readonly ExportFile[],
  linkSeconds: number,
): Promise<void> {
  await tx.query(
    `update public.sample_exports
     set status = 'completed', completed_at = now(), error_message = null, files = $2, sample_count = $3,
       links_expire_at = now() + $4 * interval '1 second'
     where id = $1 and status = 'running'`,
    [exportId, JSON.stringify(files), files.reduce((sum, file) => sum + file.samples, 0), linkSeconds],
  )
}

/** Ends the export as failed with a sentence its user can act on. */
export async function failExport(db: Queryable, exportId: string, message: string): Promise<void> {
  await db.query(
    `update public.sample_exports set status = 'failed', error_message = $2, completed_at = now()
     where id = $1 and status in ('queued', 'running')`,
    [exportId, message],
  )
}

/** Forgets exports that ended more than 30 days ago. Returns how many. */
export async function deleteOldExports(db: Queryable): Promise<number> {
  const { rowCount } = await db.query(
    `delete from public.sample_exports where completed_at < now() - interval '30 days'`,
  )
  return rowCount ?? 0
}
