"""Where in the image a unit responds: its most active pixels, and how well they cover a concept."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from rgbd_insight import stats
from rgbd_insight.data.batch import Dataset
from rgbd_insight.extraction import at_rest
from rgbd_insight.features import partners
from rgbd_insight.hooks import trace
from rgbd_insight.metrics.dissection import TopValues, active_pixels, iou_statistic
from rgbd_insight.models import Network
from rgbd_insight.result import numbers

KINDS = ("rgb", "depth", "both")  # of concepts, by who shows them
IMAGES = 4  # of each unit


def locate(model: Network, data: Dataset, block: int = 64) -> pd.DataFrame:
    """The units whose most active pixels cover a concept best, of both modalities, and where these pixels are.

    Parameters
    ----------
    model : Network
        With a stream of each modality; each is read with the other input of another scene's.
    data : Dataset
        With concept maps.
    block : int, optional
        Images at a time.

    Returns
    -------
    DataFrame
        A row an image, of one unit for each level and kind of concept: stream, level, kind, unit, concept, value (IoU
        of network dissection), low, high, null, null_high, p, n, groups, image (its index, the one with the highest
        peak first), mask (its active pixels, packed bits), height, width, and fingerprint (of `data`, JSON). Unit and
        concept are chosen on half of the groups; the numbers and the images are of the other half.
    """
    concepts = torch.cat([data.batch(range(i, min(i + block, len(data)))).concepts for i in range(0, len(data), block)])
    kinds = np.array([concept.kind for concept in data.concepts])
    rows = []
    for index, modality in enumerate(data.modalities):
        for level, maps in _maps(model, data, index, block).items():
            thresholds = TopValues.from_maps(maps).thresholds()
            for kind in (kind for kind in KINDS if kind in kinds):
                found = _best(maps, thresholds, concepts, np.flatnonzero(kinds == kind), data)
                rows += [{"stream": modality.name, "level": level, "kind": kind} | row for row in found]
    return pd.DataFrame(rows).assign(
        height=data.size[0], width=data.size[1], fingerprint=json.dumps(data.fingerprint(), sort_keys=True)
    )


def _maps(model: Network, data: Dataset, index: int, block: int) -> dict[int, Tensor]:
    """Maps (N, U, h, w) of a modality's stream by level, the other input being another scene's."""
    partner = partners(data.groups, 1)[0]
    taps = [tap for tap in model.taps() if tap.stream == data.modalities[index].name]
    found: dict[int, list[Tensor]] = {tap.level: [] for tap in taps}
    with at_rest(model, None) as device:
        for start in range(0, len(data), block):
            rows = range(start, min(start + block, len(data)))
            own, other = data.batch(rows).to(device), data.batch(partner[rows.start : rows.stop].tolist()).to(device)
            given = [(own if i == index else other).inputs[m.name] for i, m in enumerate(data.modalities)]
            with trace(model, taps) as now:
                model(*given)
            for tap, maps in now.items():
                found[tap.level].append(maps.float().cpu())
    return {level: torch.cat(parts) for level, parts in found.items()}


def _best(maps: Tensor, thresholds: Tensor, concepts: Tensor, wanted: np.ndarray, data: Dataset) -> list[dict]:
    """The rows of the unit and the concept, among `wanted`, with the largest IoU on half of the groups."""
    fold = stats.group_folds(data.groups, 2)
    chosen, judged = (np.flatnonzero(fold == f) for f in (0, 1))
    every = iou_statistic(maps[chosen], thresholds, concepts[chosen], len(data.concepts))(*2 * [np.arange(len(chosen))])
    u, at = np.unravel_index(every[:, wanted].argmax(), (every.shape[0], len(wanted)))
    k = int(wanted[at])
    unit, threshold = maps[judged][:, [u]], thresholds[[u]]
    only = torch.where((concepts[judged] == k).any(1, keepdim=True), 0, -1)  # (n, 1, H, W)
    covers = iou_statistic(unit, threshold, only, 1)
    found = stats.estimate(lambda rows, partner: float(covers(rows, partner)[0, 0]), np.asarray(data.groups)[judged])
    shown = _peaks(unit, np.asarray(data.groups)[judged])
    pixels = active_pixels(unit[shown], threshold, tuple(data.size))
    masks = np.zeros((len(shown), data.size[0] * data.size[1]), bool)
    masks[pixels.image, pixels.pixel] = True
    cells = {"unit": int(u), "concept": data.concepts[k].name} | numbers(found)
    return [
        cells | {"image": int(judged[i]), "mask": np.packbits(mask).tobytes()}
        for i, mask in zip(shown, masks, strict=True)
    ]


def _peaks(unit: Tensor, groups: np.ndarray) -> np.ndarray:
    """Indices of the images (n, 1, h, w) with the highest peaks, one a group."""
    order = unit.flatten(1).max(1).values.argsort(descending=True, stable=True).numpy()
    _, first = np.unique(groups[order], return_index=True)
    return order[np.sort(first)[:IMAGES]]
