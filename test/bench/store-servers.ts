// Run by stores.ts in a process of its own, so that servers and drivers do not share one thread.
import { startStrictS3 } from '../storage/strict-s3.ts'
import { startStrictSupabase } from '../storage/strict-supabase.ts'

const s3 = await startStrictS3()
const supabase = await startStrictSupabase()
const { bucket, region, accessKeyId, secretAccessKey } = s3.state
process.stdout.write(
  `${JSON.stringify({
    s3: { endpoint: s3.endpoint, bucket, region, accessKeyId, secretAccessKey },
    supabase: { url: supabase.url, bucket: supabase.state.bucketName, secretKey: supabase.state.secretKey },
  })}\n`,
)
