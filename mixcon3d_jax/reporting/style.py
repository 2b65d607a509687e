"""How the page looks: one column on a phone, dark where the reader likes it dark."""

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #60646c; --line: #d9dbe0; --card: #f7f8fa;
  --accent: 46 110 200; --good: #2a7d46; --bad: #b3382c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9ba1a8; --line: #3a3f45;
  --card: #1f2226; --accent: 110 160 235; --good: #63c184; --bad: #ec8177; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: .5rem 0; }
h2 { font-size: 1.3rem; margin: 2.5rem 0 .5rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.5rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: rgb(var(--accent)); }
nav { display: flex; flex-wrap: wrap; gap: .2rem 1rem; }
.soft, figcaption, caption { color: var(--soft); }
.scroll { overflow-x: auto; margin: .5rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; text-align: left; border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
td { overflow-wrap: break-word; max-width: 46rem; }
td code { white-space: nowrap; }
th.group { text-align: center; }
.number { text-align: right; white-space: nowrap; }
.side { display: flex; flex-wrap: wrap; gap: .5rem 2rem; align-items: flex-start; }
.side > * { min-width: 0; max-width: 100%; }
.published { background: var(--card); padding: .3rem .8rem; border-left: 4px solid var(--line); }
.published h3 { margin-top: .2rem; }
.notes { background: var(--card); border-left: 4px solid var(--bad); padding: .4rem 1rem; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr));
  gap: .8rem; }
img { background: #fff; border-radius: 6px; max-width: 100%; height: auto; display: block; }
.sheet { display: grid; grid-template-columns: repeat(auto-fill, minmax(6rem, 1fr)); gap: .6rem;
  margin-bottom: 1rem; }
.sheet img { width: 100%; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .78rem; line-height: 1.25; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.bar { display: inline-block; height: .6rem; background: rgb(var(--accent)); vertical-align: middle;
  border-radius: 2px; }
.track { display: inline-block; width: 8rem; background: var(--line); border-radius: 2px;
  line-height: 0; }
.confusion td, .confusion th { border: 0; padding: 0; font-size: .68rem; line-height: 1; }
.confusion td { width: 1.35rem; min-width: 1.35rem; height: 1.35rem; text-align: center;
  border: 1px solid var(--line); background: rgb(var(--accent) / calc(var(--share, 0) * .9)); }
.confusion td.own { outline: 1px solid var(--soft); outline-offset: -2px; }
.confusion thead th { writing-mode: vertical-rl; transform: rotate(180deg); padding: .2rem 0;
  font-weight: 400; white-space: nowrap; }
.confusion tbody th { text-align: right; padding-right: .4rem; font-weight: 400;
  white-space: nowrap; position: sticky; left: 0; background: Canvas; }
summary { cursor: pointer; font-weight: 600; margin: .6rem 0; }
"""
