"""What a kill, a full disk or a second process leaves: found, finished or undone by whoever comes next."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rgbd_insight.data.convert import nyuv2, sunrgbd
from rgbd_insight.data.reading import open_hdf5
from rgbd_insight.experiments import run_all
from rgbd_insight.features import FeaturesError, FeatureWriter, directory, load, write_quantised
from rgbd_insight.training import Cache, checkpoint, train
from rgbd_insight.utils.files import InUse, Lock, NotWritten, room, sweep, write_text
from tests.data._official import write_nyuv2
from tests.faults._work import PLAN
from tests.features.test_features import N, about, block, contents, fill, head, written
from tests.training.test_training import Toy, tiny

ROOT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_an_old_directory_half_deleted_is_no_obstacle(tmp_path, monkeypatch):
    out = written(tmp_path / "f")
    writer = fill(FeatureWriter(out, head(), about(seed=1)), seed=1)
    rmtree = shutil.rmtree

    def dying(path, **options):
        if Path(path).name == directory.OLD:
            (Path(path) / "manifest.json").unlink()
            raise SystemExit("killed")
        rmtree(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(directory.shutil, "rmtree", dying)
        with pytest.raises(SystemExit):
            writer.finish()
    writer._lock.release()  # as the end of the process does
    assert load(out).runs.index.tolist() == ["sum-s0-e2", "sum-s1-e2"]
    again = FeatureWriter(out, head(), about(seed=1))
    assert again.complete and names(tmp_path) == ["f"]


def test_a_directory_that_was_put_aside_is_brought_back_by_a_reader(tmp_path):
    out = written(tmp_path / "f")
    before = contents(out)
    (tmp_path / "f.partial").mkdir()
    out.rename(tmp_path / "f.partial" / directory.OLD)
    assert len(load(out)) == N and contents(out) == before


def test_a_copy_of_ones_own_beside_the_directory_is_left_alone(tmp_path):
    out = written(tmp_path / "f")
    shutil.copytree(out, tmp_path / "f.old")
    written(out, seed=1)
    assert len(load(tmp_path / "f.old").runs) == 1 and len(load(out).runs) == 2


def test_a_reader_meets_the_old_or_the_new_directory(tmp_path, monkeypatch):
    out = written(tmp_path / "f")
    verify, calls = directory.verify_sums, []

    def meanwhile(folder):
        if not calls:
            calls.append(folder)
            written(out, seed=1)  # between the manifest and the digests
        verify(folder)

    monkeypatch.setattr(directory, "verify_sums", meanwhile)
    features = load(out)
    assert calls and features.runs.index.tolist() == ["sum-s0-e2", "sum-s1-e2"]


def test_a_changed_byte_of_an_unfinished_run_is_noticed(tmp_path):
    for name in ("sum-s0-e2.safetensors", "concepts.safetensors", "samples.jsonl", "progress.json"):
        writer = fill(FeatureWriter(tmp_path / name, head(), about()), upto=8)
        path = writer.partial / name
        writer.close()
        good = bytearray(path.read_bytes())
        places = {"samples.jsonl": 20, "progress.json": good.find(b'"done": 8') + 8}
        good[places.get(name, good.find(b"}}") + 40)] ^= 1
        path.write_bytes(good)
        with pytest.raises(FeaturesError, match="delete .*f?.partial|delete it"):
            FeatureWriter(tmp_path / name, head(), about())


def test_an_attempt_without_a_block_leaves_nothing(tmp_path):
    writer = FeatureWriter(tmp_path / "f", head(), about())
    writer.close()
    assert names(tmp_path) == []


def test_what_libraries_leave_goes_with_the_next_write_or_sweep(tmp_path):
    for leave in (write_text, lambda path, _: sweep(path.parent)):
        home = tmp_path / "a.txt.partial"
        home.mkdir()
        for name in (".tmpA1b2", "a.txt", "lock"):
            (home / name).write_text("half")
        leave(tmp_path / "a.txt", "all")
        assert not home.exists()
    home.mkdir()
    (home / "thesis.txt").write_text("only copy")
    with pytest.raises(ValueError, match="no unfinished write of a.txt: it holds 'thesis.txt'"):
        write_text(tmp_path / "a.txt", "all")
    sweep(tmp_path)
    assert names(home) == ["thesis.txt"]


HOLDING = """
import sys
from rgbd_insight.utils.files import Lock
lock = Lock(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there nobody is kept out")
def test_a_lock_names_who_has_it_and_ends_with_a_kill(tmp_path):
    command, pipe = [sys.executable, "-c", HOLDING, str(tmp_path)], subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment) as process:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InUse, match=f"writing to .*{tmp_path.name}: process {process.pid} on .*wait for it"):
            Lock(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    with Lock(tmp_path), pytest.raises(InUse):
        Lock(tmp_path, patience=0.1)
    assert names(tmp_path) == []


def test_a_lock_that_was_taken_away_is_no_lock(tmp_path):
    first = Lock(tmp_path / "x")
    shutil.rmtree(tmp_path / "x")
    with Lock(tmp_path / "x") as second:
        first.release()
        assert second.path.exists()


def test_the_loser_of_two_writers_is_told_who_writes(tmp_path):
    write_nyuv2(tmp_path / "x.mat", n=2, size=(6, 8), train=[1], test=[2])
    said = "another process is writing to .*nyu.partial: process"
    with Lock(tmp_path / "nyu.partial"), pytest.raises(ValueError, match=said):
        nyuv2(tmp_path / "x.mat", tmp_path / "nyu")
    with Lock(tmp_path / "run"), pytest.raises(InUse, match="another process"):
        train(tiny(), Toy(), out=tmp_path / "run", epochs=1, device="cpu", progress=False)
    with Lock(tmp_path / "work"), pytest.raises(InUse, match="another process"):
        run_all([PLAN], "tiny", tmp_path / "work")
    features = load(written(tmp_path / "f"))
    with Lock(tmp_path / "q.partial"), pytest.raises(FeaturesError, match="another process"):
        write_quantised(features, tmp_path / "q")
    assert names(tmp_path / "run") == [] and not (tmp_path / "nyu").exists()


def test_the_second_of_two_trainings_with_other_seeds_is_refused(tmp_path):
    options = {"epochs": 1, "batch_size": 8, "device": "cpu", "progress": False}
    train(tiny(), Toy(), out=tmp_path / "run", seed=0, **options)
    first = checkpoint(tmp_path / "run", 1).read_bytes()
    with pytest.raises(ValueError, match="differs in 'seed'"):
        train(tiny(), Toy(), out=tmp_path / "run", seed=1, **options)
    assert checkpoint(tmp_path / "run", 1).read_bytes() == first


def test_weights_that_a_kill_kept_from_being_written_are_written_by_the_next_call(tmp_path):
    options = {"epochs": 2, "batch_size": 8, "device": "cpu", "progress": False, "out": tmp_path / "run"}
    train(tiny(), Toy(), **options)
    last = checkpoint(tmp_path / "run", 2)
    wanted = last.read_bytes()
    last.unlink()
    train(tiny(), Toy(), **options)
    assert last.read_bytes() == wanted


def test_a_full_disk_says_where_how_much_and_what_is_safe(tmp_path, monkeypatch):
    writer = fill(FeatureWriter(tmp_path / "f", head(), about()), upto=4)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            NotWritten, match=r"f.partial cannot be written: no space .*MiB are free there; 4 of 10 samples"
        ):
            writer.write(4, **block(range(4, 8)))
    writer.close()
    assert fill(FeatureWriter(tmp_path / "f", head(), about())).finish().exists()
    with pytest.raises(NotWritten, match="file too large"), room(tmp_path):
        raise RuntimeError("Error while serializing: I/O error: File too large (os error 27)")  # as safetensors says it
    with pytest.raises(OSError, match="denied"), room(tmp_path):
        raise PermissionError(errno.EACCES, "denied")


