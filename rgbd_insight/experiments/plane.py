"""The plane of both axes: of every network of the committed features, and of a few at positions and on grids.

The first is what the book's first figure is drawn from. The second takes features with cells, which are too large to be
committed (25 MiB for the scenes, 36 for NYUv2), so that its networks are trained and extracted anew: twins and two
operators, two seeds each.

Stated before the scenes of seed `HELD_OUT` were drawn (`PLANE_BARS`), of the planted concepts that twins were asked at
positions: at every level, concepts that one modality alone shows have a larger semantic variance than those that both
show, or neither (AUROC ≥ .95); and at the last level the variance of the planted concepts, as a share of what it would
be if none were shown by both, is within .12 of the share that was planted, nearer than without strata.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from rgbd_insight.data import Scenes
from rgbd_insight.experiments.plans import CELLS, ISOLATED, Plan
from rgbd_insight.experiments.positions import COMMAND as AT_POSITIONS
from rgbd_insight.experiments.positions import position_plans
from rgbd_insight.experiments.steps import device_of, extract_images, extracted, trained
from rgbd_insight.features import SUMS, Features, RunId, load, read_table, write_table
from rgbd_insight.metrics.auroc import pair_counts
from rgbd_insight.models import load as load_model
from rgbd_insight.questions.joint import MEASURES, PLANE, SCORE, SIMILARITY, VARIANCE, joint
from rgbd_insight.questions.networks import GRIDS, IMAGES, POSITIONS, TWINS, Networks, networks
from rgbd_insight.questions.positions import decoded_at_cells
from rgbd_insight.questions.specificity import probe
from rgbd_insight.utils.files import Lock, digest
from rgbd_insight.utils.messages import checked_path, unknown

COMMAND = "rgbd-insight campaign plane"
DATA = ("scenes", "nyuv2")
TABLE = "plane_positions"
HELD_OUT, SCENES = 40001, 1000  # seed of the scenes, how many
OPERATORS = ("sum", "se")
PLANE_BARS = {"auroc": 0.95, "share": 0.12}
NO_STRATA = "positions, no strata"
PERMUTATIONS = 50  # for the mean of the null; no p is quoted


def plane_table(book: Path) -> pd.DataFrame:
    """`joint` of the twins and every fused network, and of checkpoints both axes and their join.

    Parameters
    ----------
    book : Path
        The book's folder, whose ``features`` are read.

    Returns
    -------
    DataFrame
        A row a number, as `Result.table`, with `data` (the folder), `role` (of the run) and `features` (digest).
    """
    parts = []
    for data in (name for name in DATA if (book / "features" / name).exists()):
        home = book / "features" / data
        features = load(home)
        for run, role in tqdm(_asked(features), desc=f"both axes of {data}", unit="network"):
            measures = MEASURES if role == "final" else (SIMILARITY, VARIANCE, SCORE)
            table = joint(features, run, measures=measures).to_frame()
            parts.append(table.assign(data=data, role=role, features=digest(home / SUMS)))
    if not parts:
        raise ValueError(f"`book` must hold features, {' or '.join(DATA)}; {str(book)!r} has none")
    return pd.concat(parts, ignore_index=True)


def write_plane(book: Path) -> None:
    """Write the table "plane" into the book's results.

    Parameters
    ----------
    book : Path
        The book's folder.
    """
    write_table(plane_table(book), book / "results", "plane", COMMAND)


def _asked(features: Features) -> list[tuple[str, str]]:
    """Twins and fused networks, by fusion; and one seed of each checkpoint, which brings its siblings."""
    names = {m.name for m in features.modalities}
    fused = features.runs[~features.runs["fusion"].isin(names)]
    final = fused.loc[fused["role"] == "final", "fusion"].unique()
    first = fused[fused["role"] != "final"].drop_duplicates(["fusion", "epoch", "role"])
    return [(TWINS, "final"), *((name, "final") for name in final), *first["role"].items()]


def plane_plans(profile: str, nyuv2: str | None, seed: int = 0, scenes: int = SCENES) -> list[Plan]:
    """Two seeds of the twins and of two operators, on other scenes than `position_plans` and on NYUv2.

    Examples
    --------
    >>> [(plan.name, plan.fusions, plan.seeds) for plan in plane_plans("small", None)]
    [('scenes-positions', ('rgb', 'depth', 'sum', 'se'), (0, 1))]
    """
    plans = position_plans(profile, nyuv2, seed)  # of the same names: twins are trained once for both
    plans = [replace(plan, fusions=(*ISOLATED, *OPERATORS), seeds=(seed, seed + 1)) for plan in plans]
    return [replace(plans[0], data=partial(_scenes, plans[0].data, scenes)), *plans[1:]]


def _scenes(data: object, scenes: int, split: str) -> Scenes:
    return data(split) if split == "train" else Scenes(scenes, seed=HELD_OUT, split="label")


def position_plane(plans: Sequence[Plan], profile: str, work: Path, book: Path) -> None:
    """Train, extract with cells and write the table "plane_positions"; what is finished is kept.

    Parameters
    ----------
    plans : sequence of Plan
        From `plane_plans`.
    profile : str
        Named in the table.
    work : Path
        Where weights and full features are kept.
    book : Path
        The book's folder.
    """
    work, book = checked_path("work", work), checked_path("book", book)
    parts = []
    with Lock(work):
        for plan in plans:
            features = extracted(f"{plan.source}-plane", plan.runs, work, partial(_extract, plan, work))
            about = {"device": device_of([features]), "profile": profile, "epochs": plan.recipe["epochs"]}
            parts.append(placed(features).assign(data=plan.source, train=len(plan.data("train")), **about))
        write_table(pd.concat(parts, ignore_index=True), book / "results", TABLE, AT_POSITIONS)


def _extract(plan: Plan, work: Path, run: RunId, home: Path) -> None:
    model, data = load_model(trained(plan, work, run)), plan.data("test")
    asked = [m for m in model.modalities if m in ISOLATED]
    extract_images(model, data, home, conditions=asked, draws=1, batch_size=plan.block, cells=CELLS[plan.source])


def placed(features: Features) -> pd.DataFrame:
    """`joint` of twins and fused networks from whole images, at positions and on grids, in the column `at`.

    Parameters
    ----------
    features : Features
        With cells.

    Returns
    -------
    DataFrame
        A row a number, as `Result.table`, with `at`; of twins on planted data also `planted_variance`.
    """
    parts = []
    asked = [(run, at) for run, _ in _asked(features) for at in (IMAGES, POSITIONS, GRIDS)]
    for run, at in tqdm(asked, desc="both axes", unit="network"):
        found = joint(features, run, measures=PLANE, at=at, permutations=PERMUTATIONS)
        parts.append(found.to_frame().assign(at=at))
    return pd.concat([*parts, planted_variance(features)], ignore_index=True)


def planted_variance(features: Features) -> pd.DataFrame:
    """How the semantic variance of planted concepts, in twins, agrees with what was planted; empty for other data.

    Parameters
    ----------
    features : Features
        With cells; of any seeds of both twins.

    Returns
    -------
    DataFrame
        A row a level, seed and `at` ("images", "positions"; at the last level "positions, no strata" too) for each
        measure: "planted share", Σ (δ₁ − δ₂)² / Σ (δ₁² + δ₂²) over planted concepts beside the share that was
        `planted`; and "planted AUROC", of concepts shown by one modality alone over those shown by both or neither, by
        (δ₁ − δ₂)².
    """
    concepts = features.concepts
    if concepts["kind"].eq("unknown").all():
        return pd.DataFrame()
    nets, rows = networks(features, TWINS), []
    planted = concepts["kind"].ne("unknown").to_numpy()
    seen = [concepts[f"visible_{m}"].to_numpy(float) for m in nets.modalities]
    asked = [*product(nets.levels, (IMAGES, POSITIONS)), (nets.levels[-1], NO_STRATA)]
    for network, (level, at) in product(range(len(nets.members)), asked):
        first, second = (_decoded(nets, m, level, network, at) for m in nets.modalities)
        known = planted & np.isfinite(first) & np.isfinite(second)
        kind, apart = concepts["kind"][known], (first - second)[known] ** 2
        judged = kind.isin([*nets.modalities, "both", "neither"]).to_numpy()
        alone = kind.isin(nets.modalities).to_numpy()
        wins, pairs = pair_counts(apart[None, judged], alone[None, judged])
        seed = features.entry(nets.members[network][nets.modalities[0]])["seed"]
        cells = nets.cells(level) | {"question": "joint", "seed": seed, "at": at}
        share = {"value": _share(first[known], second[known]), "planted": _share(*(one[known] for one in seen))}
        rows += [cells | {"measure": "planted share"} | share]
        rows += [cells | {"measure": "planted AUROC", "value": float(wins[0] / pairs[0]), "planted": 1.0}]
    return pd.DataFrame(rows)


def _decoded(nets: Networks, modality: str, level: int, network: int, at: str) -> np.ndarray:
    """δ (K,) of a network."""
    if at == IMAGES:
        return probe(nets, nets.view(network, modality, level), folds=5).delta.value
    return decoded_at_cells(nets, modality, level, nets.plan(), network=network, context=at == POSITIONS)[0].value[0]


def _share(first: np.ndarray, second: np.ndarray) -> float:
    return float(((first - second) ** 2).sum() / (first**2 + second**2).sum())


def plane_choice(
    folder: str | Path, *, data: str, at: str = IMAGES, fusions: Sequence[str] | None = None
) -> pd.DataFrame:
    """What a figure of the plane is drawn from where operator, data and what is compared can be chosen.

    Parameters
    ----------
    folder : str or Path
        With the committed table "plane_positions", ``book/results``.
    data : str
        "scenes" or "nyuv2".
    at : str, optional
        "images", "positions" or "grids": of the same networks.
    fusions : sequence of str, optional
        "twins" and operators; all by default.

    Returns
    -------
    DataFrame
        Rows as `joint` answers them, for `plots.plane`, `plots.axis` and `plots.moved`.

    Raises
    ------
    ValueError
        Where the table has no such rows; it lists those that it has.
    """
    table = read_table(folder, TABLE)
    table = table[table["measure"].isin(PLANE)]
    for name, asked in (("data", [data]), ("at", [at]), ("fusion", list(fusions or table["fusion"].unique()))):
        wrong = [one for one in asked if one not in set(table[name])]
        if wrong:
            raise ValueError(unknown("fusions" if name == "fusion" else name, wrong[0], table[name].unique()))
        table = table[table[name].isin(asked)]
    return table.reset_index(drop=True)
