"""Networks of other makings from the command line, and hostile input to every command: one line, nothing written."""

import json
import pickle
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import rgbd_insight as ri
from rgbd_insight.cli import main
from rgbd_insight.models import import_model, load_weights
from tests._standins import standin
from tests._toy import ToyNet

CODE = """
import torch
from tests._standins import standin
from torch import nn

class Backwards(nn.Module):
    def __init__(self):
        super().__init__()
        self.colour, self.shape, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(1, 8, 4, 4), nn.Conv2d(8, 28, 1)

    def forward(self, depth, image):
        return {"out": self.head(self.colour(image) + self.shape(depth))}

def backwards():
    torch.manual_seed(0)
    return Backwards()

def call(model, rgb, depth):
    return nn.functional.interpolate(model(depth, rgb)["out"], rgb.shape[-2:])

def sigma():
    return standin("Sigma", 28)

def fails():
    raise OSError("no such weights")

number, nothing = 3, lambda: None
"""


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "theirs.py").write_text(CODE)
    yield tmp_path
    sys.modules.pop("theirs", None)


def names(folder):
    return {path.name for path in folder.rglob("*") if path.name != "__pycache__" and path.suffix != ".pyc"}


def test_candidates_of_a_network_are_listed_by_level(capsys):
    assert main(["taps", "theirs:sigma", "--adapt", "theirs:adapt_sigma"]) == 1  # there is no such function
    assert "nearest" in capsys.readouterr().err
    Path("theirs.py").write_text(
        CODE + "\nfrom rgbd_insight.models import published\nadapt = published('Sigma').adapt\n"
    )
    sys.modules.pop("theirs", None)
    assert main(["taps", "theirs:sigma", "--adapt", "theirs:adapt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "level 1: 12 x 16, 1/4 of the input"
    first = [line for line in lines if "backbone.vssm item=0 call=0" in line]
    assert len(first) == 1 and first[0].split()[0] == "rgb" and "by depth 0.000" in first[0]
    assert any("channel_attn_mamba.0 layout='NHWC'" in line and line.split()[0] == "fused" for line in lines)
    assert [line[:7] for line in lines if line.startswith("level")] == ["level 1", "level 2", "level 3", "level 4"]


def test_a_containers_part_that_only_repeats_it_is_left_out():
    model, batch = ri.models.build("sum", width=8), ri.data.Scenes(2).batch([0, 1])
    short, every = ri.candidates(model, batch), ri.candidates(model, batch, every=True)
    assert len(every) > 2 * len(short) and set(short["module"]) <= set(every["module"])
    wanted = {tap.module: tap for tap in model.taps()}
    found = short[short["module"].isin(wanted)]
    assert set(found["module"]) == set(wanted) and [wanted[m].level for m in found["module"]] == list(found["level"])
    assert not any(m._forward_hooks for m in model.modules()) and model.training
    with pytest.raises(ValueError, match="two or more samples; got 1"):
        ri.candidates(model, ri.data.Scenes(2).batch([0]))


def test_a_factory_with_its_weights_is_extracted_and_audited(at, capsys):
    torch.manual_seed(5)
    save_file(standin("Sigma", 28, seed=4).state_dict(), at / "sigma.safetensors")
    command = "extract --model theirs:sigma --checkpoint sigma.safetensors --taps Sigma --name sigma --n 24 --draws 1"
    assert main([*command.split(), "--device", "cpu"]) == 0
    printed = capsys.readouterr().out
    assert "sigma-s0 (epoch, role unknown) in features/mine" in printed
    assert "MIND: the accuracy of sigma-s0 is at chance" in printed  # its weights are random
    assert main(["audit", "features/mine", "--permutations", "20", "--json", "a.json"]) == 0
    card = json.loads((at / "a.json").read_text())["card"]
    assert card["called by"].startswith("Adapter(inputs='pair'") and card["crop"] == "none"
    data = ri.data.Scenes(24)
    taps = ri.models.published("Sigma")
    again = ri.extract(
        standin("Sigma", 28, seed=4),
        data,
        taps,
        at / "f",
        adapt=taps.adapt,
        draws=1,
        progress=False,
        device="cpu",
        run={"fusion": "sigma"},
    )
    one = ri.load("features/mine").responses("sigma", "rgb", 2, "rgb")
    assert np.array_equal(one, again.responses("sigma", "rgb", 2, "rgb"))


def test_a_network_called_in_its_own_way(at, capsys):
    (at / "places.toml").write_text(
        '[Mine]\nrgb = {module = "colour", levels = [1]}\ndepth = {module = "shape", levels = [1]}\n'
    )
    base = ["extract", "--model", "theirs:backwards", "--taps", "places.toml", "--n", "6", "--draws", "1"]
    assert main(base) == 1
    said = capsys.readouterr().err
    assert "cannot be called as Adapter" in said and "give --adapt" in said and said.count("\n") == 1
    assert not (at / "features").exists()
    assert main([*base, "--adapt", "theirs:call"]) == 0
    assert ri.load("features/mine").entry("custom")["about"] == {"called by": "call", "unknown": "epoch, role"}


def test_two_audits_are_compared(at, capsys):
    data = ri.data.Scenes(24)
    for name, seed, n in (("a", 0, 24), ("b", 1, 24), ("c", 0, 22)):
        model = ri.models.build("sum", width=8, seed=seed)
        ri.extract(model, ri.data.Scenes(n), out=at / name, draws=1, progress=False, device="cpu")
    few = ["--permutations", "20"]
    assert main(["audit", "a", *few, "--json", "a.json"]) == main(["audit", "b", *few, "--json", "b.json"]) == 0
    capsys.readouterr()
    assert main(["audit", "a.json", "b.json", "--html", "ab.html", "--json", "ab.json"]) == 0
    said = capsys.readouterr().out
    assert "A is sum-s0-e0, B is sum-s1-e0" in said and "CONSISTENCY" in said and "DO NOT COMPARE" not in said
    one, other = (json.loads((at / f"{x}.json").read_text())["tables"]["consistency"] for x in "ab")
    row = next(
        r for r in json.loads((at / "ab.json").read_text())["table"] if r["measure"] == "cka" and r["level"] == "2"
    )
    truth = [next(r for r in rows if r["measure"] == "cka" and r["level"] == 2)["value"] for rows in (one, other)]
    assert [row["value_a"], row["value_b"]] == truth and len(data) == 24
    assert "<table" in (at / "ab.html").read_text()
    assert main(["audit", "a.json", "c", *few]) == 0
    said = capsys.readouterr().out
    assert "DO NOT COMPARE: the cards differ in" in said and "images: 24 | 22" in said and " * " not in said
    assert main(["audit", "a", "--join", "b", *few]) == 0
    assert "other seed" not in capsys.readouterr().err


class Bomb:
    """Writes a file where it is unpickled."""

    def __reduce__(self):
        return (Path.write_text, (Path("boom"), "it ran"))


def hostile(at):
    """Files of every wrong kind."""
    (at / "empty").mkdir()
    torch.save({"state_dict": {"rgb1.weight": Bomb()}}, at / "bomb.pt")
    (at / "bomb.pkl").write_bytes(pickle.dumps(Bomb()))
    (at / "bomb.safetensors").write_bytes(pickle.dumps(Bomb()))
    torch.save(ToyNet().state_dict(), at / "other.pt")
    (at / "cut.pt").write_bytes((at / "other.pt").read_bytes()[:900])
    torch.save([1, 2], at / "list.pt")
    (at / "words.txt").write_text("not an archive")
    (at / "deep.json").write_text("[" * 100_000)
    (at / "wrong.json").write_text('{"format": "rgbd_insight.audit/1", "run": 3, "card": {}, "tables": {"a": [3]}}')
    (at / "broken.toml").write_text("[A\nrgb = ")
    images = at / "images"
    for name in ("rgb", "depth", "label"):
        (images / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8), np.uint16 if name == "depth" else np.uint8)).save(images / name / "a.png")
    (images / "classes.json").write_text('["wall"]')
    (images / "splits.json").write_text('{"test": ["../../etc/passwd"]}')
    bad = at / "bad"
    bad.mkdir()
    (bad / "manifest.json").write_text('{"format": "<script>", "schema": 1}')


