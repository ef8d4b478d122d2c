import { formatBytes, formatCount, formatFixed, formatInteger, formatP, formatTime, formatWindow } from './format.ts'
import { type Html, html, nameHtml, raw } from './html.ts'
import { type Finding, FLAG_ALPHA, type ReportData } from './report-data.ts'
import { devicesSection } from './section-devices.ts'
import { eventsSection } from './section-events.ts'
import { unbroken } from './parts.ts'
import { networkSection } from './section-network.ts'
import { pairsSection } from './section-pairs.ts'
import { provenanceSection } from './section-provenance.ts'
import { testsSection } from './section-tests.ts'
import { STYLE } from './style.ts'
import { verdictParts } from './verdict.ts'

/** Subjects that are listed, and findings of each; the rest are counted. */
const MOST_SUBJECTS = 12
const MOST_FINDINGS = 4

/**
 * The report as one HTML document that needs no script, no network and no other file. `sha256` is that of a text, in base64: the
 * page's policy admits the page's own style and nothing else.
 */
export function reportPage(report: ReportData, sha256: (text: string) => string): string {
  const sections = [networkSection, devicesSection, testsSection, pairsSection, eventsSection, provenanceSection].map(
    (section) => section(report),
  )
  const title = `Coherence report, ${formatWindow(report.from, report.to)}`
  const policy = `default-src 'none'; style-src 'sha256-${sha256(STYLE)}'; img-src data:; base-uri 'none'; form-action 'none'`
  return `<!doctype html>
${
  html`<html lang="en">
    <head>
      <meta charset="utf-8" />
      <meta http-equiv="Content-Security-Policy" content="${policy}" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta name="referrer" content="no-referrer" />
      <title>${title}</title>
      <link rel="icon" href="data:," />
      ${raw(`<style>${STYLE}</style>`)}
    </head>
    <body>
      <a class="skip" href="#main">Skip to the findings</a>
      <header>
        <div class="top">
          <h1>${unbroken(title)}</h1>
          ${themeChoice}
        </div>
        <p class="verdict">${verdict(report)}</p>
        <p class="window">
          ${unbroken(`${formatTime(report.from)} to ${formatTime(report.to)}`)},
          UTC${report.device_ids !== null && html`, ${formatInteger(report.device_ids.length)} chosen devices`}. Made
          ${unbroken(formatTime(report.made_at))}.
        </p>
        ${facts(report)}
        <nav aria-label="Sections">
          <ul>
            ${sections.map(({ id, title: name }) => html`<li><a href="#${id}">${name}</a></li>`)}
          </ul>
        </nav>
      </header>
      <main id="main" tabindex="-1">
        ${report.findings.length > 0 && findingsSection(report.findings)}
        ${sections.map(
          ({ id, title: name, body }) =>
            html`<section id="${id}" aria-labelledby="${id}-heading">
              <h2 id="${id}-heading">${name}</h2>
              ${body}
            </section> `,
        )}
      </main>
      <footer>
        <p>
          A P-value is the probability of a result as far from the null as this one, or further, if the null holds. It
          is not the probability of the null. With so many on a page some are small by chance; this page names what is
          rarer than ${FLAG_ALPHA} after correction for all tests of its kind.
        </p>
      </footer>
    </body>
  </html> `.html
}`
}

function verdict({ devices, samples, findings }: ReportData): Html[] {
  return verdictParts(devices, samples, findings).map((part) =>
    typeof part === 'string' ? html`${part}` : nameHtml(part.name),
  )
}

const themeChoice = html`<fieldset class="theme">
  <legend>Colours</legend>
  ${[
    ['auto', 'Auto'],
    ['light', 'Light'],
    ['dark', 'Dark'],
  ].map(
    ([value, label]) =>
      html`<label
        ><input type="radio" name="theme" id="theme-${value}" ${value === 'auto' && raw(' checked')} />${label}</label
      >`,
  )}
</fieldset>`

function facts({ network, devices, samples, bytes, tests, provenance }: ReportData): Html {
  const sent = devices.filter((device) => device.samples > 0).length
  const pair = network.tests?.pair
  const entries: [string, string, string][] = [
    ['Devices that sent', formatInteger(sent), `of ${formatInteger(devices.length)}`],
    ['Samples', formatCount(samples), formatBytes(bytes)],
    [
      'Network, pair z',
      pair?.status === 'ok' ? formatFixed(pair.z, 2) : '–',
      pair?.status === 'ok' ? `P ${formatP(pair.p)}` : 'too few seconds',
    ],
    ['Chunk tests passed', sharePassed(tests.rows), `${formatCount(tests.p_values)} P-values`],
    [
      'Chunks',
      formatInteger(provenance.chunks.length),
      provenance.unverified_chunks === 0
        ? 'all verified'
        : `${formatInteger(provenance.unverified_chunks)} not verified`,
    ],
  ]
  return html`<dl class="facts">
      ${entries.map(
        ([term, value, more]) =>
          html`<div>
            <dt>${term}</dt>
            <dd>${value}<small>${more}</small></dd>
          </div>`,
      )}
    </dl>
    <p class="asks">
      Pair z asks whether devices deviate together; it is standard normal if they do not. Ideal devices pass 99 % of
      their chunk tests.
    </p>`
}

function sharePassed(rows: ReportData['tests']['rows']): string {
  const [passed, tested] = rows.reduce(
    ([p, t], { proportion }) => [p + (proportion?.passed ?? 0), t + (proportion?.tested ?? 0)],
    [0, 0],
  )
  return tested === 0 ? '–' : `${formatFixed((100 * passed) / tested, 2)} %`
}

function findingsSection(findings: readonly Finding[]): Html {
  const subjects = [...Map.groupBy(findings, ({ subject }) => subject).values()]
  const left = subjects.length - MOST_SUBJECTS
  return html`<section id="findings" aria-labelledby="findings-heading">
    <h2 id="findings-heading">What stands out</h2>
    <p>
      Statistics that are rarer than ${FLAG_ALPHA} after correction by Holm for all tests of their kind (network,
      devices, chunk tests, pairs): of ideal devices one report in 250 would name any. P is Holm’s. Silent devices and
      alarms of single chunks are named as well.
    </p>
    <ul class="findings">
      ${subjects.slice(0, MOST_SUBJECTS).map(subjectItem)}
    </ul>
    ${left > 0 && html`<p>And ${formatInteger(left)} more.</p>`}
  </section> `
}

function subjectItem(findings: readonly Finding[]): Html {
  const [{ subject, names, device_id: id }] = findings
  const shown = findings
    .slice(0, MOST_FINDINGS)
    .map(
      ({ finding, p_holm: p }, i) =>
        html`${i > 0 && '; '}${finding}${p !== null && html` <span class="unit nowrap">(P ${formatP(p)})</span>`}`,
    )
  const left = findings.length - MOST_FINDINGS
  return html`<li>
    ${names ? html`${nameHtml(names[0])} × ${nameHtml(names[1])}` : id === undefined ? subject : html`<a href="#device-${id}">${nameHtml(subject)}</a>`}:
    ${shown}${left > 0 && `; and ${formatInteger(left)} more`}.
  </li>`
}
