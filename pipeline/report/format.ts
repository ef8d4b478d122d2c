/** Numbers as the report writes them. */

/** 5,184,000 as 5.2 M. */
export function formatCount(count: number): string {
  if (count < 10_000) return count.toLocaleString('en-US')
  const units = ['k', 'M', 'G', 'T', 'P']
  let value = count
  let unit = -1
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value.toFixed(value < 99.5 ? 1 : 0)} ${units[unit]}`
}

/** 454 B, 24.1 kB. */
export function formatBytes(bytes: number): string {
  return bytes < 1000
    ? `${bytes} B`
    : bytes < 1e6
      ? `${formatFixed(bytes / 1e3, 1)} kB`
      : bytes < 1e9
        ? `${formatFixed(bytes / 1e6, 1)} MB`
        : `${formatFixed(bytes / 1e9, 2)} GB`
}

export function formatInteger(count: number): string {
  return count.toLocaleString('en-US')
}

/** `digits` after the point, a true minus sign; a dash for nothing. */
export function formatFixed(value: number | null | undefined, digits: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–'
  const text = Math.abs(value).toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
  return value < 0 && /[1-9]/.test(text) ? `−${text}` : text
}

/** A P-value: three digits, or its power of ten. */
export function formatP(p: number | null | undefined): string {
  if (p === null || p === undefined) return '–'
  if (p === 0) return '< 1e−300'
  if (p >= 0.001) return p > 0.9995 ? '> .999' : p.toFixed(3).replace(/^0/, '')
  return p.toExponential(0).replace('-', '−')
}

export function formatPercent(share: number | null): string {
  if (share === null) return '–'
  if (share > 0 && share < 0.0005) return '< 0.1 %'
  return share > 0.999 && share < 1 ? '> 99.9 %' : `${formatFixed(100 * share, share === 1 || share === 0 ? 0 : 1)} %`
}

/** 2026-11-20 07:04:05, UTC. */
export function formatTime(iso: string | null): string {
  return iso === null ? 'never' : iso.slice(0, 19).replace('T', ' ')
}

/** 2026-11-20 07:04, UTC: of times that are kept to the minute. */
export function formatMinute(iso: string | null): string {
  return iso === null ? 'never' : iso.slice(0, 16).replace('T', ' ')
}

/** 2026-11-20 07:04, UTC; a midnight that ends a day is 24:00 of the day. */
export function formatWindow(from: string, to: string): string {
  const [day, end] = [from.slice(0, 10), to.slice(0, 10)]
  const isDay = Date.parse(to) - Date.parse(from) === 86_400_000 && from.slice(11, 16) === '00:00'
  if (isDay) return day
  const clock = (iso: string) => iso.slice(11, 16)
  return day === end ? `${day}, ${clock(from)} to ${clock(to)}` : `${day} ${clock(from)} to ${end} ${clock(to)}`
}

/** For the axis of a figure. Its direction of writing stays its own: SVG has no <bdi>, but a pair of characters like it. */
export function shortName(name: string): string {
  return `\u2068${cutText(cleanText(name), 18)}\u2069`
}

/**
 * What no HTML document may hold, control characters and half surrogates, as U+FFFD; and nothing that turns the direction of
 * the text that follows: no embedding, override or isolate of Unicode's bidirectional algorithm.
 */
export function cleanText(text: string): string {
  return (
    text
      .toWellFormed()
      .replaceAll(/[\u202a-\u202e\u2066-\u2069]/g, '')
      // oxlint-disable-next-line no-control-regex -- these are what it is about
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\ufffe\uffff]/g, '\ufffd')
  )
}

/** At most so many characters, the last of them an ellipsis where some are left out. */
export function cutText(text: string, most: number): string {
  const characters = [...new Intl.Segmenter('en').segment(text)].map(({ segment }) => segment)
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join('')}…`
}
