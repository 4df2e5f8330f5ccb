"""Look a data set over for the mistakes that people really make."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgbd_insight.data import declared, evidence
from rgbd_insight.data.batch import Dataset
from rgbd_insight.data.folder import TELLING, Folder
from rgbd_insight.data.images import DEPTH_MODES, decode, read_colour, rescale

HIGH = 120  # rows to which images are reduced before they are compared


@dataclass(frozen=True)
class Finding:
    """A mistake: its name, where it is, what speaks for it, and what to do."""

    mistake: str
    where: str
    why: str
    fix: str

    def __str__(self) -> str:
        return f"{self.mistake} in {self.where}: {self.why}. {self.fix}"


@dataclass(frozen=True)
class Checkup:
    """What `check` found; true where it found nothing.

    Attributes
    ----------
    findings : the mistakes.
    looked : images that were looked at.
    """

    findings: tuple[Finding, ...]
    looked: int

    def __bool__(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        count = len(self.findings)
        head = f"{self.looked} images looked at, {count or 'no'} mistake{'' if count == 1 else 's'} found"
        return "\n".join([head, *(f"- {finding}" for finding in self.findings)])


def check(data: str | Path | Dataset, *, sample: int = 64) -> Checkup:
    """Look for 8-bit or bit-rotated depth, wrong units, swapped colours, shifted images or labels, leaks.

    Parameters
    ----------
    data : a folder in the form of `Folder`, all of its splits; or any data set, whose arrays alone are looked at.
    sample : images, spread evenly, that are looked into; scenes in two splits are looked for in all.

    Returns
    -------
    Checkup. A finding is a suspicion with its evidence: what is judged over images needs 8 of them (16 for the
    register) and three standard errors. Nothing found does not mean that nothing is wrong.

    Raises
    ------
    ValueError
        Where there is no such folder.

    Examples
    --------
    >>> from rgbd_insight.data import Scenes
    >>> bool(check(Scenes(20)))
    True
    """
    if not isinstance(data, str | Path):
        return _check_arrays(data, sample)
    path = Path(data)
    if not path.is_dir():
        raise ValueError(f"`data` must be a folder with rgb/, depth/ and label/; {path} is none")
    try:
        splits = declared.read_json(path / "splits.json", "it lists the IDs of each split")
        names = [n for n, ids in splits.items() if isinstance(ids, list) and ids and not n.endswith("_runs")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on unknown groups, which is no mistake by itself
            folders = {name: Folder(path, name) for name in names}
        if not folders:
            raise ValueError(f"{path / 'splits.json'} must list images; it lists none")
    except (ValueError, AttributeError) as error:
        return Checkup((Finding("a folder that cannot be opened", str(path), str(error), "Mend this first."),), 0)
    files = [(file, folder) for folder in folders.values() for file in folder._files.values()]
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(sample, len(files))).astype(int))]
    return Checkup((*_leaks(folders), *_look(path, chosen)), len(chosen))


def _leaks(folders: dict[str, Folder]) -> list[Finding]:
    """Scenes and images that are in two splits."""
    found, names = [], list(folders)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            if _nested(folders[a], folders[b]):
                continue
            shared = sorted(set(folders[a].groups) & set(folders[b].groups))
            ends = {_ends(f[0]): stem for stem, f in folders[a]._files.items()}
            same = [(ends[end], stem) for stem, f in folders[b]._files.items() if (end := _ends(f[0])) in ends]
            why = f"{shared[0]!r} and {len(shared) - 1} more" if shared else ""
            why = why or (f"{same[0][0]} and {same[0][1]} are one image" if same else "")
            if why:
                fix = "Split by scene: a scene in both makes the test half measure memory."
                found.append(Finding("one scene in two splits", f"{a} and {b}", why, fix))
    return found


def _nested(a: Folder, b: Folder) -> bool:
    """Whether one list is a selection from the other, such as train without val; a test split is never one."""
    first, second = set(a.ids), set(b.ids)
    test = any(folder.split.startswith("test") for folder in (a, b))
    return not test and (first <= second or second <= first)


def _ends(file: Path) -> bytes:
    """A digest of a file's length and its two ends."""
    with file.open("rb") as stream:
        length = stream.seek(0, 2)
        stream.seek(0)
        head = stream.read(TELLING)
        stream.seek(max(TELLING, length - TELLING))
        return hashlib.sha256(b"%d " % length + head + stream.read()).digest()


