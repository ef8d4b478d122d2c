import type { Queryable } from './pool.ts'

export interface DeviceProfile {
  readonly deviceId: string
  readonly deviceName: string
  readonly profileId: string
  readonly sampleSizeBytes: number
  readonly sampleRateHz: number
  /** The sequence number that the next sample gets. */
  readonly nextSequence: bigint
}

/** An active device's newest active sampling profile and where its sequence stands; null if there is none. */
export async function findDeviceProfile(db: Queryable, deviceId: string): Promise<DeviceProfile | null> {
  const { rows } = await db.query<Omit<DeviceProfile, 'nextSequence'> & { nextSequence: string }>(
    `select d.id as "deviceId", d.name as "deviceName", p.id as "profileId", p.sample_size_bytes as "sampleSizeBytes",
            p.sample_rate_hz::float8 as "sampleRateHz",
            (select coalesce(max(s.sequence), -1) + 1 from public.entropy_samples s
             where s.device_id = d.id and s.profile_id = p.id)::text as "nextSequence"
     from public.devices d join public.sampling_profiles p on p.device_id = d.id
     where d.id = $1 and d.status = 'active' and p.is_active
     order by p.created_at desc, p.id limit 1`,
    [deviceId],
  )
  return rows[0] ? { ...rows[0], nextSequence: BigInt(rows[0].nextSequence) } : null
}

/** The ids of active devices of that name. */
export async function findDevicesByName(db: Queryable, name: string): Promise<string[]> {
  const { rows } = await db.query<{ id: string }>(
    `select id from public.devices where name = $1 and status = 'active' order by created_at, id`,
    [name],
  )
  return rows.map((row) => row.id)
}

/** Creates a user as a sign-up would, for the embedded stack, where there is no Supabase Auth. */
export async function createLocalUser(db: Queryable, email: string): Promise<string> {
  const existing = await db.query<{ id: string }>('select id from public.profiles where email = $1', [email])
  if (existing.rows[0]) return existing.rows[0].id
  const { rows } = await db.query<{ id: string }>(
    'insert into auth.users (id, email) values (gen_random_uuid(), $1) returning id',
    [email],
  )
  return rows[0].id
}

/** Creates a device with one active sampling profile. */
export async function createDevice(
  db: Queryable,
  device: {
    userId: string
    name: string
    description: string
    clientType: string
    sampleRateHz: number
    sampleSizeBytes: number
  },
): Promise<{ deviceId: string; profileId: string }> {
  const { rows } = await db.query<{ deviceId: string; profileId: string }>(
    `with device as (
       insert into public.devices (user_id, name, description, client_type, device_token)
       values ($1, $2, $3, $4::public.device_client_type, gen_random_uuid()::text) returning id
     )
     insert into public.sampling_profiles (device_id, label, sample_rate_hz, sample_size_bytes)
     select id, 'default', $5, $6 from device
     returning device_id as "deviceId", id as "profileId"`,
    [device.userId, device.name, device.description, device.clientType, device.sampleRateHz, device.sampleSizeBytes],
  )
  return rows[0]
}
