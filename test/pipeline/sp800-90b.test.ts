import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import {
  assessNonIid,
  estimateBits,
  type Estimates,
  type Estimator,
  ESTIMATORS,
} from '../../pipeline/sp800-90b/assess.ts'
import { packSymbols, unpackSymbols } from '../../pipeline/sp800-90b/bit-words.ts'
import { logWithoutRun } from '../../pipeline/sp800-90b/prediction.ts'
import { countRepeats, repeatsOf } from '../../pipeline/sp800-90b/repeats.ts'
import { createScoreboard, scoreWord } from '../../pipeline/sp800-90b/scoreboard.ts'
import { neighbourPrefixes, sortSuffixes } from '../../pipeline/sp800-90b/suffix-array.ts'
import { sp80090bNonIid } from '../../pipeline/tests/sp800-90b.ts'
import { aesStream, namedStream } from '../fixtures/streams.ts'

type Numbers = Partial<Record<Estimator, number>>
interface Row {
  data: string
  symbols: number
  bitsPerSymbol: number
  sha256: string
  original: Numbers
  bitstring: Numbers
  /** Right predictions. */
  originalCorrect: Numbers
  bitstringCorrect: Numbers
  hOriginal: number
  hBitstring: number | null
  assessed: number
}
const path = new URL('../fixtures/sp800-90b.json', import.meta.url)
const fixture: { source: string; rows: Row[] } = JSON.parse(readFileSync(path, 'utf8'))

/** A number of [0, 1) for each i, from a key stream. */
function uniform(label: string, n: number): (i: number) => number {
  const view = new DataView(aesStream(`sp800-90b-${label}`, 4 * n).buffer)
  return (i) => view.getUint32(4 * i, true) / 2 ** 32
}

function symbolsOf(n: number, next: (i: number, before: number) => number): Uint8Array {
  const symbols = new Uint8Array(n)
  for (let i = 0; i < n; i++) symbols[i] = next(i, i > 0 ? symbols[i - 1] : 0)
  return symbols
}

/** Data with structure, by name: n symbols of `bits` bits. */
function structured(name: string, n: number, bits: number): Uint8Array {
  const k = 2 ** bits
  const u = uniform(name, 2 * n)
  const symbol = (i: number) => Math.floor(u(n + i) * k)
  if (name === 'period') return symbolsOf(n, (i) => symbol(i % 37))
  if (name === 'period-with-errors') return symbolsOf(n, (i) => (u(i) < 0.01 ? symbol(i) : symbol(i % 37)))
  if (name === 'sticky') return symbolsOf(n, (i, before) => (u(i) < 0.2 ? symbol(i) : before))
  if (name === 'walk') return symbolsOf(n, (i, before) => (u(i) < 0.1 ? symbol(i) : (5 * before + 3) % k))
  if (name === 'skewed') return symbolsOf(n, (i) => Math.floor(u(i) ** 4 * k))
  if (name === 'sparse') return symbolsOf(n, (i) => (u(i) < 0.003 ? symbol(i) : 0))
  if (name === 'two-values') return symbolsOf(n, (i) => (u(i) < 0.6 ? k - 1 : 0))
  if (name === 'repeated-half') return symbolsOf(n, (i) => symbol(i % Math.ceil(n / 2)))
  if (name === 'copies-of-limits') {
    // Where LZ78Y (at 16 contexts a symbol) and MultiMMC fill their dictionaries, again and again.
    const again = (i: number) => (i % 2000 < 1000 ? 3900 + (i % 400) : 99_900 + (i % 800))
    return symbolsOf(n, (i) => symbol(i < 110_000 ? i : again(i)))
  }
  if (name === 'uniform') return symbolsOf(n, symbol)
  throw new RangeError(`no data are named ${name}`)
}
const STRUCTURED = [
  'period',
  'period-with-errors',
  'sticky',
  'walk',
  'skewed',
  'sparse',
  'two-values',
  'repeated-half',
  'uniform',
]

