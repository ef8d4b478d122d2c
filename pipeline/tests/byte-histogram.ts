import { addByteHistogram } from '../bits.ts'

/** How often each byte value occurs in all segments together (256 counts). */
export function byteHistogram(segments: readonly Uint8Array[]): Uint32Array {
  const histogram = new Uint32Array(256)
  for (const segment of segments) addByteHistogram(segment, histogram)
  return histogram
}
