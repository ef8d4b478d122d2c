export type Backend = 'local' | 'supabase' | 'storj'

/** Where objects are: one bucket (or folder) of one backend. */
export interface StorePlace {
  readonly backend: Backend
  readonly bucket: string
}
