"""Tables that take too long for a chapter, each committed with its digest and the command that makes it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd

from rgbd_insight.features.files import FeaturesError

COMMAND = "make features"


def write_table(table: pd.DataFrame, out: Path, name: str, command: str) -> None:
    """Write `name`.parquet, and its digest and command into index.json."""
    path, index = out / f"{name}.parquet", out / "index.json"
    table.to_parquet(path, index=False, compression="zstd")
    known = json.loads(index.read_text()) if index.exists() else {}
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known[name] = {"file": path.name, "sha256": digest, "command": command, "rows": len(table)}
    index.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def read_table(folder: str | Path, name: str) -> pd.DataFrame:
    """A committed table, its digest checked.

    Parameters
    ----------
    folder : holds index.json.
    name : of the table.

    Raises
    ------
    FeaturesError
        Where the index or the table is missing, or the table is not the one that was written.

    Examples
    --------
    >>> read_table("book/results", "certificate").columns[:4].tolist()
    ['concept', 'kind', 'modality', 'seed']
    """
    index = Path(folder) / "index.json"
    if not index.is_file():
        raise FeaturesError(f"{index} does not exist; make the tables with `{COMMAND}`")
    try:
        known = json.loads(index.read_text())
        places = {n: (index.with_name(e["file"]), e["sha256"], e["command"]) for n, e in known.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise FeaturesError(f"{index} is damaged ({error!r}); restore it or make the tables with `{COMMAND}`") from None
    if name not in places:
        raise FeaturesError(f"`name` must be one of {', '.join(places)}; got {name!r}")
    path, digest, command = places[name]
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise FeaturesError(f"{path} is not the table that was written; make it again with `{command}`")
    return pd.read_parquet(path)
