"""What is printed meets terminals, pipes and names of every kind: nothing is lost, and our own words are said."""

import io
import json
import os
import sys

import pytest

from rgbd_insight.cli import commands, main
from rgbd_insight.cli.audit import run
from rgbd_insight.features import FeaturesError, read_own
from rgbd_insight.utils.reading import Unreadable, read_json


class Found:
    """What an audit finds."""

    def save(self, path):
        path.write_text("saved")
        return path

    def text(self):
        return "p ≤ .05 …"


def test_nobody_reads_on(monkeypatch):
    ours, theirs = os.pipe()
    os.close(ours)  # as ``| head`` does
    said = io.StringIO()
    with io.TextIOWrapper(io.BufferedWriter(io.FileIO(theirs, "w"))) as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", said)
        assert main(["published"]) == commands.UNREAD == 141
    assert said.getvalue() == ""


def test_a_broken_pipe_of_another_kind_is_said(monkeypatch, capsys):
    def breaks(_):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(commands.audit, "_ask", lambda *_: breaks(None))
    assert main(["audit", "f"]) == 1
    assert "Broken pipe" in capsys.readouterr().err


def test_a_report_is_written_before_anything_is_printed(tmp_path, monkeypatch):
    def closed(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr(commands.audit, "_ask", lambda *_: Found())
    monkeypatch.setattr("builtins.print", closed)
    options = commands._parser().parse_args(["audit", "f", "--html", str(tmp_path / "a.html")])
    with pytest.raises(BrokenPipeError):
        run(options)
    assert (tmp_path / "a.html").read_text() == "saved"


def test_a_terminal_without_a_sign_shows_another(monkeypatch):
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding="ascii"))
    monkeypatch.setattr(commands.audit, "_ask", lambda *_: Found())
    assert main(["audit", "f"]) == 0
    assert held.getvalue() == b"p ? .05 ?\n"


@pytest.mark.parametrize("option", ["--html", "--json"])
def test_a_name_that_is_too_long_while_it_is_written_is_refused_at_once(option, capsys):
    assert main(["audit", "f", option, "x" * 245 + "." + option[2:]]) == 2
    err = capsys.readouterr().err
    assert "a name of at most 247 bytes" in err and err.count("\n") == 1


def test_half_a_character_is_none(tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(["\U0001f6cb"]))  # two halves make one
    assert read_json(path) == ["\U0001f6cb"]
    path.write_text(r'["caf\udce9"]')
    with pytest.raises(Unreadable, match="half a character"):
        read_json(path)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file system has no such names")
def test_a_concept_whose_name_is_no_text_is_refused(tmp_path):
    from PIL import Image

    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    Image.new("L", (2, 2), 1).save(folder / "a.png")
    with pytest.raises(FeaturesError, match="must be a text in UTF-8"):
        read_own(tmp_path, ["a"], ["b"])
