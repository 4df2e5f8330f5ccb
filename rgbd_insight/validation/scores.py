"""From rows to judgements: what each measure scores, and by how much ours is better than the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from rgbd_insight import stats

COMMON, KINDS = "linear, normal", "all kinds"  # worlds that are of no kind, and those of any
CERTAIN = 0.99  # of the bound on a false-positive rate, corrected for the number of tests
OURS = {
    "concept": "rank_units",
    "total": "rank_units",
    "CKA": "debiased_cka",
    "unrelated": "debiased_cka",
    "variance": "predictivity",
    "dimension": "matching",
    "joint": "joint score",
    "synergy": "excess synergy",
}
RESAMPLED = 1000  # draws of the worlds, for intervals of a rank correlation


def false_positives(table: pd.DataFrame) -> pd.DataFrame:
    """Rate of p <= .05 in null worlds for every test and what was exchanged, with the corrected one-sided bounds.

    Where neighbouring groups are alike, `condition` says how much.
    """
    rows = table[table["battery"].isin(["null", "neighbours"])]
    if rows.empty:
        raise ValueError("`table` must have rows of the battery 'null'; it has none")
    found = rows.groupby(["measure", "condition"], sort=False)["value"].agg(rate="mean", worlds="size").reset_index()
    hits = (found["rate"] * found["worlds"]).round()
    each = (1 - CERTAIN) / found["measure"].nunique()
    found["low"], found["high"] = stats.proportion_interval(hits, found["worlds"], each)
    return found


def null_means(table: pd.DataFrame) -> pd.DataFrame:
    """Mean value between unrelated streams by measure, n and width, with its z against 0."""
    rows = _of(table, "bias").dropna(subset=["value"])
    found = rows.groupby(["measure", "ours", "n", "width"], sort=False)["value"].agg(["mean", "std", "size"])
    found = found.reset_index()
    found["z"] = found["mean"] / (found["std"] / np.sqrt(found["size"]))
    return found


def containment(table: pd.DataFrame, *, by: str = "measure") -> pd.DataFrame:
    """Share of the 95 % intervals that hold the estimator's expectation at that n, with its own 95 % interval.

    Missing values count as nothing. Intervals of several concepts count together, or each concept's alone (`by`
    "concept"), or those of concepts that the same modalities show ("shown by"); `part` then names it.
    """
    rows = _of(table, "coverage").dropna(subset=["value"])
    rows = rows.reindex(columns=rows.columns.union(["part", "kind"], sort=False))
    rows[["part", "kind"]] = rows[["part", "kind"]].astype(object).fillna("")
    keys = ["measure", "kind", "n", "width"]
    expected = rows[rows["condition"] == "expectation"].assign(sum=lambda t: t["value"] * t["count"])
    expected = expected.groupby([*keys, "part"], sort=False)[["sum", "count"]].sum()
    expected = (expected["sum"] / expected["count"]).rename("expectation").reset_index()
    draws = rows[rows["condition"] == "interval"].merge(expected, on=[*keys, "part"])
    draws["inside"] = (draws["low"] <= draws["expectation"]) & (draws["expectation"] <= draws["high"])
    draws["reach"] = (draws["high"] - draws["low"]) / 2
    draws["off"] = (draws["value"] - draws["expectation"]) ** 2
    draws["kind"] = draws["kind"].replace("", COMMON)
    if by != "measure":
        keys, draws = [*keys, "part"], draws[draws["part"] != ""]
        draws = draws.assign(part=draws["part"].str.split().str[0]) if by == "shown by" else draws
    found = draws.groupby(keys, sort=False).agg(
        coverage=("inside", "mean"),
        repetitions=("repetition", "nunique"),
        expectation=("expectation", "mean"),
        reach=("reach", "mean"),
        spread=("off", "mean"),
    )
    found["spread"] **= 0.5
    hits = (found["coverage"] * found["repetitions"]).round()  # concepts of one draw are no repetitions
    found["low"], found["high"] = stats.proportion_interval(hits, found["repetitions"])
    return found.reset_index()


def calibrated(table: pd.DataFrame) -> pd.DataFrame:
    """Slope and intercept of value on the analytic truth, and the root mean square error, by measure."""
    rows = {}
    for measure, part in _of(table, "calibration").groupby("measure", sort=False):
        if part["truth"].nunique() < 2:
            raise ValueError(f"`table` must have worlds of two truths or more for a slope; {measure!r} has one")
        slope, intercept = np.polyfit(part["truth"], part["value"], 1)
        error = float(np.sqrt(((part["value"] - part["truth"]) ** 2).mean()))
        rows[measure] = {"slope": slope, "intercept": intercept, "rmse": error, "worlds": len(part)}
    return pd.DataFrame(rows).T.rename_axis("measure").reset_index()


def shares(table: pd.DataFrame) -> pd.DataFrame:
    """Error of the partitioning's shares of pure units: of the mean over worlds, and of the worst single world.

    `low` and `high` are the 95 % interval of the mean error of the share that is off most, over worlds.
    """
    rows = _of(table, "partitioning").assign(error=lambda t: t["value"] - t["truth"])
    keys = ["condition", "noise", "noise_ratio", "n"]
    means = rows.groupby([*keys, "part"], sort=False)["error"].agg(["mean", "std", "size"])
    means = means.assign(error=means["mean"].abs())
    found = means.loc[means.groupby(keys, sort=False)["error"].idxmax()].droplevel("part")
    low, high = stats.student_interval(found["error"], found["std"], found["size"])
    found = found[["error"]].assign(low=low, high=high)
    found["worst world"] = rows["error"].abs().groupby([rows[k] for k in keys], sort=False).max()
    sums = rows.assign(type=rows["part"].str.split(" -> ").str[0]).groupby([*keys, "world", "type"])["value"].sum()
    found["sum off by"] = (sums - 1).abs().groupby(keys).max()
    found["worlds"] = rows.groupby(keys, sort=False)["world"].nunique()
    return found.reset_index()


def account(table: pd.DataFrame) -> pd.DataFrame:
    """Error of a level's shares by kind of world and form: mean over shares and worlds, and of the worst single one.

    `low` and `high` are the 95 % interval of the mean error over worlds.
    """
    rows = _of(table, "account").assign(error=lambda t: (t["value"] - t["truth"]).abs())
    worlds = rows.groupby(["kind", "condition", "world"], sort=False)["error"].agg(["mean", "max"])
    found = worlds.groupby(["kind", "condition"], sort=False).agg(
        error=("mean", "mean"), spread=("mean", "std"), worst=("max", "max"), worlds=("max", "size")
    )
    found["low"], found["high"] = stats.student_interval(found["error"], found["spread"], found["worlds"])
    return found.drop(columns="spread").reset_index()


def called_absent(table: pd.DataFrame) -> pd.DataFrame:
    """How often a concept of which δ from depth is .1 is called visible in rgb only, with the rate's 95 % bounds."""
    rows = _of(table, "absence")
    rows = rows.assign(absent=rows["part"].isin(["rgb", "neither"]))
    found = rows.groupby(["condition", "n"], sort=False)["absent"].agg(rate="mean", concepts="size").reset_index()
    hits = (found["rate"] * found["concepts"]).round()
    found["low"], found["high"] = stats.proportion_interval(hits, found["concepts"])
    return found


