"""From maps on disk: how every unit agrees with every concept over all cells, and images by what stands where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from scipy.stats import rankdata

from rgbd_insight.features import GRID, FeatureWriter, choose_images
from rgbd_insight.metrics.dissection import TopValues
from rgbd_insight.stats import group_codes, group_folds
from rgbd_insight.utils.files import room
from rgbd_insight.utils.threads import one_thread

FOLDS, TOP = 5, 0.005
VALUES = 1_000_000  # of maps that are held together, for images on grids
PANEL = 4_000_000  # and for profiles: of as many units together as have so many
ROWS = 65_536  # cells whose concepts are held together
EXACT = 2**24  # halves of whole numbers below it are float32
ON_GRIDS = 1000  # images, at most, that are compared by what stands where in their maps
REST = 1e-3  # relative error of all inner products together that coordinates may leave out


def profiles_of(writer: FeatureWriter, groups: Sequence[str]) -> dict[str, np.ndarray]:
    """Profiles and overlaps of the maps that a writer has kept for them.

    Parameters
    ----------
    writer : FeatureWriter
        With all samples written.
    groups : sequence of str
        Of the N samples; no fold divides one.

    Returns
    -------
    dict of str to ndarray of float16
        "stream/level/condition": 2·AUROC − 1 (F, U, K), NaN where all cells of a fold, or none, have the concept; and
        "stream/level/condition#iou" (U, K). Empty where there are fewer groups than folds.

    Notes
    -----
    Both are exact for the float32 means over cells, however many there are: ranks by sorting, and thresholds that the
    ⌊.005·n⌋ largest of a unit's n responses exceed. A tensor's maps lie on the disk image by image; they are written
    there once more unit by unit, so that all is read twice however many there are, four million responses at a time.

    Raises
    ------
    NotWritten
        Where the disk is full.
    """
    if not writer.map_units or len(set(groups)) < FOLDS:
        return {}
    fold, found = group_folds(groups, FOLDS), {}  # (N,)
    there = _Presence(writer, [np.flatnonzero(fold == f) for f in range(FOLDS)])
    n = there.folds[-1].stop
    with (
        room(writer.partial, "all samples are safe in it"),
        TemporaryDirectory(dir=writer.partial) as beside,
    ):
        for key, units in writer.map_units.items():
            read = _by_unit(writer, key, np.concatenate(there.samples), Path(beside) / "maps")
            step = max(1, PANEL // n)
            parts = [_profiles(read(u, min(u + step, units)), there) for u in range(0, units, step)]
            found[key] = np.concatenate([by_fold for by_fold, _ in parts], 1).astype(np.float16)  # (F, U, K)
            found[f"{key}#iou"] = np.concatenate([iou for _, iou in parts]).astype(np.float16)  # (U, K)
    return found


def grids_of(writer: FeatureWriter, groups: Sequence[str]) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Images by what stands where in the maps that a writer has kept: rows are images, features units x cells.

    Parameters
    ----------
    writer, groups : FeatureWriter, sequence of str
        As for `profiles_of`.

    Returns
    -------
    dict of str to ndarray
        "stream/level/condition#grid": coordinates (n, R), half precision; and "#grid": which images, int32 (n,).
    dict of str to float
        By how much the coordinates' inner products err, ‖K − K̂‖/‖K‖ (Frobenius).

    Notes
    -----
    K is the matrix of inner products of the centred maps, of at most a thousand images (whole groups, drawn by seed):
    neither memory nor disk grows with images, units or cells beyond that. Of its principal components as many are kept
    as leave out `REST` of ‖K‖. CKA is the cosine of two such matrices, so that it moves by less than the sum of both
    errors; debiased CKA leaves out the diagonal, and the errors count relative to what that leaves.
    """
    if not writer.map_units or len(set(groups)) < FOLDS:
        return {}, {}
    chosen = choose_images(group_codes(groups), ON_GRIDS)
    if len(chosen) < 2:
        return {}, {}
    found: dict[str, np.ndarray] = {GRID: chosen.astype(np.int32)}
    losses = {}
    for key, units in writer.map_units.items():
        found[f"{key}{GRID}"], losses[key] = _coordinates(writer, key, units, chosen)
    return found, losses


