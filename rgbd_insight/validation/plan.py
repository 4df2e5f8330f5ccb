"""Which worlds are drawn: the committed plan, and its division into pieces of work that need not be repeated."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator
from importlib.resources import files
from itertools import product

import numpy as np

from rgbd_insight.data import Knobs, drawn
from rgbd_insight.metrics import MEASURES

Task = tuple[str, dict]  # battery, and the arguments of its function


def read_plan(quick: bool = False) -> dict:
    """The committed plan; `quick` puts its small numbers in the place of the large ones."""
    plan = tomllib.loads((files("rgbd_insight") / "validation" / "validate.toml").read_text(encoding="utf-8"))
    smaller = plan.pop("quick")
    return _merged(plan, smaller) if quick else plan


def _merged(plan: dict, other: dict) -> dict:
    """The plan with all that `other` says in its place."""
    inner = {name: _merged(plan[name], value) for name, value in other.items() if isinstance(value, dict)}
    return plan | other | inner


def held_out_knobs(plan: dict, seed: int, **fixed) -> Knobs:
    """Knobs of one held-out world: from the wide ranges, at least one knob outside the ranges of tuning.

    Raises
    ------
    ValueError
        Where the seed is not one of the held-out worlds.
    """
    first, last = plan["seeds"]["held_out"]
    if not first <= seed <= last:
        raise ValueError(f"`seed` must be from {first} to {last} for a held-out world; got {seed}.")
    rng = np.random.default_rng([seed, 9])
    while True:
        knobs = drawn(plan["held_out"], rng, **fixed)
        if outside(plan, knobs):
            return knobs


def kind_knobs(plan: dict, seed: int, kind: str, **fixed) -> Knobs:
    """Knobs of one held-out world of a kind, without an outlying image; what the kind says counts before `fixed`."""
    return held_out_knobs(plan, seed, **({"outlier": 0} | fixed | plan["kinds"][kind]))


def outside(plan: dict, knobs: Knobs) -> list[str]:
    """Names of the knobs that lie outside the ranges of tuning."""
    return [k for k, values in plan["tuning"].items() if not min(values) <= getattr(knobs, k) <= max(values)]


def tasks(plan: dict) -> Iterator[Task]:
    """All pieces of work, the long ones first."""
    base = plan["seeds"]["held_out"][0]
    p = plan["ranking"]
    for i in range(p["worlds"]):
        yield "ranking", {"seed": p["first"] + i, "coverage": p["coverage"][i % len(p["coverage"])]}
    for i in range(p["beyond"]):
        yield (
            "ranking",
            {"seed": p["first"] + 500 + i, "coverage": p["coverage"][i % len(p["coverage"])], "beyond": True},
        )
    p = plan["calibration"]
    for i in reversed(range(p["worlds"])):
        yield "calibration", {"seed": base + 5000 + i, "width": p["widths"][i % len(p["widths"])]}
    yield from _coverage(plan["coverage"], base + 6000)
    p = plan["bias"]
    for i, (j, width) in enumerate(product(reversed(range(len(p["n"]))), p["widths"])):
        size = {"n": p["n"][j], "width": width, "alternatives": p["alternatives"][j]}
        yield "bias", {"seed": base + 7000 + 1000 * i, "repetitions": p["repetitions"][j], **size}
    p = plan["partitioning"]
    for i, n, noise, ratio in product(reversed(range(p["worlds"] + p["alone"])), p["n"], p["noise"], p["noise_ratio"]):
        which = {"alone": True} if i >= p["worlds"] else {}
        yield "partitioning", {"seed": base + 40000 + i, "n": n, "noise": noise, "noise_ratio": ratio} | which
    p = plan["concepts"]
    for i, value in product(range(p["worlds"]), p["cooccurrence"]):
        yield "concepts", {"seed": base + 50000 + i, "cooccurrence": value}
    yield from (("shared", {"seed": base + 60000 + i}) for i in range(plan["shared"]["worlds"]))
    yield from (("null", {"seed": base + 70000 + i}) for i in range(plan["null"]["worlds"]))
    yield from _kinds(plan, base)
    yield from (("joint", {"seed": base + 130000 + i}) for i in range(plan["joint"]["worlds"]))
    yield from (("synergy", {"seed": base + 131000 + i}) for i in range(plan["synergy"]["worlds"]))
    p = plan["absence"]
    for i, (n, folds) in product(range(p["worlds"]), p["sizes"]):
        yield "absence", {"seed": base + 90000 + i, "n": n, "folds": folds}
    yield "inputs", {"seed": base + 80000}


def _kinds(plan: dict, base: int) -> Iterator[Task]:
    """Those of worlds that are not linear, normal and even."""
    names = list(plan["kinds"])
    p = plan["account"]
    for kind, i in product(p["kinds"], reversed(range(p["worlds"]))):
        seed = {"seed": base + 91000 + 1000 * names.index(kind) + i, "kind": kind}
        yield "account", seed | ({"pooled": True} if i < p["pooled"] else {})
    p = plan["ranking_kinds"]
    for kind, i in product(p["kinds"], range(p["worlds"])):
        coverage = plan["ranking"]["coverage"][i % len(plan["ranking"]["coverage"])]
        yield "ranking", {"seed": base + 101000 + 1000 * names.index(kind) + i, "coverage": coverage, "kind": kind}
    p = plan["coverage_kinds"]
    for kind in p["kinds"]:
        which = {"seed": base + 111000 + names.index(kind), "kind": kind, "size": p["size"], "measures": p["measures"]}
        yield from _draws(which, p["repetitions"], p["draws"])
    p = plan["neighbours"]
    for (j, value), i in product(enumerate(p["values"]), range(p["worlds"])):
        yield "neighbours", {"seed": base + 112000 + 1000 * j + i, "value": value}


def _coverage(p: dict, seed: int) -> Iterator[Task]:
    for i, name in enumerate(("large", "small", "shares")):
        which = {"seed": seed + i, "size": p[name]["size"], "measures": p[name]["measures"]}
        which |= {"blocks": p[name]["blocks"]} if "blocks" in p[name] else {}
        yield from _draws(which, p[name]["repetitions"], p[name]["draws"])


def _draws(which: dict, repetitions: int, draws: int, chunk: int = 20) -> Iterator[Task]:
    """Pieces of the coverage of one world: fresh images for intervals, and others for the expectation."""
    for what, count, part in (("interval", repetitions, chunk), ("expectation", draws, 5 * chunk)):
        for start in range(0, count, part):
            yield "coverage", {**which, "what": what, "start": start, "count": min(part, count - start)}


def slices(plan: dict) -> list[Task]:
    """A small piece of every battery, and of every kind of worlds: its rows are among those of all pieces."""
    some: dict[tuple, Task] = {}
    for battery, options in tasks(plan):
        few = {name: min(options[name], 2) for name in ("repetitions", "alternatives") if name in options}
        if options.get("what") == "interval":
            few["count"] = 1
        if options.get("what") != "expectation":
            what = battery, options.get("kind"), *options.get("measures", ())
            some[what] = battery, options | few  # of all, the last are the shortest
    return list(some.values())


ALTERNATIVES = ("cka", "minibatch_cka", "svcca", "pwcca", "procrustes", "rsa", "knn_overlap")


def values(names: Iterable[str], x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """What registered measures say of two streams."""
    return {name: MEASURES[name].function(x, y, groups) for name in names}


def best_iou(x: np.ndarray, present: np.ndarray, top: float = 0.1) -> np.ndarray:
    """(U, K) intersection over union of the images that excite a unit most with those that show a concept.

    NetDissect's score with images in the place of pixels: of these the top .005 would be no image at all.
    """
    excited = x > np.quantile(x, 1 - top, axis=0)  # (N, U)
    both = excited.T.astype(float) @ present
    either = excited.sum(0)[:, None] + present.sum(0) - both
    return both / np.maximum(either, 1)