function dataOf({ data, symbols, bitsPerSymbol }: Pick<Row, 'data' | 'symbols' | 'bitsPerSymbol'>): Uint8Array {
  if (STRUCTURED.includes(data) || data === 'copies-of-limits') return structured(data, symbols, bitsPerSymbol)
  return unpackSymbols(namedStream(data, Math.ceil((symbols * bitsPerSymbol) / 8)), bitsPerSymbol).subarray(0, symbols)
}

const numbersOf = (estimates: Estimates | null): Numbers =>
  Object.fromEntries(
    ESTIMATORS.flatMap((name) => {
      const found = estimates?.[name]?.min_entropy ?? null
      return found === null ? [] : [[name, found]]
    }),
  )
const correctOf = (estimates: Estimates | null): Numbers =>
  Object.fromEntries(
    ESTIMATORS.flatMap((name) => {
      const correct = estimates?.[name]?.details.correct
      return correct === undefined ? [] : [[name, correct]]
    }),
  )
const closeTo = (numbers: Numbers) =>
  Object.fromEntries(Object.entries(numbers).map(([name, value]) => [name, expect.closeTo(value, 9)]))

describe('the tool of NIST, 1.1.7', () => {
  it.each(fixture.rows)('$symbols symbols of $bitsPerSymbol bits of $data', (row) => {
    const symbols = dataOf(row)
    expect(createHash('sha256').update(symbols).digest('hex')).toBe(row.sha256)
    const found = assessNonIid(symbols, row.bitsPerSymbol)
    expect(numbersOf(found.original)).toEqual(closeTo(row.original))
    expect(numbersOf(found.bitstring)).toEqual(closeTo(row.bitstring))
    expect(correctOf(found.original)).toEqual(row.originalCorrect)
    expect(correctOf(found.bitstring)).toEqual(row.bitstringCorrect)
    expect(found.h_original).toBeCloseTo(row.hOriginal, 9)
    expect(found.h_bitstring ?? -1).toBeCloseTo(row.hBitstring ?? -1, 9)
    expect(found.assessed).toBeCloseTo(row.assessed, 9)
  })
})

/* Each estimator once more, as plainly as the standard writes it, slow and with other data structures. */

interface Performance {
  correct: number
  r: number
}

/** Plays predictors 0.. against the symbols from `first` on, the best so far in charge. Null: says nothing. */
function play(
  symbols: Uint8Array,
  first: number,
  predictors: number,
  predict: (d: number, i: number) => number | null,
  count: (i: number) => void,
  silenceEndsRun: boolean,
): Performance {
  const scores: number[] = Array.from({ length: predictors }, () => 0)
  let [winner, correct, run, longest] = [0, 0, 0, 0]
  for (let i = first; i < symbols.length; i++) {
    const said = scores.map((_, d) => predict(d, i))
    if (said[winner] === symbols[i]) {
      correct++
      run++
    } else if (said[winner] !== null || silenceEndsRun) run = 0
    longest = Math.max(longest, run)
    said.forEach((value, d) => {
      if (value === symbols[i] && ++scores[d] >= scores[winner]) winner = d
    })
    count(i)
  }
  return { correct, r: longest + 1 }
}

function plainMultiMcw(symbols: Uint8Array): Performance {
  const windows = [63, 255, 1023, 4095]
  const predict = (j: number, i: number) => {
    if (i < windows[j]) return null
    const counts = new Map<number, number>()
    let best = symbols[i - 1]
    // From the newest back, so a later symbol keeps the place against an equal count.
    for (let at = i - 1; at >= i - windows[j]; at--) counts.set(symbols[at], (counts.get(symbols[at]) ?? 0) + 1)
    const most = Math.max(...counts.values())
    for (let at = i - 1; at >= i - windows[j]; at--) {
      if (counts.get(symbols[at]) === most) {
        best = symbols[at]
        break
      }
    }
    return best
  }
  return play(symbols, 63, 4, predict, () => {}, true)
}

