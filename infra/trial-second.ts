const NUMBER = /^[+-]?\d+$/
/** ISO 8601, with a space instead of T too; without a zone it is UTC. */
const TIME = /^(\d{4}-\d\d-(\d\d))[T ](\d\d:\d\d(?::\d\d(?:\.0+)?)?) ?(?:(Z|UTC)|([+-]\d\d)(?::?(\d\d))?)?$/i
/** Whole numbers above this are milliseconds: as seconds they would be of the year 5138. */
const MOST_SECONDS = 1e11

/** Seconds since epoch of a whole number of seconds or a time; null of anything else, milliseconds and parts of seconds too. */
export function parseSecond(text: string): number | null {
  const trimmed = text.trim()
  if (NUMBER.test(trimmed)) {
    const second = Number(trimmed)
    return Math.abs(second) <= MOST_SECONDS ? second : null
  }
  const [, date, day, time, , hours, minutes = '00'] = TIME.exec(trimmed) ?? []
  // Date.parse takes the 30th of February for the 2nd of March.
  if (date === undefined || new Date(`${date}T00:00:00Z`).getUTCDate() !== Number(day)) return null
  const milliseconds = Date.parse(`${date}T${time}${hours === undefined ? 'Z' : `${hours}:${minutes}`}`)
  return Number.isNaN(milliseconds) ? null : milliseconds / 1000
}
