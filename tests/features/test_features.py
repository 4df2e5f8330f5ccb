"""Features: what is written is read back, damage is named, and nothing is ever half there."""

import json
import os
import subprocess

import numpy as np
import pandas as pd
import pytest

from rgbd_insight.features import Features, FeaturesError, FeatureWriter, directory, load, write_quantised
from rgbd_insight.features.files import BlockFile, check_safetensors, dequantise, quantise, write_sums

N, U, K, C, BLOCK = 10, 6, 3, 2, 4


def head(**changes):
    return {
        "name": "made",
        "fingerprint": {"seed": 0},
        "samples": N,
        "size": [5, 4],
        "families": ["class", "place"],
        "classes": ["wall", "floor"],
        "modalities": [
            {"name": "rgb", "unit": "", "low": 0, "high": 1},
            {"name": "depth", "unit": "m", "low": 0, "high": 10},
        ],
        "concepts": [
            {"name": f"c{k}", "family": "class", "kind": "rgb", "visible": {"rgb": 1.0} if k else None}
            for k in range(K)
        ],
    } | changes


def about(fusion="sum", seed=0, epoch=2, role="final", **changes):
    taps = [{"stream": s, "level": level, "module": f"{s}{level}"} for s in ("rgb", "depth") for level in (1, 2)]
    return {
        "fusion": fusion,
        "seed": seed,
        "epoch": epoch,
        "role": role,
        "about": {},
        "taps": taps,
        "draws": 4,
        "block": BLOCK,
        "conditions": ["both", "rgb"],
        "ablations": {},
    } | changes


def block(rows, seed=0):
    def values(key, shape):
        random = np.random.default_rng([seed, *key.encode()])
        return random.normal(size=(N, *shape)).astype(np.float32)[rows]

    areas = np.linspace(0, 1, N)[:, None].astype(np.float32) * [1, 0.01, 0] + [0, 0, 0.25]
    keys = [f"{s}/{level}/{c}" for s in ("rgb", "depth") for level in (1, 2) for c in ("both", "rgb")]
    counts = {
        f"{c}/{part}": np.arange(N * C).reshape(N, C)[rows]
        for c in ("both", "rgb")
        for part in ("hit", "target", "guess")
    }
    samples = {
        c: np.linspace(0, 1, N)[rows].tolist() for c in ("brightness", "contrast", "mean_depth", "depth_std", "missing")
    }
    samples |= {"id": [f"s{i}" for i in rows], "group": [f"g{i // 2}" for i in rows]}
    return {
        "responses": {k: values(k, (U,)) for k in keys},
        "predictions": counts,
        "areas": areas[rows],
        "samples": samples,
    }


def fill(writer, upto=N, seed=0):
    for start in range(writer.done, upto, BLOCK):
        writer.write(start, **block(range(start, min(start + BLOCK, N)), seed))
    return writer


def written(out, *, seed=0, **changes):
    return fill(FeatureWriter(out, head(), about(seed=seed, **changes)), seed=seed).finish(
        purity=[{"stream": "rgb", "level": 1, "modality": "depth", "moved": 0.0}]
    )


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name not in ("execution.json", "SHA256SUMS")}


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "f")


