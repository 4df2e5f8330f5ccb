"""Concepts at positions: what a cell is compared by, what features with and without cells answer, and the labels."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import rgbd_insight as ri
from rgbd_insight.data.concepts import image_concepts
from rgbd_insight.metrics import debiased_cka
from rgbd_insight.models import build
from rgbd_insight.questions.joint import SIMILARITY, VARIANCE
from rgbd_insight.questions.networks import networks
from rgbd_insight.questions.positions import (
    CUT,
    LOOKS,
    POSITIONS,
    Cells,
    cell_context,
    position_labels,
    things,
)
from rgbd_insight.stats import estimate
from tests.metrics.test_joint import naive


def _features() -> SimpleNamespace:
    """Three images of 2 x 2 cells: a wall everywhere, a lamp in one cell, a little of it in another, red beside it."""
    shares = np.zeros((12, 3), np.float32)
    shares[:, 0] = 1
    shares[1, :2] = 0.4, 0.6
    shares[2, 1] = 0.1
    shares[3, 2] = 0.8
    table = pd.DataFrame({"sample": np.repeat([0, 1, 2], 4), "row": np.tile([0.25, 0.25, 0.75, 0.75], 3)})
    table["column"] = np.tile([0.25, 0.75], 6)
    return SimpleNamespace(
        cell_shares=shares,
        cell_table=table,
        areas=shares.reshape(3, 4, 3).mean(1),
        concepts=pd.DataFrame({"name": ["wall", "lamp", "red"], "family": ["class", "class", "hue"]}),
        manifest={"cells": {"grid": [2, 2], "count": 4}},
    )


def test_a_cell_is_compared_by_other_things_in_it_the_rest_of_the_image_and_its_place():
    features = _features()
    found = cell_context(features)
    assert things(features).tolist() == [False, True, False]  # walls are widespread, red is a look
    assert found[:, :3].tolist() == [[0, float(i in (1, 2)), 0] for i in range(12)]  # a tenth is there too
    for i in range(12):  # what the other cells of its image hold
        others = [j for j in range(12) if j // 4 == i // 4 and j != i]
        assert found[i, 3:6] == pytest.approx(features.cell_shares[others].sum(0) / 4, abs=1e-6)
        row, column = features.cell_table.loc[i, ["row", "column"]]
        assert found[i, 6:] == pytest.approx([row, column, row**2, column**2, row * column])


def test_the_looks_are_those_that_images_are_measured_by():
    assert set(image_concepts(["wall"])[1]) - {"class"} == LOOKS
    assert 0 < CUT < 0.44  # a dome fills .44 of its cell


def _known(*values: float) -> object:
    noise = np.random.default_rng(0).normal(0, 0.1, (200, len(values)))
    noise -= noise.mean(0)
    return estimate(lambda i, _: values + noise[i].mean(0), np.arange(200), null=False)


def test_presence_and_absence_have_a_number_each():
    """Seen where the lower bound of the first is above the margin, absent where the upper of the second is below."""
    seen = [_known(0.9, 0.0, 0.9, 0.11, 0.0, 0.9), _known(0.11, 0.8, 0.9, 0.0, 0.0, 0.5)]
    absent = [_known(0.8, -0.1, 0.8, 0.0, -0.1, 0.8), _known(-0.1, 0.7, 0.8, -0.1, 0.09, 0.0)]
    labels = position_labels(seen, absent, names=("rgb", "depth"), margin=0.1)
    assert labels.tolist() == ["rgb", "depth", "both", "neither", "undecided", "undecided"]  # the last contradict


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    out, data = tmp_path_factory.mktemp("features"), ri.data.Scenes(n=260, seed=3)
    for fusion in ("rgb", "depth"):
        model = build(fusion, data.classes, width=8)
        ri.extract(model, data, out=out / "with", cells=12, run={"role": "final"}, progress=False)
        ri.extract(model, data, out=out / "without", run={"role": "final"}, progress=False)
    return out


def test_features_with_cells_answer_at_positions(twins):
    features = ri.load(twins / "with")
    found = ri.specificity(features, "twins", levels=[1, 0], measures=POSITIONS)
    assert set(found.table.measure) == set(POSITIONS)
    delta, gap = found.rows(POSITIONS[0]), found.rows(POSITIONS[1])
    sides = delta.pivot(index=["level", "concept"], columns="modality", values="value")
    wanted = (sides["rgb"] - sides["depth"]).loc[list(zip(gap.level, gap.concept, strict=True))]
    assert gap.value.to_numpy() == pytest.approx(wanted.to_numpy())
    assert delta[["value", "low", "high"]].notna().all(axis=None)
    assert (delta.n == 260 * 12).all()
    assert (gap.low <= gap.value).all()
    assert (gap.value <= gap.high).all()
    assert found.rows(POSITIONS[2]).label.isin(["rgb", "depth", "both", "neither", "undecided"]).all()
    assert set(found.rows(POSITIONS[3]).concept) <= set(gap.concept)
    assert all("at positions" in m.what for m in found.missing if "(concept" in m.what)


def test_features_without_cells_say_which_call_adds_them(twins):
    features = ri.load(twins / "without")
    found = ri.specificity(features, "twins", levels=[1], measures=["difference", POSITIONS[1]])
    assert found.rows(POSITIONS[1]).empty
    assert not found.rows("difference").empty
    (said,) = {m.call for m in found.missing if m.what.endswith("at positions")}
    assert "cells=16" in said
    everything = ri.specificity(features, "twins", levels=[0])
    assert not any(m.what.endswith("at positions") for m in everything.missing)  # nobody asked


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    """Two untrained twins of each modality, every cell of 120 scenes."""
    out, data = tmp_path_factory.mktemp("seeds"), ri.data.Scenes(n=120, seed=4)
    for fusion, seed in product(("rgb", "depth"), (0, 1)):
        model = build(fusion, data.classes, width=8, seed=seed)
        ri.extract(model, data, out=out, cells=12, run={"role": "final"}, progress=False)
    return ri.load(out)


def _cells_of(features, modality: str) -> list[np.ndarray]:
    return [features.cells(f"{modality}-s{seed}-e0", modality, 4).astype(float) for seed in (0, 1)]


def test_both_axes_at_positions_are_those_of_cells_with_images_as_groups(seeds):
    found = ri.joint(seeds, "twins", levels=[4], at="positions", permutations=20)
    rgb, depth = (_cells_of(seeds, m) for m in ("rgb", "depth"))
    raw = found.one(f"{SIMILARITY} raw")
    across = np.mean([debiased_cka(rgb[i], depth[1 - i]) for i in (0, 1)])
    assert [raw.value, raw.ceiling] == pytest.approx(
        [across, np.mean([debiased_cka(*rgb), debiased_cka(*depth)])], abs=1e-6
    )
    assert (raw.n, raw.groups) == (120 * 12, 120)
    kept = [x.reshape(120, 12, -1) for x in rgb]  # the null: cells of another image, each in the same place
    moved = [
        debiased_cka(kept[i][np.roll(range(120), s)].reshape(1440, -1), depth[1 - i])
        for s in (7, 31, 60, 99)
        for i in (0, 1)
    ]
    assert raw.null == pytest.approx(np.mean(moved), abs=0.02)
    assert raw.null > 0.02  # place alone makes them alike
    cells, nets = Cells(seeds), networks(seeds, "twins")
    both = [[cells.probe(x.astype(np.float32), nets.plan())[0] for x in side] for side in (rgb, depth)]
    by_fold = [np.stack([one.value[1:] for one in side]) for side in both]
    known = np.isfinite(by_fold).all((0, 1, 2)) & np.isfinite([one.se[0] for side in both for one in side]).all(0)
    between, floor, apart = naive(*(side[..., known] for side in by_fold))
    spoken = found.one(f"{VARIANCE} raw")
    assert [spoken.value, spoken.ceiling, spoken.null] == pytest.approx([between, floor, apart], abs=1e-6)
    assert spoken.low < spoken.value < spoken.high
    assert found.made["at"] == "positions"


def test_grids_answer_similarity_alone_and_say_so(seeds):
    found = ri.joint(seeds, "twins", levels=[4], at="grids", permutations=20)
    raw = found.one(f"{SIMILARITY} raw")
    rgb, depth = ([seeds.grids(f"{m}-s{s}-e0", m, 4).astype(float) for s in (0, 1)] for m in ("rgb", "depth"))
    assert raw.value == pytest.approx(np.mean([debiased_cka(rgb[i], depth[1 - i]) for i in (0, 1)]), abs=1e-6)
    assert raw.groups == 120
    assert not any(m.startswith(VARIANCE) for m in found.table.measure)
    assert {m.what for m in found.missing} >= {f"{VARIANCE} at grids"}


def test_one_checkpoint_has_positions_and_no_grids(twins):
    features = ri.load(twins / "with")
    found = ri.joint(features, "twins", levels=[4], at="grids", permutations=20)
    assert found.table.empty
    assert any("no halves" in m.why for m in found.missing)
    with pytest.raises(ValueError, match="`at` must be one of"):
        ri.joint(features, "twins", at="cells")
