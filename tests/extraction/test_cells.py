"""Responses at cells: what is kept is what the network does there, however it is cut into blocks or interrupted."""

import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from rgbd_insight.extraction import extract, profiles
from rgbd_insight.extraction.cells import area_pooled
from rgbd_insight.features import FeaturesError, choose_cells, guests, load, write_quantised
from rgbd_insight.hooks import Tap
from rgbd_insight.stats import group_folds
from tests._toy import ToyData, ToyNet, ToyTwin
from tests.extraction.test_extraction import contents, script

COUNT, GRID = 6, (3, 4)  # cells of an image, in 2 x 3 blocks of the coarsest tap's grid
TAPS = [Tap("rgb", 1, "rgb1"), Tap("depth", 1, "depth1"), Tap("rgb", 2, "pool"), Tap("fused", 3, "odd")]


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the last bits of a convolution depend on the number of threads
    yield
    torch.set_num_threads(threads)


class Deep(ToyNet):
    """Maps of 8 x 8, 4 x 4, and 3 x 4, which divides neither."""

    def __init__(self, width=3):
        super().__init__(width=width)
        self.pool, self.odd = nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(GRID)

    def taps(self):
        return TAPS

    def maps(self, rgb, depth):
        """By stream and level, as numbers alone."""
        a, b = self.rgb1(rgb), self.depth1(depth)
        fused = torch.relu(a + self.mix(b))
        return {("rgb", 1): a, ("depth", 1): b, ("rgb", 2): self.pool(a), ("fused", 3): self.odd(fused)}, fused

    def forward(self, rgb, depth):
        return self.head(self.maps(rgb, depth)[1])


def run(out, model=None, data=None, **options):
    options = {"batch_size": 5, "progress": False, "device": "cpu", "cells": COUNT} | options
    return extract(model or Deep(), ToyData() if data is None else data, out=out, **options)


@pytest.fixture(scope="module")
def extracted(tmp_path_factory):
    return run(tmp_path_factory.mktemp("cells") / "f")


def means(maps, grid):
    """Mean over each cell of a grid, from as many copies of each position as the grid has rows and columns."""
    x = np.asarray(maps, np.float64)
    (h, w), (rows, columns) = x.shape[-2:], grid
    x = x.repeat(rows, -2).repeat(columns, -1)  # (…, h·rows, w·columns)
    return x.reshape(*x.shape[:-2], rows, h, columns, w).mean((-3, -1))


def at(grids, ids):
    """Rows (C, U) of maps (N, U, rows, columns) at the cells that are kept of each image."""
    cells = choose_cells(ids, GRID, COUNT)
    return np.array([grids[i][:, r, c] for i in range(len(ids)) for r, c in cells[i]])


@torch.no_grad()
def test_cells_are_the_means_of_the_maps_over_their_area(extracted):
    data, model = ToyData(), Deep()
    own, ids = data.batch(range(12)), [f"s{i}" for i in range(12)]
    maps, _ = model.maps(*own.inputs.values())
    others = (data.batch(row.tolist()).inputs["depth"] for row in guests(data.groups, 4).table)
    beside = [model.maps(own.inputs["rgb"], other)[0] for other in others]
    isolated = {place: torch.stack([m[place] for m in beside]).mean(0) for place in maps}
    for found, made, condition in ((maps, "both", "both"), (isolated, "rgb", None)):
        for stream, level in (("rgb", 1), ("rgb", 2), ("fused", 3)):
            got = extracted.cells("sum", "rgb" if level < 3 else "fused", level, condition or "rgb")
            want = at(means(found[stream, level], GRID), ids)
            step = (want.max(0) - want.min(0)) / 255  # one byte a value
            assert got.shape == want.shape == (12 * COUNT, 3) and got.dtype == np.float32
            assert (np.abs(got - want) <= 0.51 * step + 1e-5).all(), (stream, level, made)
    assert (extracted.cells("sum", "rgb", 3) == extracted.cells("sum", "fused", 3, "rgb")).all()
    assert extracted.entry("sum")["cells"]["loss"]["rgb/2/rgb"] < 0.01


