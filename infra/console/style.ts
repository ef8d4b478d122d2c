/** What the console has beside the report's style, in the report's colours. */
export const CONSOLE_STYLE = `
main { min-height: 60vh; }
main:focus, h2:focus { outline: none; }
nav a[aria-current] { color: var(--text); font-weight: 600; text-decoration-thickness: 2px; }
.views { margin-top: 1rem; }
.views nav ul { margin: 0; }
.live { margin: 0; font-size: .875rem; color: var(--muted); }
.live button { margin-left: .75rem; }
.flagged { color: var(--notice); margin: 1rem 0 0; }
.dot { display: inline-block; width: .6rem; height: .6rem; border-radius: 50%; background: var(--accent); margin-right: .45rem; }
.dot.off { background: none; border: 2px solid var(--notice); }
.facts { margin-top: 1.25rem; }
main .facts div { display: block; padding: 0; border: 0; }
main .facts dt { color: var(--muted); }
section { margin-top: 3rem; }
button, input, select { font: inherit; color: inherit; }
button { background: var(--panel); border: 1px solid var(--line); border-radius: .35rem; padding: .25rem .8rem; cursor: pointer;
  color: var(--accent); font-size: .875rem; min-height: 2rem; }
button:hover { border-color: var(--accent); }
button:disabled { color: var(--muted); cursor: default; }
select, input[type=search], input[type=email], input[type=password] { background: var(--paper); border: 1px solid var(--control);
  border-radius: .35rem; padding: .4rem .6rem; min-height: 2.4rem; max-width: 100%; }
.tools { display: flex; flex-wrap: wrap; gap: .75rem 1.5rem; margin: 1.5rem 0 0; font-size: .875rem; align-items: center; border: 0; padding: 0;
  min-width: 0; }
.tools label { display: inline-flex; flex-wrap: wrap; gap: .25rem .5rem; align-items: center; color: var(--muted); min-width: 0; }
.tools label > * { color: var(--text); }
.choice legend { float: left; padding: 0; color: var(--muted); margin-right: .5rem; }
.choice label { color: var(--text); cursor: pointer; }
.choice input { accent-color: var(--accent); margin: 0; width: 1rem; height: 1rem; }
.failures { list-style: none; margin: 1.5rem 0 0; padding: 0; }
.failures li { border-left: 3px solid var(--notice); padding: 0 0 0 1rem; margin: 0 0 2rem; min-width: 0; }
.failures h3 { margin: 0; font-size: 1rem; overflow-wrap: anywhere; }
pre { font: .875rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere;
  margin: .5rem 0; max-height: 12rem; overflow-y: auto; }
.command { display: flex; gap: .75rem; align-items: center; justify-content: space-between; background: var(--panel); border: 1px solid var(--line);
  border-radius: .35rem; padding: .4rem .4rem .4rem .75rem; margin-top: .75rem; }
::placeholder { color: var(--muted); opacity: 1; }
.command code { min-width: 0; font-size: .875rem; }
.command button { background: var(--paper); flex: none; min-width: 5rem; }
.drop { border: 2px dashed var(--line); border-radius: .5rem; padding: 1.25rem; margin-top: 1.5rem; background: var(--panel); }
.drop.over { border-color: var(--accent); }
.drop label { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: center; font-weight: 600; min-width: 0; }
.drop input { font-weight: 400; font-size: .875rem; min-width: 0; max-width: 100%; }
.drop p { margin: .5rem 0 0; font-size: .875rem; color: var(--muted); }
.sign-in { max-width: 24rem; display: grid; gap: 1rem; margin-top: 1.5rem; }
.sign-in label { display: grid; gap: .25rem; font-size: .875rem; color: var(--muted); }
.sign-in input { color: var(--text); font-size: 1rem; }
.sign-in p { margin: 0; }
.sign-in button { justify-self: start; }
footer { margin-top: 4rem; }
h2 { overflow-wrap: anywhere; }
.number + td:not(.number), .number + th:not(.number) { padding-left: .9rem; }
.reason { display: block; min-width: 10rem; max-width: 30rem; }
code.id { white-space: normal; overflow-wrap: anywhere; display: block; min-width: 10.5rem; }
h2 + .table, h3 + .table { margin-top: .75rem; }
.caption { max-width: 46rem; }
footer button { margin-left: .5rem; }
td button { padding: .1rem .7rem; }
@media screen and (max-width: 44rem) { .command { align-items: stretch; flex-direction: column; padding: .6rem .75rem; } .command button { align-self: start; }
  section { margin-top: 2.5rem; } }
`
