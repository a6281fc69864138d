"""Pieces of HTML: everything that is not already HTML is escaped."""

from __future__ import annotations

import base64
import html
import math
import re
from collections.abc import Iterable, Sequence

__all__ = [
    "definitions",
    "document",
    "element",
    "embedded",
    "given",
    "link",
    "number",
    "table",
    "text",
]


def text(value: object) -> str:
    """A value as text that a browser shows as it is.

    >>> text("k < ω & ε")
    'k &lt; ω &amp; ε'
    """
    return html.escape(str(value))


def element(tag: str, inner: str, kind: str = "") -> str:
    """An element around HTML, with a class if one is given."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<{tag}{attribute}>{inner}</{tag}>"


def number(value: float | int | str | bool | None) -> str:
    """A measured value to three significant digits, with a power of ten where that is shorter.

    >>> number(0.04567), number(0.5), number(1234567.0), number(2.5e-7), number(12)
    ('0.0457', '0.500', '1.23 × 10<sup>6</sup>', '2.50 × 10<sup>−7</sup>', '12')
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u2009").replace("-", "−")
    if not math.isfinite(value):
        return "not finite"
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        digits = f"{value:#.3g}" if abs(value) < 999.5 else f"{value:.0f}"
        return digits.rstrip(".").replace("-", "−") if value else "0"
    return _power(f"{value:.2e}")


def given(value: float) -> str:
    """A value that was set, a bound say, with the digits it was set with.

    >>> given(0.05), given(1e-9)
    ('0.05', '1 × 10<sup>−9</sup>')
    """
    digits = f"{value:g}"
    return _power(digits) if "e" in digits else digits.replace("-", "−")


def unit(symbol: str) -> str:
    """A unit with its exponents raised.

    >>> unit("m s-1")
    'm s<sup>−1</sup>'
    """
    raised = re.sub(r"(?<=[A-Za-z])(-?\d+)", r"<sup>\1</sup>", text(symbol))
    return raised.replace("<sup>-", "<sup>−")


def _power(digits: str) -> str:
    """Digits such as 1.2e-07, with the power of ten written out."""
    mantissa, _, exponent = digits.partition("e")
    return f"{mantissa} × 10<sup>{int(exponent)}</sup>".replace("-", "−")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, lead: int = 0) -> str:
    """A table; its cells are HTML already, and the first column names the rows.

    Args:
        head: of the columns.
        rows: of cells.
        lead: how many of the first rows are set in bold.
    """
    cells = "".join(element("th", cell) for cell in head)
    lines = [
        element(
            "tr",
            element("th", row[0]) + "".join(element("td", cell) for cell in row[1:]),
            "lead" if place < lead else "",
        )
        for place, row in enumerate(rows)
    ]
    inner = element("thead", element("tr", cells)) + element("tbody", "\n".join(lines))
    return element("div", element("table", inner), "wide")


def definitions(pairs: Iterable[tuple[str, str]], kind: str) -> str:
    """Terms and what stands behind them; the latter is HTML already."""
    inner = "".join(
        element("div", element("dt", text(term)) + element("dd", meaning))
        for term, meaning in pairs
    )
    return element("dl", inner, kind)


DOI = r"(?:https?://doi\.org/|doi:\s*)?(10\.\d{4,9}/(?:[^\s;,]|[;,](?=\S))+)"
"""A semicolon or a comma may stand in one; before a space it ends it."""


def link(reference: str) -> str:
    """A reference with its DOI, where it names one, made a link.

    >>> link("Guo et al., doi:10.1145/2939672.2939738.")
    'Guo et al., <a href="https://doi.org/10.1145/2939672.2939738">doi:10.1145/2939672.2939738</a>.'
    """
    pieces, end = [], 0
    for found in re.finditer(DOI, reference):
        doi = found[1].rstrip(".)")
        stop = found.end() - len(found[1]) + len(doi)
        pieces.append(text(reference[end : found.start()]))
        pieces.append(f'<a href="https://doi.org/{text(doi)}">doi:{text(doi)}</a>')
        end = stop
    return "".join(pieces) + text(reference[end:])


def embedded(png: bytes, width: float, alternative: str) -> str:
    """A picture inside the page.

    Args:
        png: the bytes of a PNG file.
        width: on the page, in inches; less where the window is narrower.
        alternative: what a reader hears who cannot see it.
    """
    data = base64.b64encode(png).decode("ascii")
    return (
        f'<img src="data:image/png;base64,{data}" alt="{text(alternative)}" '
        f'style="width:{width:.2f}in">'
    )


