"""Rows 3 to 5: what joint networks do with their units, with their streams, and how strategies differ."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
import pandas as pd

from rgbd_insight import stats
from rgbd_insight.claims.rows import Row, untested
from rgbd_insight.features import Features
from rgbd_insight.questions.ablation import chosen_on
from rgbd_insight.questions.balance import UNCORRECTED, balance
from rgbd_insight.questions.evolution import families
from rgbd_insight.questions.losses import accuracy_estimate, by_dose, run_of
from rgbd_insight.questions.networks import TWINS, WHOLE, Networks, networks
from rgbd_insight.questions.specificity import decoded

ALL = "make features PROFILE=full"
PERMUTATIONS = 2000


def joint_fusions(features: Features) -> list[str]:
    """Fusions with a final run that was given both modalities, in order."""
    names = {m.name for m in features.modalities}
    final = features.runs[features.runs.role == "final"]
    return [f for f in dict.fromkeys(final.fusion) if names <= set(features.conditions(features.find(fusion=f)[0]))]


def _ablated(features: Features, draws: int, given: Callable[[str], str]) -> Networks | Row:
    """The networks whose ablations were recorded with enough random sets of a quarter of the units."""
    for fusion in joint_fusions(features):
        for run in features.find(fusion=fusion, role="final"):
            names = features.ablations(run)
            modalities = [m.name for m in features.modalities]
            random = [
                [n for n, a in names.items() if n.startswith(f"random {m} ") and a.inputs == given(m)]
                for m in modalities
            ]
            if all(sum(" at " not in name for name in sets) >= draws for sets in random):
                return networks(features, run)
    most = max(
        (sum(n.startswith("random") for n in features.ablations(r)) // 2 for r in features.runs.index), default=0
    )
    inputs = " and ".join(sorted({given(m.name) for m in features.modalities}))
    return untested(f"needs {draws} random sets a modality given {inputs}; at most {most} were recorded", ALL)


def specific_units(features: Features, spec: dict) -> Row:
    """Row 3a: the loss on a modality's own classes by silencing its specific units, beside random units."""
    found = _ablated(features, spec["draws"], lambda m: "both")
    if isinstance(found, Row):
        return found
    nets, kinds = found, features.concepts.set_index("name").kind
    rows = []
    for modality in nets.modalities:
        own = [c for c, name in enumerate(features.classes) if kinds.get(name) == modality] or None
        rows += [
            r
            for r in by_dose(nets, classes=own, given="both")[0]
            if r["modality"] == modality and (r["label"], r["versus"]) == ("specific", "25%")
        ]
    p = float(max(stats.holm([row["p"] for row in rows])))
    worst = max(rows, key=lambda row: row["p"])
    verdict = "supported" if p < spec["level"] else "inconclusive"
    why = f"{nets.name}: less certain of {worst['modality']}; random sets lose {worst['null']:.3f}"
    return Row(
        "accuracy lost on the modality's own classes", worst["value"], worst["low"], worst["high"], p, verdict, why
    )


def consistent_units(features: Features, spec: dict) -> Row:
    """Row 3b: how much more the consistent units are missed where the other input is at its mean."""
    found = _ablated(features, spec["draws"], lambda m: f"{m}:mean")
    if isinstance(found, Row):
        return found
    nets, run = found, run_of(found)
    judged, rest = by_dose(nets)[0], ~chosen_on(nets)
    parts = []
    for m in nets.modalities:
        alone = next(
            r
            for r in judged
            if (r["modality"], r["label"], r["versus"], r["condition"]) == (m, "consistent", "25%", f"{m}:mean")
        )
        names = {
            a.inputs: n
            for n, a in features.ablations(run).items()
            if n.startswith(f"consistent {m}") and " at " not in n
        }
        v = {c: accuracy_estimate(features, run, c, rest) for pair in names.items() for c in pair}
        more = stats.combine(
            lambda a, b, c, d: (a - b) - (c - d), v[f"{m}:mean"], v[names[f"{m}:mean"]], v["both"], v[names["both"]]
        )
        parts.append((more, alone["p"], m))
    worst, _, m = min(parts, key=lambda part: part[0].low)
    p = float(max(stats.holm([part[1] for part in parts])))
    verdict = (
        "not supported" if worst.high < 0 else "supported" if worst.low > 0 and p < spec["level"] else "inconclusive"
    )
    return Row(
        "accuracy lost beyond the loss under both",
        worst.value,
        worst.low,
        worst.high,
        p,
        verdict,
        f"{nets.name}: less certain of {m}",
    )


