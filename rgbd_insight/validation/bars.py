"""What is asked of the measures, and what a table of `validate` says that they reached."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.features.tables import read_table, table_names
from rgbd_insight.validation import scores
from rgbd_insight.validation.origin import changed
from rgbd_insight.validation.scenes import label_scores
from rgbd_insight.validation.validate import COLUMNS

OTHER_CODE = "numbers made by other code, modules changed since"
WORDS = {"battery", "kind", "measure", "ours", "condition", "part", "label"}  # columns that need hold no numbers
ABSENT = "a true δ of .1 called absent"
MANY, REPEATED, LARGE = 20, 400, 3000  # worlds of a mean, draws of a coverage, images of a label: fewer are not asked


def bars(table: pd.DataFrame, results: str | Path | None = None) -> pd.DataFrame:
    """What was asked of the measures and what they reached: one row each.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    results : str or Path, optional
        Folder of the table, whose index says which code made it, and which may have the table "labels" of the planted
        scenes; without it, these rows are absent.

    Returns
    -------
    DataFrame
        With columns score, about, value, low, high (an interval of the value, where there is one), bar (what was asked,
        in words), met (missing where nothing was asked).

    Raises
    ------
    ValueError
        Where a column is missing or must hold numbers and does not, or a battery has too few rows for its scores.

    Notes
    -----
    What few or small worlds cannot meet is not asked of them (but reported): a mean over worlds, or a slope, from 20
    worlds; the coverage of an interval from 400 draws; the labels of concepts from 3000 images. Of the few worlds of
    `validate(quick=True)` these remain: false positives, bias, the error of calibrated values, the worst share of the
    corrected variance partitioning, sums of shares, degenerate input.

    Examples
    --------
    >>> found = bars(read_table("book/results", "validation"))
    >>> bool(found.loc[found["score"] == "degenerate input", "met"].all())
    True
    """
    _check(table)
    gaps = scores.differences(table)
    found = [*_chance(table), *_coverage(table), *_truth(table), *_account(table), *_concepts(table)]
    found += [*_ranking(table, gaps), *joint_bars(gaps)]
    if results is not None:
        found += _scenes(read_table(results, "labels")) if "labels" in table_names(results) else []
        other = changed(results)
        found.append(_row(OTHER_CODE, ", ".join(other) or "all modules", len(other), "none", not other))
    result = pd.DataFrame(found, columns=["score", "about", "value", "low", "high", "bar", "met"])
    return result.assign(met=result["met"].astype("boolean"))


def _check(table: pd.DataFrame) -> None:
    for name in COLUMNS:
        if name not in table:
            raise ValueError(f'`table` must be the table "validation"; it has no column {name!r}')
        given = table[name].dropna()
        if name not in WORDS and len(given) and not pd.api.types.is_numeric_dtype(given):
            raise ValueError(f"`table` must hold numbers in its column {name!r}; got {given.iloc[0]!r}")
    if table["value"].isna().all():
        raise ValueError("`table` must hold numbers in its column 'value'; it is empty")


def _row(
    score: str, about: str, value: float, bar: str, met: bool | None, low: float = np.nan, high: float = np.nan
) -> tuple:
    return score, about, float(value), float(low), float(high), bar, None if met is None else bool(met)


def _chance(table: pd.DataFrame) -> list[tuple]:
    found = []
    for row in scores.false_positives(table).itertuples():
        images = row.condition == "images"
        bar = "shown, not asked: images are not exchangeable" if images else "99 % lower bound at most .05"
        met = None if images else row.low <= 0.05
        score = f"false positives, {row.condition}{'' if row.condition.startswith('neighbours') else ' permuted'}"
        found.append(_row(score, row.measure, row.rate, bar, met, row.low, row.high))
    means = scores.null_means(table)
    for measure in ("debiased_cka", "semantic_variance", "matching"):
        z = means.loc[means["measure"] == measure, "z"].abs().max()
        found.append(_row("bias, largest |z| of the null mean", measure, z, "at most 4", z <= 4))
    silent = (table.loc[table["battery"] == "inputs", "part"] == "silent").sum()
    found.append(_row("degenerate input", "silent NaN", silent, "none", silent == 0))
    return found


def _coverage(table: pd.DataFrame) -> list[tuple]:
    found, score = [], "coverage of 95 % intervals"
    for row in scores.containment(table).itertuples():
        asked = row.repetitions >= REPEATED and not row.measure.startswith("uncorrected")
        bar = "from .92 to .98" if asked else "shown, not asked"
        met = 0.92 <= row.coverage <= 0.98 if asked else None
        about = f"{row.measure}, {row.kind}, n {row.n:.0f}, width {row.width:.0f}"
        found.append(_row(score, about, row.coverage, bar, met, row.low, row.high))
    concepts = scores.containment(table, by="concept")
    for (kind, n), rows in concepts.groupby(["kind", "n"], sort=False):
        worst = rows.loc[rows["coverage"].idxmin()]
        asked = worst["repetitions"] >= REPEATED
        bar, met = ("at least .90", worst["coverage"] >= 0.9) if asked else ("shown, not asked", None)
        about = f"decodability of the worst concept ({worst['part']}), {kind}, n {n:.0f}"
        found.append(_row(score, about, worst["coverage"], bar, met, worst["low"], worst["high"]))
    for row in scores.containment(table, by="shown by").itertuples():
        about = f"{row.measure}, concepts shown by {row.part}, {row.kind}, n {row.n:.0f}"
        found.append(_row(score, about, row.coverage, "shown, not asked", None, row.low, row.high))
    return found


def _truth(table: pd.DataFrame) -> list[tuple]:
    found = []
    for row in scores.calibrated(table).query("measure in ('debiased_cka', 'predictivity')").itertuples():
        asked = row.worlds >= MANY
        bar, met = ("from .9 to 1.1", 0.9 <= row.slope <= 1.1) if asked else ("shown, not asked", None)
        found.append(_row("calibration, slope", row.measure, row.slope, bar, met))
        score = "calibration, root mean square error"
        found.append(_row(score, row.measure, row.rmse, "at most .05", row.rmse <= 0.05))
    for row in scores.shares(table).itertuples():
        asked = row.n >= 600 and row.noise_ratio > 1 and row.condition == "corrected"  # what the chapters use
        about = f"{row.condition} networks, noise {row.noise:g}, ratio {row.noise_ratio:g}, n {row.n:.0f}"
        bar, met = ("at most .13", row.error <= 0.13) if asked else ("shown, not asked", None)
        score = "variance partitioning of pure units, largest error of a share"
        found.append(_row(score, about, row.error, bar, met, row.low, row.high))
    off = scores.shares(table).query("condition != 'extrapolated'")["sum off by"].max()
    found.append(_row("variance partitioning, sums off by", "all", off, "at most 1e-9", off <= 1e-9))
    return found


def _account(table: pd.DataFrame) -> list[tuple]:
    found, shown = [], ("shown, not asked", None)
    for row in scores.account(table).itertuples():
        used = row.condition == "corrected"
        about = f"{row.kind}, {row.condition}, {row.worlds:.0f} worlds"
        bar = ("at most .03", row.error <= 0.03) if used and row.worlds >= MANY else shown
        found.append(_row("variance partitioning, mean error of a share", about, row.error, *bar, row.low, row.high))
        bar = ("at most .08", row.worst <= 0.08) if used else shown
        found.append(_row("variance partitioning, error of the worst share", about, row.worst, *bar))
    return found


def _concepts(table: pd.DataFrame) -> list[tuple]:
    found, shown = [], "shown, not asked"
    own = table[table["battery"] == "concepts"]
    lacking = own[own["condition"].isin(["rgb", "neither"])]
    for value, rows in lacking.groupby("cooccurrence"):
        beyond = ((rows["low"] > 0.05) | (rows["high"] < -0.05)).mean()
        about = f"latent worlds, co-occurrence {value:g}"
        bar, met = ("none", beyond == 0) if rows["n"].min() >= LARGE else (shown, None)
        found.append(_row("absent concepts beyond .05", about, beyond, bar, met))
    for value, rows in own[own["condition"] == "together"].groupby("cooccurrence"):
        about = f"latent worlds, co-occurrence {value:g}"
        found.append(_row("conjunctions found", about, (rows["part"] == "together").mean(), shown, None))
    for row in scores.called_absent(table).itertuples():
        asked = (
            row.condition == "dimmed" and row.n >= LARGE
        )  # what is thin, a probe of so few images does not find: shown as its limit
        about = f"latent worlds, {row.condition}, n {row.n:.0f}"
        met = row.rate == 0 if asked else None
        found.append(_row(ABSENT, about, row.rate, "none" if asked else shown, met, row.low, row.high))
    return found


def _ranking(table: pd.DataFrame, gaps: pd.DataFrame) -> list[tuple]:
    means, shown = scores.ranked(table), ("shown, not asked", None)
    value, gaps = means.loc["rank_units", "all"], gaps.query("score == 'concept'")
    many = gaps.loc[gaps["where"] == "all", "worlds"].max() >= MANY
    score, gap = "ranking, mean AUROC of concept specificity", "ranking, paired difference"
    found = [_row(score, "all held-out worlds", value, *(("at least .80", value >= 0.8) if many else shown))]
    beyond = scores.ranked(table, condition="beyond").reindex(["rank_units"])["all"].item()
    found.append(_row(score, "noisier worlds", beyond, *shown))
    kinds = scores.ranked_kinds(table).columns
    for row in gaps.itertuples():
        where = "all held-out worlds" if row.where == "all" else row.where
        interval, about = (row.low, row.high), f"{where}, to {row.alternative}"
        if row.where == scores.KINDS:
            bar = ("above 0", row.difference > 0)
        elif row.where.startswith("coverage") and row.best:
            about, bar = f"{about}, the best there", ("at least -.05", row.difference >= -0.05)
        elif row.where in ("all", *kinds) and row.best:
            about, bar = f"{about}, the best there", ("at least -.01", row.difference >= -0.01)
        else:
            continue
        found.append(_row(gap, about, row.difference, *(bar if row.worlds >= MANY else shown), *interval))
    total = scores.ranked(table, "total").loc["rank_units", "all"]
    found.append(_row("ranking, mean AUROC of total specificity", "all held-out worlds", total, *shown))
    return found


def joint_bars(gaps: pd.DataFrame) -> list[tuple]:
    """Each part of the joint score, and the best alternatives as they are and normalised; every form of synergy.

    `gaps` is what `scores.differences` makes of a table.
    """
    found, shown = [], ("shown, not asked", None)
    joint = gaps[gaps["score"] == "joint"].sort_values("other", ascending=False)
    parts = {"debiased_cka, normalised": "similarity alone", "semantic variance": "semantic variance alone"}
    own, units = joint["alternative"].isin(parts), joint["alternative"].str.endswith("units")
    normalised = joint["alternative"].str.endswith("normalised")
    best = [joint[kind & ~own & ~units].head(1) for kind in (normalised, ~normalised)]
    for row in pd.concat([joint[own], *best, joint[units]]).itertuples():
        matched, name = row.alternative.endswith("units"), row.alternative  # matched units: what chapters do not use
        about = parts.get(name, name if matched else f"{name}, the best there")
        bar = ("interval above 0", row.low > 0) if row.worlds >= MANY and not matched else shown
        score = "joint score, paired difference in rank correlation"
        found.append(_row(score, f"to {about}", row.difference, *bar, row.low, row.high))
    synergy = gaps[gaps["score"] == "synergy"]
    for row in synergy.itertuples():
        bar = ("interval above 0", row.low > 0) if row.worlds >= MANY else shown
        found.append(
            _row("synergy, paired difference", f"to {row.alternative}", row.difference, *bar, row.low, row.high)
        )
    if len(synergy):
        value = synergy["value"].iloc[0]
        bar = ("at least .90", value >= 0.9) if synergy["worlds"].max() >= MANY else shown
        found.append(_row("synergy, mean AUROC of conjunctions", "all held-out worlds", value, *bar))
    return found


def _scenes(labels: pd.DataFrame) -> list[tuple]:
    found = []
    labels = labels[labels["level"] == 0]  # all levels together
    for (run_, _), row in label_scores(labels).iterrows():
        about = f"scenes, {run_}"
        asked = (
            ("spearman", "at least .9", row["spearman"] >= 0.9),
            ("wrong", "at most .05", row["wrong"] <= 0.05),
            ("undecided", "at most .25", row["undecided"] <= 0.25),
            ("together", "all", row["together"] == 1),
        )
        found += [_row(f"concept labels, {name}", about, row[name], bar, met) for name, bar, met in asked]
    seen = labels[(labels["measure"] == "decodability") & np.isclose(labels["planted"].astype(float), 0.1)]
    given = labels.loc[labels["measure"] == "label", ["run", "concept", "label"]]
    for run_, rows in seen.drop(columns="label").merge(given, on=["run", "concept"]).groupby("run", sort=False):
        kept = rows["label"].isin(["both", "together", "undecided"]) | (rows["label"] == rows["modality"])
        found.append(_row(ABSENT, f"scenes, {run_}", (~kept).mean(), "none", kept.all()))
    return found
