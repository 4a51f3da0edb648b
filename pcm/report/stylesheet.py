"""The style of HTML reports: one string, every rule under ``.pcm-report``, light and dark, screen and paper.

>>> STYLE.count("{") == STYLE.count("}")
True
"""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
.pcm-report {
  --ink: #1f2933; --quiet: #5b6770; --line: #d5dbe1; --faint: #f5f7f9; --page: #ffffff; --accent: #0b62a8;
  color: var(--ink); background: var(--page); line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  max-width: 62rem; margin: 0 auto; padding: 2rem 1.5rem 3rem; box-sizing: border-box;
}
.pcm-report h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
.pcm-report h2 {
  font-size: 1.25rem; line-height: 1.3; margin: 2.6rem 0 .8rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line);
}
.pcm-report .subtitle { color: var(--quiet); margin: 0 0 1.2rem; font-size: 1.05rem; }
.pcm-report p, .pcm-report ul { max-width: 44rem; margin: 0 0 1rem; }
.pcm-report ul { padding-left: 1.3rem; }
.pcm-report a { color: var(--accent); text-underline-offset: .15em; }
.pcm-report code {
  font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .9em; background: var(--faint);
  padding: .08em .3em; border-radius: 4px;
}
.pcm-report nav ol { margin: 0; padding-left: 1.4rem; columns: 18rem 2; color: var(--quiet); }
.pcm-report .scroll { overflow-x: auto; }
.pcm-report figure { margin: 1.4rem 0; }
.pcm-report figcaption, .pcm-report caption {
  color: var(--quiet); font-size: .9rem; text-align: left; max-width: 44rem; padding: .2rem 0 .5rem;
}
.pcm-report figcaption { padding: .5rem 0 0; }
.pcm-report caption { caption-side: top; }
.pcm-report figure svg { max-width: 100%; height: auto; display: block; }
.pcm-report table { border-collapse: collapse; margin: 1.2rem 0; font-size: .92rem; background: none; }
.pcm-report th, .pcm-report td {
  padding: .34rem .9rem .34rem 0; border: 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: baseline; background: none; color: inherit;
}
.pcm-report thead th {
  font-weight: 600; color: var(--quiet); border-bottom: 1.5px solid var(--quiet); white-space: nowrap;
}
.pcm-report tbody th { font-weight: 500; }
.pcm-report .number {
  text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap;
  padding-left: .9rem; padding-right: 1.1rem;
}
.pcm-report .missing, .pcm-report .more { color: var(--quiet); }
.pcm-report dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.4rem; margin: 1rem 0 1.4rem; }
.pcm-report dt { color: var(--quiet); }
.pcm-report dd { margin: 0; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
@media (max-width: 34rem) {
  .pcm-report { padding: 1.2rem 1rem 2rem; }
  .pcm-report dl { grid-template-columns: 1fr; gap: 0; }
  .pcm-report dd { margin-bottom: .6rem; }
}
@media screen and (prefers-color-scheme: dark) {
  .pcm-report {
    --ink: #e4e8ec; --quiet: #a3afba; --line: #36414c; --faint: #232c36; --page: #151b22; --accent: #7cbcf0;
  }
  .pcm-report .paper {
    background: #ffffff; border-radius: 6px; padding: .6rem; box-sizing: border-box;
    width: fit-content; max-width: 100%;
  }
}
@media print {
  .pcm-report { font-size: 10.5pt; max-width: none; padding: 0; }
  .pcm-report nav { display: none; }
  .pcm-report h2 { break-after: avoid; }
  .pcm-report figure, .pcm-report tr, .pcm-report dl { break-inside: avoid; }
  .pcm-report thead { display: table-header-group; }
  .pcm-report a { color: inherit; text-decoration: none; }
}
""".strip()