HOSTILE = [
    ("taps", 2, "required"),
    ("taps nowhere", 1, "there is none at nowhere"),
    ("taps words.txt", 1, "words.txt is none"),
    ("taps no_such_module:make", 1, "'no_such_module' cannot be imported (ModuleNotFoundError"),
    ("taps theirs:mak", 1, "got 'mak': the nearest are"),
    ("taps theirs:fails", 1, "theirs:fails() failed (OSError: no such weights)"),
    ("taps theirs:number", 1, "got a int"),
    ("taps theirs:nothing", 1, "must make a torch.nn.Module; got a NoneType"),
    ("taps theirs:../x", 1, 'must be "module:name"'),
    ("taps theirs:backwards", 1, "cannot be called as model(*inputs) ("),
    ("taps theirs:sigma --checkpoint bomb.pt", 1, "holds objects whose code would be run"),
    ("taps theirs:sigma --checkpoint bomb.pkl", 1, "holds objects whose code would be run"),
    ("taps theirs:sigma --checkpoint bomb.safetensors", 1, "must be a safetensors file"),
    ("taps theirs:sigma --checkpoint cut.pt", 1, "cannot be read as weights"),
    ("taps theirs:sigma --checkpoint list.pt", 1, "must hold tensors by name; got list"),
    ("taps theirs:sigma --checkpoint words.txt", 1, "words.txt"),
    ("taps theirs:sigma --checkpoint nowhere.pt", 1, "there is none at nowhere.pt"),
    ("taps theirs:sigma --checkpoint other.pt", 1, "with other.pt it misses 'backbone.vssm.layers.0.weight' and"),
    ("extract --model theirs:sigma", 1, "`taps` must be given"),
    ("extract --model theirs:sigma --taps Sigmo", 1, "'Sigmo': the nearest are Sigma"),
    ("extract --model theirs:sigma --taps broken.toml", 1, "must be TOML"),
    ("extract --model theirs:sigma --taps nowhere.toml", 1, "there is none at nowhere.toml"),
    ("extract --model theirs:sigma --taps x.{stream}.{level}", 1, "x.rgb.1"),
    ("extract --model theirs:sigma --taps x.{stream}", 1, "add {level}"),
    ("extract --model theirs:sigma --taps Sigma --levels 4-1", 2, "must be levels, such as 1-4"),
    ("extract --model theirs:sigma --taps Sigma --adapt theirs:number", 1, "theirs:number is none"),
    ("extract --model theirs:sigma --taps Sigma --name ../up", 1, "plain file name"),
    ("extract --model theirs:sigma --taps Sigma --data folder:images", 1, "passwd"),
    ("train --data folder:images:test", 1, "passwd"),
    ("audit bad", 1, "was not written by rgbd_insight"),
    ("audit empty", 1, "manifest.json does not exist"),
    ("audit a b c", 1, "name one directory to audit it, or two"),
    ("audit wrong.json", 1, "name a second beside wrong.json"),
    ("audit wrong.json wrong.json --html x.html", 1, "is damaged"),
    ("audit deep.json wrong.json", 1, "must be a report saved as .json"),
    ("audit nowhere.json wrong.json", 1, "there is no report at nowhere.json"),
    ("audit words.txt wrong.json", 1, "words.txt is not a directory"),
    ("data", 2, "check|nyuv2|sunrgbd"),
    ("data check nowhere", 1, "nowhere is none"),
    ("data check images --sample 0", 2, "whole number from 1"),
    ("data nyuv2 words.txt out", 1, "splits.mat is missing"),
    ("data nyuv2 words.txt out --splits words.txt", 1, "must be a MATLAB file"),
    ("data nyuv2 words.txt out --splits bomb.pkl", 1, "must be a MATLAB file"),
    ("data nyuv2 words.txt out --classes 39", 2, "invalid choice"),
    ("data sunrgbd empty out", 1, "has none"),
    ("data sunrgbd nowhere out", 1, "nowhere is none"),
]


