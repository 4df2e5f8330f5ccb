"""Against planted truth: calibration, dimension and variance in common, the variance partitioning, concepts."""

from __future__ import annotations

import numpy as np

from rgbd_insight import stats
from rgbd_insight.data import Knobs, World
from rgbd_insight.metrics.attenuation import corrected_partitioning
from rgbd_insight.metrics.labels import concept_labels
from rgbd_insight.metrics.partitioning import SHARES, variance_partitioning
from rgbd_insight.metrics.probes import DecodabilityStatistic
from rgbd_insight.validation.plan import ALTERNATIVES, held_out_knobs, values

MODALITIES = ("rgb", "depth")
NETS = tuple((name, 0) for name in MODALITIES)
MARGIN = 0.1
# Correlation with a unit at which 2·AUROC − 1 of a concept shown by half of the images, (4/π) asin(r/√2), is .1.
THIN = float(np.sqrt(2) * np.sin(np.pi * MARGIN / 4))


def calibration(plan: dict, seed: int, width: int) -> list[dict]:
    """Debiased CKA, predictivity and two other forms of CKA beside the analytic value of the population."""
    p, rng = plan["calibration"], np.random.default_rng([seed, 8])
    n = max(p["images_per_unit"] * width, 1000)
    wide = {k: float(rng.uniform(*p[k])) for k in ("noise", "nuisance", "private")}  # the values spread over [0, 1]
    knobs = held_out_knobs(plan, seed, n=n, width=width, other_width=width, networks=1, outlier=0, **wide)
    world = World(knobs, seed)
    x, y = (world.stream(*net) for net in NETS)
    truth = world.population_cka(*NETS)
    ours = values(("debiased_cka", "predictivity"), x, y, world.groups)
    rows = [
        {"measure": name, "ours": True, "value": value, "truth": expected}
        for (name, value), expected in zip(ours.items(), (truth, world.population_predictivity(*NETS)), strict=True)
    ]
    for name, value in values(("cka", "minibatch_cka"), x, y, world.groups).items():
        rows.append({"measure": name, "ours": False, "value": value, "truth": truth})
    return [{**row, "n": len(x), "width": width, "noise": knobs.noise} for row in rows]


def shared(plan: dict, seed: int) -> list[dict]:
    """Every comparison of streams where the shares of dimensions and of variance in common go their own ways."""
    rng, p = np.random.default_rng([seed, 9]), plan["shared"]
    dims = int(rng.integers(1, 12))
    knobs = Knobs(
        n=p["n"],
        width=p["width"],
        other_width=p["width"],
        networks=1,
        noise=0.3,
        nuisance=1.0,
        group_size=1,
        private=float(rng.uniform(0.1, 0.9)),
        shared_dims=dims,
        private_dims=12 - dims,
    )
    world = World(knobs, seed)
    x, y = (world.stream(*net) for net in NETS)
    ours = "debiased_cka", "predictivity", "matching"
    found = values((*ours, *ALTERNATIVES), x, y, world.groups)
    truth = {"dimension": world.shared_dimension, "variance": world.shared_variance}
    return [
        {
            "measure": name,
            "ours": name in ours,
            "part": part,
            "n": len(x),
            "width": p["width"],
            "value": value,
            "truth": share,
        }
        for name, value in found.items()
        for part, share in truth.items()
    ]


def partitioning(plan: dict, seed: int, n: int, noise: float, noise_ratio: float, alone: bool = False) -> list[dict]:
    """Shares of units of four pure types: 1, 2 and 4 networks pooled, carried on to infinitely many, and corrected.

    `alone`: of one network only.
    """
    counts = plan["partitioning"]["networks"][: 1 if alone else None]
    knobs = Knobs(n=n, noise=noise, noise_ratio=noise_ratio, pure=True, networks=1 + max(counts))
    world = World(knobs, seed)
    types, y, tables, truths = world.types("rgb"), world.stream("rgb"), {}, {}

    def by_type(shares: np.ndarray, ceiling: np.ndarray) -> np.ndarray:  # (type, share): ratios of sums
        return np.array([shares[types == t].sum(0) / ceiling[types == t].sum() for t in range(4)])

    for count in counts:
        nets = range(1, 1 + count)
        found = variance_partitioning(
            y, world.areas, world.streams("depth", nets), world.streams("rgb", nets), world.groups
        )
        planted = world.unit_shares("rgb", beside=nets)  # a concept that no unit of these networks shows is no one's
        tables[str(count)], truths[str(count)] = by_type(found.shares, found.r2[:, 2]), by_type(planted, planted.sum(1))
    if len(counts) > 1:
        tables["extrapolated"] = carried_on(*(tables[str(c)] for c in counts[-2:]), counts[-2:])
        truths["extrapolated"] = np.eye(4)
    if max(counts) > 1:
        streams = world.streams("depth", nets), world.streams("rgb", nets)  # of all networks
        found = corrected_partitioning(y, world.areas, *streams, world.groups)
        tables["corrected"], truths["corrected"] = by_type(found.shares, found.ceiling), truths[str(max(counts))]
    base = {"ours": True, "n": len(y), "width": knobs.width, "noise": noise, "noise_ratio": noise_ratio}
    return [
        base
        | {
            "measure": "variance_partitioning",
            "condition": condition,
            "part": f"{SHARES[t]} -> {SHARES[s]}",
            "value": table[t, s],
            "truth": truths[condition][t, s],
        }
        for condition, table in tables.items()
        for t in range(4)
        for s in range(4)
    ]


