"""Every measure scored on worlds whose answer is planted, ours and the alternatives, and what came of it."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.features.tables import read_table, write_table
from rgbd_insight.validation import scores
from rgbd_insight.validation.plan import read_plan
from rgbd_insight.validation.scenes import label_scores
from rgbd_insight.validation.work import run

COMMAND = "rgbd-insight validate --out {}"
ABSENT = "a true δ of .1 called absent"
COLUMNS = (
    "battery",
    "kind",
    "world",
    "measure",
    "ours",
    "condition",
    "part",
    "n",
    "width",
    "noise",
    "noise_ratio",
    "unit_noise",
    "polysemy",
    "cooccurrence",
    "coverage",
    "nuisance",
    "outlier",
    "repetition",
    "count",
    "value",
    "low",
    "high",
    "truth",
    "p",
    "label",
)


def validate(
    out: str | Path, *, quick: bool = False, workers: int | None = None, progress: bool = True
) -> dict[str, pd.DataFrame]:
    """Score every measure on held-out worlds and write the tables; a killed run goes on where it stopped.

    Parameters
    ----------
    out : str or Path
        Folder for the tables "validation" (a row for each measure in each world) and "validation_differences" (by how
        much ours is better than each alternative).
    quick : bool, optional
        A few small worlds of each kind, to see that everything works; its numbers mean nothing.
    workers : int, optional
        Processes, each on one core; default one for each core.
    progress : bool, optional
        Whether to show a bar.

    Returns
    -------
    dict of str to DataFrame
        The two tables by name; `bars` says of the first what was asked and what was reached.

    Raises
    ------
    OSError
        Where `out` cannot be written.

    Notes
    -----
    Worlds, sizes and numbers of repetitions stand in `validation/validate.toml`.

    Examples
    --------
    >>> gaps = read_table("book/results", "validation_differences")
    >>> bool(gaps.query("score == 'concept' and where == 'all'")["low"].min() > 0)
    True
    """
    out, start = Path(out), time.time()
    out.mkdir(parents=True, exist_ok=True)
    partial_file = out / f"validation{'-quick' if quick else ''}.partial"
    rows = run(read_plan(quick), partial_file, workers, progress)
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    made = {"validation": table, "validation_differences": scores.differences(table)}
    command = COMMAND.format(out) + " --quick" * quick
    for name, one in made.items():
        write_table(one, out, name, command)
    partial_file.unlink()
    if progress:
        print(f"{len(table)} rows in {(time.time() - start) / 60:.1f} minutes")
    return made


def bars(table: pd.DataFrame, scenes: str | Path | None = None) -> pd.DataFrame:
    """What was asked of the measures and what they reached: one row each.

    Parameters
    ----------
    table : DataFrame
        The table "validation".
    scenes : str or Path, optional
        Folder with the table "labels" of the planted scenes; without it, these rows are absent.

    Returns
    -------
    DataFrame
        With columns score, about, value, low, high (an interval of the value, where there is one), bar (what was asked,
        in words), met (missing where nothing was asked).

    Examples
    --------
    >>> found = bars(read_table("book/results", "validation"))
    >>> bool(found.loc[found["score"] == "ranking, paired difference", "met"].all())
    True
    """
    found = [*_chance(table), *_truth(table), *_concepts(table), *_ranking(table)]
    if scenes is not None:
        found += _scenes(read_table(scenes, "labels"))
    result = pd.DataFrame(found, columns=["score", "about", "value", "low", "high", "bar", "met"])
    return result.assign(met=result["met"].astype("boolean"))


def _row(
    score: str, about: str, value: float, bar: str, met: bool | None, low: float = np.nan, high: float = np.nan
) -> tuple:
    return score, about, float(value), float(low), float(high), bar, None if met is None else bool(met)


def _chance(table: pd.DataFrame) -> list[tuple]:
    rates, found = scores.false_positives(table), []
    for row in rates.itertuples():
        groups = row.condition == "groups"
        bar = "99 % lower bound at most .05" if groups else "shown, not asked: images are not exchangeable"
        met = row.low <= 0.05 if groups else None
        score = f"false positives, {row.condition} permuted"
        found.append(_row(score, row.measure, row.rate, bar, met, row.low, row.high))
    means = scores.null_means(table)
    for measure in ("debiased_cka", "semantic_variance", "matching"):
        z = means.loc[means["measure"] == measure, "z"].abs().max()
        found.append(_row("bias, largest |z| of the null mean", measure, z, "at most 4", z <= 4))
    for row in scores.containment(table).itertuples():
        asked = row.repetitions >= 400
        bar = "from .92 to .98" if asked else "reported"
        met = 0.92 <= row.coverage <= 0.98 if asked else None
        about = f"{row.measure}, n {row.n:.0f}, width {row.width:.0f}"
        found.append(_row("coverage of 95 % intervals", about, row.coverage, bar, met, row.low, row.high))
    for row in scores.containment(table, kinds=True).itertuples():
        about = f"{row.measure}, concepts of kind {row.part}, n {row.n:.0f}"
        numbers = (row.coverage, "reported", None, row.low, row.high)
        found.append(_row("coverage of 95 % intervals", about, *numbers))
    silent = (table.loc[table["battery"] == "inputs", "part"] == "silent").sum()
    found.append(_row("degenerate input", "silent NaN", silent, "none", silent == 0))
    return found


def _truth(table: pd.DataFrame) -> list[tuple]:
    found = []
    for row in scores.calibrated(table).query("measure in ('debiased_cka', 'predictivity')").itertuples():
        slope_met = 0.9 <= row.slope <= 1.1
        found.append(_row("calibration, slope", row.measure, row.slope, "from .9 to 1.1", slope_met))
        score = "calibration, root mean square error"
        found.append(_row(score, row.measure, row.rmse, "at most .05", row.rmse <= 0.05))
    for row in scores.shares(table).itertuples():
        equal, enough, corrected = row.noise_ratio == 1, row.n >= 600, row.condition == "corrected"
        limit = 0.03 if equal else 0.13
        asked = enough and equal != corrected  # with unequal noise the correction is asked for, and pooling shown
        about = f"{row.condition} networks, noise {row.noise:g}, ratio {row.noise_ratio:g}, n {row.n:.0f}"
        bar = f"at most {limit:g}" if asked else "shown, not asked"
        met = row.error <= limit if asked else None
        found.append(
            _row("variance partitioning, largest error of a share", about, row.error, bar, met, row.low, row.high)
        )
    off = scores.shares(table).query("condition != 'extrapolated'")["sum off by"].max()
    found.append(_row("variance partitioning, sums off by", "all", off, "at most 1e-9", off <= 1e-9))
    return found


def _concepts(table: pd.DataFrame) -> list[tuple]:
    found, shown = [], "shown, not asked"
    own = table[table["battery"] == "concepts"]
    lacking = own[own["condition"].isin(["rgb", "neither"])]
    for value, rows in lacking.groupby("cooccurrence"):
        beyond = ((rows["low"] > 0.05) | (rows["high"] < -0.05)).mean()
        about = f"latent worlds, co-occurrence {value:g}"
        found.append(_row("absent concepts beyond .05", about, beyond, "none", beyond == 0))
    for value, rows in own[own["condition"] == "together"].groupby("cooccurrence"):
        about = f"latent worlds, co-occurrence {value:g}"
        found.append(_row("conjunctions found", about, (rows["part"] == "together").mean(), shown, None))
    for row in scores.called_absent(table).itertuples():
        asked = row.condition == "dimmed"  # what is thin, a probe of so few images does not find: shown as its limit
        about = f"latent worlds, {row.condition}, n {row.n:.0f}"
        met = row.rate == 0 if asked else None
        found.append(_row(ABSENT, about, row.rate, "none" if asked else shown, met, row.low, row.high))
    return found


def _ranking(table: pd.DataFrame) -> list[tuple]:
    means = scores.ranked(table)
    value = means.loc["rank_units", "all"]
    score, shown = "ranking, mean AUROC of concept specificity", "shown, not asked"
    found = [_row(score, "all held-out worlds", value, "at least .80", value >= 0.8)]
    beyond = scores.ranked(table, condition="beyond").reindex(["rank_units"])["all"].item()
    found.append(_row(score, "noisier worlds", beyond, shown, None))
    gaps = scores.differences(table).query("score == 'concept'")
    for row in gaps[gaps["where"] == "all"].itertuples():
        met = row.low > 0
        numbers = (row.difference, "interval above 0", met, row.low, row.high)
        found.append(_row("ranking, paired difference", f"to {row.alternative}", *numbers))
    for row in gaps[gaps["where"].str.startswith("coverage") & gaps["best"]].itertuples():
        about = f"{row.where}, to {row.alternative}, the best there"
        met = row.difference >= -0.05
        found.append(_row("ranking, paired difference", about, row.difference, "at least -.05", met, row.low, row.high))
    total = scores.ranked(table, "total").loc["rank_units", "all"]
    found.append(_row("ranking, mean AUROC of total specificity", "all held-out worlds", total, shown, None))
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
