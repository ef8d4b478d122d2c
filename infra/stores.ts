import { CoherenceError } from '../pipeline/errors.ts'
import type { StorePlace } from '../pipeline/store-place.ts'
import type { ObjectStore } from '../storage/object-store.ts'
import type { SupabaseStore } from '../storage/supabase.ts'
import type { Config } from './config.ts'

/**
 * The store of a place, by the settings of its backend, whose driver is loaded now. Opening makes no request. `create` makes a local folder or a private
 * bucket of Supabase that is missing. Throws STORE_UNAVAILABLE, naming the settings, if the backend is not configured here, and
 * CONFIG_INVALID for a key that is a public one.
 */
export async function openStoreAt(
  config: Config,
  place: StorePlace,
  options: { create?: boolean } = {},
): Promise<ObjectStore> {
  switch (place.backend) {
    case 'local': {
      const { openLocalStore } = await import('../storage/local.ts')
      return await openLocalStore(config.localStorageDir, place.bucket, { create: options.create ?? false })
    }
    case 'storj': {
      if (config.storj === null) throw notConfigured(place, 'STORJ_ACCESS_KEY_ID and STORJ_SECRET_ACCESS_KEY')
      const { openS3Store } = await import('../storage/s3.ts')
      return openS3Store({ backend: 'storj', bucket: place.bucket, ...config.storj })
    }
    case 'supabase': {
      if (config.supabase === null) throw notConfigured(place, 'SUPABASE_URL and SUPABASE_SECRET_KEY')
      const store = await openSupabase(place.bucket, config.supabase)
      if (options.create) await store.ensureBucket()
      return store
    }
  }
}

/** The store that new objects go to. `create` makes the local folder or Supabase bucket that is missing. */
export async function openStore(config: Config, options: { create?: boolean } = {}): Promise<ObjectStore> {
  return await openStoreAt(config, { backend: config.storageDriver, bucket: config.storageBucket }, options)
}

async function openSupabase(bucket: string, settings: { url: string; secretKey: string }): Promise<SupabaseStore> {
  const { openSupabaseStore } = await import('../storage/supabase.ts')
  try {
    return openSupabaseStore({ bucket, ...settings })
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new CoherenceError('CONFIG_INVALID', `SUPABASE_URL or SUPABASE_SECRET_KEY is not right: ${error.message}.`, {
      cause: error,
    })
  }
}

/** Opens stores on demand and keeps them: objects written before a switch are read from where they are. */
export function storeCache(config: Config): (place: StorePlace) => Promise<ObjectStore> {
  const stores = new Map<string, Promise<ObjectStore>>()
  return async (place) => {
    const name = `${place.backend}:${place.bucket}`
    let store = stores.get(name)
    if (!store) stores.set(name, (store = openStoreAt(config, place)))
    return await store
  }
}

function notConfigured(place: StorePlace, needs: string): CoherenceError {
  return new CoherenceError(
    'STORE_UNAVAILABLE',
    `an object is in ${place.backend}:${place.bucket}, which is not configured here: it needs ${needs}.`,
  )
}
