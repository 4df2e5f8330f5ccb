"""The runs of the ledger's sixth and seventh claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.claims import specification
from rgbd_insight.data import Scenes
from rgbd_insight.experiments.plans import zoo_plans
from rgbd_insight.experiments.steps import JobName, do_all, extract_images
from rgbd_insight.features import MANIFEST, Features, RunId, load
from rgbd_insight.models import FUSIONS, build
from rgbd_insight.questions.balance import position
from rgbd_insight.questions.losses import accuracy_estimate
from rgbd_insight.questions.networks import networks
from rgbd_insight.training import Alignment, Cache, train
from rgbd_insight.utils.files import write_parquet
from rgbd_insight.utils.jobs import ALONE, Job, Pool, in_pool

SCALES = {  # of the intervention: training scenes, scenes judged, width, epochs
    "tiny": (64, 240, 8, 1),
    "small": (1500, 400, 16, 6),
    "full": (3000, 400, 16, 10),
}
DERIVED = {"tiny": (64, 240, 8, 1), "small": (1500, 600, 32, 6), "full": (4000, 600, 32, 12)}  # of the derived fusion
ZOO_SEEDS = (0, 1, 2)
BEST = "best"  # of the zoo, known when the zoo is there


@dataclass(frozen=True)
class Cell:
    """What is varied; the runs of a cell differ by their seed alone."""

    operator: str
    common: float
    private: float
    redundancy: float
    placebo: bool = False

    def __str__(self) -> str:
        """The network's name in the cell's folders."""
        kind = "placebo" if self.placebo else "aligned"
        return f"{self.operator}-{kind}-c{self.common:g}-p{self.private:g}-r{self.redundancy:g}"


def cells(spec: dict) -> list[Cell]:
    """Every cell that the claim's statement names, and the placebo's: those where only the common weight varies.

    Examples
    --------
    >>> from rgbd_insight.claims import specification
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


def intervention_jobs(scale: str, work: Path) -> list[Job]:
    """Every run of the ledger's claim 6b."""
    spec = specification()["6b"]
    return [
        _job("cell", "intervention", RunId(str(cell), seed), partial(run_cell, scale, work, cell, seed))
        for cell in cells(spec)
        for seed in spec["seeds"]
    ]


def derived_jobs(scale: str, work: Path) -> list[Job]:
    """The fresh seeds of claim 7: they wait for the zoo, whose best is an opponent, and for the intervention."""
    zoo = zoo_plans(scale, None)[0]
    needs = {JobName("extract", zoo.name, str(run)) for run in zoo.runs}
    needs |= {job.name for job in intervention_jobs(scale, work)}
    return [
        _job("derived", "derived", run, partial(_run_derived, scale, work, run), frozenset(needs))
        for run in fresh_runs(specification()["7"])
    ]


def _job(step: str, plan: str, run: RunId, do: Callable[[], Path], needs: frozenset[JobName] = frozenset()) -> Job:
    name = JobName(step, plan, str(run))
    return Job(name, do, needs, name.urgency)


def _home_of(work: Path, cell: Cell, seed: int) -> Path:
    """The features of one run of a cell."""
    return work / "extracted" / "intervention" / str(RunId(str(cell), seed))


def run_cell(scale: str, work: Path, cell: Cell, seed: int) -> Path:
    """Train and extract one run of a cell; returns its features directory, which is what marks it as done."""
    n, judged, width, epochs = SCALES[scale]
    out = _home_of(work, cell, seed)
    if (out / MANIFEST).exists():
        return out
    data = _kept(Scenes(n, seed=seed, split="train", redundancy=cell.redundancy), work, f"r{cell.redundancy:g}-s{seed}")
    model = build(cell.operator, data.classes, seed=seed, width=width)
    weights = work / "weights" / "intervention" / out.name
    aligned = Alignment(cell.common, cell.private, cell.placebo)
    recipe = {"epochs": epochs, "batch_size": 32, "lr": 3e-3, "flip": False, "alignment": aligned}
    train(model, data, out=weights, seed=seed, checkpoints=[epochs], progress=not in_pool(), **recipe)
    # every seed is judged on the same scenes, so that one seed's streams can be predicted from another's
    test = Scenes(judged, seed=0, redundancy=cell.redundancy)
    conditions = ("both", "rgb", "depth")
    extract_images(model, test, out, conditions=conditions, draws=1, run={"cell": asdict(cell)}, batch_size=200)
    return out


def _kept(data: Scenes, work: Path, name: str) -> Cache:
    """Training scenes, which many runs share."""
    return Cache.kept(data, work / "samples" / f"{len(data)}-{name}.safetensors")


