"""Rows 6 and 7: whether accuracy follows the balance of consistency and specificity, and a fusion derived from it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from rgbd_insight import stats
from rgbd_insight.claims.intervention import answer
from rgbd_insight.claims.rows import Row, untested
from rgbd_insight.claims.strategies import ALL, joint_fusions
from rgbd_insight.features import Features
from rgbd_insight.features.tables import read_table, table_names
from rgbd_insight.questions.balance import UNCORRECTED
from rgbd_insight.questions.losses import accuracy_estimate

INTERVENTION = "rgbd-insight campaign intervention"
DERIVED = "rgbd-insight campaign derived"
LEAST = 4  # strategies, for a rank correlation to be worth printing


def read(results: str | Path | None, name: str) -> pd.DataFrame | None:
    """A table of results, its digest checked; None where there is none of that name."""
    if results is None or not (Path(results) / "index.json").is_file() or name not in table_names(results):
        return None
    return read_table(results, name)


def over_the_zoo(features: Features, spec: dict, table: pd.DataFrame | None) -> Row:
    """Row 6a: accuracy beside C over strategies, without a verdict."""
    accuracy, c = {}, {}
    if table is not None:
        c = table[table.measure == f"C{UNCORRECTED}"].groupby("fusion").value.mean().to_dict()
        accuracy = {f: value for f, value in _accuracies(features, table).items() if f in c}
    if len(accuracy) < LEAST:
        return untested(f"{len(accuracy)} strategies with (C, S); a picture needs {LEAST}", ALL)
    rho = spearmanr([c[f] for f in accuracy], list(accuracy.values())).statistic
    effect, why = "rank correlation of accuracy with C, uncorrected", f"{len(accuracy)} strategies"
    return Row(effect, float(rho), verdict="exploratory", why=why)


def _accuracies(features: Features, table: pd.DataFrame) -> dict[str, float]:
    """Mean accuracy over the seeds of every strategy: of the zoo's table, or of the features where there is none."""
    rows = table[table.measure == "accuracy"]
    if len(rows):
        return rows[rows.condition == "both"].groupby("fusion").value.mean().to_dict()
    runs = {f: features.find(fusion=f, role="final") for f in joint_fusions(features)}
    return {f: np.mean([accuracy_estimate(features, r, "both").value for r in found]) for f, found in runs.items()}


def intervention(table: pd.DataFrame | None, spec: dict) -> Row:
    """Row 6b: the coefficient of C x redundancy."""
    cells = len(spec["operators"]) * len(spec["common"]) * len(spec["private"]) * len(spec["redundancies"])
    wanted = cells * len(spec["seeds"])
    done = 0 if table is None else int((~table.placebo.astype(bool)).sum())
    if done < wanted:
        return untested(f"{done} of {wanted} runs of the intervention", INTERVENTION)
    found = answer(table)
    term, check = found.terms.loc["C x redundancy"], found.manipulated
    slopes = ", ".join(f"{s.value:.2f} at redundancy {r:g}" for r, s in found.slopes.iterrows())
    why = (
        f"manipulation: p {check.loc['C', 'p']:.3f} for C, {check.loc['S', 'p']:.3f} for S, "
        f"{check.loc['placebo', 'p']:.3f} for the placebo; slope of S {slopes}"
    )
    return Row(
        "coefficient of C x redundancy on accuracy",
        term.value,
        term.low,
        term.high,
        term.p,
        found.verdict(spec["level"]),
        why,
    )


def derived(features: Features, spec: dict) -> Row:
    """Row 7: how much `insight` beats the opponent that it beats least, over fresh paired seeds."""
    fresh = max(spec["first_seed"], spec["pilot_seeds"])

    def accuracies(fusion: str) -> dict[int, float]:
        runs = features.runs.loc[features.find(fusion=fusion, role="final")]
        return {int(s): accuracy_estimate(features, run, "both").value for run, s in runs.seed.items() if s >= fresh}

    mine = accuracies("insight")
    zoo = [f for f in features.runs.fusion.unique() if f not in ("insight", *spec["opponents"])]
    theirs = {f: found for f in [*spec["opponents"], *zoo] if len(found := accuracies(f)) >= spec["least_seeds"]}
    paired = {f: sorted(mine.keys() & found.keys()) for f, found in theirs.items()}
    short = [f for f in spec["opponents"] if len(paired.get(f, ())) < spec["least_seeds"]]
    if short or len(theirs) <= len(spec["opponents"]):
        why = (
            f"{len(mine)} fresh seeds of `insight`, of {spec['least_seeds']}; opponents: {', '.join(theirs) or 'none'}"
        )
        return untested(why, DERIVED)
    gains = {f: np.array([mine[s] - theirs[f][s] for s in seeds]) for f, seeds in paired.items()}
    p = dict(zip(gains, stats.holm([stats.sign_flip(gain) for gain in gains.values()]), strict=True))
    least = min(gains, key=lambda f: gains[f].mean())
    seeds, mean = len(gains[least]), float(gains[least].mean())
    low, high = stats.student_interval(mean, gains[least].std(ddof=1), seeds)
    won = all(p[f] < spec["level"] and gains[f].mean() > 0 for f in gains)
    lost = any(p[f] < spec["level"] and gains[f].mean() < 0 for f in gains)
    verdict = "supported" if won else "not supported" if lost else "inconclusive"
    return Row(
        f"accuracy beyond `{least}`",
        mean,
        low,
        high,
        float(p[least]),
        verdict,
        f"{seeds} fresh paired seeds, {len(gains)} opponents, segmentation only{_where(features, paired)}",
    )


def _where(features: Features, paired: dict[str, list[int]]) -> str:
    """Where the runs were made, said where that is more than one place: a pair should differ by its fusion alone."""
    devices = {run["run"]: run["device"] for run in features.execution["runs"]}
    place = {
        (row.fusion, int(row.seed)): "a CPU" if devices[row.Index]["type"] == "cpu" else devices[row.Index]["name"]
        for row in features.runs.itertuples()
    }
    seen = {(name, seed) for f, seeds in paired.items() for name in (f, "insight") for seed in seeds}
    used = Counter(place[key] for key in seen)
    if len(used) == 1:
        return ""
    apart = sum(place[f, s] != place["insight", s] for f, seeds in paired.items() for s in seeds)
    return "; runs: " + ", ".join(f"{n} on {name}" for name, n in used.most_common()) + f", {apart} pairs on both"
