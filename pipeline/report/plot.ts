import { plot, type PlotOptions } from '@observablehq/plot'
import { parseHTML } from 'linkedom'
import { type Html, html, raw } from './html.ts'

/** What a reader who cannot see a figure is told. */
export interface FigureText {
  readonly title: string
  readonly description: string
}

/** Attributes that hold coordinates; a hundredth of a pixel is enough for each. */
const COORDINATES = ['d', 'transform', 'x', 'y', 'x1', 'y1', 'x2', 'y2', 'cx', 'cy', 'r', 'width', 'height', 'points']

/**
 * Draws a figure as static SVG: no script, no style attribute, and colours that are the page's own variables. `id` must be of this
 * drawing alone.
 */
export function drawSvg(id: string, text: FigureText, options: PlotOptions): Html {
  const { document } = parseHTML('<!doctype html><html><body></body></html>')
  const svg = plot({ ...options, document })
  for (const style of svg.querySelectorAll('style')) style.remove()
  for (const element of svg.querySelectorAll('*')) {
    element.removeAttribute('aria-label')
    element.removeAttribute('aria-hidden')
    for (const name of COORDINATES) {
      const value = element.getAttribute(name)
      if (value !== null) element.setAttribute(name, value.replaceAll(/(\.\d\d)\d+/g, '$1'))
    }
  }
  const { width, height } = options
  // linkedom writes text and attributes escaped.
  return html`<svg
    class="plot"
    role="img"
    aria-labelledby="${id}-title ${id}-desc"
    viewBox="0 0 ${width} ${height}"
    font-size="12"
    text-anchor="middle"
    fill="currentColor"
  >
    <title id="${id}-title">${text.title}</title>
    <desc id="${id}-desc">${text.description}</desc>
    ${raw(svg.innerHTML)}
  </svg>`
}
