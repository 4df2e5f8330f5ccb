"""Concepts of one's own: attributes of images in a table, or masks in a folder, read for the samples there are."""

from __future__ import annotations

import copy
import csv
import hashlib
import math
import warnings
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from rgbd_insight.features.cells import AtCells
from rgbd_insight.features.directory import cut
from rgbd_insight.features.schema import FeaturesError
from rgbd_insight.utils.reading import Unreadable, left_behind, open_image, open_table

COLUMNS = ("id", "concept", "value")
SHOWN, LONGEST = 3, 200  # ids that a message lists; characters of a header


@dataclass(frozen=True, eq=False)
class Own:
    """Concepts that were read from a table or a folder.

    Attributes
    ----------
    names : tuple of str
        In the order in which the source has them; each is a family of its own, as they need not exclude one another.
    areas : ndarray of float32 (N, K)
        Value or share of the image, in [0, 1], for the samples in their order.
    masks : dict of (str, str) to Path
        The mask of a concept in a sample, where the source is a folder.
    source, digest : str
        Its name, and the SHA-256 of what was read.
    """

    names: tuple[str, ...]
    areas: np.ndarray
    masks: dict[tuple[str, str], Path]
    source: str
    digest: str

    def __str__(self) -> str:
        many = f"{len(self.names)} concept{'s' if len(self.names) > 1 else ''}"
        return f"{self.source} ({many}, SHA-256 {self.digest[:12]})"


def read_own(source: str | Path, ids: Sequence[str], taken: Sequence[str], *, others: bool = False) -> Own:
    r"""Read concepts of one's own for the samples `ids`.

    Parameters
    ----------
    source : str or Path
        A .csv with the columns id, concept and value, 0 (not there) to 1 (there); or a folder with CONCEPT/ID.png, in
        which what is not 0 is there. What is not listed is not there.
    ids : sequence of str
        Of the samples.
    taken : sequence of str
        Names that other concepts have.
    others : bool, optional
        Whether the source may name samples that are not among `ids`, such as those of another split.

    Returns
    -------
    Own

    Raises
    ------
    FeaturesError
        For a file that is not as described; it names the line and the fix.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "places.csv"
    >>> _ = file.write_text("id,concept,value\na,indoors,1\nb,indoors,0\nb,crowded,0.5\n")
    >>> found = read_own(file, ["a", "b"], [])
    >>> found.names, found.areas.tolist()
    (('indoors', 'crowded'), [[1.0, 0.0], [0.0, 0.5]])
    """
    path, known = Path(source), {name: i for i, name in enumerate(ids)}
    read = _masks if path.is_dir() else _rows
    digest, names, masks = hashlib.sha256(), {}, {}
    values: dict[tuple[str, str], float] = {}
    unknown: list[str] = []
    for where, sample, concept, value, file in read(path, known):
        if sample not in known:
            unknown.append(sample)
            continue
        if (sample, concept) in values:
            raise FeaturesError(f"{where}: {concept!r} of {sample!r} is given again; leave one of the two out")
        if concept.encode(errors="replace").decode() != concept:
            raise FeaturesError(f"{where}: the concept {concept!r} must be a text in UTF-8: rename it")
        names.setdefault(concept)
        values[sample, concept] = value if file is None else float(read_mask(file).mean())
        if file is not None:
            masks[sample, concept] = file
        digest.update(f"{sample}\0{concept}\0{values[sample, concept]!r}\n".encode())
    _check(path, list(names), values, unknown, ids, taken, others=others)
    areas = np.zeros((len(ids), len(names)), np.float32)
    for (sample, concept), value in values.items():
        areas[known[sample], list(names).index(concept)] = value
    without = len(ids) - len({sample for sample, _ in values})
    if without:
        warnings.warn(
            f"{without} of {len(ids)} samples are not in {path}: its concepts count as not there in them", stacklevel=3
        )
    return Own(tuple(names), areas, masks, path.name, digest.hexdigest())


