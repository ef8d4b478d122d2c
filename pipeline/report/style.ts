/**
 * The page's style. Colours are pairs for light and dark; which of them hold is the reader's system's choice, or that of the three
 * buttons at the top, which need no script. Blue and orange are told apart with every kind of colour vision.
 */
export const STYLE = `
:root { color-scheme: light dark;
  --paper: light-dark(#fff, #14171c); --panel: light-dark(#f6f7f9, #1c2027); --text: light-dark(#1b1f24, #e8eaed);
  --muted: light-dark(#5a6370, #a0a9b5); --line: light-dark(#e1e5ea, #2e343d); --accent: light-dark(#0a5bb5, #74b3ff);
  --control: light-dark(#6b7280, #a5adb9); --shade: light-dark(#1b1f2433, #e8eaed33); --notice: light-dark(#a84300, #ffab66);
  --heat-0: light-dark(#08519c, #9ccbff); --heat-1: light-dark(#3f86c7, #5b9de0); --heat-2: light-dark(#86b6df, #35689f);
  --heat-3: light-dark(#c6dcef, #24405f); --heat-4: light-dark(#eef0f2, #262b33); --heat-5: light-dark(#f8dcc0, #553a22);
  --heat-6: light-dark(#f0b27a, #8c5724); --heat-7: light-dark(#dc7d2b, #d08237); --heat-8: light-dark(#a84300, #ffc08a); }
:root:has(#theme-light:checked) { color-scheme: light; }
:root:has(#theme-dark:checked) { color-scheme: dark; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--text); font: 16px/1.6 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums; }
header, main, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 2.5rem; }
h1, h2, h3 { line-height: 1.25; font-weight: 600; text-wrap: balance; margin: 0; }
h1 { font-size: 1rem; color: var(--muted); font-weight: 500; }
h2 { font-size: 1.5rem; }
h3 { font-size: 1.1rem; margin-top: 2.5rem; }
p { margin: 1rem 0; max-width: 46rem; text-wrap: pretty; overflow-wrap: anywhere; }
a { color: var(--accent); text-underline-offset: .2em; text-decoration-thickness: 1px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 2px; }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.skip { position: absolute; left: -100vw; top: 0; background: var(--paper); padding: .75rem 1rem; z-index: 1; }
.skip:focus { left: 0; }
.top { display: flex; flex-wrap: wrap; gap: .5rem 2rem; justify-content: space-between; align-items: center; }
.theme { border: 0; margin: 0; padding: 0; display: flex; gap: .9rem; font-size: .875rem; color: var(--muted); }
.theme legend { float: left; padding: 0; margin-right: .9rem; }
.theme label { display: inline-flex; gap: .35rem; align-items: center; cursor: pointer; }
.theme input { accent-color: var(--accent); margin: 0; width: 1rem; height: 1rem; }
.verdict { font-size: clamp(1.35rem, 3.4vw, 1.9rem); line-height: 1.3; font-weight: 600; margin: .6rem 0 0; max-width: 50rem; text-wrap: balance; }
.window, .asks { color: var(--muted); margin: .5rem 0 0; }
.asks { font-size: .875rem; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: 1.25rem 1.5rem; margin: 2rem 0 0; padding: 1.25rem 0;
  border: solid var(--line); border-width: 1px 0; }
.facts div { min-width: 0; }
.facts dt { font-size: .8125rem; color: var(--muted); }
.facts dd { margin: 0; font-size: 1.3rem; font-weight: 600; line-height: 1.3; }
.facts dd small { font-size: .8125rem; font-weight: 400; color: var(--muted); display: block; }
nav ul { display: flex; flex-wrap: wrap; gap: .35rem 1.5rem; list-style: none; margin: 1.25rem 0 0; padding: 0; font-size: .9375rem; }
nav a { display: inline-block; padding: .2rem 0; }
section { margin-top: 4.5rem; scroll-margin-top: 1.5rem; }
.findings { padding-left: 1.25rem; max-width: 46rem; overflow-wrap: anywhere; }
.findings li { margin: .4rem 0; }
.flag { color: var(--notice); font-size: .8em; }
.unit { color: var(--muted); font-weight: 400; font-size: .875em; }
.nowrap { white-space: nowrap; }
figure { margin: 2.25rem 0; min-width: 0; }
figcaption { font-size: .875rem; line-height: 1.55; color: var(--muted); max-width: 46rem; margin-top: .5rem; text-wrap: pretty; overflow-wrap: anywhere; }
figcaption strong { color: var(--text); font-weight: 600; }
.plot { display: block; width: 100%; height: auto; color: var(--muted); font-family: inherit; overflow: visible; }
.narrow { display: none; max-width: 30rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 21rem), 1fr)); gap: 0 2.5rem; }
.lags { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); gap: 0 2rem; }
.lags p { font-size: .875rem; line-height: 1.55; color: var(--muted); margin: .25rem 0 1.25rem; }
.scale { display: flex; list-style: none; margin: .75rem 0 0; padding: 0 0 1.5em; max-width: 27rem; }
.scale li { flex: 1; height: .75rem; position: relative; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.scale span { position: absolute; top: 1rem; left: 50%; transform: translateX(-50%); white-space: nowrap; font-size: .75rem; }
.scale li:first-child span { left: 0; transform: none; }
.scale li:last-child span { left: auto; right: 0; transform: none; }
${Array.from({ length: 9 }, (_, i) => `.heat-${i} { background: var(--heat-${i}); }`).join(' ')}
.table { margin-top: 2.25rem; }
.caption { color: var(--muted); font-size: .875rem; line-height: 1.55; margin: 0 0 .9rem; }
.scroll { overflow-x: auto; margin: 0; background: linear-gradient(to right, var(--paper) 50%, transparent) left / 2.5rem 100% no-repeat local,
  linear-gradient(to left, var(--paper) 50%, transparent) right / 2.5rem 100% no-repeat local,
  linear-gradient(to right, var(--shade), transparent) left / .6rem 100% no-repeat scroll,
  linear-gradient(to left, var(--shade), transparent) right / .6rem 100% no-repeat scroll; }
.save { margin: .75rem 0 0; font-size: .875rem; }
main .terms { columns: 2 22rem; column-gap: 2.5rem; margin: 1rem 0 0; font-size: .8125rem; line-height: 1.5; color: var(--muted); }
main .terms div { display: block; padding: 0 0 .5rem; border: 0; break-inside: avoid; }
main .terms dt { display: inline; color: var(--text); font-weight: 600; margin-right: .5em; }
main .terms dd { display: inline; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; line-height: 1.4; }
caption { text-align: left; color: var(--muted); padding-bottom: .9rem; line-height: 1.55; text-wrap: pretty; }
th, td { text-align: left; padding: .42rem .8rem .42rem 0; border-bottom: 1px solid var(--line); vertical-align: baseline; font-weight: 400; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--muted); font-size: .8125rem; vertical-align: bottom; border-bottom-color: var(--muted); }
.number { text-align: right; } td.number { white-space: nowrap; } td.number .unit { white-space: normal; }
th code { overflow-wrap: normal; white-space: nowrap; } .word { overflow-wrap: normal; white-space: normal; hyphens: none; }
.hash { overflow-wrap: anywhere; white-space: normal; }
.number + td:not(.number), .number + th:not(.number) { padding-left: .9rem; }
.name { display: block; min-width: 5.5rem; max-width: 16rem; overflow-wrap: anywhere; }
.two { min-width: 8.5rem; }
.bins { display: block; fill: var(--accent); }
dl { margin: 1.5rem 0; font-size: .875rem; }
main dl div { display: grid; grid-template-columns: 12rem 1fr; gap: 0 1rem; padding: .42rem 0; border-bottom: 1px solid var(--line); }
main dt { color: var(--muted); }
main dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: .875rem; margin-top: 5rem; padding-bottom: 3rem; }
@media (max-width: 62rem) { .pair .wide { display: none; } .pair .narrow { display: block; }
  th, td { padding-right: .5rem; } .name { min-width: 4.5rem; } .two { min-width: 8rem; } }
@media screen and (max-width: 44rem) {
  header, main, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.5rem; }
  section { margin-top: 3.5rem; } .name { min-width: 6rem; }
  .wide { display: none; } .narrow { display: block; }
  main dl div { grid-template-columns: 1fr; }
  caption { max-width: calc(100vw - 2rem); position: sticky; left: 0; }
}
@media print {
  :root { color-scheme: light !important; }
  body { font-size: 10pt; } .theme, nav, .skip, .download, .save { display: none; }
  header, main, footer { max-width: none; padding: 0; }
  section { margin-top: 2rem; } figure, tr, dl div, .together .scroll { break-inside: avoid; } h2, h3, caption, .caption { break-after: avoid; }
  .scroll { overflow: visible; background: none; } table, thead th { font-size: 8.5pt; } figcaption, .caption { font-size: 8.5pt; } th, td { padding: .25rem .5rem .25rem 0; }
  main .terms { font-size: 8pt; columns: 2 16rem; } .name { min-width: 4rem; } .number .nowrap { white-space: normal; } .pair { grid-template-columns: 1fr 1fr; }
  .lags { grid-template-columns: repeat(3, 1fr); } .lags p { font-size: 8.5pt; }
  footer { break-before: avoid; margin-top: 1rem; padding: 0; font-size: 8.5pt; }
}
`
