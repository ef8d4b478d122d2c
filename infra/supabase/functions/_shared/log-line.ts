/**
 * A line of JSON whose texts begin no other line, nor command a terminal: JSON leaves DEL, the controls from U+0080 to U+009F and the
 * separators U+2028 and U+2029 as they are.
 */
export function escapeControls(json: string): string {
  return json.replaceAll(
    /[\u007f-\u009f\u2028\u2029]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
