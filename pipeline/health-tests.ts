/**
 * The health tests that a noise source runs while it works, SP 800-90B, 4.4: symbol by symbol, with a memory of a few
 * numbers. Both count against a cut-off that a source of the claimed min-entropy passes by with probability alpha at most.
 */
import { binomialUpper } from './special.ts'

/** Window of the adaptive proportion test, in symbols: for two symbols, and for more. SP 800-90B, 4.4.2. */
const BINARY_WINDOW = 1024
const WINDOW = 512

export interface HealthClaim {
  /** Bits of a symbol, 1 to 8; bytes are cut into symbols, most significant bit first. */
  readonly bitsPerSymbol: number
  /** Claimed min-entropy, bits a symbol. */
  readonly minEntropy: number
  /** Probability of a false alarm, a run or a window. */
  readonly alpha: number
}

/** What a stream has shown. `alarms`: how often a count reached its cut-off. */
export interface HealthCounts {
  symbols: number
  /** Longest run of one symbol. */
  longest: number
  repetitionAlarms: number
  windows: number
  /** Largest count of a window's first symbol in it. */
  largest: number
  proportionAlarms: number
  /** Symbols read when the first alarm of each test came, or null. */
  firstRepetitionAlarm: number | null
  firstProportionAlarm: number | null
}

export interface HealthState {
  readonly claim: HealthClaim
  readonly repetitionCutoff: number
  readonly proportionCutoff: number
  readonly window: number
  readonly counts: HealthCounts
  last: number
  run: number
  first: number
  inWindow: number
  matches: number
  /** Bits of a symbol that is not whole yet. */
  pending: number
  pendingBits: number
}

/** C = 1 + ceil(-log2(alpha) / H). SP 800-90B, 4.4.1. */
export function repetitionCutoff({ minEntropy, alpha }: HealthClaim): number {
  return 1 + Math.ceil(-Math.log2(alpha) / minEntropy)
}

/**
 * The least C with P(B >= C) <= alpha, B = 1 + Bin(W - 1, 2^-H) the count of a window's first symbol; W + 1, never reached, if
 * there is none. SP 800-90B, 4.4.2, whose CRITBINOM takes W trials where there are W - 1: never less.
 */
export function proportionCutoff({ bitsPerSymbol, minEntropy, alpha }: HealthClaim): number {
  const window = windowOf(bitsPerSymbol)
  const p = 2 ** -minEntropy
  // CRITBINOM(W, p, 1 - alpha) is the least c with P(X <= c) >= 1 - alpha, X of W trials.
  let critical = 0
  while (critical < window && binomialUpper(window, critical + 1, p) > alpha) critical++
  return 1 + critical
}

function windowOf(bitsPerSymbol: number): number {
  return bitsPerSymbol === 1 ? BINARY_WINDOW : WINDOW
}

/** Throws RangeError on a claim that cannot be: bits of a symbol, entropy above them or not above 0, alpha not within (0, 1). */
export function openHealthTests(claim: HealthClaim): HealthState {
  const { bitsPerSymbol, minEntropy, alpha } = claim
  if (!Number.isInteger(bitsPerSymbol) || bitsPerSymbol < 1 || bitsPerSymbol > 8) {
    throw new RangeError(`bits per symbol must be an integer from 1 to 8, not ${bitsPerSymbol}`)
  }
  if (!(minEntropy > 0 && minEntropy <= bitsPerSymbol)) {
    throw new RangeError(`claimed min-entropy must be above 0 and at most ${bitsPerSymbol} bits, not ${minEntropy}`)
  }
  if (!(alpha > 0 && alpha < 1)) throw new RangeError(`alpha must lie between 0 and 1, not ${alpha}`)
  return {
    claim,
    repetitionCutoff: repetitionCutoff(claim),
    proportionCutoff: proportionCutoff(claim),
    window: windowOf(bitsPerSymbol),
    counts: {
      symbols: 0,
      longest: 0,
      repetitionAlarms: 0,
      windows: 0,
      largest: 0,
      proportionAlarms: 0,
      firstRepetitionAlarm: null,
      firstProportionAlarm: null,
    },
    last: -1,
    run: 0,
    first: 0,
    inWindow: 0,
    matches: 0,
    pending: 0,
    pendingBits: 0,
  }
}

