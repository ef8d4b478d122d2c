/**
 * Suffix array by induced sorting (G. Nong, S. Zhang, W. H. Chan, "Two efficient algorithms for linear time suffix array
 * construction", 2011) and its longest common prefixes by the Phi array (J. Karkkainen, G. Manzini, S. J. Puglisi,
 * "Permuted longest-common-prefix array", 2009). Time and memory are linear whatever the data.
 */

type Text = Uint8Array | Int32Array

/**
 * Length of the common prefix of each two neighbours among the sorted suffixes of `text` (symbols 0..k-1): n - 1
 * values.
 */
export function neighbourPrefixes(text: Uint8Array, k: number): Int32Array {
  const n = text.length
  if (n < 2) return new Int32Array(0)
  const suffixes = new Int32Array(n)
  sortSuffixes(text, k, suffixes)
  const prefixes = new Int32Array(n)
  // First the predecessor of every suffix, by position; then, in the same place, the prefix it shares with it.
  prefixes[suffixes[0]] = -1
  for (let rank = 1; rank < n; rank++) prefixes[suffixes[rank]] = suffixes[rank - 1]
  for (let i = 0, shared = 0; i < n; i++) {
    const before = prefixes[i]
    if (before < 0) shared = 0
    else {
      const most = n - Math.max(i, before)
      while (shared < most && text[i + shared] === text[before + shared]) shared++
    }
    prefixes[i] = shared
    if (shared > 0) shared--
  }
  for (let rank = 1; rank < n; rank++) suffixes[rank - 1] = prefixes[suffixes[rank]]
  return suffixes.subarray(0, n - 1)
}

/** Fills `suffixes` (length n >= 1) with the positions 0..n-1 in the order of the suffixes that begin there. */
export function sortSuffixes(text: Text, k: number, suffixes: Int32Array): void {
  const n = text.length
  // Smaller than the suffix one later; the empty suffix behind the end is the smallest of all.
  const ascends = new Uint8Array(n)
  for (let i = n - 2; i >= 0; i--) {
    if (text[i] < text[i + 1] || (text[i] === text[i + 1] && ascends[i + 1] === 1)) ascends[i] = 1
  }
  const counts = new Int32Array(k)
  for (let i = 0; i < n; i++) counts[text[i]]++
  const ends = new Int32Array(k)
  suffixes.fill(-1)
  setEnds(counts, ends)
  for (let i = n - 1; i > 0; i--) {
    if (ascends[i] === 1 && ascends[i - 1] === 0) suffixes[--ends[text[i]]] = i
  }
  induce(text, counts, ends, ascends, suffixes)
  const reduced = nameValleys(text, ascends, suffixes)
  const valleys = reduced.text.length
  const order = suffixes.subarray(0, valleys)
  if (reduced.names < valleys) sortSuffixes(reduced.text, reduced.names, order)
  else for (let i = 0; i < valleys; i++) order[reduced.text[i]] = i
  // The names have served; the valleys' positions take their place.
  const positions = reduced.text
  for (let i = 1, at = 0; i < n; i++) if (ascends[i] === 1 && ascends[i - 1] === 0) positions[at++] = i
  for (let i = 0; i < valleys; i++) order[i] = positions[order[i]]
  suffixes.fill(-1, valleys)
  setEnds(counts, ends)
  for (let i = valleys - 1; i >= 0; i--) {
    const at = suffixes[i]
    suffixes[i] = -1
    suffixes[--ends[text[at]]] = at
  }
  induce(text, counts, ends, ascends, suffixes)
}

/** Where the suffixes that begin with each symbol end. */
function setEnds(counts: Int32Array, ends: Int32Array): void {
  for (let symbol = 0, sum = 0; symbol < counts.length; symbol++) ends[symbol] = sum += counts[symbol]
}

/** From the valleys at the ends of their buckets, sorts the descending suffixes and from these the ascending ones. */
function induce(text: Text, counts: Int32Array, bounds: Int32Array, ascends: Uint8Array, suffixes: Int32Array): void {
  const n = text.length
  for (let symbol = 0, sum = 0; symbol < counts.length; symbol++) {
    bounds[symbol] = sum
    sum += counts[symbol]
  }
  // What the empty suffix induces.
  suffixes[bounds[text[n - 1]]++] = n - 1
  for (let rank = 0; rank < n; rank++) {
    const at = suffixes[rank] - 1
    if (at >= 0 && ascends[at] === 0) suffixes[bounds[text[at]]++] = at
  }
  setEnds(counts, bounds)
  for (let rank = n - 1; rank >= 0; rank--) {
    const at = suffixes[rank] - 1
    if (at >= 0 && ascends[at] === 1) suffixes[--bounds[text[at]]] = at
  }
}

/**
 * Names the substrings from valley to valley (an ascending suffix after a descending one) by their order, and returns
 * the names in order of position, stored at the end of `suffixes`.
 */
function nameValleys(text: Text, ascends: Uint8Array, suffixes: Int32Array): { text: Int32Array; names: number } {
  const n = text.length
  let valleys = 0
  for (let rank = 0; rank < n; rank++) {
    const at = suffixes[rank]
    if (at > 0 && ascends[at] === 1 && ascends[at - 1] === 0) suffixes[valleys++] = at
  }
  suffixes.fill(-1, valleys)
  let names = 0
  for (let rank = 0; rank < valleys; rank++) {
    const at = suffixes[rank]
    if (rank === 0 || !sameToNextValley(text, ascends, suffixes[rank - 1], at)) names++
    // Valleys are at least two apart.
    suffixes[valleys + (at >>> 1)] = names - 1
  }
  let to = n
  for (let from = valleys + (n >>> 1); from >= valleys; from--) {
    if (from < n && suffixes[from] >= 0) suffixes[--to] = suffixes[from]
  }
  return { text: suffixes.subarray(n - valleys), names }
}

function sameToNextValley(text: Text, ascends: Uint8Array, a: number, b: number): boolean {
  const most = text.length - Math.max(a, b)
  for (let d = 0; d < most; d++) {
    if (text[a + d] !== text[b + d] || ascends[a + d] !== ascends[b + d]) return false
    if (d > 0 && ascends[a + d] === 1 && ascends[a + d - 1] === 0) return true
  }
  return false
}