def test_a_full_disk_is_not_blamed_on_what_is_converted(tmp_path, monkeypatch):
    pytest.importorskip("h5py")
    write_nyuv2(tmp_path / "x.mat", n=2, size=(6, 8), train=[1], test=[2])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("PIL.Image.Image.save", full)
    with pytest.raises(
        NotWritten, match="nyu cannot be written: no space .*rgb/0001.png was being written.* as it was"
    ):
        nyuv2(tmp_path / "x.mat", tmp_path / "nyu")
    assert names(tmp_path) == ["splits.mat", "x.mat"]
    with pytest.raises(ValueError, match="Download it again"), open_hdf5(tmp_path / "splits.mat"):
        pass


def test_training_samples_that_are_damaged_are_named(tmp_path):
    path, random = tmp_path / "toy.safetensors", np.random.default_rng(0)
    Cache.kept(Toy(), path)
    good = path.read_bytes()
    for place in random.integers(8, len(good), 20):
        path.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
        with pytest.raises(ValueError, match=r"toy.safetensors cannot be used .*delete it"):
            Cache.kept(Toy(), path)


def test_no_folder_is_left_where_nothing_could_be_converted(tmp_path):
    (tmp_path / "source" / "SUNRGBD").mkdir(parents=True)
    with pytest.raises(ValueError):
        sunrgbd(tmp_path / "source", tmp_path / "deep" / "sun")
    assert names(tmp_path) == ["source"]