def intervention_table(scale: str, work: Path, spec: dict, pool: Pool = ALONE) -> pd.DataFrame:
    """One row a run: the cell, accuracy under both, and (C, S) on the concepts that are no task classes."""
    parts = work / "tables" / f"intervention-{scale}"
    parts.mkdir(parents=True, exist_ok=True)
    made = cells(spec)
    part = {cell: parts / f"{cell}.parquet" for cell in made}
    jobs = [
        Job(JobName("table", "intervention", str(cell)), partial(_write_part, scale, work, spec["seeds"], cell, path))
        for cell, path in part.items()
    ]
    do_all(jobs, pool)
    table = pd.concat([pd.read_parquet(path) for path in part.values()], ignore_index=True)
    # where the common weight is 0 there is nothing for a placebo to do otherwise: these runs serve both
    zero = table[(table.common == 0) & (table.private == table.private.min()) & ~table.placebo]
    return pd.concat([table, zero.assign(placebo=True)], ignore_index=True)


def _write_part(scale: str, work: Path, seeds: list[int], cell: Cell, path: Path) -> None:
    """The rows of one cell; kept, so that an interrupted table goes on."""
    if not path.exists():
        features = load(*(run_cell(scale, work, cell, seed) for seed in seeds))
        write_parquet(path, pd.DataFrame(_measured(features, cell)))


def _measured(features: Features, cell: Cell) -> list[dict]:
    beside = ~features.concepts.name.isin(features.classes).to_numpy()
    rows = []
    for run in features.find(fusion=cell.operator, role="final"):
        found = position(networks(features, run), beside)
        accuracy = accuracy_estimate(features, run, "both").value
        seed = features.entry(run)["seed"]
        rows.append(asdict(cell) | {"seed": seed, "accuracy": accuracy, **found})
    return rows


def accuracies(work: Path, spec: dict) -> pd.DataFrame | None:
    """Accuracy under both of every run of the intervention, which is all that the derived fusion takes from it."""
    rows = []
    for cell, seed in product((cell for cell in cells(spec) if cell.redundancy == 0.5), spec["seeds"]):
        home = _home_of(work, cell, seed)
        if not home.exists():
            return None
        features = load(home, verify=False)
        rows.append(asdict(cell) | {"seed": seed, "accuracy": accuracy_estimate(features, cell.operator, "both").value})
    return pd.DataFrame(rows)


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


def best_opponent(work: Path, stated: list[str]) -> str:
    """The operator with the highest mean accuracy in the zoo on scenes, the stated opponents and `insight` left out.

    Raises
    ------
    FeaturesError
        Where the zoo has not been made.
    """
    joint = [name for name, operator in FUSIONS.items() if len(operator.modalities) == 2]
    found = {}
    for name in (f for f in joint if f not in (*stated, "insight")):
        homes = [work / "extracted" / "scenes" / str(RunId(name, seed)) for seed in ZOO_SEEDS]
        runs = [load(home, verify=False) for home in homes]
        found[name] = np.mean([accuracy_estimate(run, name, "both").value for run in runs])
    return max(found, key=found.get)


def _run_derived(scale: str, work: Path, run: RunId) -> Path:
    """Train one fresh seed of `insight` or of an opponent, and extract what it predicts."""
    n, judged, width, epochs = DERIVED[scale]
    out = work / "extracted" / "derived" / str(run)
    if (out / MANIFEST).exists():
        return out
    fusion = best_opponent(work, specification()["7"]["opponents"]) if run.fusion == BEST else run.fusion
    weights = weights_by_rule(accuracies(work, specification()["6b"])) if fusion == "insight" else (0.0, 0.0)
    data = _kept(Scenes(n, seed=run.seed, split="train"), work, f"derived-s{run.seed}")
    model = build(fusion, data.classes, seed=run.seed, width=width)
    aligned = Alignment(*weights) if any(weights) else None
    recipe = {"epochs": epochs, "batch_size": 32, "lr": 3e-3, "flip": False, "alignment": aligned}
    folder = work / "weights" / "derived" / str(run)
    train(model, data, out=folder, seed=run.seed, checkpoints=[epochs], progress=not in_pool(), **recipe)
    about = {"weights": list(weights), "chosen as": run.fusion}
    extract_images(model, Scenes(judged, seed=0), out, conditions="both", run=about)
    return out


def fresh_runs(spec: dict) -> list[RunId]:
    """Every fusion and fresh seed of the seventh claim, the zoo's best among them."""
    seeds = np.arange(spec["least_seeds"]) + max(spec["first_seed"], spec["pilot_seeds"])
    return [RunId(fusion, int(seed)) for seed in seeds for fusion in ("insight", *spec["opponents"], BEST)]