@one_thread
def _coordinates(writer: FeatureWriter, key: str, units: int, chosen: np.ndarray) -> tuple[np.ndarray, float]:
    """Coordinates (n, R) of the chosen images in a tensor's maps, and the error of their inner products."""
    cells = writer.present().shape[1]
    step = max(1, VALUES // (len(chosen) * cells))
    products = np.zeros((len(chosen), len(chosen)))
    for u in range(0, units, step):
        x = writer.maps(key, slice(u, u + step), chosen).reshape(len(chosen), -1).astype(float)
        x -= x.mean(0)
        products += x @ x.T
    products /= max(np.trace(products) / len(chosen), np.finfo(float).tiny)
    sizes, axes = np.linalg.eigh(products)
    sizes, axes = np.maximum(sizes[::-1], 0), axes[:, ::-1]
    left = np.sqrt(np.cumsum(sizes[::-1] ** 2)[::-1])  # of the components from each on
    kept = max(int((left > REST * left[0]).sum()), 1)
    coordinates = (axes[:, :kept] * np.sqrt(sizes[:kept])).astype(np.float16)
    wide = coordinates.astype(float)
    whole = np.linalg.norm(products)
    error = np.linalg.norm(products - wide @ wide.T) / whole if whole > 0 else 0.0
    return np.ascontiguousarray(coordinates), round(float(error), 6)


def _by_unit(writer: FeatureWriter, key: str, order: np.ndarray, path: Path) -> Callable[[int, int], np.ndarray]:
    """Write a tensor's maps unit by unit, images in an `order`; returns what reads units `u` to `v`, (v - u, n)."""
    units, (count, cells) = writer.map_units[key], writer.present().shape[:2]
    n, step = count * cells, max(1, PANEL // (units * cells))
    with open(path, "wb") as file:
        for start in range(0, count, step):
            part = writer.maps(key, slice(None), order[start : start + step])  # (images, U, g)
            for u, row in enumerate(np.ascontiguousarray(part.swapaxes(0, 1))):
                file.seek((u * n + start * cells) * row.itemsize)
                file.write(row.tobytes())

    def read(u: int, v: int) -> np.ndarray:
        return np.fromfile(path, np.float32, (v - u) * n, offset=u * n * 4).reshape(v - u, n)

    return read


class _Presence:
    """Which concepts are present in all cells: those of fold after fold, images in the order of `samples`.

    Parameters
    ----------
    writer : FeatureWriter
        Which has it on the disk.
    samples : list of ndarray of int
        The images of every fold.
    """

    def __init__(self, writer: FeatureWriter, samples: list[np.ndarray]) -> None:
        self.writer, self.samples = writer, samples
        _, self.cells, self.concepts = writer.present().shape
        ends = np.cumsum([0, *(len(part) * self.cells for part in samples)])
        self.folds = [slice(*pair) for pair in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)]
        self.positive = self.sums([np.ones((1, ends[-1]), bool)])[0]  # (F, 1, K), cells

    def sums(self, many: list[np.ndarray]) -> np.ndarray:
        """Sum (M, F, u, K), over the cells of each fold, of the products of M arrays (u, n) with what is present."""
        total = np.zeros((len(many), FOLDS, len(many[0]), self.concepts))
        for f, cells, there in self._parts():
            for i, values in enumerate(many):
                total[i, f] += values[:, cells].astype(float) @ there
        return total

    def _parts(self) -> Iterator[tuple[int, slice, np.ndarray]]:
        """Fold, which cells, and what is present in them (cells, K), some at a time."""
        start, step = 0, max(1, ROWS // self.cells)
        for f, samples in enumerate(self.samples):
            for s in range(0, len(samples), step):
                there = self.writer.present()[samples[s : s + step]].reshape(-1, self.concepts).astype(float)
                yield f, slice(start, start + len(there)), there
                start += len(there)


def _profiles(x: np.ndarray, there: _Presence) -> tuple[np.ndarray, np.ndarray]:
    """Profiles by fold (F, u, K) and intersections over unions (u, K), of responses (u, n).

    2·AUROC − 1 is by the sum of the positives' ranks, those of ties shared.
    """
    threshold = TopValues.from_maps(torch.from_numpy(x).T[..., None, None], top=TOP).thresholds().numpy()  # (u,)
    active = x > threshold[:, None]
    ranks = np.empty(x.shape, np.float32 if x.shape[1] < EXACT else float)
    for cells in there.folds:
        count = cells.stop - cells.start
        ranks[:, cells] = rankdata(x[:, cells], axis=1) - (count + 1) / 2  # centred: no large sums to cancel
    by_rank, both = there.sums([ranks, active])  # (F, u, K)
    pairs = there.positive * (np.array([c.stop - c.start for c in there.folds])[:, None, None] - there.positive)
    both = both.sum(0)
    either = active.sum(1)[:, None] + there.positive.sum(0) - both
    return 2 * by_rank / np.where(pairs > 0, pairs, np.nan), both / np.maximum(either, 1)
