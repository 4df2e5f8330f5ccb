"""Every published tap map attaches to its network's structure, and what it hears is audited from start to finish."""

import json

import pytest
import torch

from rgbd_insight.data import Scenes
from rgbd_insight.extraction import extract
from rgbd_insight.hooks import mute, purity, trace
from rgbd_insight.models import published, published_networks, read_tap_map
from rgbd_insight.report import audit
from tests._standins import STANDINS, WIDTHS, standin

pytestmark = pytest.mark.filterwarnings("ignore:Default upsampling")


@pytest.fixture(scope="module")
def data():
    torch.set_num_threads(1)
    return Scenes(22)


def test_every_map_has_its_standin():
    assert set(published_networks()) == set(STANDINS) and len(published_networks()) == 13
    for name in published_networks():
        about = published(name).about
        assert about["how"] in ("read", "measured", "read and measured") and "arXiv" in about["paper"]
        assert ("purity" in about) == ("measured" in about["how"])


@pytest.mark.parametrize("name", published_networks())
def test_a_published_network_is_attached_and_audited(name, data, tmp_path):
    taps, model = published(name), standin(name, len(data.classes))
    found = extract(
        model, data, taps, tmp_path / "f", adapt=taps.adapt, run={"fusion": name}, draws=1, progress=False, device="cpu"
    )
    assert set(found.streams(name)) == ({"fused"} if name == "DFormerv2" else {"rgb", "depth", "fused"})
    assert found.levels(name) == (1, 2, 3, 4)
    report = audit(found, name, permutations=20)
    assert list(report.answers) == ["joint", "consistency", "specificity", "evolution", "collaboration"]
    rows = report.results["consistency"].rows("cka")
    refused = {m.what for m in report.results["consistency"].missing if "mostly other scenes'" in m.why}
    assert sorted(rows["level"]) == [1, 2, 3, 4]
    assert rows["value"].notna().all() or refused  # with weights at random a view may be mostly its one guest's
    kept = json.loads(report.save(tmp_path / "report.json").read_text(encoding="utf-8"))
    assert kept["run"] == report.run and "nan" not in report.text()


@pytest.mark.parametrize("name", published_networks())
def test_taps_hear_maps_of_falling_size_and_can_be_muted(name, data):
    taps, model, batch = published(name), standin(name, 5), data.batch(range(2))
    with torch.no_grad(), trace(model, taps) as seen:
        scores = taps.adapt(model, *batch.inputs.values())
    assert scores.shape == (2, 5, *data.size)
    for stream in {tap.stream for tap in taps}:
        maps = [seen[tap] for tap in taps if tap.stream == stream]
        sizes = [x.shape[-2:].numel() for x in maps]
        assert sizes == sorted(sizes, reverse=True) and all(x.isfinite().all() for x in maps)
        if not (name == "DFormer" and stream == "fused"):  # the scores
            wide = [WIDTHS[tap.level - 1] for tap in taps if tap.stream == stream]
            assert [x.shape[1] for x in maps] == [w // 2 if (name, stream) == ("DFormer", "depth") else w for w in wide]
    for tap in taps:
        with torch.no_grad(), mute(model, {tap: range(seen[tap].shape[1])}), trace(model, [tap]) as silent:
            taps.adapt(model, *batch.inputs.values())
        assert not silent[tap].any(), tap


@pytest.mark.parametrize("name", published_networks())
def test_what_was_measured_of_the_original_holds_for_the_structure(name, data):
    taps, model = published(name), standin(name, 5)
    rows = purity(model, data.batch(range(4)), taps, adapt=taps.adapt)
    moved = {(row["stream"], row["level"]): row["moved"] for row in rows if row["modality"] == "depth"}
    first = next((k for k in range(1, 5) if moved.get(("rgb", k), 0) > 0), 0)
    if "purity" in taps.about:
        assert first == taps.about["purity"]
    assert all(moved["fused", k] > 0 for k in range(1, 5) if ("fused", k) in moved)
    own = [row["moved"] for row in rows if row["stream"] == row["modality"]]
    assert all(value > 0 for value in own)


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
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
