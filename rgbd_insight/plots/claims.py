"""Figures of the claims ledger: the verdicts, and where networks stand between consistency and specificity."""

from __future__ import annotations

from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from rgbd_insight.claims import Ledger, written
from rgbd_insight.features import USUAL_MODALITIES, in_words
from rgbd_insight.plots.style import (
    COLOURS,
    INK,
    MARKERS,
    NETWORKS,
    SETS,
    SHADE,
    WIDTH,
    canvas,
    filled,
    finish,
    intervals,
    modality_colours,
    no_formula,
    panels,
)
from rgbd_insight.plots.tables import keep, keeps_table
from rgbd_insight.questions.balance import UNCORRECTED

VERDICT_COLOURS = {
    "supported": "#b7dfcb",
    "not supported": "#f3c3a6",
    "inconclusive": "#e8e3c8",
    "not tested": "#ececec",
    "exploratory": "#cfdcec",
}
NAME = 26  # letters of a claim's name in one line
PLACES = {"scenes": "planted scenes", "nyuv2": "NYUv2"}
SAID = {"": "", UNCORRECTED: "," + UNCORRECTED}  # what a title says of a share
BALANCE = {"C": "C: named and consistent (share)", "S": "S: named and specific (share)"}


def verdicts(found: Ledger, ax: Axes | None = None) -> Axes:
    """A row a claim, a column a kind of data, each with its verdict and effect.

    Parameters
    ----------
    found : Ledger
        Ledger from `claims`.
    ax : Axes, optional
        Where to draw; by default a figure of its own, as tall as its rows need.

    Returns
    -------
    Axes

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> from rgbd_insight.claims import claims
    >>> ax = verdicts(claims(ri.load("book/features/scenes"), only=["5", "7"]))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['5  Imbalance', '7  A derived fusion']
    """
    table = found.table
    names, data = list(dict.fromkeys(table.claim)), list(dict.fromkeys(table.data))
    ax = canvas(ax, 0.7 + 0.48 * len(names))
    for row in table.itertuples():
        x, y = data.index(row.data), names.index(row.claim)
        ax.add_patch(Rectangle((x - 0.48, y - 0.44), 0.96, 0.88, color=VERDICT_COLOURS[row.verdict]))
        number = "" if pd.isna(row.value) else f"\n{written(row)}"
        ax.text(x, y, f"{row.verdict}{number}", ha="center", va="center", fontsize=9, color=INK, linespacing=1.15)
    titles = table.drop_duplicates("claim").set_index("claim").name
    ax.set_yticks(range(len(names)), [fill(f"{claim}  {titles[claim]}", NAME) for claim in names])
    ax.set_xticks(range(len(data)), [PLACES.get(name, name) for name in data])
    ax.set(xlim=(-0.5, len(data) - 0.5), ylim=(len(names) - 0.5, -0.5))
    ax.grid(False)
    ax.tick_params(length=0)
    return keep(finish(ax, "The ledger", key={}), table)


