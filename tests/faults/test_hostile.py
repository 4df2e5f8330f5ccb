"""Damaged and hostile input: every command says it in one line, and writes and runs nothing."""

import hashlib
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rgbd_insight.cli import audit as audits
from rgbd_insight.cli import main
from rgbd_insight.data import Scenes
from rgbd_insight.extraction import extract
from rgbd_insight.features.tables import read_table
from rgbd_insight.models import build, save
from rgbd_insight.models.weights import FORMAT
from rgbd_insight.utils.messages import LONGEST, WHERE, say
from tests.cli.test_cli import images


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(WHERE, "1")  # what no check foresaw fails a test
    return tmp_path


def one_line(capsys, words, said, code=1):
    before = sorted(Path.cwd().rglob("*"))
    capsys.readouterr()
    assert main(words) == code
    err = capsys.readouterr().err
    assert err.startswith("rgbd-insight: ") and err.count("\n") == 1 and said in err, err
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: [], "config and epoch"),
        (lambda a: "x", "config and epoch"),
        (lambda a: {}, "config and epoch"),
        (lambda a: a | {"epoch": "1"}, "config and epoch"),
        (lambda a: a | {"config": []}, "config and epoch"),
        *(
            (lambda a, key=key, value=value: a | {"config": a["config"] | {key: value}}, key)
            for key, value in (
                ("fusion", ["rgb"]),
                ("classes", []),
                ("classes", 10**12),
                ("seed", "x"),
                ("widths", -1),
                ("widths", [0]),
                ("widths", [8, "x"]),
                ("widths", [10**9] * 4),
                ("blocks", None),
                ("blocks", 10**9),
                ("levels", "all"),
                ("rgb_scale", None),
                ("rgb_scale", [0.5, 0]),
                ("depth_scale", [1]),
                ("depth_scale", [True, 1.0]),
                ("encoding", {}),
                ("encoding", "../../etc/passwd"),
                ("intrinsics", [1, 2]),
            )
        ),
        (lambda a: a | {"config": {k: v for k, v in a["config"].items() if k != "seed"}}, "seed"),
    ],
)
def test_weights_whose_config_is_damaged(at, capsys, change, said):
    path = save(build("rgb", classes=2, width=8), at / "x.safetensors")
    model = build("rgb", classes=2, width=8)
    about = {"config": model.config, "epoch": 0}
    save_file(load_file(path), path, {FORMAT: json.dumps(change(about))})
    one_line(capsys, ["taps", "x.safetensors"], said)


@pytest.mark.parametrize("text", ["", "{", "[" * 100000])
def test_weights_whose_config_is_no_json(at, capsys, text):
    path = save(build("rgb", classes=2, width=8), at / "x.safetensors")
    save_file(load_file(path), path, {FORMAT: text})
    one_line(capsys, ["taps", "x.safetensors"], "x.safetensors")


@pytest.mark.parametrize(
    "about",
    [
        None,
        [],
        {},
        {"run": {}},
        {"run": {"data": {"size": "x"}}, "curves": []},
        {"run": {"data": {}}, "curves": 1},
        {"run": {"data": {}}, "curves": [{"a": 1}]},
        {"run": {"data": {"size": [0, -1]}}, "curves": []},
    ],
)
def test_a_state_that_is_damaged(at, capsys, about):
    save(build("rgb", classes=28, width=8), at / "run" / "epoch-0001.safetensors")
    said = None if about is None else {"about": json.dumps(about)}
    save_file({"x": torch.zeros(1)}, at / "run" / "state.safetensors", said)
    for words in (["train", "--fusion", "rgb", "--n", "4", "--out", "run"], ["extract", "--model", "run", "--n", "4"]):
        capsys.readouterr()
        assert main(words) == 1
        said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rgbd-insight: ")]
        assert len(said) == 1 and "state.safetensors is damaged" in said[0] and not (at / "features").exists()


class Evil:
    def __reduce__(self):
        return os.system, ("touch owned",)


@pytest.mark.parametrize("name", ["evil.pt", "evil.safetensors", "evil.pkl", "text.pt", "nothing.pt", "folder"])
def test_a_checkpoint_with_code_in_it_runs_none(at, capsys, name):
    torch.save({"state_dict": Evil()}, "evil.pt")
    for other in ("evil.safetensors", "evil.pkl"):
        Path(other).write_bytes(pickle.dumps(Evil()))
    Path("text.pt").write_text("root:x:0:0:root:/root:/bin/sh\n")
    Path("folder").mkdir()
    one_line(capsys, ["taps", "torch.nn:Identity", "--checkpoint", name], name)
    assert not Path("owned").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test": [[1]]}, "by their IDs"),
        ({"test": [None]}, "by their IDs"),
        ({"test": [True]}, "by their IDs"),
        ({"test": ["../../secret"]}, "secret"),
        ({"test": ["/etc/passwd"]}, "missing"),
        ({"groups": 3}, '"groups"'),
        ({"groups": ["img4"]}, '"groups"'),
        ({"groups": None, "test_runs": 1}, "list of lists"),
        ({"groups": None, "test_runs": [1]}, "list of lists"),
        ({"groups": None, "test_runs": [[None]]}, "by their IDs"),
    ],
)
def test_splits_that_are_damaged(at, capsys, change, said):
    file = images(at / "im") / "splits.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    one_line(capsys, ["extract", "--model", "torch.nn:Identity", "--data", "folder:im"], said)
    assert main(["data", "check", "im"]) == 1
    assert said in capsys.readouterr().out