def retention(features: Features, spec: dict) -> Row:
    """Row 4: how far the joint network's streams are from the twins' spread, by concept family."""
    joint = {f: len(features.find(fusion=f, role="final")) for f in joint_fusions(features)}
    twins = len(features.find(fusion=features.modalities[0].name, role="final"))
    best = max(joint, key=lambda f: (joint[f], f == "sum"), default="")
    seeds = joint.get(best, 0)
    if seeds < 2 or 1 / comb(twins + seeds, seeds) > spec["level"]:
        why = f"{seeds} joint and {twins} twin seeds (of {spec['twin_seeds']}) allow no p below {spec['level']}"
        return untested(why, ALL)
    profiles = [_profiles(networks(features, run)) for run in (best, TWINS)]
    value, p = distance_test(*profiles)
    verdict = "supported" if p < spec["level"] else "inconclusive"
    why = f"{best}: {len(profiles[0])} joint against {len(profiles[1])} twin seeds, exact permutation"
    return Row("distance from the twins, in their spread (RMS over families)", value, p=p, verdict=verdict, why=why)


def _profiles(nets: Networks) -> np.ndarray:
    """Mean δ of each family in both modalities' streams, (seeds, 2 F)."""
    groups = families(nets.features)
    found = []
    for i in range(len(nets.members)):
        deltas = [decoded(nets, nets.view(i, m, WHOLE)) for m in nets.modalities]
        found.append([np.nanmean(d[k]) if np.isfinite(d[k]).any() else np.nan for d in deltas for k in groups.values()])
    table = np.array(found)
    return table[:, np.isfinite(table).all(0)]


def distance_test(joint: np.ndarray, twins: np.ndarray) -> tuple[float, float]:
    """Root mean square distance of two sets of profiles in units of the second's spread, and its exact p."""
    every, count = np.vstack([joint, twins]), len(joint)

    def statistic(rows: tuple[int, ...]) -> float:
        chosen = np.isin(np.arange(len(every)), rows)
        rest = every[~chosen]
        spread = np.maximum(rest.std(0, ddof=1), 0.01)  # families that are never decoded hardly vary
        return float(np.sqrt((((every[chosen].mean(0) - rest.mean(0)) / spread) ** 2).mean()))

    observed = statistic(tuple(range(count)))
    draws = [statistic(rows) for rows in combinations(range(len(every)), count)]
    return observed, stats.p_value(observed, draws, exact=True)


def imbalance(features: Features, spec: dict, table: pd.DataFrame | None = None) -> Row:
    """Row 5: whether strategies differ in (C, S) by more than their seeds do."""
    counts = {f: len(features.find(fusion=f, role="final")) for f in joint_fusions(features)}
    sizes = [n for n in counts.values() if n > 1]
    if table is not None:
        seen = table[(table.measure == f"C{UNCORRECTED}") & (table.fusion != TWINS)].groupby("fusion").run.nunique()
        sizes = [int(n) for n in seen if n > 1]
    if len(sizes) < 2 or 1 / _labellings(sizes) > spec["level"]:
        several = f" ({', '.join(map(str, sizes))})" if sizes else ""
        why = f"{len(sizes)} strategies of several seeds{several} allow no p below {spec['level']}"
        return untested(why, ALL)
    rows = balance(features).table if table is None else table
    rows = rows[(rows.fusion != TWINS) & rows.measure.isin([m + end for m in "CS" for end in ("", UNCORRECTED)])]
    every = rows.pivot_table(index=["fusion", "run"], columns="measure", values="value")
    # all corrected, or none: seeds are compared with seeds
    end = "" if "C" in every and every["C"].notna().all() else UNCORRECTED
    points = every[[f"C{end}", f"S{end}"]].dropna()
    value, p = strategy_test(points.to_numpy(), points.index.get_level_values("fusion").to_numpy())
    verdict = "supported" if p < spec["level"] else "inconclusive"
    why = f"{points.index.get_level_values('fusion').nunique()} strategies, {len(points)} runs"
    effect = f"between over within strategies (F){', C and S uncorrected' if end else ''}"
    return Row(effect, value, p=p, verdict=verdict, why=why)


def _labellings(sizes: list[int]) -> int:
    """How many ways there are to give runs to strategies of these sizes, equal sizes not distinguished."""
    ways, left = 1, sum(sizes)
    for n in sizes:
        ways, left = ways * comb(left, n), left - n
    same = [sizes.count(n) for n in set(sizes)]
    return ways // int(np.prod([np.prod(range(1, k + 1)) for k in same]))


def strategy_test(points: np.ndarray, labels: np.ndarray, *, permutations: int = PERMUTATIONS) -> tuple[float, float]:
    """F of points (n, 2) between labels, each coordinate in units of its pooled spread, and its permutation p."""
    rng, codes = np.random.default_rng(0), np.unique(labels, return_inverse=True)[1]
    x = (points - points.mean(0)) / np.maximum(points.std(0), 1e-12)

    def statistic(code: np.ndarray) -> float:
        means = np.stack([x[code == c].mean(0) for c in range(code.max() + 1)])
        between, within = ((means[code]) ** 2).sum(), ((x - means[code]) ** 2).sum()
        freedom = (len(x) - code.max() - 1) / max(code.max(), 1)
        return float(between / max(within, 1e-12) * freedom)

    observed = statistic(codes)
    return observed, stats.p_value(observed, [statistic(rng.permutation(codes)) for _ in range(permutations)])