function plainLag(symbols: Uint8Array): Performance {
  return play(
    symbols,
    1,
    128,
    (d, i) => (i > d ? symbols[i - d - 1] : null),
    () => {},
    true,
  )
}

/** What followed a context most often, of equals the greatest. */
function commonest(followers: Map<number, number> | undefined): [symbol: number | null, count: number] {
  let found: [number | null, number] = [null, 0]
  for (const [symbol, count] of followers ?? []) {
    if (count > found[1] || (count === found[1] && symbol > found[0]!)) found = [symbol, count]
  }
  return found
}

/** Symbols as characters, so that contexts can be keys of a Map. */
const textOf = (symbols: Uint8Array) => Buffer.from(symbols).toString('latin1')

/** Without the limit of 100,000 entries a length, which data of fewer symbols cannot reach. */
function plainMultiMmc(symbols: Uint8Array): Performance {
  const text = textOf(symbols)
  const models = Array.from({ length: 16 }, () => new Map<string, Map<number, number>>())
  const count = (i: number) => {
    for (let d = 1; d <= 16 && d <= i; d++) {
      const context = text.slice(i - d, i)
      const followers = models[d - 1].get(context) ?? new Map<number, number>()
      const before = followers.get(symbols[i]) ?? 0
      models[d - 1].set(context, followers.set(symbols[i], before + 1))
    }
  }
  count(1)
  const predict = (d: number, i: number) => (i > d + 1 ? commonest(models[d].get(text.slice(i - d - 1, i)))[0] : null)
  return play(symbols, 2, 16, predict, count, false)
}

function plainLz78y(symbols: Uint8Array): Performance {
  const text = textOf(symbols)
  const dictionary = new Map<string, Map<number, number>>()
  const count = (i: number) => {
    for (let j = 16; j >= 1; j--) {
      const context = text.slice(i - j, i)
      if (!dictionary.has(context)) {
        if (dictionary.size >= 65_536) continue
        dictionary.set(context, new Map())
      }
      const followers = dictionary.get(context)!
      followers.set(symbols[i], (followers.get(symbols[i]) ?? 0) + 1)
    }
  }
  count(16)
  const predict = (_: number, i: number) => {
    let [predicted, most]: [number | null, number] = [null, 0]
    for (let j = 16; j >= 1; j--) {
      const [symbol, times] = commonest(dictionary.get(text.slice(i - j, i)))
      if (times > most) [predicted, most] = [symbol, times]
    }
    return predicted
  }
  return play(symbols, 17, 1, predict, count, true)
}

/** Most occurrences and pairs of equal places, by length. */
function plainRepeats(symbols: Uint8Array): { most: number[]; pairs: number[] } {
  const text = textOf(symbols)
  const found = { most: [0], pairs: [0] }
  for (let w = 1; w < symbols.length; w++) {
    const counts = new Map<string, number>()
    for (let i = w; i <= symbols.length; i++) {
      const tuple = text.slice(i - w, i)
      counts.set(tuple, (counts.get(tuple) ?? 0) + 1)
    }
    const most = Math.max(...counts.values())
    if (most < 2) break
    found.most.push(most)
    found.pairs.push([...counts.values()].reduce((sum, count) => sum + (count * (count - 1)) / 2, 0))
  }
  return found
}

function plainCollisions(bits: Uint8Array): number[] {
  const lengths: number[] = []
  for (let i = 0; i < bits.length;) {
    let length = 2
    while (i + length <= bits.length && new Set(bits.subarray(i, i + length)).size === length) length++
    if (i + length > bits.length) break
    lengths.push(length)
    i += length
  }
  return lengths
}

function plainCompression(bits: Uint8Array): { mean: number; v: number } {
  const last = new Map<string, number>()
  let sum = 0
  const blocks = Math.floor(bits.length / 6)
  for (let block = 1; block <= blocks; block++) {
    const value = bits.subarray(6 * (block - 1), 6 * block).join('')
    if (block > 1000) sum += Math.log2(block - (last.get(value) ?? 0))
    last.set(value, block)
  }
  return { mean: sum / (blocks - 1000), v: blocks - 1000 }
}

