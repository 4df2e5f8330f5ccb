"""What is written is there whole or not at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from rgbd_insight.features import FeaturesError, read_table, write_table
from rgbd_insight.utils.files import digest, whole, write_json, write_parquet, write_text

ROOT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "made" / "a.txt"
    with whole(path) as partial:
        partial.write_text("old")
        assert not path.exists() and partial.parent.parent == path.parent  # on the same file system
    with pytest.raises(KeyboardInterrupt), whole(path) as partial:
        partial.write_text("ne")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and names(path.parent) == ["a.txt"]


def test_a_failed_folder_is_not_there(tmp_path):
    out = tmp_path / "f"
    with pytest.raises(ValueError, match="damaged"), whole(out) as partial:
        (partial / "rgb").mkdir(parents=True)
        raise ValueError("damaged")
    assert names(tmp_path) == []
    with whole(out) as partial:
        (partial / "rgb").mkdir(parents=True)
    assert names(out) == ["rgb"]


def test_what_a_kill_left_does_not_count_and_goes_with_the_next_write(tmp_path):
    code = (
        "import os, signal; from rgbd_insight.utils.files import whole\n"
        f"with whole({str(tmp_path / 'a.txt')!r}) as partial:\n"
        "    partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == -signal.SIGKILL
    assert names(tmp_path) == ["a.txt.partial"]
    write_text(tmp_path / "a.txt", "all ä\n")
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_bytes() == "all ä\n".encode()


def test_json_is_sorted_unless_order_matters(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": "ä"})
    assert path.read_text(encoding="utf-8") == '{\n "a": "ä",\n "b": 1\n}\n'
    write_json(path, {"b": 1, "a": 2}, sort=False)
    assert list(json.loads(path.read_text())) == ["b", "a"]
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text())["b"] == 1 and names(tmp_path) == ["a.json"]


def test_tables_survive_a_write_that_fails(tmp_path, monkeypatch):
    """A committed table and its index: neither is half there, and neither says what the other does not."""
    table = pd.DataFrame({"x": [1, 2]})
    write_table(table, tmp_path, "t", "make t")
    before = digest(tmp_path / "t.parquet"), (tmp_path / "index.json").read_bytes()

    def full(frame, path, **options):
        Path(path).write_bytes(b"PAR1")
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", full)
        with pytest.raises(OSError, match="no space"):
            write_table(table.assign(y=3), tmp_path, "t", "make t")
    assert (digest(tmp_path / "t.parquet"), (tmp_path / "index.json").read_bytes()) == before
    assert names(tmp_path) == ["index.json", "t.parquet"] and read_table(tmp_path, "t").equals(table)
    write_parquet(tmp_path / "t.parquet", table.assign(y=3))
    with pytest.raises(FeaturesError, match="is not the table that was written; make it again with `make t`"):
        read_table(tmp_path, "t")
    with pytest.raises(FeaturesError, match="`name` must be one of t; got 'u': the nearest are t"):
        read_table(tmp_path, "u")
