/** A record of a binary batch, as a device's software would write it. */
export interface Record {
  readonly profileId: string
  readonly microseconds: bigint
  readonly sequence: bigint
  readonly payload: Uint8Array
}

export function binaryBatch(records: readonly Record[]): Uint8Array<ArrayBuffer> {
  const pieces = records.map(({ profileId, microseconds, sequence, payload }) => {
    const head = Buffer.alloc(36)
    head.write(profileId.replaceAll('-', ''), 0, 'hex')
    head.writeBigInt64BE(microseconds, 16)
    head.writeBigInt64BE(sequence, 24)
    head.writeUInt32BE(payload.length, 32)
    return Buffer.concat([head, payload])
  })
  return new Uint8Array(Buffer.concat(pieces))
}
