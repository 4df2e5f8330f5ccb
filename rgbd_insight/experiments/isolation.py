"""How much of the views of impure networks was their guests': of the committed features, and of networks trained here.

The committed features were extracted with guests of its own for every image, by networks whose weights are gone. What
the guests put into a view can be told from the features alone (`questions.guests`), and is taken out where a question
is asked. The networks trained here show what the same guests for every image change.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.data import Scenes
from rgbd_insight.data.batch import Dataset, Held
from rgbd_insight.extraction import at_rest
from rgbd_insight.features import USUAL_MODALITIES, Features, guests, load, partners, write_table
from rgbd_insight.hooks import trace
from rgbd_insight.metrics import PartitioningStatistic, cka_statistic, level_shares, predictivity
from rgbd_insight.metrics.partitioning import SHARES
from rgbd_insight.models import Network, build
from rgbd_insight.questions.guests import freed, guests_share, own_share
from rgbd_insight.stats import Estimate, Resampling, combine, estimate
from rgbd_insight.training import train

COMMAND = "rgbd-insight campaign isolation"
COMMITTED = ("scenes", "nyuv2")
DRAWS, BLOCK, COMPONENTS = 4, 100, 128
TRAINED = ("sum", "se", "rgb", "depth")  # the last two are twins, by which own scene and guests are known
SCENES, RECIPE = {"train": 1000, "test": 300}, {"epochs": 6, "batch_size": 32, "lr": 3e-3, "flip": False}
WIDTH = 16
PLAN, NAMED = Resampling(), "named-specific"


def isolation_tables(work: Path, book: Path) -> None:
    """Write the tables "isolation" (of the committed features) and "isolation_trained" (of networks trained here).

    Parameters
    ----------
    work : Path
        Where weights are kept.
    book : Path
        The book's folder.
    """
    found = [committed(load(book / "features" / name)).assign(data=name) for name in COMMITTED]
    write_table(pd.concat(found, ignore_index=True), book / "results", "isolation", COMMAND)
    write_table(trained(work), book / "results", "isolation_trained", COMMAND)


def committed(features: Features) -> pd.DataFrame:
    """What is known of every impure view of features with guests of its own for every image.

    Parameters
    ----------
    features : Features
        With the twins, whose streams no guest reaches.

    Returns
    -------
    DataFrame
        A row a run, modality, level and measure: "own share" (at most; of the view as `recorded` and as `freed` of what
        the guests predict), "own share at least" (held-out R² of the view from the same modality's twins, all seeds and
        levels), "cka with own scene" (with that twin at the level, mean over seeds), "cka with guests" (with the other
        twin's mean response to the guests) and, of final runs with another seed, "named-specific share" (uncorrected,
        by one other seed); value, low, high.
    """
    names = [m.name for m in features.modalities]
    runs = [run for run in features.runs.index if len({*features.conditions(run)} & {*names}) == 2]
    rows = []
    for run in runs:
        about = {"run": run, "draws": features.entry(run)["draws"]}
        about |= features.runs.loc[run, ["fusion", "seed", "role"]].to_dict()
        for modality, other in (names, names[::-1]):
            for level in features.levels(run):
                share = own_share(features, run, modality, level)
                if share.how != "pure":
                    where = about | {"modality": modality, "stream": share.stream, "level": level, "how": share.how}
                    rows += [where | row for row in _of_view(features, run, modality, other, level)]
    return pd.DataFrame(rows)


def _of_view(features: Features, run: str, modality: str, other: str, level: int) -> Iterator[dict]:
    table = partners(features.samples["group"].tolist(), features.entry(run)["draws"])
    twins = {m: features.find(fusion=m, role="final") for m in (modality, other)}
    own = [features.view(twin, modality, level) for twin in twins[modality]]
    hosts = [features.view(twin, other, level)[table].mean(0) for twin in twins[other]]
    views = {"recorded": features.view(run, modality, level), "freed": freed(features, run, modality, level)}
    share = own_share(features, run, modality, level)
    for state, x in views.items():
        if len(table) > 1:
            part = guests_share(x, features.groups, table)
            yield _row("own share", state, 1 - part.value, 1 - part.high, 1 - part.low)
        elif state == "recorded":
            yield _row("own share", state, share.recorded)
        for measure, sides in (("cka with own scene", own), ("cka with guests", hosts)):
            yield _row(measure, state, *_alike(x, sides, features.groups))
    for seed in features.siblings(run)[:1] if features.entry(run)["role"] == "final" else ():
        for state, view in (("recorded", features.view), ("freed", partial(freed, features))):
            predictors = ([view(seed, m, level)] for m in (other, modality))
            r2 = PartitioningStatistic(views[state], features.areas, *predictors, features.groups)
            shares = combine(level_shares, estimate(r2, features.groups, PLAN, null=False))[SHARES.index(NAMED)]
            yield _row(f"{NAMED} share", state, shares.value, shares.low, shares.high)
    every = [_standardised(features.view(t, modality, lv)) for t in twins[modality] for lv in features.levels(t)]
    least = predictivity(np.hstack(every), views["recorded"], features.groups, components=COMPONENTS)
    yield _row("own share at least", "recorded", least.r2)


def _row(measure: str, state: str, value: float, low: float = np.nan, high: float = np.nan) -> dict:
    return {"measure": measure, "state": state, "value": value, "low": low, "high": high}


def _alike(x: np.ndarray, sides: list[np.ndarray], groups: np.ndarray) -> tuple[float, float, float]:
    """Debiased CKA with several others, mean, with its interval."""
    statistics = [cka_statistic(x, side) for side in sides]

    def mean(rows: np.ndarray, partner: np.ndarray) -> float:
        return float(np.mean([statistic(rows, partner) for statistic in statistics]))

    found: Estimate = estimate(mean, groups, PLAN, null=False)
    return found.value, found.low, found.high


def _standardised(x: np.ndarray) -> np.ndarray:
    return (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)


def trained(work: Path) -> pd.DataFrame:
    """What guests put into the colour stream of small networks: guests of its own for every image, and the same ones.

    Parameters
    ----------
    work : Path
        Where weights are kept; what is trained already is read.

    Returns
    -------
    DataFrame
        A row a fusion, level, isolation ("guests of its own", "same guests") and measure: "cka with own scene" and "cka
        with guests" (of the twins at that level; the latter missing where guests do not vary), "agreement" (CKA of the
        view with that of four other guests); value, low, high, and how the networks were made.
    """
    data = Held(Scenes(SCENES["test"], split="test"))
    models = {fusion: _model(fusion, work) for fusion in TRAINED}
    groups, every = np.unique(data.groups, return_inverse=True)[1], np.arange(len(data))[None]
    scene = {m: _views(models[m], data, m, every) for m in USUAL_MODALITIES}
    rows = []
    for isolation, table in (
        ("guests of its own", partners(data.groups, 2 * DRAWS)),
        ("same guests", guests(data.groups, 2 * DRAWS).table),
    ):
        for fusion in TRAINED[:2]:
            first, second = (_views(models[fusion], data, "rgb", part) for part in (table[:DRAWS], table[DRAWS:]))
            for level in first:
                hosts = scene["depth"][level][table[:DRAWS]].mean(0)
                sides = {"cka with own scene": scene["rgb"][level], "agreement": second[level]}
                sides |= {"cka with guests": hosts} if isolation == "guests of its own" else {}
                for measure, side in sides.items():
                    cells = {"fusion": fusion, "level": level, "isolation": isolation}
                    rows.append(cells | _row(measure, "recorded", *_alike(first[level], [side], groups)))
    made = {"device": "cpu", "scenes": SCENES["train"], "images": SCENES["test"], "width": WIDTH} | RECIPE
    return pd.DataFrame(rows).assign(**{name: made[name] for name in ("device", "scenes", "images", "width", "epochs")})


def _model(fusion: str, work: Path) -> Network:
    out = work / "weights" / "isolation" / fusion
    data = Scenes(SCENES["train"], split="train")
    model = build(fusion, data.classes, width=WIDTH)
    train(model, data, out=out, device="cpu", checkpoints=[RECIPE["epochs"]], progress=False, **RECIPE)
    return model


def _views(model: Network, data: Dataset, modality: str, table: np.ndarray) -> dict[int, np.ndarray]:
    """Mean responses (N, U) by level of a modality's stream, the other input being that of the samples in `table`."""
    taps = [tap for tap in model.taps() if tap.stream == modality]
    found: dict[int, list[np.ndarray]] = {tap.level: [] for tap in taps}
    with at_rest(model, "cpu"):
        for start in range(0, len(data), BLOCK):
            rows = range(start, min(start + BLOCK, len(data)))
            own, total = data.batch(rows), dict.fromkeys(found, 0.0)
            for hosts in table[:, rows.start : rows.stop]:
                given = data.batch(hosts.tolist()).inputs | {modality: own.inputs[modality]}  # in their order
                with trace(model, taps, lambda maps: maps.flatten(2).mean(-1)) as now:
                    model(*given.values())
                total = {tap.level: total[tap.level] + means.numpy() for tap, means in now.items()}
            for level, values in total.items():
                found[level].append(values / len(table))
    return {level: np.concatenate(parts) for level, parts in found.items()}