def _look(path: Path, chosen: Sequence[tuple[tuple[Path, Path, Path], Folder]]) -> list[Finding]:
    """What the chosen files of a folder say."""
    stored, colours, labels, found = [], [], [], []
    scale, metric, names = chosen[0][1]._scale, chosen[0][1]._metric, chosen[0][1].classes
    for (rgb, depth, label), _ in chosen:
        try:
            colour, image, named = np.asarray(read_colour(rgb)), decode(depth), decode(label)
        except ValueError as error:
            found.append(Finding("a damaged file", path.name, str(error), ""))
            continue
        if image.mode not in DEPTH_MODES:
            found.append(Finding("8-bit depth", depth.name, f"its Pillow mode is {image.mode!r}", FIX["8-bit depth"]))
            continue
        if not image.size == named.size == (colour.shape[1], colour.shape[0]):
            why = f"{rgb.name} and its depth and label have different sizes"
            found.append(Finding("images out of register", path.name, why, FIX["images out of register"]))
            continue
        stored.append(np.asarray(image).astype(np.uint16))
        colours.append(colour)
        labels.append(np.asarray(named).astype(np.uint8))
    found = list({finding.mistake: finding for finding in reversed(found)}.values())  # the first of each kind
    readings = [array * scale for array in stored]
    rotated = evidence.rotated_bits(stored) if metric else None
    tests: list[tuple[str, Callable[[], str | None]]] = [
        ("bit-rotated depth", lambda: rotated),
        ("8-bit depth", lambda: evidence.few_levels(stored) if metric else None),
        ("a wrong unit of depth", lambda: evidence.wrong_unit(readings) if metric and not rotated else None),
    ]
    return _judge(path.name, found, tests, (colours, readings, labels, names))


def _check_arrays(data: Dataset, sample: int) -> Checkup:
    """What the batches of any data set say."""
    chosen = np.unique(np.linspace(0, len(data) - 1, min(sample, len(data))).astype(int)).tolist()
    batch = data.batch(chosen)
    colours = list((batch.rgb.movedim(1, -1) * 255).numpy())
    readings, labels = list(batch.depth[:, 0].numpy()), list(batch.labels.numpy().astype(np.uint8))
    metric = data.modalities[1].unit == "m"
    tests = [("a wrong unit of depth", lambda: evidence.wrong_unit(readings) if metric else None)]
    return Checkup(tuple(_judge(data.name, [], tests, (colours, readings, labels, data.classes))), len(chosen))


FIX = {
    "8-bit depth": "Go back to the sensor's file; a picture of depth is no depth.",
    "bit-rotated depth": "Rotate the 16 bits back: (v >> 3) | (v << 13).",
    "a wrong unit of depth": 'Declare its scale in camera.json, "modality", or store millimetres.',
    "red and blue swapped": "Store red first; OpenCV reads blue first.",
    "images out of register": "Project depth into the colour camera, or crop both alike.",
    "labels shifted by one": "Store the index into classes.json, from 0; 255 is ignored.",
}


def _judge(where: str, found: list[Finding], tests: list, arrays: tuple) -> list[Finding]:
    """The findings, with those of the tests and of what colours, readings and labels say."""
    colours, readings, labels, names = arrays
    small = [(_small(c), _small(r)) for c, r in zip(colours, readings, strict=True)]
    tests = [
        *tests,
        ("red and blue swapped", lambda: evidence.swapped_colours([c for c, _ in small])),
        ("images out of register", lambda: evidence.out_of_register(*zip(*small, strict=True)) if small else None),
        ("labels shifted by one", lambda: evidence.shifted_labels(labels, list(names)) if labels else None),
    ]
    known = {finding.mistake for finding in found}
    for mistake, test in tests:
        if mistake not in known and (why := test()):
            found.append(Finding(mistake, where, why, FIX[mistake]))
    return found


def _small(image: np.ndarray) -> np.ndarray:
    """An image of at most HIGH rows, by nearest neighbour."""
    h, w = image.shape[:2]
    if h <= HIGH:
        return image
    size = (HIGH, max(1, round(w * HIGH / h)))
    planes = np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]
    return np.stack([rescale(plane, size) for plane in planes], -1).reshape(*size, *image.shape[2:])
