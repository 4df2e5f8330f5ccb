"""From the list of published networks to an audit of one, and what a foreign network must be told on the way."""

import json
import os
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import rgbd_insight as ri
from rgbd_insight.cli import main
from rgbd_insight.cli.extract import block
from rgbd_insight.models import published, published_networks
from tests._standins import standin

ROOT = Path(__file__).parents[2]
FEW = ["--data", "scenes", "--n", "12", "--draws", "1", "--device", "cpu"]


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def test_the_list_names_all_and_every_way_is_whole(capsys):
    assert main(["published"]) == 0
    printed = capsys.readouterr().out
    assert all(line.split()[0] in published_networks() for line in printed.split("\n\n")[0].split("\n"))
    for name in published_networks():
        assert main(["published", name]) == 0
        lines = capsys.readouterr().out.rstrip("\n").split("\n")
        assert f"# {name}: {published(name).about['paper']}" == lines[0]
        if "code" in published(name).about:
            end = lines.index("END")
            code = "\n".join(lines[lines.index("cat > rgbd_network.py <<'END'") + 1 : end])
            compile(code, name, "exec")
            assert "def make():" in code and "{" not in re.sub(r"\{\"(rgb|semseg)\".*?\}", "", code)
            assert [line.split()[:2] for line in lines[end + 1 :]] == [
                ["rgbd-insight", word] for word in ("data", "taps", "extract", "audit")
            ]
    assert main(["published", "ESAnet"]) == 1
    assert "the nearest are ESANet" in capsys.readouterr().err


def test_the_printed_lines_lead_from_a_repository_to_an_audit(at, capsys):
    assert main(["published", "ESANet"]) == 0
    lines = capsys.readouterr().out.split("\n")
    clone = at / "ESANet"
    (clone / "src" / "models").mkdir(parents=True)
    (clone / "src" / "models" / "model.py").write_text(
        "from tests._standins import standin\n"
        "def ESANet(height, width, num_classes, *_, **__):\n    return standin('ESANet', 28, seed=7)\n"
    )
    (clone / "rgbd_network.py").write_text(
        "\n".join(lines[lines.index("cat > rgbd_network.py <<'END'") + 1 : lines.index("END")])
    )
    torch.save({"state_dict": standin("ESANet", 28, seed=3).state_dict()}, clone / "WEIGHTS.pth")
    os.chdir(clone)
    for line in lines[lines.index("END") + 2 :]:
        words = line.split()[1:]
        if not words or words[0] == "audit":
            continue
        i = words.index("--data")
        assert main([*words[:i], *(FEW[:2] if words[0] == "taps" else FEW), *words[i + 2 :]]) == 0
    printed = capsys.readouterr().out
    assert (
        "level 4  fused   'se_layer4'" in printed and "MIND: it was trained at 480x640, and is given 48x64" in printed
    )
    assert "images: metric depth minus 2.842, by 1.417" in printed
    assert "is at chance" in printed  # its weights are random, and it is said to be final
    found = ri.load(at / "features" / "ESANet")
    assert len(found.runs) == 1 and found.entry("ESANet")["role"] == "final"
    audit = next(line for line in lines if line.startswith("rgbd-insight audit"))
    assert main([*audit.split()[1:], "--permutations", "20"]) == 0 and (at / "ESANet.html").exists()


CODE = """
import torch
from tests._standins import standin

def make():
    import helper_of_theirs  # beside this file, and imported only when it is called
    return standin("{name}", {classes}, seed=1)

class Late(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = standin("ESANet", 28, seed=1)

    def forward(self, rgb, depth):
        import later_of_theirs
        return self.inner(rgb, depth)

def late():
    return Late()
"""


def write(at, name="CMX", classes=28):
    (at / "code").mkdir(exist_ok=True)
    (at / "code" / "theirs2.py").write_text(CODE.replace("{name}", name).replace("{classes}", str(classes)))
    (at / "code" / "helper_of_theirs.py").write_text("")
    (at / "code" / "later_of_theirs.py").write_text("")


def test_a_second_checkpoint_is_no_copy_of_the_first(at, capsys, monkeypatch):
    write(at)
    monkeypatch.syspath_prepend(str(at / "code"))
    for seed in (1, 2):
        torch.save(standin("CMX", 28, seed=seed).state_dict(), at / f"{seed}.pth")
    base = ["extract", "--model", "theirs2:make", "--taps", "CMX", "--name", "cmx", *FEW]
    assert main([*base, "--checkpoint", "1.pth"]) == 0
    capsys.readouterr()
    assert main([*base, "--checkpoint", "1.pth"]) == 0  # the same again: nothing to do
    assert main([*base, "--checkpoint", "2.pth"]) == 1
    said = capsys.readouterr().err
    assert "was made with 'weights' = " in said and "--seed, --epoch, --role, --name" in said
    assert main([*base, "--checkpoint", "2.pth", "--seed", "1"]) == 0
    assert main([*base, "--checkpoint", "2.pth", "--epoch", "3", "--role", "checkpoint"]) == 0
    found = ri.load("features/mine")
    table = found.runs.reset_index()[["seed", "role"]].values.tolist()
    assert sorted(table) == [[0, "checkpoint"], [0, "final"], [1, "final"]]
    first, second = (found.find(seed=seed, role="final")[0] for seed in (0, 1))
    one, other = (found.responses(run, "rgb", 1, "both") for run in (first, second))
    assert (one != other).any() and found.siblings(first) == [second]


