"""Figures of what the measures do by chance and at known values, from the tables of `validate`."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rgbd_insight.plots.style import COLOURS, INK, MARKERS, MODALITIES, NETWORKS, SHADE, canvas, filled, finish
from rgbd_insight.plots.tables import keep
from rgbd_insight.utils.messages import unknown
from rgbd_insight.validation import scores

OURS, OTHER, WORSE = COLOURS["both"], COLOURS["none"], MODALITIES[0]
NAMES = {
    "debiased_cka": "debiased CKA",
    "cka": "biased CKA",
    "minibatch_cka": "minibatch CKA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "procrustes": "Procrustes",
    "rsa": "RSA",
    "knn_overlap": "k-NN overlap",
    "rank_units": "ranking of units",
    "semantic_variance": "semantic variance",
    "debiased_cka, controlled": "debiased CKA, controlled",
    "sampled_cka": "CKA of sampled units",
}
NORMALISED = ", normalised"
FORMS = {"all pooled": "uncorrected, 4 to 7 networks", "one": "uncorrected, one network"}


def measure_name(measure: str) -> str:
    """A measure's name as a figure writes it.

    Parameters
    ----------
    measure : str
        Its name in the tables of `validate`.

    Returns
    -------
    str
        The same where figures have no other name for it. What was put between null and ceiling is called so.

    Examples
    --------
    >>> measure_name("svcca"), measure_name("cka, normalised")
    ('SVCCA', 'biased CKA, normalised')
    """
    plain = measure.removesuffix(NORMALISED)
    return NAMES.get(measure, NAMES.get(plain, plain) + measure[len(plain) :])


def _battery_rows(table: pd.DataFrame, battery: str, *columns: str) -> pd.DataFrame:
    """Rows of one battery of tests, or an error that says where they come from, or which column they lack."""
    what = f"rows of {battery!r} (read_table(folder, 'validation') has them)"
    return filled(table[table["battery"] == battery], what, *columns)


def calibration(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Measured value of held-out worlds against the value that follows from how they were made.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        On the dashed line a measure is right.

    Examples
    --------
    >>> rows = {"battery": "calibration", "measure": "debiased_cka", "ours": True, "truth": [0.1, 0.4],
    ...         "value": [0.1, 0.5]}
    >>> calibration(pd.DataFrame(rows)).get_xlabel()
    'value in the population'
    """
    rows = _battery_rows(table, "calibration")
    ax = keep(canvas(ax, 4.4), rows[["measure", "ours", "truth", "value"]])
    ax.axline((0, 0), slope=1, color=INK, ls="--", lw=1.4, label="right")
    for i, (measure, part) in enumerate(rows.groupby("measure", sort=False)):
        ours = bool(part["ours"].iloc[0])
        colour = NETWORKS[i % len(NETWORKS)] if ours else OTHER
        look = {"mfc": colour if ours else "none", "mec": colour, "ms": 6, "zorder": 4 if ours else 3}
        ax.plot(part["truth"], part["value"], MARKERS[i % len(MARKERS)], label=measure_name(measure), **look)
    errors = scores.calibrated(rows)
    said = ", ".join(f"{measure_name(r.measure)} {r.rmse:.3f}" for r in errors.itertuples())
    return finish(
        ax, f"Off the planted value (root mean square): {said}", x="value in the population", y="measured value"
    )


