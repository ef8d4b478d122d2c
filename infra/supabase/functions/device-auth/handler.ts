import { z } from 'zod'
import { mediaType, readBody } from '../_shared/body.ts'
import { DEVICE_TOKEN_SECONDS, signDeviceToken } from '../_shared/claims.ts'
import { epochSeconds } from '../_shared/clock.ts'
import { authenticateDevice } from '../_shared/database.ts'
import type { Environment } from '../_shared/environment.ts'
import { parseJson } from '../_shared/json.ts'
import { Refusal, unauthorized } from '../_shared/refusal.ts'

const MOST_BODY_BYTES = 4096

const BODY = z.object({ device_token: z.string() })

/** Exchanges a device's token for a JWT of role `device` and tells the profiles it may send for. */
export async function authenticate(request: Request, environment: Environment): Promise<object> {
  if (mediaType(request) !== 'application/json') throw new Refusal(415, 'Send Content-Type: application/json.')
  const { success, data } = BODY.safeParse(parseJson(await readBody(request, MOST_BODY_BYTES)))
  if (!success) throw new Refusal(400, 'The body must be {"device_token": "…"}.')
  const device = await authenticateDevice(environment, data.device_token)
  if (device === null) {
    throw unauthorized('This device token is not known, was revoked, or is of a device that is not active.')
  }
  return {
    access_token: await signDeviceToken(device, environment.jwtSecret, { now: epochSeconds() }),
    token_type: 'bearer',
    expires_in: DEVICE_TOKEN_SECONDS,
    device_id: device.deviceId,
    profiles: device.profiles,
  }
}
