/** A contiguous part of the input, in memory that threads share. */
export interface Sequence {
  readonly index: number
  readonly bytes: Uint8Array
}

export interface CutOptions {
  /** Bytes of a sequence. */
  readonly length: number
  /** The source is read no further than for so many sequences. */
  readonly most?: number
  /** Memory for the next sequence: fresh if not given, or that of one which nobody needs any more. */
  readonly allocate?: (length: number) => Uint8Array
  /** Given the last part, if it is shorter than a sequence. */
  readonly onRest?: (rest: Uint8Array) => void
}

/** Cuts what is read into sequences. A last part that is shorter is left out. */
export async function* cutSequences(
  pieces: AsyncIterable<Uint8Array>,
  { length, most = Infinity, allocate = allocateShared, onRest = () => {} }: CutOptions,
): AsyncGenerator<Sequence> {
  let index = 0
  let filled = 0
  let bytes = allocate(length)
  for await (const piece of pieces) {
    for (let at = 0; at < piece.length;) {
      const part = piece.subarray(at, at + length - filled)
      bytes.set(part, filled)
      filled += part.length
      at += part.length
      if (filled < length) continue
      yield { index: index++, bytes }
      if (index === most) return
      bytes = allocate(length)
      filled = 0
    }
  }
  onRest(bytes.subarray(0, filled))
}

export function allocateShared(length: number): Uint8Array {
  return new Uint8Array(new SharedArrayBuffer(length))
}

/** The sequences of `length` bytes inside segments that are in memory already, and how many bytes are left out. */
export function cutSegments(
  segments: readonly Uint8Array[],
  length: number,
): { sequences: Uint8Array[]; leftOut: number } {
  const sequences: Uint8Array[] = []
  let leftOut = 0
  for (const segment of segments) {
    let at = 0
    for (; at + length <= segment.length; at += length) sequences.push(segment.subarray(at, at + length))
    leftOut += segment.length - at
  }
  return { sequences, leftOut }
}