@keeps_table
def balance(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Consistency C against specificity S, one point with both intervals for every seed of every network.

    Parameters
    ----------
    table : DataFrame
        Rows "C" and "S" of `questions.balance`, or where not every network has them the uncorrected ones of all.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        Where the table has no such rows.

    Examples
    --------
    >>> rows = [{"measure": m, "fusion": "sum", "run": "sum-s0-e8", "value": v, "low": v - 0.01, "high": v + 0.01}
    ...         for m, v in (("C", 0.1), ("S", 0.6))]
    >>> balance(pd.DataFrame(rows)).get_xlabel()
    'C: named and consistent (share)'
    """
    (c_rows, end), (s_rows, _) = (_share(table, name) for name in BALANCE)
    rows = filled(pd.concat([c_rows, s_rows]), "rows C and S of `questions.balance`")
    ax = canvas(ax, 4.2)
    for i, (fusion, part) in enumerate(rows.groupby("fusion", sort=False)):
        wide = part.pivot(index="run", columns="measure", values=["value", "low", "high"])
        c, s = (wide.xs(f"{name}{end}", axis=1, level=1) for name in BALANCE)
        bars = {"xerr": [c.value - c.low, c.high - c.value], "yerr": [s.value - s.low, s.high - s.value]}
        ax.errorbar(c.value, s.value, **bars, ms=5, lw=1.2, label=fusion, **network_style(i))
    return finish(ax, f"Between consistency and specificity{SAID[end]}", x=BALANCE["C"], y=BALANCE["S"])


def _share(table: pd.DataFrame, measure: str) -> tuple[pd.DataFrame, str]:
    """Rows of C or S, corrected where all networks are, and what stands behind the measure's name."""
    corrected, plain = (table[table.measure == measure + end] for end in SAID)
    return (corrected, "") if len(corrected) >= len(plain) else (plain, UNCORRECTED)


def network_style(i: int) -> dict:
    """Colour and marker of the i-th of up to 64 networks, no two alike.

    Parameters
    ----------
    i : int
        Place of the network, from 0.

    Returns
    -------
    dict
        Options of `Axes.plot`.
    """
    return {"color": NETWORKS[i % 8], "marker": MARKERS[(i + i // 8) % 8], "ls": ""}


@keeps_table
def accuracy_by_balance(table: pd.DataFrame, measure: str = "C", ax: Axes | None = None) -> Axes:
    """Accuracy of every network, its seeds' mean, beside C or S; bars reach over the seeds.

    Parameters
    ----------
    table : DataFrame
        Table of the zoo: rows "accuracy" under "both" and rows "C" or "S" (or the uncorrected ones), each with the run
        id in `run`.
    measure : str
        "C" or "S".
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        Where there are no such rows.

    Examples
    --------
    >>> base = {"fusion": "sum", "run": "sum-s0-e8"}
    >>> rows = [base | {"measure": "C", "value": 0.2},
    ...         base | {"measure": "accuracy", "condition": "both", "value": 0.9}]
    >>> accuracy_by_balance(pd.DataFrame(rows)).get_ylabel()
    'mean class accuracy'
    """
    shares, end = _share(table, measure)
    shares = shares.set_index("run").value
    done = table[(table.measure == "accuracy") & (table.condition == "both")].set_index("run")
    points = done.assign(share=shares.reindex(done.index)).dropna(subset="share")
    filled(points, f'rows "accuracy" and {measure!r} of the same runs')
    ax = canvas(ax, 4.2)
    for i, (fusion, rows) in enumerate(points.groupby("fusion", sort=False)):
        x, y = rows.share, rows.value
        reach = {
            "xerr": [[x.mean() - x.min()], [x.max() - x.mean()]],
            "yerr": [[y.mean() - y.min()], [y.max() - y.mean()]],
        }
        ax.errorbar(x.mean(), y.mean(), **reach, ms=6, lw=1.1, label=fusion, **network_style(i))
    return finish(ax, f"Accuracy beside the balance{SAID[end]}", x=BALANCE[measure], y="mean class accuracy")


@keeps_table
def doses(table: pd.DataFrame, dose: str = "25%", given: str = "both", ax: Axes | None = None) -> Axes:
    """What the specific and the consistent units of every network cost, beside its band of random sets.

    Parameters
    ----------
    table : DataFrame
        Table of the zoo, with rows "dose".
    dose, given : str
        The share of units that was silenced, and the input meanwhile.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        The grey band reaches from the random sets' mean to their 97.5 % point.

    Raises
    ------
    ValueError
        Where there are no such rows.

    Examples
    --------
    >>> row = {"measure": "dose", "fusion": "sum", "modality": "rgb", "label": "specific", "versus": "25%"}
    >>> row |= {"condition": "both", "value": 0.1, "low": 0.08, "high": 0.12, "null": 0.05, "null_high": 0.07}
    >>> [label.get_text() for label in doses(pd.DataFrame([row])).get_yticklabels()]
    ['sum']
    """
    rows = table[(table.measure == "dose") & (table.versus == dose) & (table.condition == given)]
    filled(rows, f'rows "dose" of {dose} under {given!r}')
    fusions = list(dict.fromkeys(rows.fusion))
    ax = canvas(ax, 1.3 + 0.5 * len(fusions))
    colours = modality_colours(dict.fromkeys(USUAL_MODALITIES) | dict.fromkeys(rows.modality))
    for modality, up in zip(colours, np.linspace(-0.2, 0.2, len(colours)), strict=True):
        for kind, look in SETS.items():
            one = rows[(rows.modality == modality) & (rows.label == kind)]
            at = np.array([fusions.index(f) for f in one.fusion]) + up + (0.07 if kind == "consistent" else -0.07)
            if kind == "specific":
                ax.barh(at + 0.07, one.null_high - one.null, 0.36, left=one.null, color=SHADE, zorder=0)
            intervals(ax, at, one, colours[modality], across=True, ms=5, **look)
    ax.set_yticks(range(len(fusions)), fusions)
    ax.set_ylim(len(fusions) - 0.5, -0.5)
    ax.axvline(0, color=INK, lw=0.8, zorder=1)
    ax.grid(axis="y", visible=False)
    key = {
        **{f"{kind} units": Line2D([], [], color=INK, ms=6, ls="", **look) for kind, look in SETS.items()},
        **{f"of {in_words(modality)}": Patch(color=colour) for modality, colour in colours.items()},
        "random: mean to 97.5 %": Patch(color=SHADE),
    }
    return finish(ax, f"Silencing {dose} of a stream's units", x="mean class accuracy lost", key=key)


@keeps_table
def class_iou(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Which network finds which class: intersection over union in per cent, a row a class, a column a network.

    Parameters
    ----------
    table : DataFrame
        Rows "class IoU" with `fusion`, `concept`, `condition`; drawn are those under "both", and of a network with one
        input those under its own. Several seeds are averaged.
    ax : Axes, optional
        Where to draw; by default a figure of its own, as large as its cells need.

    Returns
    -------
    Axes
        Its classes and networks are in the order in which the table has them.

    Raises
    ------
    ValueError
        Where there are no such rows.

    Examples
    --------
    >>> row = {"measure": "class IoU", "fusion": "sum", "concept": "rug", "condition": "both", "value": 0.9}
    >>> [text.get_text() for text in class_iou(pd.DataFrame([row])).texts]
    ['90']
    """
    import seaborn as sns  # loads ipywidgets where that is installed

    rows = table[table.measure == "class IoU"]
    rows = rows[(rows.condition == "both") | (rows.condition == rows.fusion.str.removesuffix("_wide"))]
    filled(rows, 'rows "class IoU" under "both", or under the one input')
    wide = 100 * rows.pivot_table(index="concept", columns="fusion", values="value", sort=False)
    wide = wide.rename(index=no_formula, columns=no_formula)  # seaborn measures the labels at once
    ax = canvas(ax, 1.5 + 0.24 * len(wide), min(WIDTH, 2.0 + 0.42 * wide.shape[1]))
    sns.heatmap(
        wide,
        ax=ax,
        annot=True,
        fmt=".0f",
        cmap=sns.light_palette(COLOURS["fused"], as_cmap=True),
        vmin=0,
        vmax=100,
        linewidths=0.5,
        annot_kws={"fontsize": 9},
        cbar=False,
    )
    ax.tick_params(axis="x", labelrotation=60)
    ax.tick_params(axis="y", labelrotation=0)
    return finish(ax, "Intersection over union of each class, per cent", key={})


@keeps_table
def intervention(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Accuracy of every run of the intervention beside its C, one panel a redundancy, with the parabola through them.

    Parameters
    ----------
    table : DataFrame
        Table of the intervention: operator, common, private, redundancy, placebo, accuracy, C.
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Its `child_axes` are the panels. The colour is the weight of the common term, the marker the operator.

    Raises
    ------
    ValueError
        Where the table has no run that is not a placebo.

    Examples
    --------
    >>> rows = [{"operator": "late", "common": c, "redundancy": r, "placebo": False, "accuracy": c, "C": c}
    ...         for c in (0.0, 0.3, 1.0) for r in (0.0, 1.0)]
    >>> [panel.get_title() for panel in intervention(pd.DataFrame(rows)).child_axes]
    ['redundancy 0', 'redundancy 1']
    """
    real = table[~table.placebo.astype(bool)].dropna(subset=["redundancy", "C", "accuracy"])
    real = filled(real, "runs that are no placebo, with numbers")
    ax = canvas(ax, 3.9)
    weights, operators = sorted(real.common.unique()), sorted(real.operator.unique())
    shades = dict(zip(weights, ("#b7c9e2", "#5d8fc4", "#0b3d78"), strict=False))
    found = list(real.groupby("redundancy"))
    for panel, (_, rows) in zip(panels(ax, [f"redundancy {r:g}" for r, _ in found], 3), found, strict=True):
        for (operator, weight), part in rows.groupby(["operator", "common"]):
            marker = MARKERS[operators.index(operator)]
            panel.plot(part.C, part.accuracy, marker, color=shades[weight], ms=4.5, ls="")
        for operator, part in rows.groupby("operator"):
            if part.C.nunique() > 2:  # fewer do not decide a parabola
                x = np.linspace(part.C.min(), part.C.max(), 50)
                curve = np.polynomial.Polynomial.fit(part.C, part.accuracy, 2)(x)
                panel.plot(x, curve, color=INK, lw=1.1, ls="-" if operator == operators[0] else "--")
        panel.set_xlabel("C", fontsize=9.5)
    key = {f"common weight {w:g}": Line2D([], [], color=shades[w], marker="o", ls="") for w in weights}
    key |= {
        o: Line2D([], [], color=INK, marker=MARKERS[i], ls="-" if i == 0 else "--", ms=4.5)
        for i, o in enumerate(operators)
    }
    return finish(ax, "The intervention: accuracy beside consistency", y="mean class accuracy", key=key)
