"""To another machine and back: what a campaign needs there, measured; and what it has found, in few small archives."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from rgbd_insight.experiments.plans import ISOLATED, Plan
from rgbd_insight.experiments.steps import JobName, do_all, folder
from rgbd_insight.features import MANIFEST, RunId, TensorKey, load, write_quantised
from rgbd_insight.models.efficientnet import write_imagenet
from rgbd_insight.models.network import ENCODERS
from rgbd_insight.utils.files import Lock, nothing_left, whole
from rgbd_insight.utils.jobs import ALONE, Job, Pool
from rgbd_insight.utils.messages import checked_path
from rgbd_insight.utils.reading import Unreadable, check_unfolded, ordinary

MIB = 2**20
MOST = 64 * MIB  # of the working tree and what is carried beside it; and of all that comes back
ARCHIVES, LARGEST = 8, 16 * MIB  # that come back, and of each
WIDTH = 256  # pixels of the packed images
IMAGES, FINISHED, SHIPPED = "images.tar", "finished", "shipped"
SAFE = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # which Python 3.11.4 brought
FIRST = ("rgb", "depth", "se")  # packed before all others


def prepare(packer: Path, work: Path, out: Path, encoder: str, width: int = WIDTH) -> pd.Series:
    """Put what a campaign of pretrained networks needs elsewhere into `out`, and measure it with the working tree.

    Parameters
    ----------
    packer : Path
        The script that packs the images, `SCRIPT OUT.tar WIDTH`, and unpacks them, `SCRIPT --unpack OUT.tar FOLDER`;
        a copy of it goes along. An archive that is there is not made again.
    work : Path
        The campaign's folder: the marks of its finished runs go along, so that they are not done again.
    out : Path
        A folder that git ignores.
    encoder : str
        Whose ImageNet weights go along, in half precision.
    width : int, optional
        Of the packed images, in pixels.

    Returns
    -------
    Series
        Bytes of "tree" (tracked files and those that git does not ignore), "images", "weights", "marks" and "all".

    Raises
    ------
    ValueError
        Where `out` is not ignored, or all of it is more than 64 MiB; the sizes are named.
    """
    if subprocess.run(["git", "check-ignore", "-q", str(out / "x")], check=False).returncode:
        raise ValueError(f"`out` must be a folder that git ignores; got {out}: images are never committed")
    out.mkdir(parents=True, exist_ok=True)
    script, images = out / packer.name, out / IMAGES
    if not images.exists():
        with whole(images) as unfinished:
            _run(packer, str(unfinished), str(width))
    shutil.copyfile(packer, script)
    weights = write_imagenet(ENCODERS[encoder], out / f"{encoder}.safetensors")
    shutil.rmtree(out / FINISHED, ignore_errors=True)
    for marks in sorted((work / "extracted").glob(f"*/{FINISHED}")):
        shutil.copytree(marks, out / FINISHED / marks.parent.name)
    listed = subprocess.run(["git", "ls-files", "-coz", "--exclude-standard"], check=True, capture_output=True)
    tree = [Path(name) for name in listed.stdout.decode().split("\0") if name]
    sizes = {"tree": _size(tree), "images": _size([images, script]), "weights": _size([weights])}
    sizes["marks"] = _size((out / FINISHED).rglob("*"))
    sizes["all"] = sum(sizes.values())
    if sizes["all"] > MOST:
        told = ", ".join(f"{name} {size / MIB:.1f}" for name, size in sizes.items())
        raise ValueError(f"`width` must be below {width}: what travels is more than {MOST // MIB} MiB ({told})")
    return pd.Series(sizes)


def _run(script: Path, *words: str) -> None:
    """Run the script that packs and unpacks, or a ValueError that says how it ended."""
    done = subprocess.run([sys.executable, str(script), *words], check=False)
    if done.returncode:
        raise ValueError(f"`packer` must pack and unpack images; {script.name} ended with code {done.returncode}")


def _size(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.is_file())


def arrive(carried: Path, work: Path, encoder: str) -> tuple[Path, Path]:
    """Unpack what `prepare` has made, below `work`; the folder of images, and the file of weights."""
    images = work / "images"
    if not images.exists():
        (script,) = carried.glob("*.py")
        unfinished = work / "images.partial"
        shutil.rmtree(unfinished, ignore_errors=True)  # of a kill
        _run(script, "--unpack", str(carried / IMAGES), str(unfinished))
        unfinished.rename(images)
    for marks in sorted((carried / FINISHED).glob("*")):
        shutil.copytree(marks, work / "extracted" / marks.name / FINISHED, dirs_exist_ok=True)
    return images, carried / f"{encoder}.safetensors"


def pack(chosen: Sequence[Plan], work: Path, out: Path, pool: Pool = ALONE, units: int = 64) -> list[Path]:
    """Small copies of the finished runs below `work`, in at most 8 archives of 16 MiB in `out`, the most wanted first.

    Parameters
    ----------
    chosen : sequence of Plan
        Whose runs are packed.
    work, out : Path
        The campaign's folder, and a folder for the archives.
    pool : Pool, optional
        Where the copies are made.
    units : int, optional
        At most so many units a level come back, one byte a response.

    Returns
    -------
    list of Path
        The archives. Responses at cells are of the seeds' twins, profiles there of the first seed's. What finds no room
        is left out, without its mark, so that it is done again.
    """
    out.mkdir(parents=True, exist_ok=True)
    bins: list[list[Path]] = [[] for _ in range(ARCHIVES)]
    room, most = [LARGEST - MIB // 4] * ARCHIVES, MOST - MIB
    shipped, wanted = work / SHIPPED, sorted(((p, r) for p in chosen for r in p.runs), key=lambda pair: _late(*pair))
    there = [(plan, run) for plan, run in wanted if (folder(plan, work, run) / MANIFEST).exists()]
    names = [JobName("copy", plan.name, str(run)) for plan, run in there]
    jobs = [Job(name, partial(_copy, *pair, work, units)) for name, pair in zip(names, there, strict=True)]
    do_all(jobs, pool)
    for plan, run in there:
        copy = shipped / folder(plan, work, run).relative_to(work)
        size = _compressed(copy)
        place = next((i for i, left in enumerate(room) if size <= min(left, most)), None)
        if place is not None:
            bins[place].append(copy)
            room[place] -= size
            most -= size
    found = []
    for i, copies in enumerate(bins):
        if copies:
            path = out / f"results-{i}.tar.gz"
            with whole(path) as unfinished, tarfile.open(unfinished, "w:gz") as tar:
                for copy in copies:
                    tar.add(copy, copy.relative_to(shipped).as_posix())
            found.append(path)
    return found


def _copy(plan: Plan, run: RunId, work: Path, units: int) -> None:
    """The small copy of a run; one that is there is kept."""
    home = folder(plan, work, run)
    copy = work / SHIPPED / home.relative_to(work)
    if not copy.exists():
        copy.parent.mkdir(parents=True, exist_ok=True)
        twin = run.network in ISOLATED and run.seed in plan.seeds
        at_cells = {"cells": _own if twin else (), "profiles": _own if twin and run.seed == plan.seeds[0] else ()}
        write_quantised(load(home, verify=False), copy, units=units, keep=_keeps, **at_cells)


def _compressed(folder: Path) -> int:
    """Bytes of a folder in a compressed archive."""
    with io.BytesIO() as buffer:
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            tar.add(folder, folder.name)
        return buffer.tell()


def _late(plan: Plan, run: RunId) -> tuple[bool, int]:
    return run.network not in FIRST, run.seed


def _own(run: str, key: str) -> bool:
    """What a stream answers to its own modality alone."""
    tensor = TensorKey.parse(key)
    return RunId.parse(run).role == "final" and tensor.stream == tensor.condition


def _keeps(run: str, key: str) -> bool:
    """A stream's own responses; with both inputs, those of the first seed; and all that is predicted."""
    of, tensor = RunId.parse(run), TensorKey.parse(key)
    if tensor.part is not None:
        return tensor.part != "guess" or tensor.condition in ("both", *ISOLATED)
    fused = tensor.stream == "fused"
    exchanged = tensor.condition == "both" and of.seed == 0 and of.role == "final" and not fused
    return tensor.stream == tensor.condition or exchanged or (fused and of.network == "early")


