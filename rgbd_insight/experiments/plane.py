"""The plane of both axes, of every network of the committed features: what the book's first figure is drawn from."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from rgbd_insight.features import SUMS, Features, load, write_table
from rgbd_insight.questions.joint import MEASURES, SCORE, SIMILARITY, VARIANCE, joint
from rgbd_insight.questions.networks import TWINS
from rgbd_insight.utils.files import digest

COMMAND = "rgbd-insight campaign plane"
DATA = ("scenes", "nyuv2")


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
            table = joint(features, run, measures=measures).table.dropna(axis="columns", how="all")
            parts.append(table.assign(data=data, role=role, features=digest(home / SUMS)))
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
