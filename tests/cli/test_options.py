"""What no run could end well with is refused before the work: one line, and nothing written."""

import os
from pathlib import Path

import pytest
import torch

from rgbd_insight.cli import main
from rgbd_insight.models import build, load, save
from rgbd_insight.utils.messages import WHERE


@pytest.fixture(autouse=True)
def at(tmp_path, monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(WHERE, "1")  # what no check foresaw fails a test
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    os.symlink("nowhere/at/all", "dangling")
    os.symlink("loop", "loop")
    return tmp_path


def refused(capsys, words, said, code=2):
    before = sorted(Path.cwd().rglob("*"))
    assert main(words) == code
    printed = capsys.readouterr()
    assert printed.err.startswith("rgbd-insight: ") and printed.err.count("\n") == 1, printed.err
    assert said in printed.err and not printed.out
    assert sorted(Path.cwd().rglob("*")) == before


HUGE = "100000000000000000000"
NUMBERS = [
    *(("train", "--seed", value) for value in ("-1", "1e20", HUGE, "9" * 5000, "1.5", "nan", "")),
    *(("train", option, value) for option in ("--epochs", "--n", "--width") for value in ("-1", "1e20", HUGE)),
    *(("extract", option, value) for option in ("--n", "--draws") for value in ("-1", HUGE)),
    *(("audit", "--permutations", value) for value in ("-1", "1e20", HUGE)),
    ("data", "check", "folder", "--sample", HUGE),
    ("validate", "--workers", HUGE),
    ("campaign", "runs", "--seed", "-1"),
    ("campaign", "runs", "--seed", HUGE),
]


@pytest.mark.parametrize("words", NUMBERS, ids=lambda words: " ".join(words)[:40])
def test_numbers_beyond_which_no_run_ends(capsys, words):
    refused(capsys, list(words), "must be a whole number")


@pytest.mark.parametrize("size", [f"{HUGE}x96", "96x99999", "0x4"])
def test_sizes_that_fill_any_memory(capsys, size):
    refused(capsys, ["train", "--size", size], "such as 96x128")


def test_levels_that_fill_any_memory(capsys):
    refused(capsys, ["extract", "--taps", "a{level}", "--levels", f"1-{HUGE}"], "such as 1-4")


FOLDERS = [
    ("train", "--out"),
    ("extract", "--out"),
    ("data", "nyuv2", "file"),
    ("data", "sunrgbd", "folder"),
    ("validate", "--out"),
    ("campaign", "ship"),
    ("campaign", "runs", "--work"),
    ("campaign", "tables", "--book"),
]
FILES = [("audit", "--html"), ("audit", "--json"), ("claims", "--csv")]
PLACES = {
    "dangling": "leads nowhere",
    "dangling/inside": "leads nowhere",
    "loop": "leads nowhere",
    "loop/inside": "leads nowhere",
    "x:y": "no colon",
    "file/inside": "is a file",
    ".": "of its own",
    "..": "of its own",
    "": "of its own",
    "/": "of its own",
    "a\0b": "NUL byte",
    "a" * 300: "must have a name of at most",
}


@pytest.mark.parametrize("words", FOLDERS, ids=" ".join)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: repr(place)[:20])
def test_folders_that_cannot_be_made(capsys, words, place):
    if words[-1] != "--book" or "\0" in place or not os.path.isdir(place):  # a book that is there may be anywhere
        refused(capsys, [*words, place], PLACES[place])
    refused(capsys, [*words, "file"], "is a file")


@pytest.mark.parametrize("words", FILES, ids=" ".join)
@pytest.mark.parametrize("place", [place for place in PLACES if Path(place).name not in ("", "..")], ids=repr)
def test_files_that_cannot_be_made(at, capsys, words, place):
    ending = {"--html": ".html", "--json": ".json"}.get(words[-1], "")
    if place in ("dangling", "loop") and ending:
        os.symlink(os.readlink(place), place + ending)
    refused(capsys, [*words, place + ending], PLACES[place])
    (at / f"there{ending}").mkdir()
    refused(capsys, [*words, f"there{ending}"], "is a folder")


def test_a_folder_through_a_link_that_leads_somewhere_is_fine(at):
    os.symlink("folder", "link")
    assert main(["train", "--fusion", "rgb", "--n", "4", "--epochs", "1", "--out", "link/run"]) == 0
    assert load(at / "folder/run/epoch-0001.safetensors").epoch == 1


@pytest.mark.parametrize("seed", [-1, 2**63, 10**20])
def test_a_network_that_load_would_refuse_is_not_made(at, seed):
    with pytest.raises(ValueError, match="`seed` must be"):
        build("rgb", classes=2, width=8, seed=seed)
    model = build("rgb", classes=2, width=8)
    model.config["seed"] = seed
    with pytest.raises(ValueError, match=r"seed.*x\.safetensors"):
        save(model, at / "runs" / "x.safetensors")
    assert not (at / "runs").exists()


WRONG = """
from torch import nn
class Wrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.rgb, self.depth = nn.Conv2d(3, 3, 1), nn.Conv2d(1, 3, 1)
    def forward(self, rgb, depth):
        return self.rgb(rgb) + self.depth(depth)
"""


def test_a_network_of_the_wrong_shape_leaves_nothing(at, capsys):
    (at / "wrong.py").write_text(WRONG)
    main(["taps", "wrong:nothing"])  # python keeps what it compiled of a module
    capsys.readouterr()
    words = [
        "extract",
        "--model",
        "wrong:Wrong",
        "--taps",
        "{stream}",
        "--levels",
        "1",
        "--n",
        "6",
        "--out",
        "new/mine",
    ]
    before = sorted(at.rglob("*"))
    assert main(words) == 1
    assert "it scores 3 and scenes has 28" in capsys.readouterr().err and sorted(at.rglob("*")) == before
