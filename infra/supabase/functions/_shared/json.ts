import { Refusal } from './refusal.ts'

const MOST_DEPTH = 16
/** Four times what 10,000 samples have. 8 MB of `{},` would be 2.7 million objects and 264 MB; a function has 256. */
const MOST_VALUES = 200_000

const [QUOTE, COMMA, BACKSLASH] = [0x22, 0x2c, 0x5c]
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

/** The value of a JSON text in UTF-8. Refuses with 400 what is none, and before it is parsed what would fill the memory. */
export function parseJson(bytes: Uint8Array): unknown {
  assertModest(bytes)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new Refusal(400, 'The body is not UTF-8.')
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    // Of the engine's words the place only: the others repeat the body, which may hold a token.
    const place = /at position \d+(?: \(line \d+ column \d+\))?|end of JSON input/.exec(String(error))?.[0]
    throw new Refusal(400, `The body is not JSON${place === undefined ? '' : ` (${place})`}.`)
  }
}

/** Counts commas and brackets outside of strings, which UTF-8 lets one find byte by byte. */
function assertModest(bytes: Uint8Array): void {
  let depth = 0
  let values = 0
  let inString = false
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]
    if (inString) {
      if (byte === BACKSLASH) i++
      else if (byte === QUOTE) inString = false
    } else if (byte === QUOTE) inString = true
    else if (byte === COMMA) values++
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
      values++
      depth++
    } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
    if (depth > MOST_DEPTH) throw new Refusal(400, `The body is nested deeper than ${MOST_DEPTH} (at byte ${i}).`)
    if (values > MOST_VALUES)
      throw new Refusal(413, `The body holds more than ${MOST_VALUES} values; send it in parts.`)
  }
}