const PIECE_BYTES = 4096

/** Takes the next bytes of the source. */
export function addHealthBytes(state: HealthState, bytes: Uint8Array): void {
  const { bitsPerSymbol } = state.claim
  if (bitsPerSymbol === 8) return addSymbols(state, bytes)
  const symbols = new Uint8Array((8 * Math.min(bytes.length, PIECE_BYTES)) / bitsPerSymbol + 1)
  const mask = (1 << bitsPerSymbol) - 1
  for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
    let length = 0
    for (const byte of bytes.subarray(from, from + PIECE_BYTES)) {
      state.pending = (state.pending << 8) | byte
      state.pendingBits += 8
      while (state.pendingBits >= bitsPerSymbol) {
        state.pendingBits -= bitsPerSymbol
        symbols[length++] = (state.pending >>> state.pendingBits) & mask
      }
      state.pending &= (1 << state.pendingBits) - 1
    }
    addSymbols(state, symbols.subarray(0, length))
  }
}

/** After a break in the data: nothing is counted across it. What was found is kept. */
export function restartHealthTests(state: HealthState): void {
  Object.assign(state, { last: -1, run: 0, inWindow: 0, matches: 0, pending: 0, pendingBits: 0 })
}

function addSymbols(state: HealthState, symbols: Uint8Array): void {
  addRuns(state, symbols)
  addWindows(state, symbols)
  state.counts.symbols += symbols.length
}

function addRuns(state: HealthState, symbols: Uint8Array): void {
  if (symbols.length === 0) return
  const { counts, repetitionCutoff: cutoff } = state
  let run = symbols[0] === state.last ? state.run : 0
  for (let i = 0; i < symbols.length;) {
    run++
    if (run > counts.longest) counts.longest = run
    // A run is one alarm, not one for each symbol more.
    if (run === cutoff) {
      counts.repetitionAlarms++
      counts.firstRepetitionAlarm ??= counts.symbols + i + 1
    }
    i++
    if (i === symbols.length || symbols[i] === symbols[i - 1]) continue
    run = 1
    // In this loop the time goes: nearly all neighbours differ. It ends before the second symbol of a run.
    do i++
    while (i < symbols.length && symbols[i] !== symbols[i - 1])
  }
  state.last = symbols[symbols.length - 1]
  state.run = run
}

function addWindows(state: HealthState, symbols: Uint8Array): void {
  const { counts, proportionCutoff: cutoff, window } = state
  for (let from = 0; from < symbols.length;) {
    if (state.inWindow === 0) {
      state.first = symbols[from]
      state.matches = 0
    }
    const { first, matches: before } = state
    const to = Math.min(symbols.length, from + window - state.inWindow)
    let matches = before
    for (let i = from; i < to; i++) if (symbols[i] === first) matches++
    if (before < cutoff && matches >= cutoff) {
      counts.proportionAlarms++
      counts.firstProportionAlarm ??= counts.symbols + placeOfMatch(symbols, from, first, cutoff - before) + 1
    }
    if (matches > counts.largest) counts.largest = matches
    state.matches = matches
    state.inWindow += to - from
    from = to
    if (state.inWindow === window) {
      counts.windows++
      state.inWindow = 0
    }
  }
}

/** Where the `nth` symbol from `from` on is that is `symbol`. */
function placeOfMatch(symbols: Uint8Array, from: number, symbol: number, nth: number): number {
  let at = from - 1
  for (let n = 0; n < nth; n++) at = symbols.indexOf(symbol, at + 1)
  return at
}
