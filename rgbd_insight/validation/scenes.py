"""Tables that take too long for a chapter, each committed with its digest and the command that makes it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from rgbd_insight import stats
from rgbd_insight.features import Features, load, write_table
from rgbd_insight.features.tables import COMMAND
from rgbd_insight.metrics.probes import DecodabilityStatistic
from rgbd_insight.questions.networks import TWINS
from rgbd_insight.questions.specificity import COMPONENTS, MARGIN, specificity

LABELLED = (TWINS, "sum")
CLEARANCE = 0.05  # a planted visibility nearer to the margin than this has no right label
DRAWS = 1000


def _labels_table(work: Path, seeds: tuple[int, int]) -> pd.DataFrame:
    """δ, its simultaneous interval and the label of every concept, for the twins and a fused network."""
    fusions = ("rgb", "depth", *(run for run in LABELLED if run != TWINS))
    features = load(*(work / "extracted" / "labels" / f"{fusion}-s{seed}" for fusion in fusions for seed in seeds))
    measures = ["decodability", "difference", "label"]
    found = [specificity(features, run, measures=measures).table for run in LABELLED]
    return pd.concat(found, ignore_index=True).dropna(axis="columns", how="all")


def _certificate_table(work: Path, seeds: tuple[int, int]) -> pd.DataFrame:
    """What each twin decodes of every thing on scenes that are drawn with and without it, all else equal."""
    rows = []
    for modality in ("rgb", "depth"):
        for seed in seeds:
            features = load(work / "extracted" / "pairs" / f"{modality}-s{seed}")
            rows += _on_and_off(features, modality, seed)
    table = pd.DataFrame(rows)
    return table.sort_values(["modality", "seed", "concept"], ignore_index=True)


def _on_and_off(features: Features, modality: str, seed: int) -> list[dict]:
    run = features.resolve(modality)
    pooled = np.hstack([features.view(run, modality, level) for level in features.levels(run)])  # (N, U)
    pooled = (pooled - pooled.mean(0)) / np.maximum(pooled.std(0), 1e-9)
    # Fitted without labels on all pairs, once: what is the same with and without a thing stays the same.
    axes = np.linalg.svd(pooled, full_matrices=False)[2][:COMPONENTS]
    pooled = pooled @ axes.T  # (N, 32)
    things = features.manifest["fingerprint"]["toggle"]
    size, rows = len(features) // len(things), []
    for i, thing in enumerate(things):
        part = slice(i * size, (i + 1) * size)
        k = features.concepts.index[features.concepts.name == thing][0]
        groups = pd.factorize(features.samples.group[part])[0]
        present = np.arange(size)[:, None] % 2 == 0  # even samples have the thing
        statistic = DecodabilityStatistic(pooled[part], present, groups, controls=0)
        found = stats.estimate(statistic, groups, null=False).simultaneous(2 * len(things))[0]
        rows.append(
            {
                "concept": thing,
                "kind": features.concepts.kind[k],
                "modality": modality,
                "seed": seed,
                "run": run,
                "planted": features.concepts[f"visible_{modality}"][k],
                "value": found.value,
                "low": found.low,
                "high": found.high,
                "pairs": size // 2,
            }
        )
    return rows


def label_scores(table: pd.DataFrame) -> pd.DataFrame:
    """How well the labels and δ of each run and level meet what was planted: one row each, counted over concepts.

    Parameters
    ----------
    table : DataFrame
        Rows "decodability" and "label" of `specificity` on planted scenes, for example the committed "labels".

    Returns
    -------
    DataFrame
        Indexed by (run, level; 0 is all levels together), with the columns

        - `concepts`: planted concepts; `judged`: those whose visibilities all keep .05 from the margin .1 of the
          labels;
        - `right`, `wrong`, `undecided`: shares of the judged whose label is the expected one, another one, "undecided";
        - `together`: share of the planted conjunctions that are found to be visible only together;
        - `spearman`, `spearman_low`, `spearman_high`: rank correlation of δ with planted visibility over the graded
          concepts in both modalities, and its central 95 % when each δ is moved by a quarter of its interval's width,
          which is its standard error or more;
        - `scenes`: scenes that δ was measured on.

    Raises
    ------
    ValueError
        Where the table has no labels of planted concepts, or two rows of one.

    Notes
    -----
    Expected of a concept planted as rgb, depth, both, neither or together is that label; of a graded one, the modality
    in which alone its visibility is above .1, "both" where it is in both, "neither" where in none.

    The committed table was measured on a GPU while the mean of ten shuffled-label controls was still taken off δ. That
    moves a δ of 12,000 scenes by noise of less than .01, which its intervals leave out.

    Examples
    --------
    >>> from rgbd_insight.features import read_table
    >>> scores = label_scores(read_table("book/results", "labels"))
    >>> bool(scores.loc[("twins", 0), "spearman"] > 0.9)
    True
    """
    planted = table[table["family"].astype(str).str.startswith("planted: ")]
    if not planted["measure"].eq("label").any():
        raise ValueError('`table` must have rows "label" of planted concepts; got none. See `read_table(…, "labels")`.')
    cell = ["run", "level", "measure", "modality", "concept"]
    if (twice := planted[cell].duplicated()).any():
        first = ", ".join(map(str, planted.loc[twice, cell].iloc[0]))
        raise ValueError(f"`table` must have one row for each of {', '.join(cell)}; got two of {first}")
    levels = planted.groupby(["run", "level"], sort=False)
    scores = pd.DataFrame({(run, int(level)): _scores(rows) for (run, level), rows in levels})
    return scores.T.rename_axis(["run", "level"])


def expected_labels(planted: pd.DataFrame) -> pd.DataFrame:
    """What the label of every planted concept should be, beside what it is: columns family, label, expected, judged.

    Parameters
    ----------
    planted : DataFrame
        Rows "decodability" and "label" of one run and level, planted concepts only.
    """
    seen = planted[planted["measure"] == "decodability"].pivot(index="concept", columns="modality", values="planted")
    labels = planted[planted["measure"] == "label"].set_index("concept")[["family", "label"]]
    seen = seen.loc[labels.index]
    above = seen > MARGIN
    alone = above.idxmax(axis=1)  # the modality, where there is one only
    graded = np.select([above.all(axis=1), above.any(axis=1)], ["both", alone], "neither")
    kind = labels["family"].str.removeprefix("planted: ")
    clear = ((seen - MARGIN).abs() > CLEARANCE).all(axis=1)
    return labels.assign(expected=np.where(kind == "graded", graded, kind), judged=clear)


def _scores(rows: pd.DataFrame) -> dict:
    """One row of `label_scores`."""
    found = expected_labels(rows)
    judged = found[found["judged"]]
    right, open_ = judged["label"] == judged["expected"], judged["label"] == "undecided"
    conjunctions = found[found["expected"] == "together"]
    graded = rows[(rows["measure"] == "decodability") & (rows["family"] == "planted: graded")]
    value = graded["value"].to_numpy(float)
    error = (graded["high"] - graded["low"]).to_numpy(float) / 4
    moved = np.random.default_rng(0).normal(value, error, size=(DRAWS, len(value)))
    rho, *draws = _rank_correlations(np.vstack([value, moved]), graded["planted"].to_numpy(float))
    low, high = stats.central_interval(draws)
    return {
        "concepts": len(found),
        "judged": len(judged),
        "right": right.mean(),
        "wrong": (~right & ~open_).mean(),
        "undecided": open_.mean(),
        "together": (conjunctions["label"] == "together").mean(),
        "spearman": rho,
        "spearman_low": low,
        "spearman_high": high,
        "scenes": rows["n"].max(),
    }


def _rank_correlations(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Spearman's correlation (R,) of each row (R, n) with the same truth (n,); NaN where either is constant."""
    a, b = rankdata(rows, axis=1), rankdata(truth)
    a, b = a - a.mean(1, keepdims=True), b - b.mean()
    size = np.sqrt((a**2).sum(1) * (b**2).sum())
    return np.divide(a @ b, size, out=np.full(len(rows), np.nan), where=size > 0)


