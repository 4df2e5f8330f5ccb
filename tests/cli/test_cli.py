import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from rgbd_insight.cli import audit as audits
from rgbd_insight.cli import main
from rgbd_insight.cli import train as training
from rgbd_insight.cli.sources import data_from, reading_scales
from rgbd_insight.features import load
from rgbd_insight.models import load as load_model


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def images(path, n=8, size=(20, 24)):
    """A folder of `n` images, half of them for training, with holes in their depth."""
    rng = np.random.default_rng(0)
    for name in ("rgb", "depth", "label"):
        (path / name).mkdir(parents=True)
    ids = [f"img{i}" for i in range(n)]
    for i in ids:
        depth = rng.integers(1000, 5000, size) * (rng.random(size) > 0.2)
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(path / f"rgb/{i}.png")
        Image.fromarray(depth.astype(np.uint16)).save(path / f"depth/{i}.png")
        Image.fromarray(rng.choice([0, 1, 255], size).astype(np.uint8)).save(path / f"label/{i}.png")
    (path / "classes.json").write_text(json.dumps(["wall", "floor"]))
    splits = {"train": ids[: n // 2], "test": ids[n // 2 :], "groups": {i: i for i in ids}}
    (path / "splits.json").write_text(json.dumps(splits))
    return path


def test_the_three_commands_work_one_after_the_other(at, capsys):
    assert main(["train", "--data", "scenes", "--fusion", "sum", "--profile", "tiny", "--n", "32"]) == 0
    assert (at / "runs/sum-s0/epoch-0002.safetensors").is_file()
    assert "Next: rgbd-insight extract --model runs/sum-s0" in capsys.readouterr().out

    assert main(["extract", "--model", "runs/sum-s0", "--n", "40", "--draws", "1"]) == 0
    assert "Next: rgbd-insight audit features/mine" in capsys.readouterr().out
    found = load("features/mine")
    assert found.runs.index.tolist() == ["sum-s0-e2"] and found.runs["role"].tolist() == ["final"]
    assert len(found.curves("sum")) == 2

    wanted = ["--permutations", "20", "--html", "out/report.html", "--json", "out/report.json"]
    assert main(["audit", "features/mine", *wanted]) == 0
    printed = capsys.readouterr()
    assert all(f"{name}. " in printed.out for name in ("CONSISTENCY", "SPECIFICITY", "EVOLUTION", "COLLABORATION"))
    assert json.loads((at / "out/report.json").read_text())["run"] == "sum-s0-e2"
    assert "<h2>evolution</h2>" in (at / "out/report.html").read_text(encoding="utf-8")


def test_several_fusions_share_a_folder_and_a_kept_epoch_can_be_extracted(at, capsys):
    assert main(["train", "--fusion", "rgb, early", "--n", "16", "--epochs", "2", "--out", "all", "--seed", "3"]) == 0
    assert {path.name for path in (at / "all").iterdir()} == {"rgb-s3", "early-s3"}
    for epoch, role in (("0", "untrained"), ("1", "checkpoint"), ("last", "final")):
        assert main(["extract", "--model", "all/rgb-s3", "--epoch", epoch, "--n", "6", "--draws", "1"]) == 0
        assert role in load("features/mine").runs["role"].tolist()
    assert load("features/mine").runs["seed"].unique().tolist() == [3]


def test_a_folder_of_images_is_trained_with_its_own_depth_scale_and_size(at, capsys):
    path = images(at / "my:images")
    word = f"folder:{path}"
    assert main(["train", "--data", word, "--size", "16x24", "--epochs", "1", "--fusion", "se"]) == 0
    scale = load_model("runs/se-s0/epoch-0001.safetensors").config["depth_scale"]
    assert scale == pytest.approx(reading_scales(data_from(word, split="train", size=(16, 24)))["depth"])
    assert 2.5 < scale[0] < 3.5 and 1 < scale[1] < 1.3  # metres, uniform between 1 and 5; no reading left out
    assert main(["extract", "--model", "runs/se-s0", "--data", f"{word}:train", "--out", "f", "--draws", "1"]) == 0
    found = load("f")
    assert found.manifest["size"] == [16, 24] and found.manifest["fingerprint"]["split"] == "train"


def test_scenes_are_not_mirrored_and_folders_are(at, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "train", lambda *a, **options: seen.append(options["flip"]) or 1 / 0)
    for word in ("scenes", f"folder:{images(at / 'images')}"):
        assert main(["train", "--data", word, *(["--n", "4"] if word == "scenes" else [])]) == 1
    assert seen == [False, True]


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("", 2, "data|published|taps|train|extract|audit|claims|validate|campaign"),
        ("tran", 2, "tran"),
        ("train --fusion summ", 1, "nearest are sum"),
        ("train --fusion sum,nope", 1, "nope"),
        ("train --profile huge", 2, "tiny"),
        ("train --seed x", 2, "--seed"),
        ("train --size 12", 2, "such as 96x128"),
        ("train --size 12x12", 1, "Leave it out"),
        ("train --device nothing", 2, "device of this machine"),
        ("train --width 5", 1, "multiples of 8"),
        ("train --width 0", 1, "multiples of 8"),
        ("train --epochs 0", 1, "`epochs` must be a whole number from 1"),
        ("train --n 0", 1, "`n` must be a whole number from 1"),
        ("train --data scene", 1, 'must be "scenes"'),
        ("train --data folder:nowhere", 1, "'nowhere' is none"),
        ("extract", 1, "there is none at runs/sum-s0"),
        ("extract --model empty", 1, "empty has none"),
        ("extract --model foreign.safetensors", 1, "foreign.safetensors is none"),
        ("extract --model foreign.safetensors --epoch 3", 1, "Leave it out"),
        ("audit nowhere", 1, "nowhere is not a directory"),
        ("audit empty", 1, "manifest.json does not exist"),
        ("audit nowhere --html report.pdf", 2, "must end in .html or .json"),
    ],
)
def test_an_error_is_one_line_and_writes_nothing(at, capsys, command, code, said):
    (at / "empty").mkdir()
    (at / "foreign.safetensors").write_text("not weights")
    assert main(command.split()) == code
    printed = capsys.readouterr()
    assert printed.err.startswith("rgbd-insight: ") and printed.err.count("\n") == 1
    assert said in printed.err and not printed.out
    assert {path.name for path in at.iterdir()} == {"empty", "foreign.safetensors"}