@pytest.mark.parametrize(("command", "code", "said"), HOSTILE, ids=[command for command, _, _ in HOSTILE])
def test_hostile_input_ends_in_one_line(at, capsys, command, code, said):
    hostile(at)
    there = names(at)
    assert main(command.split()) == code
    printed = capsys.readouterr()
    assert printed.err.startswith("rgbd-insight: ") and printed.err.count("\n") == 1, printed.err
    assert said in printed.err and "Traceback" not in printed.err
    assert names(at) == there and not (at / "boom").exists()


def test_findings_are_printed_and_fail(at, capsys):
    hostile(at)
    assert main(["data", "check", "images"]) == 1
    printed = capsys.readouterr()
    assert "a folder that cannot be opened" in printed.out and not printed.err


def test_text_from_data_is_escaped_in_the_html(at, capsys):
    class Nasty(ri.data.Scenes):
        name = "<script>alert(1)</script>"

        def __init__(self, n):
            super().__init__(n)
            first, *rest = self.concepts
            self.concepts = (
                type(first)("<img src=x onerror=alert(2)>", first.family, first.kind, first.visible),
                *rest,
            )

    model = ri.models.build("sum", width=8)
    for folder in ("a", "b"):
        ri.extract(model, Nasty(24), out=at / folder, draws=1, progress=False, device="cpu")
    assert main(["audit", "a", "--permutations", "20", "--html", "one.html", "--json", "a.json"]) == 0
    assert main(["audit", "a.json", "b", "--permutations", "20", "--html", "two.html"]) == 0
    for page in ("one.html", "two.html"):
        text = (at / page).read_text(encoding="utf-8")
        assert "<script" not in text and "<img src=x" not in text
    assert re.search("&lt;script", (at / "one.html").read_text(encoding="utf-8"))


def test_weights_are_found_where_training_scripts_put_them(tmp_path):
    model = standin("CMX", 3)
    state = standin("CMX", 3, seed=1).state_dict()
    wraps = [
        state,
        {"model": state},
        {"epoch": torch.tensor(3), "state_dict": {f"module.{k}": v for k, v in state.items()}},
    ]
    for i, wrapped in enumerate(wraps):
        torch.save(wrapped, tmp_path / f"{i}.pth")
        load_weights(standin("CMX", 3), tmp_path / f"{i}.pth")
    with pytest.raises(ValueError, match="it does not know 'extra'"):
        torch.save(state | {"extra": torch.zeros(1)}, tmp_path / "more.pth")
        load_weights(model, tmp_path / "more.pth")
    with pytest.raises(ValueError, match="has in another shape 'decode_head"):
        load_weights(standin("CMX", 4), tmp_path / "0.pth")
    assert not import_model("torch.nn:Identity").training
