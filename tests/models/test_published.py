"""Every published tap map attaches to its network's structure, and what it hears is audited from start to finish."""

import json
import warnings
from dataclasses import replace

import pytest
import torch

from rgbd_insight.data import Scenes
from rgbd_insight.extraction import extract
from rgbd_insight.features import Modality, load
from rgbd_insight.hooks import Tap, mute, purity, trace
from rgbd_insight.models import build, published, published_networks, read_tap_map
from rgbd_insight.questions import at_chance, collaboration, joint
from rgbd_insight.report import audit
from tests._standins import STANDINS, WIDTHS, standin

pytestmark = pytest.mark.filterwarnings("ignore:Default upsampling")


class Warm(Scenes):
    """Scenes whose second modality is said to be thermal."""

    name = "warm"

    def __init__(self, n):
        super().__init__(n)
        self.modalities = (self.modalities[0], Modality("thermal", "counts", 0.0, 10.0))

    def batch(self, indices):
        batch = super().batch(indices)
        given, known = (
            {"thermal" if name == "depth" else name: x for name, x in images.items()}
            for images in (batch.inputs, batch.valid)
        )
        return replace(batch, inputs=given, valid=known)


@pytest.fixture(scope="module")
def every():
    torch.set_num_threads(1)
    return {"depth": Scenes(12), "thermal": Warm(12)}


def second_of(name):
    return "thermal" if name.endswith("thermal") else "depth"


def streams_of(name):
    second = second_of(name)
    if name == "DFormerv2":
        return {"fused"}
    return {"rgb", second} if name in ("MultiMAE", "SegFormer-pair") else {"rgb", second, "fused"}


def test_every_map_has_its_standin():
    assert set(published_networks()) == set(STANDINS) and len(published_networks()) == 20
    for name in published_networks():
        about = published(name).about
        assert about["how"] in ("read", "measured", "read and measured") and "arXiv" in about["paper"]
        assert "purity" in about or name == "DFormerv2"  # it has no stream of colour
        assert {"code", "make"} <= about.keys() or name == "SegFormer-pair"


@pytest.mark.parametrize("name", published_networks())
def test_a_published_network_is_prepared_attached_audited_and_known_to_be_at_chance(name, every, tmp_path):
    taps, data, model = published(name), every[second_of(name)], standin(name, 28)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        found = extract(model, data, taps, tmp_path / "f", run={"fusion": name}, draws=1, progress=False, device="cpu")
    assert any("other answers to the same images" in str(w.message) for w in heard) == (name == "DFormer")
    called = found.entry(name)["about"]["called by"]
    assert called == repr(taps.adapt.on(data)) and "mean=(0.48" in called  # as its source says: tests of the inputs
    assert set(found.streams(name)) == streams_of(name) and found.levels(name) == (1, 2, 3, 4)
    report = audit(found, name, permutations=20)
    assert list(report.answers)[:5] == ["joint", "consistency", "specificity", "evolution", "collaboration"]
    rows = report.results["consistency"].rows("cka")
    refused = {m.what for m in report.results["consistency"].missing if "mostly other scenes'" in m.why}
    assert sorted(rows["level"]) == [1, 2, 3, 4]
    assert rows["value"].notna().all() or refused  # with weights at random a view may be mostly its one guest's
    kept = json.loads(report.save(tmp_path / "report.json").read_text(encoding="utf-8"))
    assert kept["run"] == report.run and "nan" not in report.text()
    assert "is at chance" in at_chance(found, report.run) and "is at chance" in report.text()
    assert ("draws random numbers in evaluation: fused/4" in report.text()) == (name == "DFormer")


