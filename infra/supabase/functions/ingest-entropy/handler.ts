import { type Batch, ingestArguments, MOST_BODY_BYTES, type Report, reportBatch } from '../_shared/batch.ts'
import { mediaType, readBody } from '../_shared/body.ts'
import { signDeviceToken, verifyDeviceToken } from '../_shared/claims.ts'
import { epochSeconds } from '../_shared/clock.ts'
import { authenticateDevice, callFunction } from '../_shared/database.ts'
import type { Environment } from '../_shared/environment.ts'
import { Refusal, unauthorized } from '../_shared/refusal.ts'
import { BINARY_TYPE, parseBinaryBatch } from '../_shared/samples-binary.ts'
import { parseJsonBatch } from '../_shared/samples-json.ts'

type Parse = (body: Uint8Array<ArrayBuffer>) => Batch

const PARSERS: ReadonlyMap<string, Parse> = new Map([
  ['application/json', parseJsonBatch],
  [BINARY_TYPE, parseBinaryBatch],
])

/** Stores a batch of the device that sends it, as that device: the database checks again whose it is. */
export async function ingest(request: Request, environment: Environment): Promise<Report> {
  const parse = PARSERS.get(mediaType(request))
  if (parse === undefined) throw new Refusal(415, `Send Content-Type: ${[...PARSERS.keys()].join(' or ')}.`)
  // Before the body: nobody else gets it read.
  const { deviceId, token } = await identify(request, environment)
  const batch = parse(await readBody(request, MOST_BODY_BYTES))
  const rows = await callFunction(environment.url, 'insert_entropy_samples', ingestArguments(deviceId, batch.samples), {
    apiKey: environment.publishableKey,
    bearer: token,
    passedOn: [401, 403, 413, 429],
  })
  return reportBatch(batch, rows)
}

/** By the JWT of device-auth, or by the token that a device exchanges for one, which is then done here. */
async function identify(request: Request, environment: Environment): Promise<{ deviceId: string; token: string }> {
  const deviceToken = request.headers.get('x-device-token')
  if (deviceToken !== null) {
    const device = await authenticateDevice(environment, deviceToken)
    if (device === null) {
      throw unauthorized('This device token is not known, was revoked, or is of a device that is not active.')
    }
    const token = await signDeviceToken(device, environment.jwtSecret, { now: epochSeconds() })
    return { deviceId: device.deviceId, token }
  }
  const [, token] = /^bearer +(\S+)$/i.exec(request.headers.get('authorization') ?? '') ?? []
  if (token === undefined) throw unauthorized('Send Authorization: Bearer and the access_token of device-auth.')
  const { deviceId } = await verifyDeviceToken(token, environment.jwtSecret, epochSeconds())
  return { deviceId, token }
}