def test_what_is_written_is_read_back(folder):
    features, made = load(folder), block(range(N))
    for stream, level, condition in [("rgb", 1, "both"), ("depth", 2, "rgb")]:
        expected = made["responses"][f"{stream}/{level}/{condition}"]
        assert (features.responses("sum", stream, level, condition) == expected).all()
    assert features.streams("sum") == ("rgb", "depth") and features.levels("sum") == (1, 2)
    assert features.conditions("sum") == ("both", "rgb") and len(features) == N
    assert features.groups.tolist() == [i // 2 for i in range(N)] and features.curves("sum") is None
    assert features.samples["id"].tolist() == [f"s{i}" for i in range(N)]
    assert (features.predictions("sum", "both")["hit"] == np.arange(N * C).reshape(N, C)).all()
    assert features.runs.loc["sum-s0-e2"].tolist() == ["sum", 0, 2, "final", "made"]
    assert features.modalities[1].unit == "m" and features.purity("sum")["moved"].tolist() == [0.0]
    assert np.isnan(features.concepts["visible_rgb"][0]) and features.concepts["visible_rgb"][1] == 1.0
    np.testing.assert_allclose(features.concepts["cut"], [0.5, 0.005, 0.25])  # everywhere; in half; constant
    assert features.present.sum(0).tolist() == [5, 5, N]
    with pytest.raises(ValueError, match="read-only"):
        features.responses("sum", "rgb", 1, "both")[0] = 0


def test_no_file_holds_a_time_or_a_path(folder, tmp_path):
    assert contents(written(tmp_path / "elsewhere" / "g")) == contents(folder)


def test_names_are_resolved(tmp_path):
    out = tmp_path / "f"
    for changes in (
        {"seed": 1},
        {"seed": 0},
        {"seed": 0, "epoch": 0, "role": "untrained"},
        {"fusion": "rgb"},
        {"fusion": "se", "role": "checkpoint"},
        {"fusion": "se", "role": "checkpoint", "seed": 1},
    ):
        written(out, **changes)
    features = load(out)
    assert features.resolve("sum") == "sum-s0-e2" and features.resolve("sum-s1-e2") == "sum-s1-e2"
    assert features.find(fusion="sum", role="untrained") == ["sum-s0-e0-untrained"]
    assert features.siblings("sum") == ["sum-s1-e2"] and features.twin("sum", "rgb") == "rgb-s0-e2"
    assert features.siblings("se-s0-e2-checkpoint") == ["se-s1-e2-checkpoint"]
    assert features.twin("sum-s1-e2", "rgb") is None
    with pytest.raises(FeaturesError, match="'se' has no final run.*se-s0-e2-checkpoint"):
        features.resolve("se")
    with pytest.raises(FeaturesError, match="got 'summ'; nearest: sum"):
        features.resolve("summ")


def test_missing_responses_name_the_nearest_and_the_call(folder):
    features = load(folder)
    with pytest.raises(FeaturesError, match=r"no 'rgb/1/depth'; nearest: rgb/1/.*extract\(.*conditions=\('depth',\)"):
        features.responses("sum", "rgb", 1, "depth")
    with pytest.raises(FeaturesError, match="'thermal'"):
        features.view("sum", "thermal", 1)
    assert (features.view("sum", "rgb", 2) == features.responses("sum", "rgb", 2, "rgb")).all()


def test_one_changed_byte_in_any_file_is_named(folder):
    written(folder, seed=1)
    for path in sorted(folder.iterdir()):
        good = path.read_bytes()
        features = load(folder)
        for place in {0, len(good) // 2, len(good) - 1}:
            path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
            for look in (features.verify, lambda: load(folder)):
                with pytest.raises(FeaturesError, match=path.name):
                    look()
        path.write_bytes(good)
    load(folder).verify()


def test_sums_are_those_of_sha256sum(folder):
    assert subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True).returncode == 0


def edit(path, change):
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rename_file(name):
    return lambda m: m["runs"]["sum-s0-e2"]["files"].update({name: ["rgb/1/both"]})


SPOIL = {
    "cut short": (lambda f: os.truncate(f / "sum-s0-e2.safetensors", 900), "e2.safetensors is truncated: it has 900"),
    "cut to nothing": (lambda f: os.truncate(f / "concepts.safetensors", 3), "concepts.safetensors is truncated"),
    "no safetensors": (
        lambda f: (f / "concepts.safetensors").write_bytes(b"\x08" + bytes(7) + b"not json"),
        "concepts.safetensors is not a safetensors",
    ),
    "gone": (lambda f: (f / "concepts.safetensors").unlink(), "concepts.safetensors does not exist"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json does not exist; name a directory"),
    "no json": (lambda f: (f / "manifest.json").write_text("{"), "manifest.json is not readable JSON"),
    "web manifest": (lambda f: (f / "manifest.json").write_text('{"manifest_version": 3}'), "not written by rgbd"),
    "a list": (lambda f: (f / "manifest.json").write_text("[]"), "not written by rgbd"),
    "schema": (
        lambda f: edit(f / "manifest.json", lambda m: m.update(schema=2)),
        "schema 2 .* reads 1, and 2 where there are cells; install",
    ),
    "no runs": (lambda f: edit(f / "manifest.json", lambda m: m.pop("runs")), "'runs' is not a dict"),
    "bad run": (lambda f: edit(f / "manifest.json", lambda m: m["runs"]["sum-s0-e2"].pop("files")), "'files' of run"),
    "upwards": (lambda f: edit(f / "manifest.json", rename_file("../x.safetensors")), "leaves the folder"),
    "absolute": (lambda f: edit(f / "manifest.json", rename_file("/etc/passwd")), "leaves the folder"),
}


@pytest.mark.parametrize("how", SPOIL)
@pytest.mark.parametrize("verify", [False, True])
def test_damage_is_explained(folder, how, verify):
    spoil, words = SPOIL[how]
    spoil(folder)
    if verify and "manifest_version" not in how and (folder / "manifest.json").exists():
        (folder / "SHA256SUMS").unlink()
        write_sums(folder)  # even where the digests agree
    with pytest.raises(FeaturesError, match=words):
        load(folder, verify=verify)


def test_extra_missing_and_hostile_files_are_found(folder, tmp_path):
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FeaturesError, match="notes.txt is not listed"):
        load(folder)
    (folder / "notes.txt").unlink()
    sums = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(sums + "0" * 64 + "  ../../secret\n")
    with pytest.raises(FeaturesError, match="leaves the folder"):
        load(folder)
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(FeaturesError, match="SHA256SUMS does not exist"):
        load(folder)
    (folder / "samples.parquet").rename(tmp_path / "samples.parquet")
    (folder / "samples.parquet").symlink_to(tmp_path / "samples.parquet")
    with pytest.raises(FeaturesError, match="link that leaves"):
        load(folder, verify=False)


def test_missing_directory(tmp_path):
    with pytest.raises(FeaturesError, match="is not a directory; make it with ri.extract"):
        load(tmp_path / "none")
    with pytest.raises(FeaturesError, match="at least one"):
        load()


def test_join(tmp_path):
    a, b = written(tmp_path / "a"), written(tmp_path / "b", seed=1)
    features = load(a, b)
    assert features.runs.index.tolist() == ["sum-s0-e2", "sum-s1-e2"] and len(features.execution["runs"]) == 2
    assert (features.responses("sum-s1-e2", "rgb", 1, "both") == block(range(N), 1)["responses"]["rgb/1/both"]).all()
    with pytest.raises(FeaturesError, match="'sum-s0-e2' is in .*a and in .*c"):
        load(a, written(tmp_path / "c"))
    few = write_quantised(load(b), tmp_path / "few", samples=6)
    with pytest.raises(FeaturesError, match="few .6 samples. cannot be joined"):
        load(a, few)


def test_resumes_after_the_last_complete_block(tmp_path, folder):
    out = tmp_path / "g"
    writer = fill(FeatureWriter(out, head(), about()), upto=8)
    with open(writer.partial / "samples.jsonl", "a") as file:
        file.write('["half a li')  # the crash came in the middle of a block
    writer._files["sum-s0-e2.safetensors"].write(8, {k: v + 1 for k, v in block(range(8, 10))["responses"].items()})
    writer.close()
    again = FeatureWriter(out, head(), about())
    assert again.done == 8
    fill(again).finish(purity=[{"stream": "rgb", "level": 1, "modality": "depth", "moved": 0.0}])
    assert contents(out) == contents(folder)


@pytest.mark.parametrize(
    ("heads", "runs", "words"),
    [
        ({"fingerprint": {"seed": 1}}, {}, r"'fingerprint' = \{'seed': 0\}, and now \{'seed': 1\}.*another `out`"),
        ({}, {"draws": 2}, "'draws' = 4, and now 2"),
        ({}, {"block": 8}, "'block' = 4, and now 8"),
        ({}, {"taps": []}, "'taps' ="),
    ],
)
def test_what_does_not_match_is_named(folder, heads, runs, words):
    with pytest.raises(FeaturesError, match=words):
        FeatureWriter(folder, head(**heads), about(**runs))


def test_version_must_match(folder, monkeypatch):
    monkeypatch.setattr("rgbd_insight.features.writer.package_version", lambda: "9.9")
    with pytest.raises(FeaturesError, match="'version' = .* now '9.9'"):
        FeatureWriter(folder, head(), about())


def test_a_finished_run_is_left_alone(folder):
    before = (folder / "manifest.json").stat().st_mtime_ns
    writer = FeatureWriter(folder, head(), about())
    assert writer.complete and writer.finish() == folder
    assert (folder / "manifest.json").stat().st_mtime_ns == before


def test_two_writers_at_once_are_refused(tmp_path):
    writer = FeatureWriter(tmp_path / "f", head(), about())
    with pytest.raises(FeaturesError, match="another process is writing"):
        FeatureWriter(tmp_path / "f", head(), about(seed=1))
    writer.close()


@pytest.mark.parametrize("step", range(1, 8))
def test_a_crash_while_moving_in_leaves_a_whole_directory(tmp_path, monkeypatch, step):
    out = written(tmp_path / "f")
    writer = fill(FeatureWriter(out, head(), about(seed=1)), seed=1)
    calls = []

    def dying(function):
        def call(*arguments, **options):
            calls.append(function)
            if len(calls) == step:
                raise SystemExit("killed")
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(directory.os, "rename", dying(os.rename))
        patch.setattr(directory.shutil, "rmtree", dying(directory.shutil.rmtree))
        patch.setattr(directory, "write_sums", dying(write_sums))
        try:
            writer.finish()
        except SystemExit:
            writer.close()
    again = FeatureWriter(out, head(), about(seed=1))
    load(out, verify=True)
    if not again.complete:
        assert again.done == N
        again.finish()
    assert load(out).runs.index.tolist() == ["sum-s0-e2", "sum-s1-e2"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f"]


def test_what_is_not_ours_is_never_deleted(tmp_path):
    for name in ("f.partial", "f.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.txt").write_text("only copy")
        with pytest.raises(FeaturesError, match=name):
            FeatureWriter(tmp_path / "f", head(), about())
        assert (tmp_path / name / "thesis.txt").exists()
        (tmp_path / name).rename(tmp_path / f"safe {name}")


def test_block_file_refuses_wrong_shapes(tmp_path):
    file = BlockFile(tmp_path / "x.safetensors", {"a": 2}, 3)
    file.create()
    assert file.intact() and check_safetensors(file.path)["a"]["shape"] == [3, 2]
    for start, values in ((0, np.zeros((1, 3))), (3, np.zeros((1, 2)))):
        with pytest.raises(FeaturesError, match="takes rows"):
            file.write(start, {"a": values})
    with pytest.raises(FeaturesError, match="holds"):
        file.write(0, {"b": np.zeros((1, 2))})


def test_quantisation_moves_no_value_by_more_than_half_a_step():
    random = np.random.default_rng(0)
    x = (random.normal(size=(200, 8)) * 10.0 ** np.arange(-4, 4) + 5).astype(np.float32)
    x[:, 0] = 3.25  # a dead unit
    codes, scale, low, loss = quantise(x)
    back = dequantise(codes, scale, low)
    assert codes.dtype == np.uint8 and (np.abs(back - x) <= 0.501 * scale + 1e-6 * np.abs(x)).all()
    assert (back[:, 0] == 3.25).all() and 0 < loss < 0.02
    assert quantise(np.ones((4, 2), np.float32))[3] == 0.0


def test_quantised_copy(folder, tmp_path):
    written(folder, seed=1, fusion="se")
    full = load(folder)
    small = load(write_quantised(full, tmp_path / "q", units=4, samples=6, keep=["sum"], seed=3))
    assert small.runs.index.tolist() == ["sum-s0-e2"] and len(small) == 6
    assert small.samples.groupby("group").size().eq(2).all()  # whole groups
    rows = full.samples["id"].isin(small.samples["id"]).to_numpy()
    entry = small.entry("sum")
    units, loss = entry["units"]["rgb/1"], entry["quantised"]["rgb/1/both"]
    x, y = full.responses("sum", "rgb", 1, "both")[rows][:, units], small.responses("sum", "rgb", 1, "both")
    assert y.dtype == np.float32 and y.shape == (6, 4)
    relative = np.sqrt(np.mean((y - x) ** 2) / np.mean((x - x.mean(0)) ** 2))
    np.testing.assert_allclose(loss, relative, rtol=1e-2)
    assert loss < 0.01 and small.concepts["cut"].equals(full.concepts["cut"])
    assert (small.predictions("sum", "rgb")["guess"] == full.predictions("sum", "rgb")["guess"][rows]).all()
    assert (small.present == full.present[rows]).all()
    again = load(write_quantised(small, tmp_path / "qq"))  # a copy of a copy: the same units, hardly another code
    entry = small.entry("sum")
    assert again.entry("sum")["units"] == entry["units"] and again.entry("sum")["quantised"] == entry["quantised"]
    x, y = (f.responses("sum", "rgb", 1, "rgb") for f in (again, small))
    assert (np.abs(x - y) <= 1.01 * (y.max(0) - y.min(0)) / 255).all()
    with pytest.raises(FeaturesError, match="must not exist"):
        write_quantised(full, tmp_path / "q")


def test_a_copy_is_replaced_whole_or_not_at_all(folder, tmp_path, monkeypatch):
    out = write_quantised(load(folder), tmp_path / "q", units=4)
    before = contents(out)

    def dying(*arguments):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr(directory, "write_sums", dying)
        with pytest.raises(SystemExit):
            write_quantised(load(folder), out, units=2, replace=True)
    assert contents(out) == before
    small = load(write_quantised(load(out), out, units=2, replace=True))  # of itself
    assert small.view("sum", "rgb", 1).shape == (N, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "q"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("only copy")
    with pytest.raises(FeaturesError, match="manifest.json does not exist"):
        write_quantised(small, tmp_path / "mine", replace=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_quantised_copy_by_function_and_indices(folder, tmp_path):
    full = load(folder)
    out = write_quantised(
        full,
        tmp_path / "q",
        samples=[0, 1, 4, 5],
        keep=lambda run, key: key in ("rgb/1/rgb", "rgb/hit", "rgb/target", "rgb/guess"),
    )
    small = load(out)
    assert small.conditions("sum") == ("rgb",) and small.has("sum", "rgb", 1, "rgb")
    assert not small.has("sum", "rgb", 2, "rgb") and isinstance(small, Features)
    twice = write_quantised(
        full,
        tmp_path / "p",
        samples=[0, 1, 4, 5],
        keep=lambda run, key: key in ("rgb/1/rgb", "rgb/hit", "rgb/target", "rgb/guess"),
    )
    assert contents(out) == contents(twice)
    with pytest.raises(FeaturesError, match="different indices"):
        write_quantised(full, tmp_path / "r", samples=[0, 0])
    with pytest.raises(FeaturesError, match="at least one group"):
        write_quantised(full, tmp_path / "r", samples=1)


def test_curves(tmp_path):
    curves = pd.DataFrame({"step": [1, 2, 3], "loss": [0.5, 0.4, 0.3]})
    fill(FeatureWriter(tmp_path / "f", head(), about())).finish(curves=curves)
    pd.testing.assert_frame_equal(load(tmp_path / "f").curves("sum"), curves)
    small = load(write_quantised(load(tmp_path / "f"), tmp_path / "q"))
    pd.testing.assert_frame_equal(small.curves("sum"), curves)


GRID, COUNT, SIDE = (2, 3), 2, 6  # rows and columns, cells of an image, cells of the grid


def with_cells(rows, **changes):
    keys, b = ["rgb/1/both", "rgb/1/rgb"], len(rows)
    places = {"row": (COUNT, 2), "column": (COUNT, 3), "shares": (COUNT * K, 256)}
    random = np.random.default_rng(0)
    drawn = {part: random.integers(0, most, (N, width), np.uint8)[rows] for part, (width, most) in places.items()}
    responses = {key: random.normal(size=(N, COUNT * 2)).astype(np.float32)[rows] for key in keys}
    maps = {"rgb/1/rgb": random.normal(size=(N, U * SIDE)).astype(np.float32)[rows]}
    present = {"present": random.integers(0, 2, (b, SIDE * K), np.uint8)}
    cells = {"places": drawn, "responses": responses, "maps": maps, "present": present}
    return block(rows) | {"cells": cells | changes}


def celled(out, grid=GRID):
    writer = FeatureWriter(out, head(), about(cells=COUNT))
    writer.place_cells(grid, {"rgb/1": [1, 4]})
    return writer


def test_cells_are_written_and_read_back_quantised(tmp_path):
    writer = celled(tmp_path / "f")
    assert writer.cells == ["both", "rgb"]
    for start in range(0, N, BLOCK):
        writer.write(start, **with_cells(range(start, min(start + BLOCK, N))))
    assert writer.map_units == {"rgb/1/rgb": U} and writer.present().shape == (N, SIDE, K)
    made = with_cells(range(N))["cells"]
    maps = made["maps"]["rgb/1/rgb"].reshape(N, U, SIDE)
    assert (writer.maps("rgb/1/rgb", slice(1, 3)) == maps[:, 1:3]).all()
    profiles = {"rgb/1/rgb": np.zeros((5, U, K), np.float16), "rgb/1/rgb#iou": np.ones((U, K), np.float16)}
    features = load(writer.finish(profiles=profiles))
    want = made["responses"]["rgb/1/rgb"].reshape(N * COUNT, 2)
    step = np.ptp(want, axis=0) / 255
    assert (np.abs(features.cells("sum", "rgb", 1) - want) <= 0.501 * step + 1e-6).all()
    loss = features.entry("sum")["cells"]["loss"]["rgb/1/rgb"]
    assert loss == round(quantise(want)[3], 6) > 0
    np.testing.assert_array_equal(features.cell_table["row"], (made["places"]["row"].ravel() + 0.5) / 2)
    np.testing.assert_allclose(features.cell_shares, made["places"]["shares"].reshape(-1, K) / 255, rtol=1e-6)
    assert features.position_profiles("sum", "rgb", 1).shape == (5, U, K)
    assert features.position_iou("sum", "rgb", 1).max() == 1
    assert not [name for name in contents(features.path) if name.startswith(("maps", "present", "quantised"))]


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        ("row", np.full((BLOCK, COUNT), 2, np.uint8), "row of the cells must be 0 to 1; got 2"),
        ("column", np.zeros((BLOCK, COUNT)), "column of the cells must be 2 bytes of 4 images; got .*float64"),
        ("shares", np.zeros((BLOCK, K), np.uint8), "shares of the cells must be 6 bytes"),
    ],
)
def test_cells_that_could_not_be_read_back_are_refused(tmp_path, part, values, words):
    writer, cells = celled(tmp_path / "f"), with_cells(range(BLOCK))
    cells["cells"]["places"][part] = values
    with pytest.raises(FeaturesError, match=f"could not be read back: {words}"):
        writer.write(0, **cells)
    writer.close()
    assert not list(tmp_path.iterdir())


def test_responses_at_cells_and_profiles_out_of_range_are_refused(tmp_path):
    writer, cells = celled(tmp_path / "f"), with_cells(range(BLOCK))
    cells["cells"]["responses"]["rgb/1/rgb"][0, 0] = np.nan
    with pytest.raises(FeaturesError, match="'rgb/1/rgb' must be finite"):
        writer.write(0, **cells)
    for start in range(0, N, BLOCK):
        writer.write(start, **with_cells(range(start, min(start + BLOCK, N))))
    wrong = {"rgb/1/rgb": np.full((5, U, K), 2, np.float16), "rgb/1/rgb#iou": np.ones((U, K), np.float16)}
    with pytest.raises(FeaturesError, match="'rgb/1/rgb' must be -1 to 1"):
        writer.finish(profiles=wrong)
    with pytest.raises(FeaturesError, match="'rgb/1/rgb#iou' must be half-precision numbers for 3 concepts"):
        writer.finish(profiles={"rgb/1/rgb": wrong["rgb/1/rgb"] / 2, "rgb/1/rgb#iou": np.ones((U, K))})
    assert load(writer.finish()).has_cells("sum")


def test_an_unfinished_run_keeps_its_grid(tmp_path):
    writer = celled(tmp_path / "f")
    writer.write(0, **with_cells(range(BLOCK)))
    writer.close()
    with pytest.raises(FeaturesError, match=r"'grid' = \[2, 3\], and now \[3, 3\]"):
        celled(tmp_path / "f", grid=(3, 3))
