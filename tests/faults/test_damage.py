"""Features and weights that are not as they were written: one error that names the file, whatever is wrong with it."""

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

from rgbd_insight.features import FeaturesError, FeatureWriter, load, write_quantised
from rgbd_insight.features.files import write_columns, write_sums
from rgbd_insight.models import build, save
from rgbd_insight.models import load as load_model
from rgbd_insight.training import train
from tests.faults.campaign import _values
from tests.features.test_features import about, block, edit, head, written
from tests.training.test_training import Toy, tiny

RUN = "sum-s0-e2"


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "f")


@pytest.mark.parametrize("verify", [True, False])
def test_a_folder_in_the_place_of_a_file_is_named(folder, verify):
    for path in sorted(folder.iterdir()):
        if verify or path.name != "SHA256SUMS":
            kept = path.read_bytes()
            path.unlink()
            path.mkdir()
            with pytest.raises(FeaturesError, match=f"{path.name} is no file"):
                _values(folder, verify)
            path.rmdir()
            path.write_bytes(kept)
    _values(folder, True)


def test_a_changed_name_among_the_digests_is_blamed_on_them(folder):
    sums = (folder / "SHA256SUMS").read_text()
    for name in ("concepts.safetensorr", "con/epts.safetensors", "concepts\tsafetensors", "CONCEPTS.safetensors"):
        (folder / "SHA256SUMS").write_text(sums.replace("concepts.safetensors", name))
        with pytest.raises(FeaturesError, match="SHA256SUMS is damaged: it gives concepts.safetensors the name"):
            load(folder)
    (folder / "SHA256SUMS").write_text(sums + sums.splitlines()[0] + "\n")
    with pytest.raises(FeaturesError, match="SHA256SUMS, line .*again"):
        load(folder)