def ranked(table: pd.DataFrame, part: str = "concept", condition: str = "held-out") -> pd.DataFrame:
    """Mean AUROC of every way of ranking units: over all held-out worlds and by coverage."""
    rows = _of(table, "ranking").query("part == @part and condition == @condition")
    found = rows.pivot_table(index="measure", columns="coverage", values="value", aggfunc="mean")
    found = found.rename(columns="{:g}".format)  # a share, not a number of six digits
    found.insert(0, "all", rows.groupby("measure")["value"].mean())
    heavy = rows[rows["nuisance"] > 0.5]
    found["nuisance above .5"] = heavy.groupby("measure")["value"].mean()
    return found.sort_values("all", ascending=False)


def ranked_kinds(table: pd.DataFrame, part: str = "concept") -> pd.DataFrame:
    """Mean AUROC of every way of ranking units on each kind of worlds, and over all of these."""
    rows = _of(table, "ranking").query("part == @part").dropna(subset=["kind"])
    found = rows.pivot_table(index="measure", columns="kind", values="value", aggfunc="mean", sort=False)
    found.insert(0, "all kinds", rows.groupby("measure")["value"].mean())
    return found.sort_values("all kinds", ascending=False)


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """By how much ours is better than each alternative, paired world by world: mean and 95 % interval.

    Returns
    -------
    DataFrame
        With columns score, where, ours, alternative, value, other, difference, low, high, worlds, best (whether it is
        the best of the alternatives) and verdict. `difference` is above 0 where ours is better.
    """
    rows = [row for part in ("concept", "total") for row in _rankings(table, part)]
    by_world = {"CKA": _errors(table), "unrelated": _unrelated(table)}
    by_world |= {part: _residuals(table, part) for part in ("variance", "dimension")}
    for score, values in by_world.items():
        rows += _compared(score, "all", values, better="smaller")
    found = _of(table, "synergy").pivot_table(index="world", columns="measure", values="value")
    rows += _compared("synergy", "all", found)
    return pd.DataFrame(rows + _by_rank(table))


def rank_correlations(table: pd.DataFrame) -> tuple[pd.Series, pd.DataFrame]:
    """Spearman's correlation over worlds of what every comparison says with the planted share of shared concepts.

    Returns
    -------
    value : Series
        By comparison; what was put between null and ceiling is called "…, normalised".
    draws : DataFrame (draws, comparisons)
        The same of worlds drawn with replacement.
    """
    rows = _of(table, "joint")
    named = rows["measure"].where(rows["condition"] != "normalised", rows["measure"] + ", normalised")
    wide = rows.assign(measure=named).pivot_table(index="world", columns="measure", values="value")
    truth, values = rows.groupby("world")["truth"].first().to_numpy(), wide.to_numpy()

    def correlations(some: np.ndarray) -> np.ndarray:
        ranks = rankdata(np.column_stack([truth[some], values[some]]), axis=0)
        ranks -= ranks.mean(0)
        lengths = np.linalg.norm(ranks, axis=0)
        size = lengths[0] * lengths[1:]  # 0 where one world is drawn again and again
        return (ranks[:, 0] @ ranks[:, 1:]) / np.where(size > 0, size, 1)

    drawn = np.random.default_rng(0).integers(len(wide), size=(RESAMPLED, len(wide)))
    draws = pd.DataFrame([correlations(some) for some in drawn], columns=wide.columns)
    return pd.Series(correlations(np.arange(len(wide))), wide.columns), draws


