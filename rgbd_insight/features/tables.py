"""Tables that take too long for a chapter, each committed with its digest and the command that makes it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from rgbd_insight.features.files import read_parquet
from rgbd_insight.features.schema import FeaturesError
from rgbd_insight.utils.files import as_json, digest, whole, write_parquet
from rgbd_insight.utils.messages import unknown
from rgbd_insight.utils.reading import read_json

COMMAND = "make features"


def write_table(table: pd.DataFrame, out: Path, name: str, command: str, code: Mapping[str, str] | None = None) -> None:
    """Write `name`.parquet, and its digest and command into index.json; each file is whole or not there.

    Parameters
    ----------
    table : DataFrame
        What is written, without its index.
    out : Path
        The folder.
    name : str
        Of the table.
    command : str
        What makes it again, as typed in a terminal.
    code : mapping of str to str, optional
        Module → digest of its code, where the table says by which code it was made.

    Examples
    --------
    >>> import tempfile
    >>> out = Path(tempfile.mkdtemp())
    >>> write_table(pd.DataFrame({"x": [1]}), out, "ones", "make ones")
    >>> read_table(out, "ones")["x"].tolist()
    [1]
    """
    path, index = out / f"{name}.parquet", out / "index.json"
    write_parquet(path, table)
    with whole(index) as partial:  # nobody else adds a table meanwhile
        known = _index(out) if index.exists() else {}
        entry = {"file": path.name, "sha256": digest(path), "command": command, "rows": len(table)}
        known[name] = entry | ({"code": dict(code)} if code else {})
        partial.write_text(as_json(known), encoding="utf-8", newline="\n")


def read_table(folder: str | Path, name: str) -> pd.DataFrame:
    """A committed table, its digest checked.

    Parameters
    ----------
    folder : str or Path
        Holds index.json.
    name : str
        Of the table.

    Returns
    -------
    DataFrame
        As it was given to `write_table`.

    Raises
    ------
    FeaturesError
        Where the index or the table is missing, or the table is not the one that was written.

    Examples
    --------
    >>> read_table("book/results", "certificate").columns[:4].tolist()
    ['concept', 'kind', 'modality', 'seed']
    """
    entry = read_entry(folder, name)
    path = Path(folder) / entry["file"]
    if not path.is_file() or digest(path) != entry["sha256"]:
        raise FeaturesError(f"{path} is not the table that was written; make it again with `{entry['command']}`")
    return read_parquet(path, entry.get("rows"))


def read_entry(folder: str | Path, name: str) -> dict:
    """What the index says of a table: file, sha256, command, rows, and code where the table tells which made it.

    Parameters
    ----------
    folder : str or Path
        Holds index.json.
    name : str
        Of the table.

    Raises
    ------
    FeaturesError
        Where the index is missing or damaged, or does not know the table.

    Examples
    --------
    >>> read_entry("book/results", "certificate")["rows"]
    100
    """
    known = _index(folder)
    if name not in known:
        raise FeaturesError(unknown("name", name, known))
    return known[name]


def table_names(folder: str | Path) -> list[str]:
    """Names of the tables in a folder.

    Raises
    ------
    FeaturesError
        Where the index is missing or damaged.

    Examples
    --------
    >>> "certificate" in table_names("book/results")
    True
    """
    return list(_index(folder))


def _index(folder: str | Path) -> dict[str, dict]:
    """Name of each table → what the index says of it."""
    index = Path(folder) / "index.json"
    if not index.is_file():
        raise FeaturesError(f"{index} does not exist; make the tables with `{COMMAND}`")
    try:
        known = read_json(index)
        for entry in known.values():
            index.with_name(entry["file"]), entry["sha256"], entry["command"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FeaturesError(f"{index} is damaged ({error!r}); restore it or make the tables with `{COMMAND}`") from None
    return known