def null_curves(table: pd.DataFrame, ax: Axes | None = None, *, width: int | None = None) -> Axes:
    """What every measure gives for two streams that have nothing in common, against the number of images.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    width : int, optional
        Units of both streams; by default the widest for which the alternatives were computed.

    Returns
    -------
    Axes
        Ours are full lines, the alternatives dashed.

    Raises
    ------
    ValueError
        Where the table has no such rows.

    Examples
    --------
    >>> rows = {"battery": "bias", "measure": "cka", "ours": False, "n": [64, 64, 256, 256], "width": 32,
    ...         "value": [0.5, 0.5, 0.2, 0.2]}
    >>> len(null_curves(pd.DataFrame(rows)).lines)
    2
    """
    means = scores.null_means(_battery_rows(table, "bias", "measure", "ours", "n", "width"))
    others = means[~means["ours"].astype(bool)]
    width = int((others if len(others) else means)["width"].max()) if width is None else width
    if width not in set(means["width"]):
        raise ValueError(unknown("width", width, sorted(means["width"].unique())))
    means = means[means["width"] == width]
    ax = keep(canvas(ax, 4.4), means)
    ax.axhline(0, color=INK, lw=1)
    for i, (measure, part) in enumerate(means.groupby("measure", sort=False)):
        part = part.sort_values("n")
        ours = bool(part["ours"].iloc[0])
        look = {"color": NETWORKS[i % len(NETWORKS)], "ls": "-" if ours else "--", "lw": 2 if ours else 1.3}
        ax.plot(part["n"], part["mean"], marker=MARKERS[i % len(MARKERS)], ms=5, label=measure_name(measure), **look)
    ax.set_xscale("log")
    ticks = sorted(means["n"].unique())
    ax.set_xticks(ticks, [f"{n:.0f}" for n in ticks])
    ax.minorticks_off()
    return finish(ax, _most_from_nothing(means, width), x="images", y="mean value (nothing is shared)")


def _most_from_nothing(means: pd.DataFrame, width: int) -> str:
    """What the worst alternative finds where nothing is shared, beside the worst of ours, with the fewest images."""
    few = means[means["n"] == means["n"].min()].set_index("measure")
    ours, other = (few[few["ours"].astype(bool) == own]["mean"] for own in (True, False))
    parts = [f"{measure_name(other.idxmax())} finds {other.max():.2f}"] if len(other) else []
    parts += [f"ours find at most {ours.abs().max():.2f}"] if len(ours) else []
    return f"Nothing shared, {few['n'].iloc[0]:.0f} images, {width} units: {', '.join(parts)}"


