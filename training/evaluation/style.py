"""The look of report.html: dark on light, colours that the colour-blind tell apart, good on paper and on a phone."""

# Colours: Okabe and Ito, Color universal design (2008).
CSS = """
:root { color-scheme: light; --ink: #1b2230; --soft: #5c6675; --line: #dde1e8; --panel: #f5f6f8;
  --damaged: #d55e00; --intact: #0072b2; --unknown: #a3a9b5; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; color: var(--ink); background: #fff;
  max-width: 72rem; margin: 0 auto; padding: 2.2rem 1.2rem 4rem;
  -webkit-print-color-adjust: exact; print-color-adjust: exact; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3.2rem 0 .2rem; }
h3 { font-size: 1rem; margin: 0 0 .5rem; }
p { margin: .3rem 0 .8rem; max-width: 48rem; } .soft { color: var(--soft); }
.lead { font-size: 1.18rem; margin: 1.4rem 0 0; } .lead b { white-space: nowrap; }
.notes { list-style: none; padding: 0; margin: 1.3rem 0 0; }
.notes li { padding: .55rem .9rem; margin: .4rem 0; border-left: 5px solid #e69f00; background: #fff8e8;
  overflow-wrap: anywhere; }
.notes li.grave { border-color: #c8102e; background: #fdecee; color: #8f0b20; font-weight: 600; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .8rem; margin: 1.5rem 0; }
.card { background: var(--panel); border-radius: .6rem; padding: .8rem 1rem; border-top: 4px solid var(--line); }
.card b { display: block; white-space: nowrap; font-size: 1.55rem; line-height: 1.25; font-weight: 650; }
.card small { display: block; color: var(--soft); line-height: 1.35; }
.card.damaged { border-color: var(--damaged); } .card.intact { border-color: var(--intact); }
.card.unknown { border-color: var(--unknown); } .card.grave { border-color: #c8102e; background: #fdecee; }
.grid { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(19rem, 100%), 1fr)); gap: 1.8rem;
  margin-top: 1.2rem; align-items: start; }
.four { grid-template-columns: repeat(auto-fit, minmax(min(15.4rem, 100%), 1fr)); gap: 1.2rem; }
.halves { display: grid; grid-template-columns: 8fr 5fr; gap: 2.2rem; margin-top: 1.2rem; }
@media (max-width: 52rem) { .halves { grid-template-columns: 1fr; } }
.halves p.soft { font-size: .88rem; margin-top: .5rem; } .halves > * { min-width: 0; }
.tables { display: flex; flex-wrap: wrap; gap: 2rem; margin-top: 1.2rem; }
.scroll { overflow-x: auto; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; text-align: right; border: 1px solid var(--line); font-weight: 400; }
th { color: var(--soft); overflow-wrap: break-word; max-width: 15rem; }
tr > th:first-child { text-align: left; color: var(--ink); }
td.ok, td.off { min-width: 2.6rem; text-align: center; }
td.across { outline: 2px solid #c8102e; outline-offset: -2px; }
table.plain td, table.plain th { border-width: 0 0 1px; } table.plain td svg { width: 150px; vertical-align: middle; }
tr.grave td, tr.grave th { background: #fdecee; } tr.doubt td, tr.doubt th { background: #fff8e8; }
.many thead th:not(:first-child) { writing-mode: vertical-rl; transform: rotate(180deg); text-align: left; }
.chip { font-size: .72rem; padding: .05rem .4rem; border-radius: 1rem; color: #fff; white-space: nowrap; }
.chip.damaged { background: var(--damaged); } .chip.intact { background: var(--intact); }
.key span { display: inline-block; margin-right: 1.2rem; }
.key i { display: inline-block; width: .8rem; height: .8rem; border-radius: .15rem; margin-right: .35rem; }
i.damaged { background: var(--damaged); } i.intact { background: var(--intact); }
i.unknown { background: var(--unknown); }
.verdicts { display: grid; grid-template-columns: max-content 1fr; gap: .5rem .9rem; align-items: center;
  margin: .8rem 0 2.2rem; }
.promise { margin-bottom: 1.6rem; padding: .7rem 1rem; border-radius: .5rem; background: #e7f3ec;
  border-left: 5px solid #00795c; }
.promise.broken { background: #fdecee; border-color: #c8102e; color: #8f0b20; font-weight: 600; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(18.5rem, 100%), 1fr)); gap: 1rem;
  margin-top: 1rem; }
figure { margin: 0; padding: .6rem; background: var(--panel); border-radius: .5rem; border-top: 4px solid var(--line);
  break-inside: avoid; }
figure.grave { border-color: #c8102e; } figure.wrong { border-color: #e69f00; }
figure img { width: calc(50% - .15rem); border-radius: .2rem; vertical-align: top; image-rendering: auto; }
figure img + img { margin-left: .3rem; } figure.grave .kind { color: #c8102e; }
figcaption { font-size: .84rem; line-height: 1.4; margin-top: .45rem; overflow-wrap: anywhere; }
.kind { text-transform: uppercase; font-size: .72rem; letter-spacing: .03em; }
details { margin-top: .8rem; border: 1px solid var(--line); border-radius: .5rem; padding: .5rem 1rem; }
summary { cursor: pointer; font-weight: 600; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font-size: .8rem; line-height: 1.4; }
svg { display: block; width: 100%; height: auto; overflow: visible; font-size: 12px; }
svg text { fill: var(--soft); } .mid { text-anchor: middle; } .end { text-anchor: end; }
.axis { font-size: 12.5px; } .zone { font-weight: 600; fill: var(--ink) !important; letter-spacing: .04em; }
.inside { fill: #fff !important; font-weight: 600; font-size: 14px; }
path { fill: none; stroke-linejoin: round; } .lattice { stroke: #e8ebf0; }
.stroke { stroke: var(--soft); } .whisker { stroke: var(--ink); stroke-width: 1.5; } .empty { fill: #e9ecf1; }
rect.damaged { fill: var(--damaged); } rect.intact { fill: var(--intact); } rect.unknown { fill: var(--unknown); }
rect.neutral { fill: #4a5568; } .band { fill: #a3a9b5; opacity: .25; }
.threshold { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 5 3; }
.curve { stroke: var(--ink); stroke-width: 2; } path.bound { fill: var(--damaged); opacity: .18; }
.here { fill: #c8102e; stroke: #fff; stroke-width: 1.5; } .diagonal { stroke: var(--unknown); stroke-dasharray: 4 4; }
path.promise { stroke: #00795c; stroke-width: 2; stroke-dasharray: 7 4; }
.promised { fill: #00795c !important; }
.point { fill: var(--intact); opacity: .85; } .stage { stroke: var(--unknown); stroke-dasharray: 2 3; }
.series { stroke-width: 2; } .series.s0 { stroke: #d55e00; } .series.s1 { stroke: #0072b2; }
.series.s2 { stroke: #009e73; } .series.s3 { stroke: #cc79a7; } .label { font-weight: 600; }
text.s0 { fill: #b34f00; } text.s1 { fill: #0072b2; } text.s2 { fill: #007a59; } text.s3 { fill: #a5527f; }
@media print { body { font-size: 11px; padding: 0; } h2 { break-after: avoid; }
  .grid > *, .card { break-inside: avoid; } }
"""