def _by_rank(table: pd.DataFrame) -> list[dict]:
    """By how much the joint score's rank correlation is above every other comparison's, worlds drawn together."""
    if "joint" not in set(table["battery"]):
        return []
    value, draws = rank_correlations(table)
    others, rows, worlds = value.drop(OURS["joint"]), [], _of(table, "joint")["world"].nunique()
    for name, other in others.items():
        low, high = stats.central_interval(draws[OURS["joint"]] - draws[name])
        row = {"value": value[OURS["joint"]], "other": other, "low": low, "high": high}
        rows.append(_difference("joint", "all", name, row, worlds, others.idxmax()))
    return rows


def _rankings(table: pd.DataFrame, part: str) -> list[dict]:
    rows = _of(table, "ranking").query("part == @part")
    keys = ["condition", "world", "coverage", "nuisance", "outlier"]
    every = rows.pivot_table(index=keys, columns="measure", values="value", sort=False)
    conditions = every.index.get_level_values("condition")
    found, wide = _compared(part, "noisier worlds", every[conditions == "beyond"]), every[conditions == "held-out"]
    found += _compared(part, "all", wide)
    for value, some in wide.groupby("coverage"):
        found += _compared(part, f"coverage {value:g}", some)
    nuisance, outlier = (wide.index.get_level_values(name) for name in ("nuisance", "outlier"))
    found += _compared(part, "no outlying image", wide[outlier == 0])
    found += _compared(part, "nuisance above .5", wide[nuisance > 0.5])
    of_a_kind = ~conditions.isin(["beyond", "held-out"])
    for kind in dict.fromkeys(conditions[of_a_kind]):
        found += _compared(part, kind, every[conditions == kind])
    return found + _compared(part, KINDS, every[of_a_kind])


def _compared(score: str, where: str, values: pd.DataFrame, better: str = "larger") -> list[dict]:
    """Ours against each of the other columns; a row of `values` is a world."""
    if OURS[score] not in values or not len(values):
        return []
    sign, ours = 1 if better == "larger" else -1, values[OURS[score]]
    others = values.drop(columns=OURS[score])
    best = (sign * others.mean()).idxmax() if others.shape[1] else None
    rows = []
    for name in others:
        gap = (sign * (ours - others[name])).dropna()
        low, high = stats.student_interval(gap.mean(), gap.std(), len(gap))
        row = {"value": ours.mean(), "other": others[name].mean(), "low": low, "high": high}
        rows.append(_difference(score, where, name, row | {"difference": gap.mean()}, len(gap), best))
    return rows


def _difference(score: str, where: str, name: str, row: dict, worlds: int, best: str) -> dict:
    """A row of `differences`; without one of its own, the difference is that of both values."""
    verdict = "ours is better" if row["low"] > 0 else "the alternative is better" if row["high"] < 0 else "not certain"
    return {
        "score": score,
        "where": where,
        "ours": OURS[score],
        "alternative": name,
        "value": row["value"],
        "other": row["other"],
        "difference": row.get("difference", row["value"] - row["other"]),
        "low": row["low"],
        "high": row["high"],
        "worlds": worlds,
        "best": name == best,
        "verdict": verdict,
    }


def _errors(table: pd.DataFrame) -> pd.DataFrame:
    """Distance of every form of CKA from the population's."""
    rows = _of(table, "calibration").query("measure != 'predictivity'")
    rows = rows.assign(error=(rows["value"] - rows["truth"]).abs())
    return rows.pivot_table(index="world", columns="measure", values="error")


def _unrelated(table: pd.DataFrame) -> pd.DataFrame:
    """Distance of every similarity of two unrelated streams from 0: means over repetitions at each n and width."""
    means = null_means(table).query("measure not in ('semantic_variance', 'matching', 'predictivity')")
    means = means.assign(value=means["mean"].abs())
    return means.pivot_table(index=["n", "width"], columns="measure", values="value").dropna()


def _residuals(table: pd.DataFrame, part: str) -> pd.DataFrame:
    """Distance from the planted share after the best straight line, so that no measure is punished for its scale."""
    rows, found = _of(table, "shared").query("part == @part"), {}
    for measure, own in rows.groupby("measure", sort=False):
        line: Callable = np.poly1d(np.polyfit(own["value"], own["truth"], 1))
        found[measure] = (own["truth"] - line(own["value"])).abs().set_axis(own["world"])
    return pd.DataFrame(found)


def _of(table: pd.DataFrame, battery: str) -> pd.DataFrame:
    return table[table["battery"] == battery]