def test_what_no_check_foresaw_is_one_line_too(capsys, monkeypatch):
    monkeypatch.setattr(audits, "load", lambda *_: {}["\x1b[31mred"])
    with pytest.raises(KeyError):
        main(["audit"])
    monkeypatch.delenv(WHERE)
    assert main(["audit"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "KeyError" in err and WHERE in err and "\x1b" not in err


def test_a_long_text_is_shortened(capsys):
    assert say("a" * 9999 + "\x1b[2J\nthe end", 2) == 2
    err = capsys.readouterr().err
    assert len(err) < LONGEST + 40 and err.endswith("the end\n") and err.count("\n") == 1 and "\x1b" not in err


@pytest.mark.parametrize("damage", [b"", b"hello", b"\xff" * 40])
def test_a_truncated_state_is_named(at, capsys, damage):
    save(build("rgb", classes=28, width=8), at / "run" / "epoch-0001.safetensors")
    (at / "run" / "state.safetensors").write_bytes(damage)
    one_line(capsys, ["extract", "--model", "run", "--n", "4"], "state.safetensors is damaged")


@pytest.mark.parametrize("word", ["leaving:make", "leaving:network", "leaving_at_once:make"])
def test_code_that_ends_the_process_ends_in_a_line(at, capsys, word):
    lines = "import sys, torch\ndef make(): sys.exit(3)\ndef leave(model, rgb, depth): sys.exit(3)\n"
    (at / "leaving.py").write_text(lines + "network = torch.nn.Conv2d(3, 2, 1)\n")
    (at / "leaving_at_once.py").write_text("raise SystemExit\n")
    main(["taps", "leaving:nothing"])  # python keeps what it compiled of a module
    main(["taps", "leaving_at_once:nothing"])
    more = ["--adapt", "leaving:leave"] if word == "leaving:network" else []
    one_line(capsys, ["taps", word, *more], "SystemExit")


def test_a_name_that_no_file_can_have(at, capsys):
    one_line(capsys, ["extract", "--model", "torch.nn:Identity", "--name", "a" * 400], "at most 100 characters")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("modalities", 0, "unit"), 3),
        (("modalities", 0), {"name": "rgb"}),
        (("modalities", 1, "high"), "x"),
        (("classes", 0), None),
        (("families", 0), {}),
        (("size",), [48]),
        (("size", 0), "x"),
        (("concepts", 0, "name"), []),
        (("concepts", 0, "cut"), "x"),
        (("concepts", 0, "visible"), 3),
        (("taps",), []),
        (("taps", 0, "stream"), -1),
        (("taps", 0, "level"), "../x"),
        (("conditions", 0), {}),
        (("purity", 0, "modality"), {}),
        (("purity", 0), 1),
        (("files",), {"epoch": 1.5}),
        (("files",), {"../../../etc/passwd": ["x"]}),
    ],
)
def test_a_manifest_that_is_damaged_within(at, capsys, place, value):
    model, data = build("sum", classes=28, width=8), Scenes(n=4)
    extract(model, data, out=at / "f", draws=1, progress=False)
    path = at / "f" / "manifest.json"
    manifest = json.loads(path.read_text())
    where = manifest if place[0] in manifest else next(iter(manifest["runs"].values()))
    for key in place[:-1]:
        where = where[key]
    where[place[-1]] = value
    path.write_text(json.dumps(manifest))
    lines = [line for line in (at / "f" / "SHA256SUMS").read_text().splitlines() if not line.endswith(path.name)]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (at / "f" / "SHA256SUMS").write_text("\n".join([*lines, f"{digest}  {path.name}"]) + "\n")
    one_line(capsys, ["audit", "f", "--html", "o.html"], "f")


def test_a_campaign_ends_in_a_line(at, capsys):
    (at / "file").write_text("")
    where = ["--profile", "tiny", "--work", "file/x"]  # refused with the option itself
    for code, words in ((1, ["balance", "--book", "nowhere"]), (2, ["encodings", *where])):
        capsys.readouterr()
        assert main(["campaign", *words]) == code
        err = capsys.readouterr().err.splitlines()
        assert len(err) == 1 and err[0].startswith("rgbd-insight: ") and [p.name for p in at.iterdir()] == ["file"]
    for folder in ("nowhere", "file", "../../etc"):
        assert main(["campaign", "all", "--nyuv2", folder]) == 2
        assert "must be a folder of images" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"zoo_scenes": 1}', '{"zoo_scenes": {"file": "../../etc/passwd"}}'])
def test_results_that_are_damaged(at, capsys, text):
    (at / "results").mkdir()
    (at / "results" / "index.json").write_text(text)
    with pytest.raises(ValueError):
        read_table(at / "results", "zoo_scenes")
