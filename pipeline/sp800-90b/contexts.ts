/**
 * The contexts a predictor has met, as a tree from the newest symbol of a context to the oldest, and how often each
 * symbol followed them. Node 0 is the empty context. Contexts met once are most of them, and have no node yet: their
 * tail, the place where they were met, says what they were.
 */
export interface Contexts {
  readonly symbols: Uint8Array
  nodes: number
  /** By node: place of the symbol that followed when it was met, if longer contexts were met there only; else 0. */
  tail: Int32Array
  /** By node: length of the longest context that the tail stands for. */
  tailLength: Uint8Array
  /** By node: the most frequent follower (of equals the greatest) and its count; count 0: not in the dictionary. */
  best: Uint8Array
  bestCount: Int32Array
  /** By node: 1 once a second follower has come; until then `bestCount` is the only count. */
  branches: Uint8Array
  /** Open addressing, two numbers a slot: parent * 256 + symbol, and the node. A node of 0 is an empty slot. */
  children: Int32Array
  /** Open addressing, two numbers a slot: node * 256 + follower, and the count. A count of 0 is an empty slot. */
  followers: Int32Array
  followerCount: number
}

const FIRST_NODES = 1 << 12

/** An empty tree of contexts in `symbols`. It grows as needed, to 8 million nodes at most. */
export function createContexts(symbols: Uint8Array): Contexts {
  return {
    symbols,
    nodes: 1,
    tail: new Int32Array(FIRST_NODES),
    tailLength: new Uint8Array(FIRST_NODES),
    best: new Uint8Array(FIRST_NODES),
    bestCount: new Int32Array(FIRST_NODES),
    branches: new Uint8Array(FIRST_NODES),
    children: new Int32Array(4 * FIRST_NODES),
    followers: new Int32Array(4 * FIRST_NODES),
    followerCount: 0,
  }
}

/** Multiplicative hashing (Knuth, TAOCP 3, 6.4); the table has 2^(33 - shift) numbers, and slots begin at even ones. */
function slotOf(key: number, shift: number): number {
  return (Math.imul(key, 0x9e3779b1) >>> shift) << 1
}

/**
 * The node of the length + 1 symbols before place `at`, of whose last `length` symbols `node` is the context; 0 if they
 * have not been met.
 */
export function findLonger(contexts: Contexts, node: number, length: number, at: number): number {
  const { children, symbols } = contexts
  const symbol = symbols[at - length - 1]
  const key = (node << 8) | symbol
  const last = children.length - 2
  for (let slot = slotOf(key, Math.clz32(last)); children[slot + 1] !== 0; slot = (slot + 2) & last) {
    if (children[slot] === key) return children[slot + 1]
  }
  const tail = contexts.tail[node]
  if (tail === 0 || symbols[tail - length - 1] !== symbol || length >= contexts.tailLength[node]) return 0
  contexts.tail[node] = 0
  return addLonger(contexts, node, length, tail, contexts.tailLength[node])
}

/**
 * Adds the contexts of length + 1 up to `longest` symbols before place `at`, met there for the first time, and the
 * symbol at it as what followed. Returns the node of the shortest one.
 */
export function addLonger(contexts: Contexts, node: number, length: number, at: number, longest: number): number {
  const { symbols } = contexts
  const child = addNode(contexts, node, symbols[at - length - 1])
  contexts.best[child] = symbols[at]
  contexts.bestCount[child] = 1
  contexts.tail[child] = at
  contexts.tailLength[child] = longest
  return child
}

/** Adds a node below `node`, with nothing that followed. */
export function addNode(contexts: Contexts, node: number, symbol: number): number {
  const child = contexts.nodes++
  if (child === contexts.best.length) growNodes(contexts)
  insert(contexts.children, (node << 8) | symbol, child)
  return child
}

/** Counts a follower of `node`. If it has not followed before, only where `mayAdd`. Returns whether it was added. */
export function countFollower(contexts: Contexts, node: number, follower: number, mayAdd: boolean): boolean {
  const { best, bestCount, branches } = contexts
  let added = false
  let count: number
  if (branches[node] === 0) {
    if (bestCount[node] > 0 && best[node] === follower) {
      bestCount[node]++
      return false
    }
    if (!mayAdd) return false
    added = true
    count = 1
    if (bestCount[node] > 0) {
      branches[node] = 1
      addFollower(contexts, (node << 8) | best[node], bestCount[node])
      addFollower(contexts, (node << 8) | follower, 1)
    }
  } else {
    const key = (node << 8) | follower
    const table = contexts.followers
    const last = table.length - 2
    let slot = slotOf(key, Math.clz32(last))
    while (table[slot + 1] !== 0 && table[slot] !== key) slot = (slot + 2) & last
    count = table[slot + 1] + 1
    if (count > 1) table[slot + 1] = count
    else if (!mayAdd) return false
    else {
      added = true
      addFollower(contexts, key, 1)
    }
  }
  if (count > bestCount[node] || (count === bestCount[node] && follower > best[node])) {
    best[node] = follower
    bestCount[node] = count
  }
  return added
}

function addFollower(contexts: Contexts, key: number, count: number): void {
  if (4 * ++contexts.followerCount > contexts.followers.length) contexts.followers = rehashed(contexts.followers)
  insert(contexts.followers, key, count)
}

function growNodes(contexts: Contexts): void {
  contexts.best = enlargedBytes(contexts.best)
  contexts.branches = enlargedBytes(contexts.branches)
  contexts.tailLength = enlargedBytes(contexts.tailLength)
  contexts.bestCount = enlargedNumbers(contexts.bestCount)
  contexts.tail = enlargedNumbers(contexts.tail)
  contexts.children = rehashed(contexts.children)
}

function enlargedBytes(array: Uint8Array): Uint8Array {
  const larger = new Uint8Array(2 * array.length)
  larger.set(array)
  return larger
}

function enlargedNumbers(array: Int32Array): Int32Array {
  const larger = new Int32Array(2 * array.length)
  larger.set(array)
  return larger
}

function insert(table: Int32Array, key: number, value: number): void {
  const last = table.length - 2
  let slot = slotOf(key, Math.clz32(last))
  while (table[slot + 1] !== 0) slot = (slot + 2) & last
  table[slot] = key
  table[slot + 1] = value
}

function rehashed(table: Int32Array): Int32Array {
  const larger = new Int32Array(2 * table.length)
  for (let slot = 0; slot < table.length; slot += 2) {
    if (table[slot + 1] !== 0) insert(larger, table[slot], table[slot + 1])
  }
  return larger
}
