"""Ctrl-C and SIGTERM end in a line, at whatever moment they come."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rgbd_insight.cli import commands, main

ROOT = Path(__file__).parents[2]
IMPORTING = """
import sys
class Impatient:
    def find_spec(self, name, *_):
        if name == "numpy":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Impatient())
from rgbd_insight.cli import main
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there the process ends in another way")
def test_ctrl_c_while_importing_is_a_line(tmp_path):
    script = tmp_path / "rgbd-insight"
    script.write_text(IMPORTING)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert ended.stderr == "rgbd-insight: stopped before anything was done\n"
    assert ended.returncode == -signal.SIGINT


def test_sigterm_is_a_line(monkeypatch, capsys):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(commands.audit, "load", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    try:
        assert main(["audit"]) == 143
    finally:
        signal.signal(signal.SIGTERM, before)
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "SIGTERM" in err and "same command" in err