/** The expected mean for one block value of probability p, summed as 6.3.4 writes it. */
function plainExpectedLog(p: number, blocks: number): number {
  const g = (z: number) => {
    let sum = 0
    for (let t = 1001; t <= blocks; t++) {
      for (let u = 2; u < t; u++) sum += Math.log2(u) * z * z * (1 - z) ** (u - 1)
      sum += Math.log2(t) * z * (1 - z) ** (t - 1)
    }
    return sum / (blocks - 1000)
  }
  return g(p) + 63 * g((1 - p) / 63)
}

const NONE = { correct: undefined, r: undefined }
const performanceOf = (estimates: Estimates, name: Estimator): Partial<Performance> => {
  const { correct, r } = estimates[name]!.details
  return { correct, r }
}

describe('the standard, read plainly', () => {
  const symbolCases = STRUCTURED.flatMap((name) =>
    [
      { bits: 2, n: 4203 },
      { bits: 5, n: 4200 },
      { bits: 8, n: 700 },
    ].map((size) => ({ name, ...size })),
  ).filter(({ name }) => name !== 'two-values')

  it.each(symbolCases)('predictors and repeats of $n symbols of $bits bits, $name', ({ name, n, bits }) => {
    const symbols = structured(name, n, bits)
    const { original } = assessNonIid(symbols, bits)
    // Fewer than 4,096 symbols are left out.
    expect(performanceOf(original, 'multi_mcw')).toEqual(n > 4095 ? plainMultiMcw(symbols) : NONE)
    expect(performanceOf(original, 'lag')).toEqual(plainLag(symbols))
    expect(performanceOf(original, 'multi_mmc')).toEqual(plainMultiMmc(symbols))
    expect(performanceOf(original, 'lz78y')).toEqual(plainLz78y(symbols))
    const start = symbols.subarray(0, 300)
    const repeats = countRepeats(packSymbols(start, bits), start.length, bits)
    const plain = plainRepeats(start)
    expect(Array.from(repeats.most.subarray(1, repeats.longest + 1))).toEqual(plain.most.slice(1))
    expect(Array.from(repeats.pairs.subarray(1, repeats.longest + 1))).toEqual(plain.pairs.slice(1))
  })

  it.each(STRUCTURED.map((name) => ({ name, n: 6050 })))('$n bits, $name', ({ name, n }) => {
    const bits = structured(name, n, 1)
    const found = estimateBits(packSymbols(bits, 1), n)
    expect(performanceOf(found, 'multi_mcw')).toEqual(plainMultiMcw(bits))
    expect(performanceOf(found, 'lag')).toEqual(plainLag(bits))
    expect(performanceOf(found, 'multi_mmc')).toEqual(plainMultiMmc(bits))
    expect(performanceOf(found, 'lz78y')).toEqual(plainLz78y(bits))
    const lengths = plainCollisions(bits)
    const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length
    expect(found.collision.details.v).toBe(lengths.length)
    expect(found.collision.details.mean).toBeCloseTo(mean, 12)
    const { n_00, n_01, n_10, n_11, ones } = found.markov.details
    const pairs = [0, 0, 0, 0]
    for (let i = 1; i < n; i++) pairs[2 * bits[i - 1] + bits[i]]++
    expect([n_00, n_01, n_10, n_11]).toEqual(pairs)
    expect(ones).toBe(bits.reduce((sum, bit) => sum + bit, 0))
    const { mean: meanLog, v } = plainCompression(bits)
    expect(found.compression.details).toMatchObject({ v, mean: expect.closeTo(meanLog, 12) })
    const { p, deviation } = found.compression.details
    const bound = meanLog - (2.5758293035489008 * deviation) / Math.sqrt(v)
    // p = 1/64 stands for every larger mean, p = 1 for a negative one.
    const expected = plainExpectedLog(p, v + 1000)
    expect(p === 1 / 64 ? bound >= expected : p === 1 ? bound <= 0 : Math.abs(bound - expected) < 1e-8).toBe(true)
  })

  it.each([40, 47, 55, 64])(
    'LZ78Y at the limit of its dictionary, 65,536 contexts, met again every %d symbols',
    (every) => {
      const all = structured('uniform', 6000, 8)
      const symbols = all.map((symbol, i) => (i < 4600 ? symbol : all[4350 + ((i - 4600) % every)]))
      expect(performanceOf(assessNonIid(symbols, 8).original, 'lz78y')).toEqual(plainLz78y(symbols))
    },
  )

  it.each([0.02, 0.3, 0.7, 0.98])('the scoreboard by words is that by steps, %d of predictions right', (share) => {
    const u = uniform(`board-${share}`, 20_000)
    for (let trial = 0; trial < 600; trial++) {
      const n = 1 + ((trial * 37) % 160)
      const predictors = 1 + (trial % 5)
      // 1 right, 0 wrong, null silent; the last predictor often says what the first does.
      const outcome = (d: number, i: number) => {
        const at = 10 * trial + i + 2000 * (d === 4 && trial % 3 > 0 ? 0 : d)
        if (u(19_999 - at) < 0.05) return null
        return u(at) < share ? 1 : 0
      }
      const plain = play(new Uint8Array(n).fill(1), 0, predictors, outcome, () => {}, false)
      const board = createScoreboard(predictors)
      for (let at = 0; at < n; at += 32) {
        const steps = Math.min(32, n - at)
        const words = (value: number | null) =>
          Int32Array.from({ length: predictors }, (_, d) => {
            let bits = 0
            for (let step = 0; step < steps; step++) if (outcome(d, at + step) === value) bits |= 0x80000000 >>> step
            return bits
          })
        scoreWord(board, words(1), steps, words(null))
      }
      expect({ correct: board.correct, r: board.longestRun + 1 }).toEqual(plain)
    }
  })

  it('a run of r in n trials is as unlikely as counting says', () => {
    for (const [p, r, n] of [
      [0.5, 6, 300],
      [0.9, 60, 1000],
      [0.2, 4, 2000],
    ]) {
      // state[j]: probability of no run so far and j successes at the end.
      let state = [1, ...Array.from({ length: r - 1 }, () => 0)]
      for (let i = 0; i < n; i++) {
        const sum = state.reduce((total, part) => total + part, 0)
        state = [sum * (1 - p), ...state.slice(0, -1).map((part) => part * p)]
      }
      const exact = Math.log(state.reduce((total, part) => total + part, 0))
      expect(logWithoutRun(p, r, n)).toBeCloseTo(exact, 3)
    }
    expect(logWithoutRun(0.99, 10, 1000)).toBe(-Infinity)
  })
})

