"""The runs of the ledger's sixth and seventh claims. Use `campaign` instead."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.data import Scenes
from rgbd_insight.features import Features, load
from rgbd_insight.models import build
from rgbd_insight.questions.balance import shares
from rgbd_insight.questions.losses import accuracy_estimate
from rgbd_insight.questions.networks import networks
from rgbd_insight.recorder import extract
from rgbd_insight.trainer import Alignment, train

SCALES = {  # training scenes, scenes judged, width, epochs
    "tiny": (64, 240, 8, 1),
    "small": (1500, 400, 16, 6),
    "full": (4000, 600, 32, 12),
}
Opponents = list[tuple[str, int]]


@dataclass(frozen=True)
class Cell:
    """What is varied; the runs of a cell differ by their seed alone."""

    operator: str
    common: float
    private: float
    redundancy: float
    placebo: bool = False

    @property
    def name(self) -> str:
        """Of the cell's folders."""
        kind = "placebo" if self.placebo else "aligned"
        return f"{self.operator}-{kind}-c{self.common:g}-p{self.private:g}-r{self.redundancy:g}"


def cells(spec: dict) -> list[Cell]:
    """Every cell that the claim's statement names, and the placebo's: those where only the common weight varies.

    Examples
    --------
    >>> from rgbd_insight.questions.claims import specification
    >>> made = cells(specification()["6b"])
    >>> len(made), sum(cell.placebo for cell in made)
    (66, 12)
    """
    grid = product(spec["operators"], spec["common"], spec["private"], spec["redundancies"])
    real = [Cell(*place) for place in grid]
    least = min(spec["private"])
    return real + [
        Cell(o, c, least, r, True)
        for o, c, r in product(spec["operators"], spec["common"], spec["redundancies"])
        if c > 0
    ]


def run_cell(scale: str, work: Path, item: tuple[Cell, int]) -> Path:
    """Train and extract one run of a cell; returns its features directory, which is what marks it as done."""
    cell, seed = item
    n, judged, width, epochs = SCALES[scale]
    name = f"{cell.name}-s{seed}"
    out = work / "extracted" / "intervention" / name
    if (out / "manifest.json").exists():
        return out
    data = Scenes(n, seed=seed, split="train", redundancy=cell.redundancy)
    model = build(cell.operator, data.classes, seed=seed, width=width)
    weights = work / "weights" / "intervention" / name
    aligned = Alignment(cell.common, cell.private, cell.placebo)
    recipe = {"epochs": epochs, "batch_size": 32, "lr": 3e-3, "flip": False, "alignment": aligned}
    train(model, data, out=weights, seed=seed, checkpoints=[epochs], progress=False, **recipe)
    # every seed is judged on the same scenes, so that one seed's streams can be predicted from another's
    test = Scenes(judged, seed=0, redundancy=cell.redundancy)
    extract(
        model, test, out=out, conditions=("both", "rgb", "depth"), draws=1, run={"cell": asdict(cell)}, progress=False
    )
    return out


def intervention_table(scale: str, work: Path, spec: dict) -> pd.DataFrame:
    """One row a run: the cell, accuracy under both, and (C, S) on the concepts that are no task classes."""
    rows = []
    for cell in cells(spec):
        features = load(*(run_cell(scale, work, (cell, seed)) for seed in spec["seeds"]))
        rows += _measured(features, cell)
    table = pd.DataFrame(rows)
    # where the common weight is 0 there is nothing for a placebo to do otherwise: these runs serve both
    zero = table[(table.common == 0) & (table.private == table.private.min()) & ~table.placebo]
    return pd.concat([table, zero.assign(placebo=True)], ignore_index=True)


def _measured(features: Features, cell: Cell) -> list[dict]:
    beside = ~features.concepts.name.isin(features.classes).to_numpy()
    rows = []
    for run in features.find(fusion=cell.operator, role="final"):
        found = shares(networks(features, run), beside)
        accuracy = accuracy_estimate(features, run, "both").value
        seed = features.entry(run)["seed"]
        rows.append(asdict(cell) | {"seed": seed, "accuracy": accuracy, **{k: e.value for k, e in found.items()}})
    return rows


def weights_by_rule(table: pd.DataFrame | None) -> tuple[float, float]:
    """The alignment's weights for `insight`: of the cell with the highest mean accuracy at redundancy .5, or (0, 0).

    Examples
    --------
    >>> weights_by_rule(None)
    (0.0, 0.0)
    """
    if table is None:
        return 0.0, 0.0
    middle = table[(table.redundancy == 0.5) & ~table.placebo.astype(bool)]
    best = middle.groupby(["common", "private", "operator"]).accuracy.mean().idxmax()
    return float(best[0]), float(best[1])


def best_opponent(zoo: pd.DataFrame, stated: list[str]) -> str:
    """The operator with the highest mean accuracy in the zoo, the stated opponents and `insight` left out."""
    rows = zoo[(zoo.measure == "accuracy") & (zoo.condition == "both")]
    return rows[~rows.fusion.isin([*stated, "insight"])].groupby("fusion").value.mean().idxmax()


def run_derived(scale: str, work: Path, weights: tuple[float, float], run: tuple[str, int]) -> Path:
    """Train one fresh seed of `insight` or of an opponent, and record what it predicts."""
    fusion, seed = run
    n, judged, width, epochs = SCALES[scale]
    out = work / "extracted" / "derived" / f"{fusion}-s{seed}"
    if (out / "manifest.json").exists():
        return out
    data = Scenes(n, seed=seed, split="train")
    model = build(fusion, data.classes, seed=seed, width=width)
    aligned = Alignment(*weights) if fusion == "insight" and any(weights) else None
    recipe = {"epochs": epochs, "batch_size": 32, "lr": 3e-3, "flip": False, "alignment": aligned}
    folder = work / "weights" / "derived" / f"{fusion}-s{seed}"
    train(model, data, out=folder, seed=seed, checkpoints=[epochs], progress=False, **recipe)
    extract(model, Scenes(judged, seed=0), out=out, conditions="both", progress=False)
    return out


def fresh_runs(spec: dict, opponents: list[str]) -> Opponents:
    """Every fusion and fresh seed of the seventh claim."""
    seeds = np.arange(spec["least_seeds"]) + max(spec["first_seed"], spec["pilot_seeds"])
    return [(fusion, int(seed)) for fusion in ("insight", *opponents) for seed in seeds]