def test_data_of_other_classes_than_the_network_is_named(at, capsys):
    main(["train", "--n", "4", "--epochs", "1", "--fusion", "rgb"])
    capsys.readouterr()
    assert main(["extract", "--model", "runs/rgb-s0", "--data", f"folder:{images(at / 'images')}"]) == 1
    assert "has 28 and" in capsys.readouterr().err and not (at / "features").exists()
    assert main(["extract", "--model", "runs/rgb-s0", "--epoch", "7"]) == 1
    assert "must be last or one of 0, 1; got '7'" in capsys.readouterr().err


@pytest.mark.parametrize("said", ["", "stopped; 3 of 9 samples are safe"])
def test_an_interrupt_is_one_line(said, capsys, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt(said)

    monkeypatch.setattr(audits, "load", stop)
    assert main(["audit"]) == 130
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and (said or "the same command goes on") in err


def test_depth_that_never_varies_is_an_error(at):
    path = images(at / "flat")
    for file in (path / "depth").iterdir():
        Image.fromarray(np.zeros((20, 24), np.uint16)).save(file)
    with pytest.raises(ValueError, match="depth must vary in 'flat'; got 0 readings"):
        reading_scales(data_from(f"folder:{path}", split="train"))


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("train", "extract", "audit"))


def test_claims_prints_the_ledger_and_writes_it(at, capsys):
    book = Path(__file__).resolve().parents[2] / "book"
    words = ["claims", str(book / "features/scenes"), "--results", str(book / "results"), "--only", "5,6b, 7"]
    assert main([*words, "--csv", "ledger.csv"]) == 0
    printed = capsys.readouterr().out
    assert "5   Imbalance (scenes): " in printed and "to add it: rgbd-insight campaign" in printed
    assert pd.read_csv("ledger.csv").claim.astype(str).tolist() == ["5", "6b", "7"]
    assert main([*words[:-1], "8"]) == 1
    assert "nearest" in capsys.readouterr().err


def test_the_whole_zoo_is_one_campaign(at, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(training, "everything", lambda *arguments: asked.append(arguments))
    assert main(["train", "--fusion", "all", "--profile", "full", "--out", "zoo", "--seed", "3"]) == 0
    ((plans, *rest, pool),) = asked
    assert rest == ["full", Path("zoo"), Path("book")] and pool.workers >= 1 and plans[0].seeds == (3, 4, 5)
    assert main(["train", "--fusion", "all", "--profile", "full", "--epochs", "3"]) == 1
    assert "`--epochs` does not go with" in capsys.readouterr().err