describe('repeated substrings', () => {
  it('the linear suffix sort orders suffixes', () => {
    for (const name of STRUCTURED) {
      for (const n of [1, 2, 3, 50, 400]) {
        const symbols = structured(name, n, 2)
        const suffixes = new Int32Array(n)
        sortSuffixes(symbols, 4, suffixes)
        const plain = Array.from(symbols.keys()).toSorted((a, b) =>
          Buffer.compare(symbols.subarray(a), symbols.subarray(b)),
        )
        expect(Array.from(suffixes)).toEqual(plain)
      }
    }
  })

  it.each(STRUCTURED)('both ways of sorting count the same, %s', (name) => {
    for (const bits of [1, 3, 8]) {
      const symbols = structured(name, 30_000, bits)
      const linear = repeatsOf(neighbourPrefixes(symbols, 2 ** bits))
      expect(countRepeats(packSymbols(symbols, bits), symbols.length, bits)).toEqual(linear)
    }
  })
})

describe('odd data', () => {
  it('short, constant, alternating: estimates are numbers of [0, 1] or say why not', () => {
    for (const fill of [0, 0x55, 0xff, 0x0f, 0x80]) {
      for (const bits of [1, 2, 7, 10, 17, 18, 33, 100, 4095, 4096, 6011, 6012, 9000]) {
        for (const found of Object.values(estimateBits(new Uint8Array(1125).fill(fill), bits))) {
          const { min_entropy: h, reason } = found
          expect(h === null ? /^(needs at least|no symbol|every)/.test(reason ?? '') : h >= 0 && h <= 1).toBe(true)
        }
      }
    }
  })

  it('bits past the end do not count', () => {
    const bytes = aesStream('sp800-90b-end', 1000)
    const other = bytes.slice()
    other[999] ^= 0x07
    expect(estimateBits(other, 7997)).toEqual(estimateBits(bytes, 7997))
  })

  it('one symbol has no entropy, two are bits', () => {
    expect(assessNonIid(new Uint8Array(5000).fill(0x55), 8)).toMatchObject({ assessed: 0, alphabet: 1 })
    const bits = structured('two-values', 7000, 1)
    const found = assessNonIid(
      bits.map((bit) => 7 + 193 * bit),
      8,
    )
    expect(found.original).toEqual(estimateBits(packSymbols(bits, 1), 7000))
    expect(found).toMatchObject({ bitstring: null, h_bitstring: null, assessed: found.h_original })
  })

  it('refuses what are no symbols', () => {
    expect(() => assessNonIid(new Uint8Array(0), 8)).toThrow('needs symbols')
    expect(() => assessNonIid(Uint8Array.of(1, 4), 2)).toThrow('symbol 4 does not fit in 2 bits')
    for (const bits of [0, 9, 1.5]) expect(() => assessNonIid(Uint8Array.of(1), bits)).toThrow(RangeError)
  })

  it('packs and unpacks symbols of any width', () => {
    for (let bits = 1; bits <= 8; bits++) {
      const symbols = structured('uniform', 1001, bits)
      expect(unpackSymbols(packSymbols(symbols, bits), bits).subarray(0, 1001)).toEqual(symbols)
    }
  })
})