@pytest.mark.parametrize("name", published_networks())
def test_taps_hear_maps_of_falling_size_and_can_be_muted(name, every):
    data, model = every[second_of(name)], standin(name, 5)
    taps, batch = published(name), data.batch(range(2))
    adapt, given = taps.adapt.on(data), list(batch.inputs.values())
    with torch.no_grad(), trace(model, taps) as seen:
        scores = adapt(model, *given)
    assert scores.shape == (2, 5, *data.size)
    for stream in {tap.stream for tap in taps}:
        maps = [seen[tap] for tap in taps if tap.stream == stream]
        sizes = [x.shape[-2:].numel() for x in maps]
        assert sizes == sorted(sizes, reverse=True) and all(x.isfinite().all() for x in maps)
        wide = [8 if name == "MultiMAE" else WIDTHS[tap.level - 1] for tap in taps if tap.stream == stream]
        half = 2 if (name, stream) == ("DFormer", "depth") else 1
        assert [x.shape[1] for x in maps] == [w // half for w in wide]
    for tap in taps:
        with torch.no_grad(), mute(model, {tap: range(seen[tap].shape[1])}), trace(model, [tap]) as silent:
            adapt(model, *given)
        assert not silent[tap].any(), tap


@pytest.mark.parametrize("name", published_networks())
def test_what_was_measured_of_the_original_holds_for_the_structure(name, every):
    data, model, second = every[second_of(name)], standin(name, 5), second_of(name)
    taps = published(name)
    rows = purity(model, data.batch(range(4)), taps, adapt=taps.adapt.on(data))
    moved = {(row["stream"], row["level"]): row["moved"] for row in rows if row["modality"] == second}
    first = next((k for k in range(1, 5) if moved.get(("rgb", k), 0) > 0), 0)
    assert first == taps.about.get("purity", 0)
    assert all(moved["fused", k] > 0 for k in range(1, 5) if ("fused", k) in moved)
    own = [row["moved"] for row in rows if row["stream"] == row["modality"]]
    assert all(value > 0 for value in own)


def test_a_network_of_another_architecture_is_no_twin(tmp_path, every):
    """Our own small networks lie beside CMX, under the names and seeds that its twins would have."""
    options, data = {"draws": 1, "progress": False, "device": "cpu", "out": tmp_path / "f"}, every["depth"]
    extract(standin("CMX", 28), data, published("CMX"), run={"fusion": "CMX", "epoch": 0}, **options)
    for fusion in ("sum", "early", "rgb", "depth"):
        extract(build(fusion, data.classes, width=8), data, **options)
    found = load(tmp_path / "f")
    assert all(found.twin("CMX", m) is None for m in ("rgb", "depth"))
    assert found.twin("sum", "rgb") == found.twin("early", "rgb") == found.resolve("rgb")
    extract(build("sum", data.classes, width=16, seed=1), data, **options)
    extract(build("rgb", data.classes, width=8, seed=1), data, **options)
    found = load(tmp_path / "f")
    assert found.twin(found.find(fusion="sum", seed=1)[0], "rgb") is None  # twice as wide
    absent = {m.what for m in collaboration(found, "CMX", measures=["retention"]).missing}
    assert {"the rgb twin of CMX, seed 0", "the depth twin of CMX, seed 0"} <= absent
    moved = joint(found, "CMX", measures=["moved by joint training"], permutations=20)
    assert not len(moved.rows("moved by joint training"))


def test_depth_of_dformer_is_read_where_it_is_whole():
    """Its last block hands out an intermediate: what stands for depth at level 4 is the block before."""
    taps = {(tap.stream, tap.level): tap for tap in published("DFormer")}
    model, data = standin("DFormer", 5), Scenes(2)
    last = Tap("depth", 4, "backbone.stages.3.-1", item=1, layout="NHWC")
    with torch.no_grad(), trace(model, [taps["depth", 4], last]) as seen:
        published("DFormer").adapt.on(data)(model, *data.batch([0, 1]).inputs.values())
    assert taps["depth", 4].module == "backbone.stages.3.-2"
    assert not torch.allclose(seen[taps["depth", 4]], seen[last])
    with pytest.raises(RuntimeError, match="never fired: its module was not called"), torch.no_grad():
        with trace(model, [Tap("fused", 4, "decode_head")]):
            published("DFormer").adapt(model, *data.batch([0, 1]).inputs.values())


def test_unknown_networks_list_the_nearest():
    with pytest.raises(ValueError, match="'ESAnet': the nearest are ESANet"):
        published("ESAnet")


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_map_of_your_own(tmp_path):
    text = (
        '[Mine]\ninputs = "keywords"\nnames = ["a", "b"]\nrgb = {module = "x.{level-1}", levels = [2], item = ["k", 1]}'
    )
    found = read_tap_map(write(tmp_path / "taps.toml", text))
    assert (found.name, found.adapt.names) == ("Mine", ("a", "b"))
    assert [(tap.module, tap.level, tap.item) for tap in found] == [("x.1", 2, ("k", 1))]


def test_a_map_that_is_like_another(tmp_path):
    fused = 'fused = [{module = "a", levels = [1]}, {module = "b", levels = [2]}]'
    text = f'[Mine]\nlike = "CMX"\nsecond = "thermal"\n{fused}\n'
    found = read_tap_map(write(tmp_path / "taps.toml", text + "[Mine.images]\nencoding = 'range'"))
    assert {tap.stream for tap in found} == {"rgb", "thermal", "fused"}
    assert [(tap.module, tap.level) for tap in found if tap.stream == "fused"] == [("a", 1), ("b", 2)]
    assert found.adapt.images.encoding == "range" and found.adapt.images.order == "bgr"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[A]\nlike = 'CMZ'", "'CMZ': the nearest are CMX"),
        ("[A]\nimages = {means = 1}", "`means` must not be given"),
        ("[A]\nimages = {encoding = 'inverse'}", "`encoding` must be one of"),
        ("[A]\nrgb = 3", "'A' is not as it must be .TypeError: rgb is no table"),
        ("[A]\nrgb = {modul = 'x'}", "'modul': the nearest are module"),
        ("[A]\nrgb = {item = 1}", "is not as it must be"),
        ("[A]\ninputs = 'pairs'\nrgb = {module = 'x'}", "`inputs` must be one of"),
        ("[A]\nrgb = {module = 'x', layout = 'CHW'}", "`layout` must be"),
        ("[A]\n[B]", "must hold one table, .NAME.; got A, B"),
        ("a = 1", "must hold one table"),
        ("[A", "must be TOML"),
        ("\x00", "must be TOML"),
    ],
)
def test_maps_that_are_none(tmp_path, text, words):
    with pytest.raises(ValueError, match=words):
        read_tap_map(write(tmp_path / "taps.toml", text))
    with pytest.raises(ValueError, match="there is none at"):
        read_tap_map(tmp_path / "nowhere.toml")
