"""Three modalities: small networks of colour, depth and heat on planted scenes, and what the questions say of them.

Networks of this size are trained in a few minutes on a CPU, which the table names. Twins are asked for labels on scenes
that nothing else has seen. Stated before those were drawn (`LABEL_SEED`): of the labels of every pair of modalities,
where both planted visibilities keep .05 from the margin .1, at most 5 % are wrong (`BAR`), as of two modalities.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.data import Scenes
from rgbd_insight.experiments.steps import device_of, extract_images, extracted
from rgbd_insight.features import Features, RunId, write_table
from rgbd_insight.models import build
from rgbd_insight.models import load as load_model
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.questions.joint import SIMILARITY, VARIANCE, joint
from rgbd_insight.questions.networks import TWINS, WHOLE
from rgbd_insight.questions.specificity import specificity
from rgbd_insight.training import Cache, checkpoint, train
from rgbd_insight.utils.files import Lock
from rgbd_insight.utils.messages import checked_path, unknown
from rgbd_insight.validation.scenes import expected_labels

COMMAND, TABLE = "rgbd-insight campaign three", "three_modalities"
BAR = 0.05
NAMES = tuple(m.name for m in Scenes(1, cameras=3).modalities)
FUSION, SEEDS = "sum", (0, 1)
RUNS = tuple(RunId(fusion, seed) for seed in SEEDS for fusion in (*NAMES, FUSION))
TWIN_RUNS = RUNS[: len(NAMES)]  # of the first seed, of which labels are
HEAT = {"thermal": {"channels": 1, "scale": (21.0, 4.5)}}  # °C, over the training scenes
LABEL_SEED = 40027
PERMUTATIONS = 50  # for the mean of the null; no p is quoted


@dataclass(frozen=True)
class Size:
    """Width of the networks, scenes and epochs that they are trained for, scenes for answers and for labels."""

    width: int
    train: int
    epochs: int
    test: int
    labels: int

    @property
    def recipe(self) -> dict:
        """For `train`; what a thing is depends on left and right."""
        return {"epochs": self.epochs, "batch_size": 32, "lr": 3e-3, "flip": False}


SIZES = {
    "tiny": Size(width=8, train=64, epochs=1, test=60, labels=60),
    "small": Size(width=16, train=1000, epochs=6, test=500, labels=2000),
    "full": Size(width=32, train=20_000, epochs=8, test=4000, labels=12_000),
}


def three_modalities(profile: str, work: Path, book: Path) -> None:
    """Train, extract and write the table "three_modalities"; what is finished is kept.

    Parameters
    ----------
    profile : str
        "tiny" (seconds, which says nothing), "small" (minutes on a CPU) or "full" (a GPU).
    work : Path
        Where weights and features are kept.
    book : Path
        The book's folder.

    Raises
    ------
    ValueError
        For another profile.
    """
    if profile not in SIZES:
        raise ValueError(unknown("profile", profile, SIZES))
    work, book, size = checked_path("work", work), checked_path("book", book), SIZES[profile]
    name = f"three-{profile}"
    with Lock(work):
        asked = _features(name, size, Scenes(size.test, cameras=3), RUNS, work)
        held_out = Scenes(size.labels, seed=LABEL_SEED, split="label", cameras=3)
        labelled = _features(f"{name}-labels", size, held_out, TWIN_RUNS, work)
        table = pd.concat([answers(asked), labels(labelled)], ignore_index=True)
        about = {"width": size.width, "train": size.train, "epochs": size.epochs}
        table = table.assign(device=device_of([asked, labelled]), profile=profile, **about)
        write_table(table, book / "results", TABLE, COMMAND)


def _features(name: str, size: Size, data: Scenes, runs: tuple[RunId, ...], work: Path) -> Features:
    """Of every run, which is trained and extracted where it is not yet."""
    return extracted(name, runs, work, partial(_extract, name, size, data, work))


def _extract(name: str, size: Size, data: Scenes, work: Path, run: RunId, home: Path) -> None:
    kept = name.removesuffix("-labels")
    out = work / "weights" / kept / str(run)
    last = checkpoint(out, size.epochs)
    if not last.exists():
        seen = Scenes(size.train, split="train", cameras=3)
        cache = Cache.kept(seen, work / "samples" / f"{kept}.safetensors")
        model = build(run.fusion, cache.classes, seed=run.seed, width=size.width, others=HEAT)
        train(model, cache, out=out, seed=run.seed, checkpoints=[size.epochs], **size.recipe)
    extract_images(load_model(last), data, home, run={"curves": last.with_name("curves.parquet")})


def answers(features: Features) -> pd.DataFrame:
    """Scores under every set of modalities, what each of these is worth, and both axes of every pair.

    Parameters
    ----------
    features : Features
        Of `RUNS`.

    Returns
    -------
    DataFrame
        A row a number, as `Result.table`: "accuracy" and "utilisation" of the fused network, "feature similarity" and
        "semantic variance" of the twins.
    """
    parts = [
        collaboration(features, FUSION, measures=("accuracy", "utilisation")),
        joint(features, TWINS, measures=(SIMILARITY, VARIANCE), permutations=PERMUTATIONS),
    ]
    return pd.concat([part.to_frame() for part in parts], ignore_index=True)


def labels(features: Features, run: str = TWINS) -> pd.DataFrame:
    """The label of every planted concept by every pair of modalities, and whether it is right.

    Parameters
    ----------
    features : Features
        On planted scenes with a third camera.
    run : str, optional
        Default the twins.

    Returns
    -------
    DataFrame
        A row a concept and pair, `modality` and `versus`: measure "label", kind, label, expected, verdict ("right",
        "wrong", "undecided", or "" where a planted visibility is at the margin).
    """
    table = specificity(features, run, levels=[WHOLE], measures=["decodability", "label"]).table
    table = table[table["family"].astype(str).str.startswith("planted: ")]
    parts = []
    for a, b in combinations([m.name for m in features.modalities], 2):
        pair = table[table["modality"].isin([a, b]) & table["versus"].isin([a, b])]
        kind = pair["family"].str.removeprefix("planted: ")
        # of a pair, the kind is what the two visibilities make of it; a conjunction is one of those two that show it
        joined = (kind == "together") & ({a, b} == {"rgb", "depth"})
        of_pair = pair.assign(family=np.where(joined, "planted: together", "planted: graded"))
        found = expected_labels(of_pair).reset_index()
        said = np.select(
            [found["label"] == found["expected"], found["label"] == "undecided"], ["right", "undecided"], "wrong"
        )
        found = found.assign(modality=a, versus=b, verdict=np.where(found["judged"], said, ""), measure="label")
        parts.append(found.assign(kind=found["concept"].map(dict(zip(pair["concept"], kind, strict=True)))))
    return pd.concat(parts, ignore_index=True).drop(columns=["family", "judged"]).assign(n=len(features))
