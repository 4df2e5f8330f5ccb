"""Look a data set over for the mistakes that people really make."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rgbd_insight.data import evidence
from rgbd_insight.data.batch import Dataset
from rgbd_insight.data.camera import read_json
from rgbd_insight.data.folder import SIZES, Files, Folder, read_ends
from rgbd_insight.data.reading import BadImage, read_colour, read_label

ANY = 255  # classes, of which every label is one
Notes = tuple[str, ...]
Test = tuple[str, str, Callable[[], str | None]]  # the mistake, where, and what speaks for it


@dataclass(frozen=True)
class Finding:
    """A mistake that people really make.

    Attributes
    ----------
    mistake : str
        Its name.
    where : str
        File, folder or splits.
    why : str
        What speaks for it.
    fix : str
        What to do.

    Examples
    --------
    >>> print(Finding("8-bit depth", "0001.png", "its Pillow mode is 'L'", "Go back to the sensor's file."))
    8-bit depth in 0001.png: its Pillow mode is 'L'. Go back to the sensor's file.
    """

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
    findings : tuple of Finding
        The mistakes.
    looked : int
        Images that were looked at.
    notes : tuple of str
        What could not be judged, and why.
    """

    findings: tuple[Finding, ...]
    looked: int
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.findings

    def __str__(self) -> str:
        count = len(self.findings)
        head = f"{self.looked} images looked at, {count or 'no'} mistake{'' if count == 1 else 's'} found"
        return "\n".join([head, *(f"- {finding}" for finding in self.findings), *(f"({note})" for note in self.notes)])