describe('sp800_90b_non_iid', () => {
  const run = (segments: Uint8Array[], bits = 8) => sp80090bNonIid.run(segments, { bits_per_symbol: bits })
  const stream = aesStream('open-small', 4096)

  it('assesses the longest segment and says what it left out', () => {
    const found = run([stream.subarray(0, 900), stream, stream.subarray(0, 4096)])
    expect(found).toMatchObject({ status: 'ok', p_values: [], params: { bits_per_symbol: 8 } })
    expect(found.statistic).toBeCloseTo(5.325819, 6)
    expect(found.metrics).toMatchObject({
      n_bits: 32_768,
      n_symbols: 4096,
      bits_left_out: 8 * (900 + 4096),
      symbols_short_of_standard: 995_904,
      decided_by: 'bitstring_compression',
      original_multi_mcw: expect.closeTo(7.33616, 6),
      original_t_tuple: null,
      bitstring_lag: expect.closeTo(0.979138, 6),
    })
    expect(JSON.parse(JSON.stringify(found))).toEqual(found)
  })

  it('reads symbols of fewer bits on end', () => {
    const found = run([stream], 3)
    expect(found.metrics).toMatchObject({ n_bits: 32_766, n_symbols: 10_922, bits_left_out: 2 })
    expect(found.statistic).toBe(assessNonIid(unpackSymbols(stream, 3), 3).assessed)
    expect(() => run([stream], 9)).toThrow(/bits_per_symbol must be an integer from 1 to 8/)
  })

  it('declines short data, and gives one symbol no entropy', () => {
    expect(run([])).toMatchObject({ status: 'insufficient', reason: 'needs at least 6012 bits, given 0' })
    expect(run([stream.subarray(0, 751), stream.subarray(0, 700)])).toMatchObject({ status: 'insufficient' })
    expect(run([stream.subarray(0, 752)])).toMatchObject({ status: 'ok' })
    const constant = run([new Uint8Array(2000)])
    expect(constant).toMatchObject({ status: 'ok', statistic: 0, metrics: { decided_by: 'one symbol only' } })
  })
})