def certificate_bound(table: pd.DataFrame) -> float:
    """The largest upper bound of what a twin decodes of a thing that was planted for the other modality alone.

    Parameters
    ----------
    table : DataFrame
        The committed "certificate", or its rows of one modality.

    Returns
    -------
    float
        A bound of δ: simultaneous 95 % over all things of a twin; near 0 where depth shows nothing of what was planted
        for colour alone, and the other way round.

    Raises
    ------
    ValueError
        Where the table has no such thing, or one without a bound.

    Examples
    --------
    >>> from rgbd_insight.features import read_table
    >>> bool(certificate_bound(read_table("book/results", "certificate")) < 0.05)
    True
    """
    hidden = table[table["kind"].isin(["rgb", "depth"]) & (table["planted"] == 0)]
    if hidden.empty:
        raise ValueError("`table` must have things planted for one modality alone; got none. Is it the certificate?")
    if not np.isfinite(bound := float(hidden["high"].max(skipna=False))):
        raise ValueError(f"`table` must have a bound in its column 'high' of each such thing; got {bound}")
    return bound


def encoding_changes(
    table: pd.DataFrame, measure: str, level: int, family: str | None = None, modality: str = "depth"
) -> pd.DataFrame:
    """How far each encoding of depth is from metric depth, and what is said of that: one row an encoding.

    Parameters
    ----------
    table : DataFrame
        The committed "encodings_scenes" or "encodings_nyuv2".
    measure, level, family : str, int, str or None
        Of the depth networks; `family` for the measure "decoded" only.
    modality : str, optional
        "depth", or what the fused network was given: "both", "rgb" or "depth".

    Returns
    -------
    DataFrame
        Indexed by encoding: value, low, high (of the difference), verdict: "more" or "less" where the interval excludes
        0 and every network's own difference has the same sign, else "no clear change".

    Raises
    ------
    ValueError
        Where there are no rows.
    """
    rows = table[(table.measure == measure) & (table.modality == modality) & (table.level == level)]
    rows = rows[(rows.versus == "metric") & (rows.family.isna() if family is None else rows.family == family)]
    if rows.empty:
        raise ValueError(f"`table` must have differences of {measure!r}, {family!r}, level {level}; got none")
    found = rows[rows.seed == "mean"].set_index("encoding")[["value", "low", "high"]]
    signs = rows.groupby("encoding").value.agg(lambda v: abs(np.sign(v).sum()) == len(v)).reindex(found.index)
    clear = signs & ((found.low > 0) | (found.high < 0))
    return found.assign(verdict=np.where(clear, np.where(found.value > 0, "more", "less"), "no clear change"))


def write_all(work: Path, out: Path, seeds: tuple[int, int]) -> None:
    """Make both tables and their index."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in (("labels", _labels_table(work, seeds)), ("certificate", _certificate_table(work, seeds))):
        write_table(table, out, name, COMMAND)