def check(data: str | Path | Dataset, *, sample: int = 64) -> Checkup:
    """Look for 8-bit or bit-rotated depth, wrong units, swapped colours, shifted images or labels, leaks.

    Parameters
    ----------
    data : str, Path or Dataset
        a folder in the form of `Folder`, all of its splits; or any data set, whose arrays alone are looked at.
    sample : int, optional
        Images, spread evenly, that are compared with one another. Scenes in two splits, and what `extract` would
        refuse to read, are looked for in all.

    Returns
    -------
    Checkup
        A finding is a suspicion with its evidence: what is judged over images needs 8 of them (16 for the register) and
        three standard errors. Nothing found does not mean that nothing is wrong.

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
        splits = read_json(path / "splits.json", "it lists the IDs of each split")
        names = [n for n, ids in splits.items() if isinstance(ids, list) and ids and not n.endswith("_runs")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on unknown groups, which is no mistake by itself
            folders = {name: Folder(path, name) for name in names}
        if not folders:
            raise ValueError(f"{path / 'splits.json'} must list images; it lists none")
    except (ValueError, AttributeError) as error:
        return Checkup((Finding("a folder that cannot be opened", str(path), str(error), "Mend this first."),), 0)
    images = {files: (folder, i) for folder in folders.values() for i, files in enumerate(folder._files.values())}
    files = list(images)
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, min(sample, len(files))).astype(int))]
    found, notes = _look(path, chosen, next(iter(folders.values())), _refused(path, images.values()))
    return Checkup((*_leaks(folders), *found), len(chosen), notes)


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
    length, ends = read_ends(file)
    return hashlib.sha256(b"%d " % length + ends).digest()


def _refused(path: Path, images: Iterable[tuple[Folder, int]]) -> list[Finding]:
    """What `Folder` refuses to hand over: the first image of each kind of mistake, and how many more there are."""
    texts: dict[str, list[str]] = {}
    for folder, index in images:
        try:
            folder._read(index)
        except BadImage as error:
            texts.setdefault(error.mistake, []).append(str(error).rstrip("."))
    texts.pop(SIZES, None)  # no mistake by itself: whoever reads the folder gives a size
    return [
        Finding(mistake, path.name, found[0], f"So with {len(found) - 1} more." if len(found) > 1 else "")
        for mistake, found in texts.items()
    ]


def _look(path: Path, chosen: Sequence[Files], folder: Folder, refused: list[Finding]) -> tuple[list[Finding], Notes]:
    """What the chosen files of a folder say, and which of all are refused for what that does not explain."""
    others, names = folder._others, folder.classes
    stored, readings, colours, labels = [[] for _ in others], [[] for _ in others], [], []
    labelled = bool(folder._labels.named)
    for files in chosen:
        try:
            colour = np.asarray(read_colour(files[0]))
            named = read_label(files[-1], ANY) if labelled else np.zeros(colour.shape[:2], np.uint8)
            seen = [one.on(one.read(file), named.shape) for one, file in zip(others, files[1:], strict=False)]
        except BadImage:
            continue  # it is among the refused
        if colour.shape[:2] == named.shape and not any(one is None for one in seen):
            for one, reading, raw, values in zip(others, seen, stored, readings, strict=True):
                raw.append(reading[..., 0])
                values.append(one.values(reading).mean(-1))
            colours.append(colour)
            labels += [named] if labelled else []
    tests: list[Test] = []
    places = _places(path.name, [one.modality.name for one in others])
    for where, one, raw, values in zip(places, others, stored, readings, strict=True):
        if one.metric:
            rotated = evidence.rotated_bits(raw)
            tests.append(("bit-rotated depth", where, lambda why=rotated: why))
            if one.bits != 8:
                tests.append(("8-bit depth", where, partial(evidence.few_levels, raw)))
            if not rotated:
                tests.append(("a wrong unit of depth", where, partial(evidence.wrong_unit, values)))
    found, notes = _judge(path.name, refused, tests, (colours, dict(zip(places, readings, strict=True)), labels, names))
    mistakes = {finding.mistake for finding in found}
    return [f for f in found if not mistakes & set(EXPLAINED.get(f.mistake, ()))], notes


def _places(where: str, names: Sequence[str]) -> list[str]:
    """Where a mistake of each modality beside colour is: of more than one, which is said."""
    return [where] if len(names) == 1 else [f"{where}, {name}" for name in names]


def _check_arrays(data: Dataset, sample: int) -> Checkup:
    """What the batches of any data set say."""
    chosen = np.unique(np.linspace(0, len(data) - 1, min(sample, len(data))).astype(int)).tolist()
    batch = data.batch(chosen)
    rgb, *others = batch.inputs.values()
    colours, labels = list((rgb.movedim(1, -1) * 255).numpy()), []
    if batch.labels is not None and batch.labels.ndim == 3 and not batch.labels.is_floating_point():
        labels = list(batch.labels.numpy().astype(np.uint8))
    places = _places(data.name, list(batch.inputs)[1:])
    readings = {where: list(x[:, 0].numpy()) for where, x in zip(places, others, strict=True)}
    tests: list[Test] = [
        ("a wrong unit of depth", where, partial(evidence.wrong_unit, readings[where]))
        for where, m in zip(places, data.modalities[1:], strict=True)
        if m.unit == "m"
    ]
    found, notes = _judge(data.name, [], tests, (colours, readings, labels, data.classes))
    return Checkup(tuple(found), len(chosen), notes)


EXPLAINED = {  # what is refused for a mistake that is found by itself
    "a reading out of range": ("bit-rotated depth", "a wrong unit of depth"),
    "labels that are no class": ("labels shifted by one",),
}
FIX = {
    "8-bit depth": "Go back to the sensor's file; a picture of depth is no depth.",
    "bit-rotated depth": "Rotate the 16 bits back: (v >> 3) | (v << 13).",
    "a wrong unit of depth": 'Declare its scale in camera.json, "modality", or store millimetres.',
    "red and blue swapped": "Store red first; OpenCV reads blue first.",
    "images out of register": "Project depth into the colour camera, or crop both alike.",
    "labels shifted by one": "Store the index into classes.json, from 0; 255 is ignored.",
}


def _judge(where: str, found: list[Finding], tests: list[Test], arrays: tuple) -> tuple[list[Finding], Notes]:
    """The findings, with those of the tests and of what colours, readings and labels say; and what they do not say."""
    colours, readings, labels, names = arrays
    small = [evidence.small(c) for c in colours]
    registers = {}
    for place, images in readings.items():
        pairs = list(zip(small, map(evidence.small, images), strict=True))
        registers[place] = evidence.register(*zip(*pairs, strict=True)) if pairs else evidence.Register()
    tests = [
        *tests,
        ("red and blue swapped", where, lambda: evidence.swapped_colours(small)),
        *(("images out of register", place, lambda one=one: one.fault) for place, one in registers.items()),
        ("labels shifted by one", where, lambda: evidence.shifted_labels(labels, list(names)) if labels else None),
    ]
    known = {finding.mistake for finding in found}
    more = [
        Finding(mistake, place, why, FIX[mistake])
        for mistake, place, test in tests
        if mistake not in known and (why := test())
    ]
    unknown = [
        f"register{' of ' + place.rpartition(', ')[2] if len(registers) > 1 else ''} not judged: {one.unknown}"
        for place, one in registers.items()
        if one.unknown
    ]
    return [*found, *more], tuple(unknown)
