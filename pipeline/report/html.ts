import { cleanText, cutText } from './format.ts'

/** HTML as values: what is put into a template is escaped unless it is HTML already. */
export interface Html {
  readonly html: string
}

export type HtmlValue = Html | string | number | null | undefined | false | readonly HtmlValue[]

/** A template of HTML. Texts and numbers are escaped, lists are joined, null, undefined and false are nothing. */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return { html: strings.reduce((all, text, i) => all + toMarkup(values[i - 1]) + text) }
}

/** Markup that is known to be safe: of this package's own making. */
export function raw(markup: string): Html {
  return { html: markup }
}

function toMarkup(value: HtmlValue): string {
  if (value === null || value === undefined || value === false) return ''
  if (typeof value === 'string') return escapeHtml(value)
  if (typeof value === 'number') return String(value)
  return 'html' in value ? value.html : value.map(toMarkup).join('')
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

/** For text and quoted attributes. */
export function escapeHtml(text: string): string {
  return cleanText(text).replaceAll(/[&<>"']/g, (character) => ENTITIES[character])
}

const LONGEST_NAME = 60

/** Somebody's name: its direction of writing stays its own, and of a very long one the rest is a tooltip. */
export function nameHtml(name: string, longest = LONGEST_NAME): Html {
  const shown = cutText(name, longest)
  return shown === name ? html`<bdi>${name}</bdi>` : html`<bdi title="${name}">${shown}</bdi>`
}