def test_another_way_of_calling_is_another_run(at, capsys):
    data, model = ri.data.Scenes(12), standin("ESANet", 28)
    taps = published("ESANet")

    def plain(model, rgb, depth):
        return torch.nn.functional.interpolate(model(rgb, depth), rgb.shape[-2:])

    def half(model, rgb, depth):
        return torch.nn.functional.interpolate(model(rgb / 2, depth), rgb.shape[-2:])

    half.__qualname__ = plain.__qualname__
    options = {"run": {"fusion": "x"}, "draws": 1, "progress": False, "device": "cpu", "out": at / "f"}
    ri.extract(model, data, list(taps), adapt=plain, **options)
    ri.extract(model, data, list(taps), adapt=plain, **options)
    with pytest.raises(ValueError, match="was made with 'adapt'"):
        ri.extract(model, data, list(taps), adapt=half, **options)
    with pytest.raises(ValueError, match="was made with 'adapt'"):
        ri.extract(model, data, taps, **options)


@pytest.mark.parametrize("factory", ["make", "late"])
def test_a_factory_imports_what_lies_beside_it(at, capsys, monkeypatch, factory):
    write(at, "ESANet")
    (at / "theirs2.py").write_text("from code_of_theirs.theirs2 import late, make\n")
    (at / "code").rename(at / "code_of_theirs")
    (at / "code_of_theirs" / "__init__.py").write_text("")
    word = f"code_of_theirs.theirs2:{factory}"
    taps = "ESANet"
    if factory == "late":
        (at / "late.toml").write_text('[Late]\nrgb = {module = "inner.encoder_rgb.layer{level}.-1"}\n')
        taps = "late.toml"
    before = list(sys.path)
    assert main(["taps", word, "--taps", taps]) == 0, capsys.readouterr().err
    assert sys.path == before


def test_heads_of_other_classes(at, capsys, monkeypatch):
    write(at, "ESANet", classes=30)
    monkeypatch.syspath_prepend(str(at / "code"))
    base = ["extract", "--model", "theirs2:make", "--taps", "ESANet", "--name", "esanet", *FEW]
    assert main(base) == 1
    said = capsys.readouterr().err
    assert "it scores 30 and scenes has 28: name the network's with --classes" in said and "--task none" in said
    assert not Path("features").exists()
    names = list(ri.data.Scenes(1).classes)
    Path("head.json").write_text(json.dumps([None, *names[::-1][:-1], "a thing", "another"]))
    assert main([*base, "--classes", "head.json", "--seed", "1"]) == 0
    found, model, data = ri.load("features/mine"), standin("ESANet", 30, seed=1), ri.data.Scenes(12)
    batch = data.batch(range(12))
    with torch.no_grad():
        scores = published("ESANet").adapt.on(data)(model, *batch.inputs.values())
    guess = scores[:, 1:28].argmax(1)  # never the data's first class, which the head does not know
    guessed = found.predictions("esanet", "both")["guess"]
    assert guessed[:, 0].sum() == 0
    for i in range(1, 28):
        assert guessed[:, i].sum() == int((guess == 27 - i).sum())
    assert main([*base, "--task", "none", "--seed", "2"]) == 0
    assert ri.load("features/mine").responses(ri.load("features/mine").find(seed=2)[0], "rgb", 1, "both").any()
    for text, said in (
        ("{}", "must be a list of names"),
        ("[1", "must be a .json file"),
        ('["sky"]', "the nearest are"),
    ):
        Path("bad.json").write_text(text)
        assert main([*base, "--classes", "bad.json"]) == 1 and said in capsys.readouterr().err
    Path("bad.json").write_text(json.dumps([names[0], names[0]]))
    assert main([*base, "--classes", "bad.json"]) == 1 and "each class once" in capsys.readouterr().err
    Path("bad.json").write_text(json.dumps(names))
    assert main([*base, "--classes", "bad.json"]) == 1 and "got 28 names" in capsys.readouterr().err


def test_large_images_come_fewer_at_a_time():
    sizes = [block(SimpleNamespace(size=size)) for size in ((48, 64), (240, 320), (480, 640), (2160, 3840))]
    assert sizes == [64, 64, 16, 1]


def test_a_network_that_draws_is_said_to(at, capsys, monkeypatch):
    write(at, "DFormer")
    monkeypatch.syspath_prepend(str(at / "code"))
    assert main(["taps", "theirs2:make", "--taps", "DFormer"]) == 0
    lines = [line for line in capsys.readouterr().out.split("\n") if "other answers each time" in line]
    assert len(lines) == 1 and "decode_head.align" in lines[0]
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert main(["extract", "--model", "theirs2:make", "--taps", "DFormer", "--name", "dformer", *FEW]) == 0
    assert any("other answers to the same images" in str(w.message) for w in heard)
    printed = capsys.readouterr().out
    assert "MIND: not known: how depth became the bytes" in printed