def cell_shares(own: Own, ids: Sequence[str], rows: np.ndarray, columns: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Share of each cell that carries each concept, float32 (C, K): an attribute is everywhere in its image.

    Parameters
    ----------
    own : Own
        From `read_own`.
    ids : sequence of str
        Of the N samples.
    rows, columns : ndarray of int (N, cells)
        Where the cells are in the grid.
    grid : sequence of int
        Its rows and columns.
    """
    shares = np.repeat(own.areas[:, None], rows.shape[1], 1)  # (N, cells, K)
    for n, sample in enumerate(ids):
        for k, name in enumerate(own.names):
            if (sample, name) in own.masks:
                shares[n, :, k] = _in_cells(read_mask(own.masks[sample, name]), grid)[rows[n], columns[n]]
    return shares.reshape(-1, len(own.names))


class Joins(AtCells):
    """What `Features` has of concepts of one's own."""

    samples: pd.DataFrame
    families: tuple[str, ...]
    own: tuple[Own, ...]

    @cached_property
    def cell_shares(self) -> np.ndarray:
        """Share of each cell that carries each concept, float32 (C, K), in [0, 1]; .5 or more is present."""
        stored = super().cell_shares
        if not self.own:
            return stored
        places, ids, grid = self.cell_places, self.samples["id"].tolist(), self.manifest["cells"]["grid"]
        added = [cell_shares(own, ids, places["row"], places["column"], grid) for own in self.own]
        return np.hstack([stored, *added])

    def _profiles(self, run: str, modality: str, level: int, part: str) -> np.ndarray:
        """Of concepts that were joined there are none, NaN: they are made from maps, which are not kept."""
        stored = super()._profiles(run, modality, level, part)
        more = len(self.concepts) - stored.shape[-1]
        return np.pad(stored, [(0, 0)] * (stored.ndim - 1) + [(0, more)], constant_values=np.nan) if more else stored

    def with_concepts(self, source: str | Path, *, others: bool = False) -> Self:
        """The same features with concepts of one's own beside those they have; nothing on the disk is changed.

        Parameters
        ----------
        source : str or Path
            A .csv with the columns id, concept and value (0, not there, to 1, there), or a folder with CONCEPT/ID.png
            (what is not 0 is there). What is not listed is not there.
        others : bool, optional
            Whether `source` may name samples that the features do not have, such as those of another split.

        Returns
        -------
        Features
            Questions take the concepts like any others, each as a family of its own, and their results name the source.

        Raises
        ------
        FeaturesError
            For a source that is not as described, names samples that are not there or a concept that is; it says where.

        Examples
        --------
        >>> import tempfile
        >>> from rgbd_insight.features import load
        >>> scenes, file = load("book/features/scenes"), Path(tempfile.mkdtemp()) / "bright.csv"
        >>> bright = (scenes.samples.brightness > scenes.samples.brightness.median()).astype(int)
        >>> scenes.samples.assign(concept="bright", value=bright)[["id", "concept", "value"]].to_csv(file, index=False)
        >>> scenes.with_concepts(file).concepts.name.iloc[-1]
        'bright'
        """
        own = read_own(source, self.samples["id"].tolist(), self.concepts["name"].tolist(), others=others)
        rows = [{"name": name, "family": name, "kind": "unknown"} for name in own.names]
        joined = copy.copy(self)
        for name in ("areas", "present", "cell_shares", "whole", "_pairs"):
            joined.__dict__.pop(name, None)  # what was cached is without them
        joined.own, joined.families = (*self.own, own), (*self.families, *own.names)
        cuts = [cut(own.areas[:, k]) for k in range(len(own.names))]
        more = pd.DataFrame(rows).assign(cut=cuts)
        joined.concepts = pd.concat([self.concepts, more], ignore_index=True).rename_axis("k")
        joined.concepts = joined.concepts[self.concepts.columns]
        return joined


def read_mask(file: Path) -> np.ndarray:
    """Where a mask is not 0, bool (H, W)."""
    try:
        with open_image(file) as image:
            pixels = np.asarray(image)
    except (Unreadable, OSError) as error:
        raise FeaturesError(f"{file} cannot be read as an image ({error}); write it again as PNG") from error
    if pixels.ndim != 2:
        raise FeaturesError(f"{file} must be a mask of one channel; got {pixels.shape}: save it in grey")
    return pixels > 0


def _in_cells(mask: np.ndarray, grid: Sequence[int]) -> np.ndarray:
    """Share of the pixels of every cell of a grid (rows, columns) at which a mask is true; by the pixels' centres."""
    cell = [(np.arange(n) * 2 + 1) * cells // (2 * n) for n, cells in zip(mask.shape, grid, strict=True)]
    which = cell[0][:, None] * grid[1] + cell[1]
    sizes, there = (np.bincount(which.ravel(), w, grid[0] * grid[1]) for w in (None, mask.ravel()))
    return (there / np.maximum(sizes, 1)).reshape(*grid)


def _rows(path: Path, _: Container[str]) -> Iterator[tuple[str, str, str, float, None]]:
    """Place, id, concept and value of every line of a table."""
    try:
        with open_table(path) as table:
            yield from _valued(path, table)
    except (Unreadable, OSError) as error:
        raise FeaturesError(
            f"{path} cannot be read ({error}); name a .csv with the columns {', '.join(COLUMNS)}, or a folder of masks"
        ) from error


def _valued(path: Path, table: csv.DictReader) -> Iterator[tuple[str, str, str, float, None]]:
    """What `_rows` yields of an open table."""
    header = table.fieldnames or ()
    if sorted(header) != sorted(COLUMNS):
        raise FeaturesError(
            f"{path} must have the columns {', '.join(COLUMNS)}; got {', '.join(header)[:LONGEST] or 'none'}"
        )
    for row in table:
        where = f"{path}, line {table.line_num}"
        sample, concept, value = ((row[name] or "").strip() for name in COLUMNS)
        if None in row or not sample or not concept:
            raise FeaturesError(f"{where}: it must hold {', '.join(COLUMNS)}; got {list(row.values())}")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 <= number <= 1:
            raise FeaturesError(
                f"{where}: `value` must be a number from 0 (not there) to 1 (there); got {value!r}: scale it, or write "
                "a concept for each of its values"
            )
        yield where, sample, concept, number, None


def _masks(path: Path, ids: Iterable[str]) -> Iterator[tuple[str, str, str, float, Path]]:
    """Place, id, concept and (for its share of the image) file of every mask of a folder."""
    deepest = max(name.count("/") for name in ids)  # an id may have folders in it; below them there is nothing of ours
    for folder in sorted(p for p in path.iterdir() if p.is_dir() and not left_behind(Path(p.name))):
        for file in _files(folder, deepest):
            if file.suffix.lower() == ".png":
                yield str(file), file.relative_to(folder).with_suffix("").as_posix(), folder.name, math.nan, file


def _files(folder: Path, deepest: int) -> Iterator[Path]:
    """Files of a folder and of those in it, `deepest` folders down, by their names."""
    try:
        inside = sorted(path for path in folder.iterdir() if not left_behind(Path(path.name)))
    except OSError as error:
        raise FeaturesError(f"{folder} cannot be read ({error.strerror}); masks are CONCEPT/ID.png") from error
    for path in inside:
        if not path.is_dir():
            yield path
        elif deepest:
            yield from _files(path, deepest - 1)
        else:
            raise FeaturesError(
                f"{path} is a folder, and the ids of the data lead to none there; masks are CONCEPT/ID.png: name the "
                "folder that holds those of the concepts, or take it away"
            )


def _check(
    path: Path,
    names: Sequence[str],
    values: dict,
    unknown: Sequence[str],
    ids: Sequence[str],
    taken: Sequence[str],
    *,
    others: bool,
) -> None:
    """Raise a FeaturesError where nothing was found, or what was found cannot be joined."""
    if not values:
        ends = f"its ids are {', '.join(unknown[:SHOWN])} …" if unknown else "it lists none"
        raise FeaturesError(f"{path} must name samples of the data, {', '.join(ids[:SHOWN])} …; {ends}: use their ids")
    if unknown and not others:
        raise FeaturesError(
            f"{path} names {len(set(unknown))} samples that the data do not have, {', '.join(unknown[:SHOWN])} …: take "
            "them out, or give others=True where they are of another split"
        )
    again = [name for name in names if name in taken]
    if again:
        raise FeaturesError(f"{path} has a concept {again[0]!r}, and so have the data: rename it")
