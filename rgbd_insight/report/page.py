"""The audit as HTML: self-contained, every word from the data escaped."""

from __future__ import annotations

import base64
import os
from html import escape
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

from rgbd_insight.plots import by_depth, centre, plot, utilisation
from rgbd_insight.result import Result

if TYPE_CHECKING:
    from rgbd_insight.report.audit import Audit

STYLE = """
body{font:16px/1.55 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2rem;text-transform:capitalize}img{max-width:100%;height:auto}
table{border-collapse:collapse;font-size:.85rem;margin:.5rem 0;display:block;overflow-x:auto}
th,td{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}
code{background:#f3f3f3;padding:.1rem .3rem}.mind{border-left:4px solid #b26a00;padding-left:1rem}
"""
HIDDEN = ("question", "run", "fusion", "seed")  # the same in every row of an audit, and on its card
MAIN = {
    "consistency": ("cka", "cka controlled", "cka normalised"),
    "specificity": ("specific share", "label"),
    "evolution": ("centre of mass", "level similarity"),
    "collaboration": ("accuracy", "utilisation"),
}
FIGURES = {
    "consistency": (plot,),
    "specificity": (plot, by_depth),
    "evolution": (plot, centre),
    "collaboration": (plot, utilisation),
}


def write(path: Path, content: str) -> Path:
    """A file that is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)
    return path


def page(audit: Audit) -> str:
    """A page of its own."""
    title = escape(f"Audit of {audit.run} on {audit.card['data']}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head><body>\n{fragment(audit)}\n</body></html>\n"
    )


def fragment(audit: Audit, *, figures: bool = True) -> str:
    """The audit without head and style; `figures` also adds the figures and tables."""
    parts = [f"<h1>{escape(f'Audit of {audit.run}')}</h1>"]
    for name, result in audit.results.items():
        parts.append(f"<h2>{escape(name)}</h2><p>{escape(audit.answers[name])}</p>")
        if figures:
            parts += [*_figures(result), _tables(result)]
    parts.append(
        "<p>Numbers in brackets are 95 % intervals over whole groups; that of a mean over levels is the mean of the "
        "levels' intervals, at least as wide as its own.</p>"
    )
    if audit.warnings:
        items = "".join(f"<li>{escape(w)}</li>" for w in audit.warnings)
        parts.append(f'<div class="mind"><h2>Mind</h2><ul>{items}</ul></div>')
    if audit.missing:
        items = "".join(
            f"<li>{escape(m.what)}: {escape(m.why)}<br><code>{escape(m.call)}</code></li>" for m in audit.missing
        )
        parts.append(f"<h2>Missing</h2><ul>{items}</ul>")
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in audit.card.items())
    parts.append(f"<h2>Card</h2><p>Numbers of two audits compare where these agree.</p><table>{rows}</table>")
    return "\n".join(parts)


def _figures(result: Result) -> list[str]:
    """The question's figures as embedded PNGs, or why there is none."""
    parts = []
    for draw in FIGURES[result.question]:
        try:
            ax = draw(result)
        except ValueError as error:  # the result holds nothing that it could draw; "Missing" says why
            parts += [f"<p>No figure: {escape(str(error))}</p>"] if draw is plot else []
            continue
        drawn = BytesIO()
        ax.figure.savefig(drawn, format="png", dpi=110, bbox_inches="tight")
        plt.close(ax.figure)
        alt = escape(f"{ax.get_title('left')}. Its numbers are in the table below the figures.")
        data = base64.b64encode(drawn.getvalue()).decode()
        parts.append(f'<img src="data:image/png;base64,{data}" alt="{alt}">')
    return parts


def _tables(result: Result) -> str:
    """The main rows, and all of them behind a fold."""
    table = result.table
    main = table[table["measure"].isin(MAIN[result.question]) & ((table["measure"] != "label") | (table["level"] == 0))]
    return f"{_table(main)}<details><summary>all {len(result.table)} rows</summary>{_table(result.table)}</details>"


def _table(table) -> str:
    shown = table.drop(columns=list(HIDDEN)).dropna(axis="columns", how="all")
    return shown.to_html(index=False, float_format=lambda x: f"{x:.3g}", na_rep="", border=0, escape=True)