@pytest.mark.parametrize("name", ["SHA256SUMS", "manifest.json", "execution.json"])
def test_links_out_of_the_folder_are_not_followed(folder, tmp_path, name):
    shutil.move(folder / name, tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    with pytest.raises(FeaturesError, match=f"{name} is a link that leaves"):
        load(folder)


def at_run(change):
    return lambda folder: edit(folder / "manifest.json", lambda m: change(m["runs"][RUN]))


def at_head(change):
    return lambda folder: edit(folder / "manifest.json", change)


def tensors(name, change):
    def do(folder):
        values = load_file(folder / name)
        change(values)
        save_file(values, folder / name)

    return do


def column(name, value):
    def do(folder):
        table = pd.read_parquet(folder / "samples.parquet")
        table[name] = value
        write_columns(folder / "samples.parquet", {c: table[c].tolist() for c in table.columns})

    return do


def fewer(folder):
    table = pd.read_parquet(folder / "samples.parquet")[:-1]
    write_columns(folder / "samples.parquet", {c: table[c].tolist() for c in table.columns})


def undecodable(folder):
    table = pq.read_table(folder / "samples.parquet")
    broken = pa.array([b"\xa90"] * len(table), pa.binary()).view(pa.string())
    pq.write_table(table.set_column(table.column_names.index("id"), "id", broken), folder / "samples.parquet")


def put(name, value):
    return lambda values: values[name].__setitem__((0, 0), value)


EDITS = {
    "samples below 0": at_head(lambda m: m.update(samples=-5)),
    "other samples": at_head(lambda m: m.update(samples=9)),
    "no size": at_head(lambda m: m.update(size=[0, 4])),
    "samples that are true": at_head(lambda m: m.update(samples=True)),
    "no name": at_head(lambda m: m.update(name="")),
    "a range that falls": at_head(lambda m: m["modalities"][1].update(low=20)),
    "a range without end": at_head(lambda m: m["modalities"][1].update(high=float("inf"))),
    "modalities alike": at_head(lambda m: m["modalities"][1].update(name="rgb")),
    "no modality": at_head(lambda m: m.update(modalities=[])),
    "integer classes": at_head(lambda m: m.update(classes=[1, 2])),
    "a class less": at_head(lambda m: m.update(classes=["wall"])),
    "a concept without a name": at_head(lambda m: m["concepts"][0].update(name="")),
    "concepts alike": at_head(lambda m: m["concepts"][0].update(name="c1")),
    "a concept less": at_head(lambda m: m["concepts"].pop()),
    "a cut above 1": at_head(lambda m: m["concepts"][0].update(cut=3.0)),
    "visible below 0": at_head(lambda m: m["concepts"][1].update(visible={"rgb": -1.0})),
    "a seed below 0": at_run(lambda e: e.update(seed=-1)),
    "another seed": at_run(lambda e: e.update(seed=4)),
    "an epoch in parts": at_run(lambda e: e.update(epoch=1.5)),
    "a role of its own": at_run(lambda e: e.update(role="best")),
    "no draw": at_run(lambda e: e.update(draws=0)),
    "a block below 0": at_run(lambda e: e.update(block=-4)),
    "a level in parts": at_run(lambda e: e["taps"][0].update(level=1.5)),
    "a tap twice": at_run(lambda e: e["taps"].append(e["taps"][0])),
    "purity below 0": at_run(lambda e: e["purity"][0].update(moved=-0.5)),
    "purity that is no number": at_run(lambda e: e["purity"][0].update(moved=float("nan"))),
    "a width below 0": at_run(lambda e: e["widths"].update({"rgb/1": -6})),
    "another width": at_run(lambda e: e["widths"].update({"rgb/1": 5})),
    "units below 0": at_run(lambda e: e.update(units={"rgb/1": [-1]})),
    "a loss below 0": at_run(lambda e: e.update(quantised={"rgb/1/both": -1.0})),
    "an ablation of nothing": at_run(lambda e: e["ablations"].update({"x": {}})),
    "an ablation of a unit below 0": at_run(
        lambda e: e["ablations"].update({"x": {"units": [["rgb", 1, [-1]]], "value": "mean", "inputs": "both"}})
    ),
    "a tensor of another form": at_run(lambda e: e["files"].update({f"{RUN}.safetensors": ["a/b/c/d"]})),
    "a tensor that is not there": at_run(lambda e: e["files"][f"{RUN}.safetensors"].append("rgb/9/both")),
    "an area above 1": tensors("concepts.safetensors", put("areas", 2.0)),
    "an area that is no number": tensors("concepts.safetensors", put("areas", np.nan)),
    "areas of other samples": tensors("concepts.safetensors", lambda t: t.update(areas=t["areas"][:-1].copy())),
    "an endless response": tensors(f"{RUN}.safetensors", put("rgb/1/both", np.inf)),
    "responses as integers": tensors(
        f"{RUN}.safetensors", lambda t: t.update({"rgb/1/both": t["rgb/1/both"].astype(np.int32)})
    ),
    "hits below 0": tensors(f"{RUN}.predictions.safetensors", put("both/hit", -3)),
    "more hits than pixels": tensors(f"{RUN}.predictions.safetensors", put("both/hit", 21)),
    "more hits than there are": tensors(f"{RUN}.predictions.safetensors", put("both/hit", 19)),
    "a sample less": fewer,
    "an id in no alphabet": undecodable,
    "a share above 1": column("missing", 1.5),
    "contrast below 0": column("contrast", -0.5),
    "brightness in words": column("brightness", "bright"),
    "no group": column("group", ""),
    "no runs in the record": lambda folder: (folder / "execution.json").write_text("[]"),
}


@pytest.mark.parametrize("how", EDITS)
def test_values_out_of_their_range_are_refused(folder, how):
    EDITS[how](folder)
    (folder / "SHA256SUMS").unlink()
    write_sums(folder)  # the digests agree: it was made so
    for verify in (True, False):
        with pytest.raises(FeaturesError, match=str(folder)):
            _values(folder, verify)


def test_a_scale_below_0_is_refused(folder, tmp_path):
    small = write_quantised(load(folder), tmp_path / "q", units=4)
    for change in (
        lambda t: t["rgb/1/both#scale"].__setitem__(0, -1),
        lambda t: t.update({"rgb/1/both#scale": t["rgb/1/both#scale"][:1].copy()}),
        lambda t: t.update({"rgb/1/both": t["rgb/1/both"].astype(np.float32)}),
    ):
        kept = (small / f"{RUN}.safetensors").read_bytes()
        tensors(f"{RUN}.safetensors", change)(small)
        with pytest.raises(FeaturesError, match=f"{RUN}.safetensors is damaged"):
            _values(small, False)
        (small / f"{RUN}.safetensors").write_bytes(kept)
    _values(small, True)


def tap(**changes):
    return {"taps": [{"stream": "rgb", "level": 1, "module": "m"} | changes]}


def concept(**changes):
    return {"concepts": [head()["concepts"][0] | changes]}


@pytest.mark.parametrize(
    ("heads", "runs"),
    [
        ({}, tap(level=1.5)),
        ({}, tap(level="1")),
        ({}, tap(level=True)),
        ({}, tap(stream="")),
        ({}, {"draws": 0}),
        ({}, {"seed": -1}),
        ({"name": ""}, {}),
        ({"name": None}, {}),
        ({"classes": [0, 1]}, {}),
        (concept(name=""), {}),
        (concept(name=None), {}),
        ({"size": [5]}, {}),
        ({"samples": 0}, {}),
        ({"modalities": []}, {}),
    ],
)
def test_what_could_not_be_read_back_is_not_begun(tmp_path, heads, runs):
    with pytest.raises(FeaturesError):
        FeatureWriter(tmp_path / "f", head(**heads), about(**runs))
    assert not list(tmp_path.iterdir())
    out = written(tmp_path / "f")
    with pytest.raises(FeaturesError):
        FeatureWriter(out, head(**heads), about(**({"seed": 1} | runs)))
    assert load(out).runs.index.tolist() == [RUN] and [p.name for p in tmp_path.iterdir()] == ["f"]


def spoiled(**changes):
    made = block(range(4))
    for part, change in changes.items():
        change(made[part])
    return made


@pytest.mark.parametrize(
    "made",
    [
        spoiled(predictions=put("both/hit", -1)),
        spoiled(predictions=lambda p: p.update({"both/hit": p["both/hit"] * 0.5})),
        spoiled(responses=put("rgb/1/both", np.nan)),
        spoiled(responses=lambda r: r.update({"rgb/1/both": r["rgb/1/both"][:-1]})),
        spoiled(areas=lambda a: a.__setitem__((0, 0), 1.5)),
        spoiled(samples=lambda s: s.update(group=["a"] * 3)),
        spoiled(samples=lambda s: s.update(missing=[2.0] * 4)),
        spoiled(samples=lambda s: s.update(id=[1] * 4)),
    ],
)
def test_a_block_that_could_not_be_read_back_is_not_written(tmp_path, made):
    writer = FeatureWriter(tmp_path / "f", head(), about())
    with pytest.raises((FeaturesError, ValueError)):
        writer.write(0, **made)
    assert writer.done == 0 and not (writer.partial / "concepts.safetensors").exists()
    writer.close()


@pytest.mark.parametrize("what", ["weights", "state"])
def test_every_changed_byte_of_weights_and_states_is_noticed(tmp_path, what):
    random, options = np.random.default_rng(0), {"epochs": 1, "batch_size": 8, "device": "cpu", "progress": False}
    if what == "weights":
        path = save(tiny(), tmp_path / "x.safetensors")
        wanted = tiny().state_dict()
    else:
        train(tiny(), Toy(), out=tmp_path, **options)
        path = tmp_path / "state.safetensors"
    good = path.read_bytes()
    header = int.from_bytes(good[:8], "little") + 8
    for place in [*random.integers(header, len(good), 30), *random.integers(8, header, 30)]:
        value = good[place] ^ int(random.integers(1, 256))
        path.write_bytes(good[:place] + bytes([value]) + good[place + 1 :])
        if chr(good[place]).isspace() and chr(value).isspace():
            continue  # between the parts of a header: nothing is changed
        with pytest.raises(ValueError, match=path.name):
            if what == "weights":
                load_model(path)
            else:
                train(tiny(), Toy(), out=tmp_path, **options)
    path.write_bytes(good)
    if what == "weights":
        assert all((x == wanted[name]).all() for name, x in load_model(path).state_dict().items())


def test_weights_of_an_earlier_version_are_read(tmp_path):
    import torch
    from safetensors.torch import save_file as save_tensors

    from rgbd_insight.models.weights import FORMAT

    model = build("sum", classes=3, width=8)
    text = json.dumps({"config": model.config, "epoch": 3})
    save_tensors(model.state_dict(), tmp_path / "old.safetensors", {FORMAT: text})
    again = load_model(tmp_path / "old.safetensors")
    assert again.epoch == 3 and all(map(torch.equal, model.state_dict().values(), again.state_dict().values()))


def test_no_file_is_read_through_a_name_that_leads_out(folder):
    edit(folder / "manifest.json", lambda m: m["runs"][RUN].update(curves="../../x.parquet"))
    with pytest.raises(FeaturesError, match="leaves the folder"):
        load(folder, verify=False)