def test_the_table_and_the_shares_of_cells(extracted):
    table, shares, ids = extracted.cell_table, extracted.cell_shares, [f"s{i}" for i in range(12)]
    cells = choose_cells(ids, GRID, COUNT)  # (12, COUNT, 2)
    assert extracted.manifest["cells"] == {"grid": list(GRID), "count": COUNT} and extracted.manifest["schema"] == 2
    assert table.columns.tolist() == ["sample", "group", "row", "column"] and len(table) == 12 * COUNT
    assert table["sample"].tolist() == np.repeat(range(12), COUNT).tolist()
    assert (table["group"] == table["sample"] // 2).all()
    np.testing.assert_allclose(table[["row", "column"]], (cells.reshape(-1, 2) + 0.5) / GRID)
    batch = ToyData().batch(range(12))
    centre = (np.arange(8) + 0.5) / 8
    for k in range(3):
        there = (batch.concepts == k).any(1).numpy()  # (12, 8, 8)
        for c, (row, column) in enumerate(cells.reshape(-1, 2)):
            inside = np.ix_(np.floor(centre * GRID[0]) == row, np.floor(centre * GRID[1]) == column)
            assert abs(shares[c, k] - there[c // COUNT][inside].mean()) <= 0.5 / 255 + 1e-6
    assert shares.dtype == np.float32 and {0.0, 1.0} <= {*shares[:, 1].tolist()}


def test_one_cell_is_drawn_in_every_block_of_the_grid():
    cells = choose_cells([f"image {i}" for i in range(2000)], (6, 9), 16)  # 4 x 4 blocks of 1 or 2 by 2 or 3
    rows, columns = np.arange(5) * 6 // 4, np.arange(5) * 9 // 4
    for block, (r, c) in enumerate(np.ndindex(4, 4)):
        found = {(int(a), int(b)) for a, b in cells[:, block]}
        assert found == {(a, b) for a in range(rows[r], rows[r + 1]) for b in range(columns[c], columns[c + 1])}
    again = choose_cells(["image 7"], (6, 9), 16)
    assert (again[0] == cells[7]).all()
    means = cells[:, 0].mean(0)  # of rows and columns 0 to 0 and 0 to 1
    assert abs(means[1] - 0.5) < 0.05


@pytest.mark.parametrize("shape", [(8, 12), (6, 8), (5, 7), (3, 4), (2, 3), (1, 1)])
def test_area_pooling_is_exact_at_any_size(shape):
    maps = torch.rand(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(area_pooled(maps, GRID), means(maps, GRID), rtol=1e-5)


def test_the_averages_are_the_same_bytes_with_and_without_cells(extracted, tmp_path):
    without = contents(run(tmp_path / "f", cells=0).path)
    assert json.loads(without["manifest.json"])["schema"] == 1 and "cells" not in json.loads(without["manifest.json"])
    kept = contents(extracted.path)
    assert all(kept[name] == without[name] for name in without if name != "manifest.json")
    names = ("cells.safetensors", "sum-s0-e3.cells.safetensors", "sum-s0-e3.profiles.safetensors")
    assert kept.keys() - without.keys() == {*names}
    features = load(tmp_path / "f")
    assert not features.has_cells("sum") and extracted.has_cells("sum")
    for ask in (lambda: features.cells("sum", "rgb", 1), lambda: features.cell_table, lambda: features.cell_shares):
        with pytest.raises(FeaturesError, match=r"no responses at cells.*ri\.extract\(.*cells=16"):
            ask()
    with pytest.raises(FeaturesError, match=r"has, at cells, depth/1/both.*and not 'depth/1/rgb'"):
        extracted.cells("sum", "depth", 1, "rgb")


@pytest.mark.parametrize("size", [1, 4, 12])
def test_cells_are_the_same_in_blocks_of_any_size(extracted, tmp_path, size):
    kept, other = contents(extracted.path), contents(run(tmp_path / "f", batch_size=size).path)
    for name in ("cells.safetensors", "sum-s0-e3.cells.safetensors"):
        assert kept[name] == other[name]


def test_cells_are_added_to_a_finished_run(extracted, tmp_path):
    run(tmp_path / "f", cells=0)
    more = run(tmp_path / "f")
    stamp = (tmp_path / "f" / "manifest.json").stat().st_mtime_ns
    run(tmp_path / "f")
    run(tmp_path / "f", cells=0)  # nothing left to do, nothing lost
    assert (tmp_path / "f" / "manifest.json").stat().st_mtime_ns == stamp
    for key in extracted.cell_files("sum"):
        stream, level, condition = key.split("/")
        want = extracted.cells("sum", stream, int(level), condition)
        assert (more.cells("sum", stream, int(level), condition) == want).all()
    assert more.conditions("sum") == extracted.conditions("sum")
    assert (more.view("sum", "rgb", 1) == extracted.view("sum", "rgb", 1)).all()
    assert more.execution["runs"][1]["cells"] == ["both", "rgb", "depth"]


def test_killed_and_resumed_ends_in_the_same_bytes(tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    run(whole, ToyNet(), batch_size=3)
    died = script("die", torn, TOY_KILL_AT="6", TOY_CELLS=str(COUNT))
    assert died.returncode == -9, died.stderr
    with pytest.raises(FeaturesError, match="'cells'"):
        run(torn, ToyNet(), batch_size=3, cells=4)
    run(torn, ToyNet(), batch_size=3)
    assert contents(torn) == contents(whole) and not (tmp_path / "torn.partial").exists()
    load(torn).verify()


def test_runs_of_a_directory_share_the_grid(extracted, tmp_path):
    run(tmp_path / "f")
    with pytest.raises(FeaturesError, match=r"'grid' = \[3, 4\], and now \[8, 8\].*same coarsest grid"):
        run(tmp_path / "f", ToyTwin())
    with pytest.raises(FeaturesError, match=r"'cells' = 6, and now 4"):
        run(tmp_path / "f", ToyTwin(), cells=4)
    plain, twin = run(tmp_path / "g", ToyTwin(), cells=0).path, run(tmp_path / "h", ToyTwin()).path
    both = load(plain, extracted.path)
    assert both.has_cells("sum") and not both.has_cells("rgb")
    assert (both.cell_table == extracted.cell_table).all(axis=None)
    assert (both.cells("sum", "rgb", 2) == extracted.cells("sum", "rgb", 2)).all()
    assert load(twin).cells("rgb", "rgb", 1).shape == (12 * COUNT, 3)
    with pytest.raises(FeaturesError, match=r"cannot be joined .* its cells are .*\[8, 8\]"):
        load(extracted.path, twin)


def test_more_cells_than_there_are_and_none_that_fit(tmp_path):
    with pytest.raises(FeaturesError, match=r"at most 12, the cells of the coarsest tap's grid \(3 x 4\).*got 16"):
        run(tmp_path / "f", cells=16)
    with pytest.raises(FeaturesError, match=r"got 5: ask for 4"):
        run(tmp_path / "f", cells=5)
    with pytest.raises(ValueError, match="`cells` must be a whole number from 0 to 10,000; got -1"):
        run(tmp_path / "f", cells=-1)
    assert not list(tmp_path.iterdir())
    assert run(tmp_path / "f", cells=12).cells("sum", "rgb", 1).shape == (12 * 12, 3)


def test_one_changed_byte_is_named_and_damage_is_found_without_digests(tmp_path):
    folder = run(tmp_path / "f").path
    for name in ("cells.safetensors", "sum-s0-e3.cells.safetensors", "sum-s0-e3.profiles.safetensors"):
        path = folder / name
        good = path.read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            with pytest.raises(FeaturesError, match=name):
                load(folder)
        path.write_bytes(good)
        path.unlink()
        with pytest.raises(FeaturesError, match=f"{name} does not exist"):
            load(folder, verify=False)
        path.write_bytes(good)


SPOIL = {
    "too many": (lambda m, cells: m["cells"].update(count=13), "cells of an image must be 1 to 12"),
    "too fine": (lambda m, cells: m["cells"].update(grid=[3, 257]), "rows and columns, 1 to 256"),
    "no grid": (lambda m, cells: m.pop("cells"), "schema 2"),
    "no grid, schema 1": (lambda m, cells: (m.pop("cells"), m.update(schema=1)), "a grid for the cells of run 'sum-s"),
    "no loss": (lambda m, cells: cells["loss"].pop("rgb/1/rgb"), "rgb/1/rgb"),
    "twice": (lambda m, cells: cells["units"].update({"rgb/1": [0, 0, 1]}), "different whole numbers"),
    "fewer": (lambda m, cells: cells["units"].update({"rgb/1": [0, 1]}), "one byte a value.*2 units"),
}


@pytest.mark.parametrize("how", SPOIL)
def test_a_wrong_manifest_is_explained(extracted, tmp_path, how):
    folder = shutil.copytree(extracted.path, tmp_path / "f")
    manifest, (spoil, words) = json.loads((folder / "manifest.json").read_text()), SPOIL[how]
    spoil(manifest, manifest["runs"]["sum-s0-e3"]["cells"])
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FeaturesError, match=words):
        load(folder, verify=False).cells("sum", "rgb", 1)


def test_units_are_those_of_a_small_copy(tmp_path):
    full = run(tmp_path / "f", Deep(width=70))
    kept = full.entry("sum")["cells"]["units"]["rgb/1"]
    assert len(kept) == 64 and full.cells("sum", "rgb", 1).shape == (12 * COUNT, 64)
    small = load(write_quantised(full, tmp_path / "q", units=64))
    assert small.entry("sum")["units"]["rgb/1"] == kept == small.entry("sum")["cells"]["units"]["rgb/1"]
    few = load(write_quantised(full, tmp_path / "p", units=5, samples=[2, 3, 8, 9]))
    entry = few.entry("sum")
    assert entry["cells"]["units"] == entry["units"] and len(entry["units"]["rgb/1"]) == 5
    rows = np.isin(full.cell_table["sample"], [2, 3, 8, 9])
    columns = [kept.index(unit) for unit in entry["units"]["rgb/1"]]
    assert (few.cells("sum", "rgb", 1) == full.cells("sum", "rgb", 1)[rows][:, columns]).all()
    assert (few.cell_shares == full.cell_shares[rows]).all()
    places = (f.cell_table[["row", "column"]].to_numpy() for f in (few, full))
    assert (next(places) == next(places)[rows]).all()


def test_a_copy_without_cells_is_of_schema_1(extracted, tmp_path):
    bare = load(write_quantised(extracted, tmp_path / "q", keep=lambda run, key: key.count("/") == 1))
    assert bare.manifest["schema"] == 1 and not bare.has_cells("sum")
    own = load(write_quantised(extracted, tmp_path / "p", cells=lambda run, key: key == "rgb/1/rgb"))
    assert list(own.cell_files("sum")) == ["rgb/1/rgb"] and own.manifest["schema"] == 2
    alone = load(write_quantised(extracted, tmp_path / "r", keep=lambda run, key: False, cells=["sum"]))
    assert alone.has_cells("sum") and not alone.has("sum", "rgb", 1, "rgb")
    assert (alone.cells("sum", "rgb", 1) == extracted.cells("sum", "rgb", 1)).all()


class Speckled(ToyData):
    """Concept 1 at pixels here and there: cells hold any share of it."""

    def batch(self, indices):
        batch = super().batch(indices)
        batch.concepts[:, 1] = torch.where(batch.inputs["rgb"][:, 0] > 0.5, 1, -1)
        return batch


def rank_agreement(x, there):
    """2·AUROC − 1 by comparing every pair."""
    above = x[there][:, None] - x[~there]
    return np.sign(above).mean() if above.size else np.nan


@torch.no_grad()
def test_profiles_and_overlaps_over_all_cells_are_those_of_every_pair(tmp_path):
    data, model = Speckled(40), Deep()
    features = run(tmp_path / "f", data=data)
    own, fold = data.batch(range(40)), group_folds(data.groups, 5)
    maps = means(model.maps(*own.inputs.values())[0]["rgb", 2], GRID)  # (40, 3, 3, 4), a pure stream
    centre = (np.arange(8) + 0.5) / 8
    cell = np.floor(centre * 3).astype(int)[:, None] * 4 + np.floor(centre * 4).astype(int)  # (8, 8)
    pixels = (own.concepts[:, 1] == 1).numpy()
    there = np.stack([pixels[:, cell == c].mean(1) >= 0.5 for c in range(12)], 1)  # (40, 12)
    x = maps.reshape(40, 3, 12).transpose(0, 2, 1)  # (40, 12, 3)
    found, iou = features.position_profiles("sum", "rgb", 2), features.position_iou("sum", "rgb", 2)
    assert found.shape == (5, 3, 3) and iou.shape == (3, 3) and found.dtype == np.float32
    for f in range(5):
        for u in range(3):
            rows = fold == f
            want = rank_agreement(x[rows, :, u].ravel(), there[rows].ravel())
            np.testing.assert_allclose(found[f, u, 1], want, atol=1e-3)  # half precision
    assert np.isnan(found[:, :, [0, 2]]).all()  # everywhere, and nowhere
    for u in range(3):
        values = x[..., u].ravel()
        active = values > np.sort(values)[-(int(0.005 * values.size) + 1)]
        assert active.sum() == 2
        np.testing.assert_allclose(
            iou[u, 1], (active & there.ravel()).sum() / (active | there.ravel()).sum(), atol=1e-3
        )
        np.testing.assert_allclose(iou[u, 0], 2 / 480, atol=1e-5)
    assert features.position_profiles("sum", "depth", 3).shape == (5, 3, 3)  # the fused stream, given depth
    small = load(write_quantised(features, tmp_path / "q", units=2, samples=8, cells=()))
    assert (small.position_profiles("sum", "rgb", 2)[:, :, 1] == found[:, :, 1]).all() and not small.has_cells("sum")


def test_profiles_do_not_depend_on_blocks_or_on_how_many_units_are_read(tmp_path, monkeypatch):
    first = contents(run(tmp_path / "f", data=ToyData(20)).path)["sum-s0-e3.profiles.safetensors"]
    monkeypatch.setattr(profiles, "VALUES", 1)
    monkeypatch.setattr(profiles, "PANEL", 1)
    monkeypatch.setattr(profiles, "ROWS", 30)
    second = contents(run(tmp_path / "g", data=ToyData(20), batch_size=7).path)["sum-s0-e3.profiles.safetensors"]
    assert first == second


@torch.no_grad()
def test_images_on_grids_have_the_inner_products_of_their_maps(tmp_path, monkeypatch):
    data, model = ToyData(40), Deep()
    features = run(tmp_path / "f", data=data)
    maps = means(model.maps(*data.batch(range(40)).inputs.values())[0]["rgb", 2], GRID).reshape(40, -1)
    maps = maps - maps.mean(0)
    want, x = maps @ maps.T, features.grids("sum", "rgb", 2).astype(float)
    got = x @ x.T * np.trace(want) / 40
    error = np.linalg.norm(got - want) / np.linalg.norm(want)
    said = features.entry("sum")["cells"]["grids"]["rgb/2/rgb"]
    assert abs(error - said) < 2e-4 and said < 0.002
    assert features.grid_samples.tolist() == list(range(40)) and x.dtype == np.float64
    monkeypatch.setattr(profiles, "ON_GRIDS", 10)
    few = run(tmp_path / "g", data=data)
    assert len(few.grid_samples) == 10 and (np.bincount(few.groups[few.grid_samples], minlength=20) != 1).all()
    part = maps[few.grid_samples] - maps[few.grid_samples].mean(0)
    y = few.grids("sum", "rgb", 2).astype(float)
    np.testing.assert_allclose(y @ y.T, part @ part.T / np.square(part).sum() * 10, atol=0.01)
    order = [9, 3, 8, 2, *range(20, 40)]
    small = load(write_quantised(few, tmp_path / "q", samples=order))
    kept = [i for i, sample in enumerate(order) if sample in few.grid_samples]
    assert small.grid_samples.tolist() == kept
    rows = [few.grid_samples.tolist().index(order[i]) for i in kept]
    assert (small.grids("sum", "rgb", 2) == few.grids("sum", "rgb", 2)[rows]).all()


def test_too_few_groups_for_folds_give_no_profiles(tmp_path):
    features = run(tmp_path / "f", data=ToyData(8))
    assert features.has_cells("sum")
    with pytest.raises(FeaturesError, match="no profiles at positions for 'rgb/1/rgb'.*of 5 groups or more"):
        features.position_profiles("sum", "rgb", 1)
    with pytest.raises(FeaturesError, match="no images on grids for 'rgb/1/rgb'"):
        features.grids("sum", "rgb", 1)
    with pytest.raises(FeaturesError, match=r"has no images on grids; to add them .* cells=16"):
        _ = features.grid_samples


def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    done = script("measure", tmp_path, TOY_CELLS="16")
    assert done.returncode == 0, done.stderr
    _, few, many = map(int, done.stdout.split())
    assert many <= 1.1 * few  # as without cells
