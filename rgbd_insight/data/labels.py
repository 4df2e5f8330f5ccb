"""What a folder says is to be predicted: a class or a number, of every pixel or image, or nothing."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbd_insight.data.camera import Stored, declared, read_json
from rgbd_insight.data.reading import read_label
from rgbd_insight.utils.messages import unknown
from rgbd_insight.utils.reading import Unreadable, open_table

PIXELS, TARGETS, TABLE = "label", "target", "labels.csv"
ABOUT = 'it holds the class names, {"names": ["wall", …]}'


@dataclass(frozen=True)
class Labels:
    """Labels of one kind.

    Attributes
    ----------
    classes : tuple of str
        What is predicted; empty for numbers.
    folder : str or None
        That of one image an ID: "label" or "target".
    stored : Stored or None
        How images in target/ are to be read.
    table : mapping of str to ndarray
        The class (int64, no axis) or the numbers (float32, (D,)) of an image.
    beside : tuple of Path
        Files that say it, beside the images and classes.json.
    """

    classes: tuple[str, ...] = ()
    folder: str | None = None
    stored: Stored | None = None
    table: Mapping[str, np.ndarray] = field(default_factory=dict)
    beside: tuple[Path, ...] = ()

    @property
    def named(self) -> tuple[str, ...]:
        """Classes that pixels have, which are concepts too."""
        return self.classes if self.folder == PIXELS else ()

    def check(self, ids: Sequence[str]) -> None:
        """Raise a ValueError where a table leaves out an image."""
        without = [name for name in ids if name not in self.table] if self.table else []
        if without:
            raise ValueError(
                f"{self.beside[0]} must have a line for every image; {without[0]!r} and {len(without) - 1} more have "
                "none: add them, or take these IDs out of splits.json"
            )

    def read(self, name: str, file: Path | None) -> np.ndarray | float:
        """What is known of an image: (H, W) where there is a file of it; NaN where there are no labels at all."""
        if self.folder == PIXELS:
            return read_label(file, len(self.classes))
        if self.folder == TARGETS:
            stored = self.stored.read(file)  # (H, W, 1)
            return np.where(self.stored.known(stored), self.stored.values(stored)[..., 0], np.float32(np.nan))
        return self.table.get(name, np.nan)

    def tensor(self, labels: np.ndarray) -> Tensor | None:
        """Labels of a batch, as `Batch.labels` has them."""
        if self.folder is None and not self.table:
            return None
        found = torch.from_numpy(labels)
        return found if found.is_floating_point() else found.long()


def read_labels(path: Path) -> Labels:
    r"""The kind of labels that a folder has, with those that are in a table.

    Raises
    ------
    ValueError
        Where there are several kinds, or one is not as it must be; it names the file.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp())
    >>> read_labels(path).classes
    ()
    >>> _ = (path / "labels.csv").write_text("id,age\na,3\nb,\n")
    >>> {name: numbers.tolist() for name, numbers in read_labels(path).table.items()}
    {'a': [3.0], 'b': [nan]}
    """
    found = [name for name in (PIXELS, TARGETS, TABLE) if (path / name).exists()]
    if len(found) > 1:
        raise ValueError(f"{path} must have labels of one kind; got {' and '.join(found)}: move one away")
    if found == [PIXELS]:
        return Labels(_classes(path / "classes.json"), PIXELS)
    classes = _classes(path / "classes.json") if (path / "classes.json").exists() else ()
    if found == [TARGETS]:
        file = path / "target.json"
        try:
            (stored,) = declared([{"name": "target", **read_json(file, "it says how target/ID.png is to be read")}])
        except (KeyError, TypeError) as error:
            raise ValueError(
                f"{file} must declare unit, scale, low and high, as of a modality in camera.json; got {error}"
            ) from None
        return Labels((), TARGETS, stored, beside=(file,))
    return _table(path / TABLE, classes) if found else Labels(classes)


def _table(file: Path, classes: tuple[str, ...]) -> Labels:
    """The class or the numbers of every image that labels.csv lists."""
    try:
        with open_table(file) as rows:
            return _listed(file, rows, classes)
    except Unreadable as error:
        raise ValueError(f"{file} must be a table, id and what is known of it with a comma between; {error}") from None


def _listed(file: Path, rows: csv.DictReader, classes: tuple[str, ...]) -> Labels:
    """What `_table` says, of an open table."""
    header = list(rows.fieldnames or ())
    if header[:1] != ["id"] or len(header) < 2 or ("label" in header and len(header) > 2):
        raise ValueError(
            f"{file} must have the columns id and label, or id and numbers; got {', '.join(header) or 'none'}"
        )
    named = header == ["id", "label"]
    table: dict[str, np.ndarray | np.int64] = {}
    if named and not classes:
        raise ValueError(f"{file.with_name('classes.json')} is missing; {ABOUT}")
    for row in rows:
        where, name = f"{file}, line {rows.line_num}", (row["id"] or "").strip()
        words = [(row[column] or "").strip() for column in header[1:]]
        if not name or name in table or None in row:
            raise ValueError(f"{where} must name another image, and no more than {', '.join(header)}; got {name!r}")
        if named:
            if words[0] not in classes:
                raise ValueError(f"{where}: {unknown('label', words[0], classes)}")
            table[name] = np.int64(classes.index(words[0]))
        else:
            table[name] = np.array([_number(word, where) for word in words], np.float32)
    if not table:
        raise ValueError(f"{file} must list images; it lists none")
    return Labels(classes if named else (), table=table, beside=(file,))


def _number(word: str, where: str) -> float:
    try:
        value = float(word or "nan")
    except ValueError:
        value = np.inf
    if np.isinf(value):
        raise ValueError(f"{where} must hold finite numbers, or nothing where one is unknown; got {word!r}")
    return value


def _classes(file: Path) -> tuple[str, ...]:
    """Class names, from a list or from {"names": […]}."""
    found = read_json(file, ABOUT)
    names = found.get("names") if isinstance(found, dict) else found
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{file} must be a list of names or {{"names": […]}}; got {str(found)[:60]}')
    if len(set(names)) < len(names) or len(names) > 255:
        raise ValueError(f"{file} must hold 1…255 names, each once; got {len(names)}, {len(set(names))} different")
    if isinstance(found, dict) and found.get("ignore_index", 255) != 255:
        raise ValueError(f"{file} must have ignore_index 255; got {found['ignore_index']}. Store 255 in the labels.")
    return tuple(names)