def unpack(archives: Iterable[Path], work: Path) -> int:
    """Put the runs of archives from `pack` below `work`, where there are none yet, and mark them as finished.

    Returns
    -------
    int
        How many were new.
    """
    new, work = 0, checked_path("work", work)
    checked = [(path, _members(path)) for path in archives]
    with nothing_left(work), Lock(work):
        for path, members in checked:
            for parts in sorted({Path(m.name).parts[:3] for m in members if len(Path(m.name).parts) > 2}):
                home = work.joinpath(*parts)
                if home.exists():
                    continue
                with tarfile.open(path) as tar:
                    inside = [m for m in members if Path(m.name).parts[:3] == parts]
                    tar.extractall(work / "arriving", members=inside, **SAFE)
                home.parent.mkdir(parents=True, exist_ok=True)
                (work / "arriving" / Path(*parts)).rename(home)
                marks = home.parent / FINISHED
                marks.mkdir(exist_ok=True)
                (marks / f"extract-{home.name}").touch()
                new += 1
        shutil.rmtree(work / "arriving", ignore_errors=True)
    return new


def _members(path: Path) -> list[tarfile.TarInfo]:
    """What is in an archive from `pack`; a ValueError where it is none, or would put files elsewhere."""
    try:
        with tarfile.open(ordinary(path)) as tar:
            members = tar.getmembers()
        check_unfolded(path, sum(m.size for m in members))
    except (Unreadable, OSError, tarfile.TarError, EOFError, zlib.error) as error:
        raise ValueError(f"`archives` must be those that `pack` has made; {path} is none: {error}") from None
    if odd := [m.name for m in members if not _is_plain(m)]:
        raise ValueError(f"`archives` must hold files and folders of their own only; {path} has {odd[0]}")
    return members


def _is_plain(member: tarfile.TarInfo) -> bool:
    """Whether it is a file or a folder that would lie below the place where it is put."""
    return (member.isfile() or member.isdir()) and not (
        Path(member.name).is_absolute() or ".." in Path(member.name).parts
    )
