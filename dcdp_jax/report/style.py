"""The report's style sheet: light, dark, narrow and printed."""

CSS = """
:root {
  --paper: #ffffff; --ink: #1b1f24; --quiet: #59636e; --line: #d5d9de; --shade: #f4f6f8;
  --share-colour: 31 111 180; --badge: #8a3b00; --badge-paper: #fff1e0;
  --series-1: #1f6fb4; --series-2: #c8540a; --series-3: #1a8a5f; --series-4: #8a5bb5;
  --series-5: #1592a8; --series-6: #c0304f; --series-7: #9a7200; --series-8: #6b7280;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --ink: #e4e7eb; --quiet: #9ba5b0; --line: #353b43; --shade: #1c2026;
    --share-colour: 77 156 224; --badge: #ffc78a; --badge-paper: #3b2912;
    --series-1: #6cb2ee; --series-2: #f19a5b; --series-3: #55c79b; --series-4: #c3a0ea;
    --series-5: #5cc9dc; --series-6: #f07f97; --series-7: #d9b13c; --series-8: #a7b0bd;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
main { max-width: 66rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1, h2, h3, p, dl, ul, figure { margin: 0; }
h1 { font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; padding-bottom: 0.2rem; margin-bottom: 0.7rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 0.95rem; }
section { margin-top: 2.5rem; }
.subtitle, .note, figcaption, dt { color: var(--quiet); }
.subtitle { overflow-wrap: anywhere; }
.note, figcaption { font-size: 0.875rem; max-width: 46rem; }
.note { margin-bottom: 0.75rem; }
.marks { list-style: none; padding: 0; margin-top: 0.75rem; }
.marks li { margin-top: 0.35rem; }
.badge {
  font-size: 0.8rem; padding: 0.1rem 0.5rem; margin-right: 0.4rem; border-radius: 0.25rem;
  color: var(--badge); background: var(--badge-paper); border: 1px solid var(--badge);
}
.tiles { display: grid; gap: 0.75rem 1rem; margin-top: 1.25rem; }
.tiles div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
.scores { grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
.scores dd { font-size: 1.7rem; font-weight: 600; line-height: 1.2; }
.facts { grid-template-columns: repeat(auto-fill, minmax(8rem, 1fr)); }
dt { font-size: 0.8rem; line-height: 1.3; }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.notes { padding-left: 1.2rem; font-size: 0.9rem; overflow-wrap: anywhere; }
.notes li { margin-top: 0.25rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25rem 0.75rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { color: var(--quiet); vertical-align: bottom; }
th { text-align: left; font-weight: 500; }
tbody th { min-width: 6rem; overflow-wrap: anywhere; }
.numbers th:first-child, .texts th:first-child { padding-left: 0; }
.numbers td, .numbers thead th:not(:first-child) { text-align: right; }
.numbers.channels td:nth-child(-n+4), .numbers.channels thead th:nth-child(-n+4) { text-align: left; }
.texts td:last-child { overflow-wrap: anywhere; }
.runs td { min-width: 5.5rem; }
.confusion { font-size: 0.8rem; }
.confusion th, .confusion td { padding: 0.2rem 0.3rem; }
.confusion tbody th {
  position: sticky; left: 0; min-width: 6rem; max-width: 13rem; background: var(--paper);
}
.confusion thead th:first-child { font-size: 0.75rem; }
.confusion thead span {
  display: inline-block; writing-mode: vertical-rl; transform: rotate(180deg); max-height: 13rem;
  overflow-wrap: anywhere;
}
.confusion td {
  min-width: 2.3rem; text-align: center; border: 1px solid var(--line);
  background: rgb(var(--share-colour) / calc(0.06 + 0.54 * var(--share)));
}
.confusion td.zero { background: none; color: var(--quiet); }
.charts {
  display: grid; gap: 1.75rem 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr));
}
.small { grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); }
.small figure { display: grid; grid-row: span 3; grid-template-rows: subgrid; row-gap: 0; }
.scroll + .charts, .charts + details { margin-top: 1.5rem; }
.scroll + .scroll, .scroll + .notes { margin-top: 1rem; }
figure { min-width: 0; }
code { font-size: 0.9em; overflow-wrap: anywhere; }
figure svg { display: block; width: 100%; height: auto; margin: 0.25rem 0; }
summary { cursor: pointer; margin-bottom: 0.5rem; }
@media (max-width: 30rem) {
  table { font-size: 0.82rem; }
  th, td { padding: 0.25rem 0.3rem; }
  tbody th { min-width: 4.5rem; }
}
@media print {
  main { max-width: none; padding: 0; }
  body { font-size: 10pt; }
  figure, tr, .tiles, .scroll { break-inside: avoid; }
  details .scroll { break-inside: auto; }
  h2, h3, .note, summary { break-after: avoid; }
  .scroll { overflow: visible; }
  .confusion { font-size: 7.5pt; }
  .confusion td { min-width: 0; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .charts { grid-template-columns: 1fr 1fr; }
  details::details-content { content-visibility: visible; block-size: auto; }
}
"""