def false_positives(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Share of null worlds in which a test finds something at .05: permuting whole groups, and permuting images.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Lines are the corrected 99 % bounds; the dashed line is what was promised.

    Examples
    --------
    >>> rows = {"battery": "null", "measure": "debiased_cka", "condition": ["groups", "images"], "value": [0.0, 1.0]}
    >>> false_positives(pd.DataFrame(rows)).get_xlabel()
    'share of null worlds with p at most .05'
    """
    rates = scores.false_positives(_battery_rows(table, "null", "measure", "condition", "value"))
    names = list(dict.fromkeys(rates["measure"]))
    ax = keep(canvas(ax, 0.45 * len(names) + 1.9), rates)
    key = {"promised": ax.axvline(0.05, color=INK, ls="--", lw=1.4)}
    for condition, colour, shift in (("groups", OURS, -0.14), ("images", WORSE, 0.14)):
        part = rates[rates["condition"] == condition]
        at = np.array([names.index(m) for m in part["measure"]]) + shift
        ax.hlines(at, part["low"], part["high"], color=colour, lw=1.7)
        key[f"{condition} permuted"] = ax.plot(part["rate"], at, "o", color=colour, ms=6)[0]
    ax.set_yticks(range(len(names)), [measure_name(n) for n in names])
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    most = rates.groupby("condition")["rate"].max().map("{:.0%}".format).str.replace("%", " %")
    said = ", ".join(f"permuting {kind} in up to {most[kind]}" for kind in ("groups", "images") if kind in most)
    title = f"Tests reject where nothing is shared: {said}"
    return finish(ax, title, key=key, x="share of null worlds with p at most .05")


def coverage(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """How often the 95 % intervals hold what the estimator gives on average at that number of images.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        The grey band is .92 to .98; lines are 95 % intervals of the counted share.

    Examples
    --------
    >>> rows = {"battery": "coverage", "measure": "cka", "n": 200, "width": 32, "value": [0.1, 0.12],
    ...         "low": [np.nan, 0.0], "high": [np.nan, 0.2], "condition": ["expectation", "interval"],
    ...         "count": [100, np.nan], "repetition": [0, 0]}
    >>> coverage(pd.DataFrame(rows)).get_xlabel()
    'share of intervals that hold the expectation'
    """
    found = scores.containment(_battery_rows(table, "coverage"))
    ax = keep(canvas(ax, 0.33 * len(found) + 1.6), found)
    ax.axvspan(0.92, 0.98, color=SHADE, zorder=0)
    ax.axvline(0.95, color=INK, ls="--", lw=1.2)
    at = np.arange(len(found))
    few = found["repetitions"] < found["repetitions"].max()
    for part, colour in ((~few, OURS), (few, OTHER)):
        ax.hlines(at[part], found["low"][part], found["high"][part], color=colour, lw=1.7)
        ax.plot(found["coverage"][part], at[part], "o", color=colour, ms=6)
    about = [f"{r.n:.0f} x {r.width:.0f}" if r.kind == scores.COMMON else r.kind for r in found.itertuples()]
    names = [measure_name(m) for m in found["measure"]]
    labels = [f"{n}, {a} ({r})" for n, a, r in zip(names, about, found["repetitions"], strict=True)]
    ax.set_yticks(at, labels)
    ax.invert_yaxis()
    asked = ~few & ~found["measure"].str.startswith("uncorrected")
    inside = found.loc[asked, "coverage"].between(0.92, 0.98)
    title = f"{inside.sum()} of {len(inside)} intervals hold the expectation in 92 to 98 % of draws"
    return finish(ax, title, key={}, x="share of intervals that hold the expectation")


def partitioning_errors(table: pd.DataFrame, ax: Axes | None = None, *, noise: float | None = None) -> Axes:
    """Largest error of the partitioning's shares against the number of images, by how many networks are pooled.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    noise : float, optional
        Noise of the first modality's units; by default the smallest in the table.

    Returns
    -------
    Axes
        Full lines: both modalities equally noisy; dashed: the other three times as noisy.

    Examples
    --------
    >>> rows = {"battery": "partitioning", "world": 0, "condition": "1", "noise": 0.3, "noise_ratio": [1.0, 3.0],
    ...         "n": 300, "part": "a -> a", "value": [0.9, 0.6], "truth": 1.0}
    >>> partitioning_errors(pd.DataFrame(rows)).get_ylabel()
    'largest error of a share'
    """
    found = scores.shares(_battery_rows(table, "partitioning"))
    noise = found["noise"].min() if noise is None else noise
    if noise not in set(found["noise"]):
        raise ValueError(unknown("noise", noise, sorted(found["noise"].unique())))
    found = found[found["noise"] == noise]
    ax = keep(canvas(ax, 4.2), found)
    conditions, ratios = list(dict.fromkeys(found["condition"])), sorted(found["noise_ratio"].unique())
    for (condition, ratio), part in found.groupby(["condition", "noise_ratio"], sort=False):
        colour, part = NETWORKS[conditions.index(condition) % len(NETWORKS)], part.sort_values("n")
        ax.plot(part["n"], part["error"], "-" if ratio == ratios[0] else "--", color=colour, lw=1.8, marker="o", ms=5)
    names = {c: f"{c} network{'s' * (c != '1')}" if c.isdigit() else c for c in conditions}
    key = {names[c]: Line2D([], [], color=NETWORKS[i % len(NETWORKS)]) for i, c in enumerate(conditions)}
    styles = zip(ratios, ("-", "--"), strict=False)
    key |= {f"noise ratio {r:g}": Line2D([], [], color=INK, ls=style) for r, style in styles}
    ax.set_ylim(bottom=0)
    hard = found[(found["noise_ratio"] == ratios[-1]) & (found["n"] == found["n"].max())]
    hard = hard[hard["condition"].isin([conditions[0], conditions[-1]])]
    said = ", ".join(f"{names[r.condition]} errs by {r.error:.2f}" for r in hard.itertuples())
    title = f"With networks {ratios[-1]:g} times noisier, {said}"
    return finish(ax, title, x="images", y="largest error of a share", key=key)


def kind_errors(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Error of a level's shares on worlds of every kind: corrected as the chapters use them, and uncorrected.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    ax : Axes, optional
        Where to draw; a figure of its own by default.

    Returns
    -------
    Axes
        Full dots are means over shares and worlds with their 95 % intervals; hollow ones the worst share of any world.

    Examples
    --------
    >>> rows = {"battery": "account", "kind": "heavy tails", "condition": "corrected", "world": [1, 2],
    ...         "value": [0.21, 0.24], "truth": 0.2}
    >>> kind_errors(pd.DataFrame(rows)).get_xlabel()
    'error of a share'
    """
    found = scores.account(_battery_rows(table, "account"))
    kinds, forms = (list(dict.fromkeys(found[name])) for name in ("kind", "condition"))
    ax, key = keep(canvas(ax, 0.7 * len(kinds) + 1.9), found), {}
    for asked, style in ((0.03, "--"), (0.08, ":")):
        key[f"asked: at most {asked:g} {'(mean)' if style == '--' else '(worst)'}"] = ax.axvline(
            asked, color=INK, ls=style
        )
    for i, form in enumerate(forms):
        part, colour = found[found["condition"] == form], NETWORKS[i % len(NETWORKS)]
        at = np.array([kinds.index(kind) for kind in part["kind"]]) + 0.22 * (i - (len(forms) - 1) / 2)
        ax.hlines(at, part["low"], part["high"], color=colour, lw=1.7)
        key[FORMS.get(form, form)] = ax.plot(part["error"], at, MARKERS[i % len(MARKERS)], color=colour, ms=6)[0]
        ax.plot(part["worst"], at, MARKERS[i % len(MARKERS)], mfc="none", mec=colour, ms=6)
    ax.set_yticks(range(len(kinds)), kinds)
    ax.invert_yaxis()
    ax.set_xlim(left=0)
    means = found.groupby("condition", sort=False)["error"].max()
    said = "; ".join(f"{FORMS.get(form, form)} {error:.3f}" for form, error in means.items())
    return finish(ax, f"Mean error in the hardest kind of worlds: {said}", x="error of a share", key=key)


def advantages(differences: pd.DataFrame, score: str, ax: Axes | None = None, *, where: str = "all") -> Axes:
    """By how much ours is better than each alternative, paired world by world, with 95 % intervals.

    Parameters
    ----------
    differences : DataFrame
        The table "validation_differences".
    score : str
        What is scored: "concept", "total", "CKA", "unrelated", "variance", "dimension", "joint" or "synergy".
    ax : Axes, optional
        Where to draw; a figure of its own by default.
    where : str
        Which worlds.

    Returns
    -------
    Axes
        Right of 0 ours is better. The best alternative is a diamond.

    Raises
    ------
    ValueError
        Where the table has no such rows.

    Examples
    --------
    >>> row = {"score": "concept", "where": "all", "ours": "rank_units", "alternative": "cka", "value": 0.9,
    ...        "other": 0.8, "difference": 0.1, "low": 0.05, "high": 0.15, "worlds": 24, "best": True}
    >>> advantages(pd.DataFrame([row]), "concept").get_title("left").splitlines()
    ['ranking of units scores 0.90, the best alternative (biased CKA)', '0.80']
    """
    rows = differences[(differences["score"] == score) & (differences["where"] == where)].sort_values("difference")
    if rows.empty:
        known = ", ".join(sorted(set(differences["score"])))
        raise ValueError(f"`score` must be one of {known}, and `where` one of its worlds; got {score!r}, {where!r}")
    ax = keep(canvas(ax, 0.36 * len(rows) + 1.5), rows)
    ax.axvline(0, color=INK, lw=1.2)
    for at, row in enumerate(rows.itertuples()):
        colour = OURS if row.low > 0 else WORSE if row.high < 0 else OTHER
        ax.hlines(at, row.low, row.high, color=colour, lw=1.8)
        ax.plot(row.difference, at, "D" if row.best else "o", color=colour, ms=6)
    ax.set_yticks(range(len(rows)), [f"{measure_name(r.alternative)} ({r.other:.2f})" for r in rows.itertuples()])
    best = rows.loc[rows["other"].idxmax()]
    rival = f"the best alternative ({measure_name(best['alternative'])}) {best['other']:.2f}"
    title = f"{measure_name(best['ours'])} scores {best['value']:.2f}, {rival}"
    return finish(ax, title, x=f"advantage of ours, paired ({rows['worlds'].max():.0f} worlds)", key={})
