"""Errors by chance: false positives, bias, and coverage of the interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World, drawn
from rgbd_insight.data.worlds import MODALITIES
from rgbd_insight.metrics import MEASURES
from rgbd_insight.metrics.attenuation import CorrectedStatistic, corrected_level_shares
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.metrics.partitioning import SHARES, PartitioningStatistic, explained, level_shares
from rgbd_insight.metrics.probes import DecodabilityStatistic
from rgbd_insight.metrics.semantic import profiles, semantic_variance
from rgbd_insight.validation.plan import ALTERNATIVES, values

OTHERS = 4  # networks of either modality beside the one that is measured
UNBIASED = ("debiased_cka", "matching", "semantic_variance")
SLOW, SLOW_PERMUTATIONS = ("consistent share", "decodability"), 19  # with 19, p <= .05 has exactly the rate .05


def null(plan: dict, seed: int) -> list[dict]:
    """P-values of every test in a world without anything in common, permuting whole groups and permuting images."""
    p = plan["null"]
    world = _empty(p, seed)
    groups, images, rows = world.groups, np.arange(len(world.groups)), []
    for name, statistic in _tests(world, groups).items():
        slow = name in SLOW
        for condition, exchanged in (("groups", groups),) if slow else (("groups", groups), ("images", images)):
            count = SLOW_PERMUTATIONS if slow else p["permutations"]
            rows.append(_tested(world, name, condition, _permutation(statistic, exchanged, count, seed)))
    return rows


def neighbours(plan: dict, seed: int, value: float) -> list[dict]:
    """P-values of the same tests where consecutive groups are alike, exchanging what the questions exchange."""
    world, rows = _empty(plan["null"] | plan["neighbours"], seed, neighbours=value), []
    found = stats.neighbours([world.stream(m) for m in MODALITIES], world.groups)
    used = found.plan(permutations=plan["neighbours"]["permutations"], seed=seed)
    for name, statistic in _tests(world, found.groups).items():
        own, draws = stats.exchanged(statistic, found.groups, used)
        p_value = stats.p_value(statistic(own, own), draws)
        rows.append(_tested(world, name, f"neighbours {value:g}", p_value) | {"count": found.joined})
    return rows


def _empty(p: dict, seed: int, **fixed: float) -> World:
    """A world without anything in common."""
    ranges = {k: p[k] for k in ("n", "width", "likeness")}
    fixed = {"related": False, "concepts": 12, "networks": 1, "imbalance": 0.5} | fixed
    return World(drawn(ranges, np.random.default_rng([seed, 9]), **fixed), seed)


def _tests(world: World, groups: np.ndarray, few: int = 12, components: int = 8) -> dict[str, Callable]:
    """Statistics of all tests that are offered, by name."""
    x, y, present = world.stream("rgb"), world.stream("depth")[:, : world.knobs.width], world.present
    decoded = DecodabilityStatistic(y, present, groups, components=components, controls=0)
    return {
        "debiased_cka": MEASURES["debiased_cka"].statistic(x, y, groups),
        "debiased_cka, controlled": cka_statistic(x, y, world.areas[:, :2]),
        "matching": MEASURES["matching"].statistic(x, y, groups),
        "predictivity": MEASURES["predictivity"].statistic(x, y, groups),
        "profiles": lambda i, j: np.abs(profiles(y[:, :few], present, groups, rows=i, partner=j).s).max(),
        "decodability": lambda i, j: np.nanmax(decoded(i, j)),
        "consistent share": lambda i, j: np.nansum(explained(x[i, :few], [y[j]], groups[i], components=components)),
    }


def _tested(world: World, name: str, condition: str, p_value: float) -> dict:
    size = {"n": len(world.groups), "width": world.knobs.width}
    return (
        {"measure": name, "ours": True, "condition": condition} | size | {"p": p_value, "value": float(p_value <= 0.05)}
    )


def _permutation(statistic: Callable, groups: np.ndarray, count: int, seed: int) -> float:
    """P-value as of `stats.estimate`, without its interval, which would double the work."""
    every = np.arange(len(groups))
    return stats.p_value(statistic(every, every), stats.permuted(statistic, groups, count, seed))


def bias(plan: dict, seed: int, n: int, width: int, repetitions: int, alternatives: int) -> list[dict]:
    """Values between unrelated streams of independent images."""
    rows = []
    knobs = Knobs(n=n, width=width, other_width=width, group_size=1, networks=1, related=False, noise=0.5)
    for r in range(repetitions):
        world = World(knobs, seed + r)
        x, y = world.stream("rgb"), world.stream("depth")
        found = values(("debiased_cka", "matching"), x, y, world.groups)
        found["semantic_variance"] = _same_profiles(world, x)
        if r < alternatives:
            found |= values(("predictivity", *ALTERNATIVES), x, y, world.groups)
        for name, value in found.items():
            rows.append(
                {
                    "measure": name,
                    "ours": name in (*UNBIASED, "predictivity"),
                    "n": n,
                    "width": width,
                    "repetition": r,
                    "value": value,
                    "truth": 0.0,
                }
            )
    return rows


def _same_profiles(world: World, x: np.ndarray, units: int = 8) -> float:
    """Mean semantic variance of units and their doubles: the same signal, noise of its own."""
    mixing = world.plan.net("rgb", 0).mixing[:, :units]
    rng = np.random.default_rng([world.seed, 5])
    pair = [world.latents["rgb"] @ mixing + 0.5 * rng.normal(size=(len(x), units)) for _ in range(2)]
    by_fold = [profiles(z, world.present, world.groups).by_fold for z in pair]
    if not np.isfinite(by_fold[0]).any():
        return np.nan  # too few positives, as `Profiles.reason` says
    return float(np.diag(semantic_variance(*by_fold)).mean())


def coverage(
    plan: dict,
    seed: int,
    size: tuple[int, int],
    measures: Sequence[str],
    what: str,
    start: int,
    count: int,
    kind: str = "",
    blocks: int = 40,
) -> list[dict]:
    """Values with their intervals, or mean values alone, of fresh images of the same networks."""
    n, width = size
    knobs = {"n": n, "width": width, "other_width": width, "networks": 1 + OTHERS, "noise": 1.0, "cooccurrence": 0.2}
    knobs = Knobs(**(knobs | {"concepts": 12} | plan["kinds"].get(kind, {})))
    expectation, rows = what == "expectation", []
    base = {"ours": True, "condition": what, "n": n, "width": width} | ({"kind": kind} if kind else {})
    sums: dict[tuple, list[float]] = {}
    for draw in range(start, start + count):
        world = World(knobs, seed, draw + 10**6 * expectation)
        for place, found in _measured(world, measures, blocks, not expectation).items():
            if expectation:
                sums.setdefault(place, []).append(found.value)
            else:
                numbers = {"value": found.value, "low": found.low, "high": found.high}
                rows.append(base | {"measure": place[0], "part": place[1], "repetition": draw} | numbers)
    for (name, part), drawn_values in sums.items():
        known = np.isfinite(drawn_values)  # without enough images of a concept its δ is missing, with a reason
        mean = float(np.mean(drawn_values, where=known)) if known.any() else np.nan
        rows.append(
            base | {"measure": name, "part": part, "repetition": start, "value": mean, "count": int(known.sum())}
        )
    return rows


def _measured(
    world: World, measures: Sequence[str], blocks: int, interval: bool
) -> dict[tuple, stats.Estimate | SimpleNamespace]:
    """Estimates of one draw, by measure and part.

    Parts of decodability are the concepts, named by who shows them; shares are corrected, of four networks, or not, of
    one.
    """
    x, y, groups, areas = world.stream("rgb", 0), world.stream("depth", 1), world.groups, world.areas
    plan, every = stats.Resampling(blocks=blocks), np.arange(len(groups))

    def asked(statistic: Callable, function: Callable | None = None) -> stats.Estimate | SimpleNamespace:
        if not interval:
            value = statistic(every, every)
            return _without_interval(function(value) if function else value)
        found = stats.estimate(statistic, groups, plan, null=False)
        return stats.combine(function, found) if function else found

    found = {(name, None): asked(MEASURES[name].statistic(x, y, groups)) for name in measures if name in MEASURES}
    if "decodability" in measures:
        delta = asked(DecodabilityStatistic(x, world.present, groups, components=16))
        found |= {("decodability", f"{kind} {k}"): _at(delta, k) for k, kind in enumerate(world.kinds)}
    units, nets = x[:, :12], range(1, 1 + OTHERS)
    if "share" in measures:
        streams = world.streams("depth", nets), world.streams("rgb", nets)
        level = asked(CorrectedStatistic(units, areas, *streams, groups), corrected_level_shares)
        found |= {(f"share, {name}", None): _at(level, i) for i, name in enumerate(SHARES)}
    if "uncorrected share" in measures:
        plain = PartitioningStatistic(units, areas, [y], [world.stream("rgb", 1)], groups, components=12)
        level = asked(plain, level_shares)
        found |= {(f"uncorrected share, {name}", None): _at(level, i) for i, name in enumerate(SHARES)}
    return found


def _at(found: stats.Estimate | SimpleNamespace, i: int) -> stats.Estimate | SimpleNamespace:
    return found[i] if isinstance(found, stats.Estimate) else _without_interval(found.value[i])


def _without_interval(value: float | np.ndarray) -> SimpleNamespace:
    return SimpleNamespace(value=value)
