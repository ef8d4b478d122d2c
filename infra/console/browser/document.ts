/** Stands in for linkedom's function of this name where the browser has documents of its own. */
export function parseHTML(): { document: Document } {
  return { document: document.implementation.createHTMLDocument() }
}
