"""From maps on disk: how every unit agrees with every concept over all cells, and images by what stands where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.stats import rankdata

from rgbd_insight.features import GRID, FeatureWriter, choose_images
from rgbd_insight.metrics.dissection import TopValues
from rgbd_insight.stats import group_codes, group_folds
from rgbd_insight.utils.threads import one_thread

FOLDS, TOP = 5, 0.005
VALUES = 1_000_000  # of maps that are held together
ROWS = 65_536  # cells whose concepts are held together
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
    ⌊.005·n⌋ largest of a unit's n responses exceed. As many units are read at a time as have a million responses;
    memory grows with the images only where one unit has more.
    """
    if not writer.map_units or len(set(groups)) < FOLDS:
        return {}
    present, found = writer.present(), {}  # (N, g, K)
    cells = present.shape[1]
    fold = np.repeat(group_folds(groups, FOLDS).astype(np.int8), cells)  # (N·g,)
    step = max(1, VALUES // len(fold))
    for key, units in writer.map_units.items():
        parts = [
            _profiles(writer.maps(key, slice(u, u + step)), present.reshape(len(fold), -1), fold)
            for u in range(0, units, step)
        ]
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


def _profiles(maps: np.ndarray, present: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Profiles by fold (F, u, K) and intersections over unions (u, K), of maps (N, u, g)."""
    threshold = TopValues.from_maps(torch.from_numpy(maps).unsqueeze(2), top=TOP).thresholds().numpy()  # (u,)
    x = maps.transpose(0, 2, 1).reshape(len(fold), -1)  # (N·g, u)
    by_fold = [_agreement(x, present, np.flatnonzero(fold == f)) for f in range(FOLDS)]
    active = x > threshold
    both = _product(active, present, np.arange(len(fold)))  # (u, K)
    either = active.sum(0)[:, None] + present.sum(0) - both
    return np.stack(by_fold), both / np.maximum(either, 1)


def _agreement(x: np.ndarray, present: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """2·AUROC − 1 (u, K) among some rows, by the sum of the positives' ranks, those of ties shared."""
    ranks = rankdata(x[rows], axis=0) - (len(rows) + 1) / 2  # (n, u), centred: no large sums to cancel
    positive = _product(np.ones((len(rows), 1), bool), present, rows)[0]  # (K,)
    pairs = positive * (len(rows) - positive)
    return 2 * _product(ranks, present, rows) / np.where(pairs > 0, pairs, np.nan)


def _product(left: np.ndarray, present: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Sum (u, K) over `rows` of the products of `left` (n, u), a row each, and `present`."""
    cuts = range(0, len(rows), ROWS)
    return sum(left[s : s + ROWS].T.astype(float) @ present[rows[s : s + ROWS]].astype(float) for s in cuts)