def carried_on(fewer: np.ndarray, more: np.ndarray, counts: list[int]) -> np.ndarray:
    """The value for infinitely many networks, where the error falls as 1/number of networks."""
    a, b = counts
    return (b * more - a * fewer) / (b - a)


def concepts(plan: dict, seed: int, cooccurrence: float) -> list[dict]:
    """δ of every concept from depth, with its simultaneous interval, and its label; 0 where depth lacks it."""
    p = plan["concepts"]
    size = {"n": p["n"], "width": p["width"], "other_width": p["width"]}
    knobs = Knobs(noise=0.6, nuisance=0.3, cooccurrence=cooccurrence, **size)
    world = World(knobs, seed)

    def probe(*streams: np.ndarray) -> stats.Estimate:
        size = {"components": 32 * len(streams), "strata": world.areas}
        statistic = DecodabilityStatistic(np.hstack(streams), world.present, world.groups, **size)
        return stats.estimate(statistic, world.groups, null=False)

    x, y = world.streams("rgb", [0, 1]), world.streams("depth", [0, 1])
    first, second = probe(x[0]), probe(y[0])
    labels = concept_labels(first, second, probe(x[0], y[0]), probe(*x), probe(*y), names=MODALITIES)
    bounds = second.simultaneous(2 * len(labels))
    base = {"ours": True, "n": len(world.groups), "width": knobs.width, "cooccurrence": cooccurrence}
    return [
        base
        | {
            "measure": "decodability",
            "condition": kind,
            "part": label,
            "repetition": k,
            "value": second.value[k],
            "low": bounds.low[k],
            "high": bounds.high[k],
        }
        for k, (kind, label) in enumerate(zip(world.kinds, labels, strict=True))
    ]


def absence(plan: dict, seed: int, n: int, folds: int) -> list[dict]:
    """Labels of concepts of which depth shows exactly δ = .1, the margin, and rgb nearly everything.

    "dimmed": depth shows it clearly, in one of ten images; "thin": in every image, as .006 of the variance of a unit.
    """
    p, rng = plan["absence"], np.random.default_rng([seed, 9])
    world = World(Knobs(n=n, width=p["width"], other_width=p["width"], networks=1, related=False, nuisance=1.0), seed)
    areas = rng.normal(size=(len(world.groups), p["concepts"]))
    present, units = areas > 0, slice(0, p["concepts"])
    rgb, dimmed, thin = world.stream("rgb"), world.stream("depth"), rng.normal(size=(len(areas), p["width"]))
    rgb[:, units] += 10 * present
    dimmed[:, units] += 10 * (present & (rng.random(present.shape) < MARGIN))
    thin[:, units] = THIN * areas + np.sqrt(1 - THIN**2) * thin[:, units]

    def probe(stream: np.ndarray) -> stats.Estimate:
        statistic = DecodabilityStatistic(stream, present, world.groups, folds=folds)
        return stats.estimate(statistic, world.groups, null=False)

    first, rows = probe(rgb), []
    for condition, stream in (("dimmed", dimmed), ("thin", thin)):
        second = probe(stream)
        labels = concept_labels(first, second, names=MODALITIES, margin=MARGIN)
        bounds = second.simultaneous(2 * len(labels))
        rows += [
            {
                "measure": "decodability",
                "ours": True,
                "condition": condition,
                "part": label,
                "repetition": k,
                "n": len(areas),
                "width": p["width"],
                "count": folds,
                "value": second.value[k],
                "low": bounds.low[k],
                "high": bounds.high[k],
                "truth": MARGIN,
            }
            for k, label in enumerate(labels)
        ]
    return rows