def document(title: str, body: str) -> str:
    """A whole page that needs nothing beside it."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{_CSS}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


_CSS = """
:root { color-scheme: light; --ink: #1b1b1b; --soft: #5f6368; --line: #d9dadc;
  --good: #11683a; --good-bg: #eef7f1; --bad: #a4262c; --bad-bg: #fcf0f0; --link: #0b57a4; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16.5px/1.55 "STIX Two Text", Charter, "Bitstream Charter", Cambria, Georgia,
  "Times New Roman", serif;
  font-variant-numeric: lining-nums tabular-nums; text-rendering: optimizeLegibility; }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; font-weight: 600; margin: .2rem 0 .6rem;
  text-wrap: balance; }
h2 { font-size: 1.3rem; font-weight: 600; margin: 2.8rem 0 .6rem; padding-top: .9rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; font-weight: 600; margin: 1.8rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .15em; }
sup { line-height: 0; font-size: .72em; }
code { font: .84em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  overflow-wrap: anywhere; }
.kicker { color: var(--soft); font-variant-caps: all-small-caps; letter-spacing: .06em;
  font-size: 1.05rem; margin: 0; }
.soft, figcaption .soft { color: var(--soft); }
dl.facts { display: flex; flex-wrap: wrap; gap: .7rem 2.6rem; margin: 1.4rem 0 0; }
dl.facts dt, dl.list dt { color: var(--soft); font-size: .86rem; }
dl.facts dd, dl.list dd { margin: 0; }
dl.facts code { white-space: nowrap; }
dl.list { margin: .8rem 0; font-size: .93rem; }
dl.list > div { display: grid; grid-template-columns: minmax(9rem, 14rem) 1fr; gap: 0 1.2rem;
  padding: .15rem 0; }
dl.list dt { font-size: inherit; }
.verdict { margin: 1.8rem 0 0; padding: .8rem 1.1rem; border-left: 4px solid; max-width: none; }
.verdict ul { margin: .3rem 0 0; padding-left: 1.2rem; }
.verdict strong { font-weight: 600; }
.pass { border-color: var(--good); background: var(--good-bg); }
.fail { border-color: var(--bad); background: var(--bad-bg); }
.wide { overflow-x: auto; margin: .8rem 0 .5rem; }
table { border-collapse: collapse; border-top: 1.5px solid var(--ink);
  border-bottom: 1.5px solid var(--ink); min-width: min(100%, 34rem); font-size: .97rem;
  line-height: 1.35; }
th, td { padding: .38rem 1.15rem .38rem 0; text-align: right; vertical-align: top;
  white-space: nowrap; }
th:last-child, td:last-child { padding-right: .3rem; }
th:first-child { text-align: left; padding-left: .3rem; }
thead th { font-weight: 600; vertical-align: bottom; border-bottom: 1px solid var(--ink); }
thead small { display: block; font-weight: 400; color: var(--soft); font-size: .8rem; }
tbody th { font-weight: 400; }
tbody tr + tr th, tbody tr + tr td { border-top: 1px solid #ececed; }
tr.lead th, tr.lead td { font-weight: 600; }
td small { display: block; font-size: .8rem; font-weight: 400; white-space: nowrap; }
.good { color: var(--good); } .bad { color: var(--bad); }
figure { margin: 1.6rem 0 2.2rem; break-inside: avoid; }
figure img { display: block; max-width: 100%; height: auto; }
figcaption { margin-top: .5rem; font-size: .93rem; line-height: 1.45; max-width: 46rem; }
figcaption b { font-weight: 600; }
@media (max-width: 40rem) { body { font-size: 15.5px; } main { padding: 1.5rem 1rem 3rem; }
  h1 { font-size: 1.6rem; } dl.list > div { grid-template-columns: 1fr; } }
@media print { @page { margin: 18mm; } body { font-size: 10pt; } main { padding: 0;
  max-width: none; } h2, h3, h2 + p, h3 + p { break-after: avoid; }
  tr, .wide { break-inside: avoid; } .wide { overflow: visible; } a { color: inherit; }
  .verdict { -webkit-print-color-adjust: exact; print-color-adjust: exact; } }
"""
