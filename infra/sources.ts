import { createCipheriv, randomBytes } from 'node:crypto'

/** A source of raw bytes on this machine, for the demonstration: what a device would be, without the device. */
export interface Source {
  readonly name: string
  readonly title: string
  readonly clientType: 'linux'
  /** The next `bytes` bytes, never the same twice. RangeError unless `bytes` is a whole number from 0 up. */
  read(bytes: number): Uint8Array
}

/** A source whose bytes belong to a second of UTC: two of a pair that read the same place of the same second share a signal. */
export interface TimedSource extends Source {
  /**
   * Bytes [offset, offset + bytes) of `second` (seconds since 1970-01-01T00:00:00Z). The same place gives the same bytes again.
   * RangeError unless all three are whole numbers from 0 up.
   */
  readAt(second: number, offset: number, bytes: number): Uint8Array
}

/** The operating system's generator: the reference, with nothing to be found in it. */
export function osGenerator(): Source {
  return {
    name: 'os-generator',
    title: 'Operating system generator',
    clientType: 'linux',
    read: (bytes) => new Uint8Array(randomBytes(assertWhole(bytes, 'bytes'))),
  }
}

/**
 * CPU timing jitter: the low byte of how many nanoseconds a short piece of work takes, raw and unwhitened. Some bits of entropy a
 * byte, far from 8; that is what the battery is to show. Where the clock ticks coarsely it is poorer still.
 */
export function clockJitter(): Source {
  const memory = new Uint32Array(JITTER_WORDS)
  let state = 1
  return {
    name: 'clock-jitter',
    title: 'CPU timing jitter, raw',
    clientType: 'linux',
    read(bytes) {
      const out = new Uint8Array(assertWhole(bytes, 'bytes'))
      let before = process.hrtime.bigint()
      for (let i = 0; i < out.length; i++) {
        // Where each step reads depends on what the one before found, so caches and pipelines add their timing.
        for (let step = 0; step < JITTER_STEPS; step++) {
          const at = state & (JITTER_WORDS - 1)
          state = (Math.imul(state ^ memory[at], 0x9e3779b1) + step) >>> 0
          memory[at] = state
          state ^= state >>> 15
        }
        const now = process.hrtime.bigint()
        out[i] = Number(BigInt.asUintN(8, now - before))
        state = (state + out[i]) >>> 0
        before = now
      }
      return out
    },
  }
}

// 16 KiB: it stays in the first-level cache, so what varies is the pipeline, the clock and whoever else runs. A power of two.
const JITTER_WORDS = 1 << 12
// A quarter of a microsecond a byte: megabytes a second, where 20 KB/s would do.
const JITTER_STEPS = 32

/**
 * Bits that are 1 with probability `p`, independent, from the operating system's generator; `p` is taken to the nearest 1/65536.
 * RangeError unless 0 <= p <= 1.
 */
export function biased(p = 0.51): Source {
  if (!(p >= 0 && p <= 1)) throw new RangeError(`p is ${p}, not a probability`)
  const threshold = Math.round(p * 65536)
  return {
    name: 'biased',
    title: `Biased generator, P(1) = ${p}`,
    clientType: 'linux',
    read: (bytes) => biasedBytes(assertWhole(bytes, 'bytes'), threshold),
  }
}

/**
 * Compares 16 fair bits with `threshold` for each bit of the output, all 8 of a byte at once, from the lowest bit up: with
 * probability t so far, `or` with a fair bit makes (1 + t) / 2 of it, `and` makes t / 2.
 */
function biasedBytes(bytes: number, threshold: number): Uint8Array {
  const out = new Uint8Array(bytes)
  if (threshold === 65536) return out.fill(255)
  for (let bit = 0; bit < 16; bit++) {
    const fair = randomBytes(bytes)
    if ((threshold >> bit) & 1) for (let i = 0; i < bytes; i++) out[i] |= fair[i]
    else for (let i = 0; i < bytes; i++) out[i] &= fair[i]
  }
  return out
}

/**
 * Two sources that share a signal: each is perfectly random alone, but at a fraction `shared` (to the nearest 1/65536) of the
 * byte positions, chosen at random, both give the same byte for the same second. The other positions agree by chance, 1 in 256.
 * The secrets are drawn when the pair is made: another pair, or another run, shares nothing with it.
 * RangeError unless 0 <= shared <= 1.
 */
export function sharedPair(shared = 15 / 16): [TimedSource, TimedSource] {
  if (!(shared >= 0 && shared <= 1)) throw new RangeError(`shared is ${shared}, not a fraction`)
  const threshold = Math.round(shared * 65536)
  const common = secondStream()
  const chooser = secondStream()

  const half = (letter: 'a' | 'b'): TimedSource => {
    const own = secondStream()
    const readAt = (second: number, offset: number, bytes: number): Uint8Array => {
      assertWhole(second, 'second')
      assertWhole(offset, 'offset')
      assertWhole(bytes, 'bytes')
      const out = own(second, offset, bytes)
      const signal = common(second, offset, bytes)
      const choice = chooser(second, 2 * offset, 2 * bytes)
      for (let i = 0; i < bytes; i++) {
        if (((choice[2 * i] << 8) | choice[2 * i + 1]) < threshold) out[i] = signal[i]
      }
      return out
    }
    let second = 0
    let offset = 0
    return {
      name: `shared-${letter}`,
      title: `Shared signal, ${letter === 'a' ? 'first' : 'second'} of two`,
      clientType: 'linux',
      readAt,
      read(bytes) {
        const now = Math.floor(Date.now() / 1000)
        // A clock set back must not bring bytes again: go on in the later second.
        if (now > second) [second, offset] = [now, 0]
        const out = readAt(second, offset, bytes)
        offset += bytes
        return out
      },
    }
  }
  return [half('a'), half('b')]
}

/** Random bytes by place: AES-256 in counter mode under a secret of its own, the second in the counter's upper half. */
function secondStream(): (second: number, offset: number, bytes: number) => Uint8Array {
  const key = randomBytes(32)
  return (second, offset, bytes) => {
    const counter = Buffer.alloc(16)
    counter.writeBigUInt64BE(BigInt(second), 0)
    counter.writeBigUInt64BE(BigInt(Math.floor(offset / 16)), 8)
    const skip = offset % 16
    return new Uint8Array(
      createCipheriv('aes-256-ctr', key, counter)
        .update(Buffer.alloc(skip + bytes))
        .subarray(skip),
    )
  }
}

function assertWhole(value: number, name: string): number {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`${name} is ${value}, not a whole number from 0 up`)
  return value
}
