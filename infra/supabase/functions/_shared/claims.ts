import { errors, jwtVerify, SignJWT } from 'jose'
import { z } from 'zod'
import { unauthorized } from './refusal.ts'

/** How long a device's JWT holds, at most. */
export const DEVICE_TOKEN_SECONDS = 3600
/** How far the clocks of two of the platform's machines may differ. */
const CLOCK_TOLERANCE_SECONDS = 5

export interface DeviceIdentity {
  readonly deviceId: string
  /** The row of the device's token: the JWT ends with it when it is revoked. */
  readonly tokenId: string
}

/**
 * What a device's JWT says, apart from its times. It has no `sub`: Supabase Auth takes whatever is signed with the project's secret
 * for the user whose id is in there.
 */
export const DEVICE_CLAIMS = z.object({
  role: z.literal('device', 'role must be "device"'),
  aud: z.literal('device', 'aud must be "device"'),
  sub: z.undefined('there must be no sub: Supabase Auth takes it for a user’s id').optional(),
  device_id: z.guid('device_id must be the device’s uuid'),
  token_id: z.guid('token_id must be the uuid of the device’s token'),
})

/** HS256 with the project's secret, which is text and not decoded: as PostgREST and Supabase Auth do. */
export const secretKey = (secret: string) => new TextEncoder().encode(secret)

/** The JWT by which a device is the database's role `device`. Times are in seconds since 1970. */
export async function signDeviceToken(
  { deviceId, tokenId }: DeviceIdentity,
  secret: string,
  { now, seconds = DEVICE_TOKEN_SECONDS }: { now: number; seconds?: number },
): Promise<string> {
  return await new SignJWT({ role: 'device', device_id: deviceId, token_id: tokenId })
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
    .setIssuer('coherence')
    .setAudience('device')
    .setIssuedAt(now)
    .setExpirationTime(now + seconds)
    .sign(secretKey(secret))
}

/** Whose JWT this is. Refuses with 401 any that is not ours, of a device, and of now (in seconds since 1970). */
export async function verifyDeviceToken(token: string, secret: string, now: number): Promise<DeviceIdentity> {
  try {
    const { payload } = await jwtVerify(token, secretKey(secret), {
      algorithms: ['HS256'],
      requiredClaims: ['exp'],
      clockTolerance: CLOCK_TOLERANCE_SECONDS,
      currentDate: new Date(now * 1000),
    })
    const claims = DEVICE_CLAIMS.parse(payload)
    return { deviceId: claims.device_id, tokenId: claims.token_id }
  } catch (error) {
    if (error instanceof errors.JWTExpired)
      throw unauthorized('This token has expired. Get a new one from device-auth.')
    throw unauthorized('This is no token of a device. Get one from device-auth.')
  }
}
