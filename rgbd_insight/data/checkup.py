"""Look a data set over for the mistakes that people really make."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgbd_insight.data.batch import Dataset
from rgbd_insight.data.camera import read_json
from rgbd_insight.data.folder import Folder, read_ends
from rgbd_insight.data.reading import DEPTH_MODES, read_colour, read_image, rescale

HIGH = 120  # rows to which images are reduced before they are compared
ENOUGH = 8  # images, for whatever is judged over images
CLEAR = 3.0  # standard errors
NEAR, FAR = 0.3, 12.0  # metres, for the median reading of indoor images
UNITS = {1000.0: "metres", 10.0: "centimetres", 0.1: "tenths of a millimetre", 0.2: "fifths of a millimetre"}
BELOW, ABOVE = ("floor", "ground", "road"), ("ceiling", "sky")
REACH = 0.12  # of each side, how far colour and depth may be apart for it to be found


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
    data : str, Path or Dataset
        a folder in the form of `Folder`, all of its splits; or any data set, whose arrays alone are looked at.
    sample : int, optional
        Images, spread evenly, that are looked into; scenes in two splits are looked for in all.

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
    length, ends = read_ends(file)
    return hashlib.sha256(b"%d " % length + ends).digest()


def _look(path: Path, chosen: Sequence[tuple[tuple[Path, Path, Path], Folder]]) -> list[Finding]:
    """What the chosen files of a folder say."""
    stored, colours, labels, found = [], [], [], []
    scale, metric, names = chosen[0][1]._scale, chosen[0][1]._metric, chosen[0][1].classes
    for (rgb, depth, label), _ in chosen:
        try:
            colour, image, named = np.asarray(read_colour(rgb)), read_image(depth), read_image(label)
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
    rotated = _rotated_bits(stored) if metric else None
    tests: list[tuple[str, Callable[[], str | None]]] = [
        ("bit-rotated depth", lambda: rotated),
        ("8-bit depth", lambda: _few_levels(stored) if metric else None),
        ("a wrong unit of depth", lambda: _wrong_unit(readings) if metric and not rotated else None),
    ]
    return _judge(path.name, found, tests, (colours, readings, labels, names))


def _check_arrays(data: Dataset, sample: int) -> Checkup:
    """What the batches of any data set say."""
    chosen = np.unique(np.linspace(0, len(data) - 1, min(sample, len(data))).astype(int)).tolist()
    batch = data.batch(chosen)
    colours = list((batch.rgb.movedim(1, -1) * 255).numpy())
    readings, labels = list(batch.depth[:, 0].numpy()), list(batch.labels.numpy().astype(np.uint8))
    metric = data.modalities[1].unit == "m"
    tests = [("a wrong unit of depth", lambda: _wrong_unit(readings) if metric else None)]
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
        ("red and blue swapped", lambda: _swapped_colours([c for c, _ in small])),
        ("images out of register", lambda: _out_of_register(*zip(*small, strict=True)) if small else None),
        ("labels shifted by one", lambda: _shifted_labels(labels, list(names)) if labels else None),
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


# What images say of a mistake in how they were stored: each function gives the reason, or None.


def _rotated_bits(stored: Sequence[np.ndarray]) -> str | None:
    """Whether depth's 16 bits were left rotated by 3, as SUN RGB-D distributes them."""
    values = _readings(stored)
    if not values.size or values.max() < 4096:
        return None
    eight, sixteen = (values % 8 == 0).mean(), (values % 16 == 0).mean()
    return f"{eight:.0%} of the readings are multiples of 8" if eight > 0.98 and sixteen < 0.75 else None


def _few_levels(stored: Sequence[np.ndarray]) -> str | None:
    """Whether depth was stretched from 8 bits."""
    values = _readings(stored)
    levels = np.unique(values)
    if not 16 <= len(levels) <= 256 or values.size < 20 * len(levels):
        return None
    step = (int(levels[-1]) - int(levels[0])) / (len(levels) - 1)
    return f"there are only {len(levels)} different readings, {step:.0f} apart on average" if step >= 8 else None


def _wrong_unit(readings: Sequence[np.ndarray]) -> str | None:
    """Whether depth, in what is taken for metres, lies where no room is."""
    values = _readings(readings)
    if not values.size or NEAR <= (middle := float(np.median(values))) <= FAR:
        return None
    fits = [name for factor, name in UNITS.items() if 0.8 <= middle * factor <= 6]
    hint = f"; it would be a room if the numbers were {fits[0]}" if fits else ""
    return f"the median reading is {middle:.3g} m{hint}"


def _swapped_colours(colours: Sequence[np.ndarray]) -> str | None:
    """Whether red and blue are swapped: rooms have more of red > green > blue than of the opposite."""
    excess = []
    for colour in colours:
        red, green, blue = np.moveaxis(colour.astype(int), -1, 0)
        tinted = abs(red - blue) > 12
        cold, warm = (blue > green) & (green > red), (red > green) & (green > blue)
        excess.append((cold & tinted).mean() - (warm & tinted).mean())
    if (t := _clear(excess)) is None or np.mean(excess) < 0.05:
        return None
    return f"blue > green > red is {np.mean(excess):.0%} of the pixels ahead of the opposite ({t:.0f} standard errors)"


def _out_of_register(colours: Sequence[np.ndarray], readings: Sequence[np.ndarray]) -> str | None:
    """Whether the edges of depth lie elsewhere than those of colour, or are mirrored.

    The shift is chosen on every other image and judged on the rest.
    """
    pairs = [(_edges(c.mean(-1)), _edges(_filled(r))) for c, r in zip(colours, readings, strict=True)]
    pairs = [(c, d) for c, d in pairs if c is not None and d is not None]
    if len(pairs) < 2 * ENOUGH:
        return None
    maps = np.stack([_correlation(c, d) for c, d in pairs])  # (N, 2a + 1, 2b + 1), no shift in the middle
    a, b = maps.shape[1] // 2, maps.shape[2] // 2
    here = maps[:, max(a - 1, 0) : a + 2, max(b - 1, 0) : b + 2].max((1, 2))  # (N,)
    mirrored = np.array([_correlation(c[:, ::-1], d)[a, b] for c, d in pairs]) - here
    if (t := _clear(mirrored)) is not None:
        return f"the edges of depth fit those of the mirrored colour image better ({t:.0f} standard errors)"
    row, column = np.unravel_index(maps[::2].mean(0).argmax(), maps.shape[1:])
    down, right = row - a, column - b
    if max(abs(down), abs(right)) < 2 or (t := _clear((maps[:, row, column] - here)[1::2])) is None:
        return None
    return (
        f"the edges of depth lie {down:+d} rows and {right:+d} columns from those of colour ({t:.0f} standard errors)"
    )


def _shifted_labels(labels: Sequence[np.ndarray], names: Sequence[str]) -> str | None:
    """Whether labels are one too high or too low for their names."""
    counts = sum(np.bincount(label.ravel(), minlength=256) for label in labels)
    known, past = counts[: len(names)], counts[len(names)]
    if past and not known[0]:
        return f"{len(names)} occurs, which is no class, and 0 never does: labels begin at 1"
    if len(names) > 2 and not known[0] and (known[1:] > 0).all():
        return f"0 ({names[0]}) never occurs and every other class does"
    rows = _rows(labels, len(names) + 1)
    score = {shift: _upright(rows, names, shift) for shift in (-1, 0, 1)}
    best = max(score, key=lambda s: score[s])
    if best and score[best] > 0.2 and not score[0] > score[best] - 0.1:
        which = "above" if best > 0 else "below"
        return f"what lies lowest and highest in the images is the class {which} those called so"
    return None


def _readings(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([a[a > 0].ravel() for a in arrays]) if len(arrays) else np.zeros(0)


def _clear(values: Sequence[float]) -> float | None:
    """Standard errors of the mean above 0, where they are enough; else None."""
    values = np.asarray(values, float)
    if len(values) < ENOUGH or values.mean() <= 0:
        return None
    error = values.std(ddof=1) / len(values) ** 0.5
    t = float(values.mean() / max(error, 1e-12))
    return t if t > CLEAR else None


def _filled(reading: np.ndarray) -> np.ndarray:
    """Inverse depth, a missing reading as its row's last one: the border of a hole is no edge of a thing."""
    there = reading > 0
    last = np.maximum.accumulate(np.where(there, np.arange(reading.shape[1]), 0), 1)
    filled = np.take_along_axis(reading, last, 1).astype(float)
    return np.where(filled > 0, 1 / np.maximum(filled, 1e-9), 0)


def _edges(image: np.ndarray) -> np.ndarray | None:
    """Strength of edges (H, W), standardised; None for a flat image."""
    down, across = np.gradient(image.astype(float))
    strength = np.hypot(down, across)
    strength = np.minimum(strength, np.quantile(strength, 0.98))  # a few strong edges would decide alone
    deviation = strength.std()
    return (strength - strength.mean()) / deviation if deviation > 1e-9 else None


def _correlation(colour: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Correlation of depth's edges, moved back by each shift, with colour's (2a + 1, 2b + 1)."""
    h, w = colour.shape
    a, b = max(2, int(REACH * h)), max(2, int(REACH * w))
    padded = (h + 2 * a, w + 2 * b)
    product = np.fft.irfft2(np.fft.rfft2(depth, padded) * np.conj(np.fft.rfft2(colour, padded)), padded)
    rows, columns = np.arange(-a, a + 1), np.arange(-b, b + 1)
    overlap = (h - np.abs(rows))[:, None] * (w - np.abs(columns))
    return product[np.ix_(rows, columns)] / overlap


def _rows(labels: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Mean height in the image of each label, 0 at the top, 1 at the bottom; NaN where it is rare."""
    totals, sums = np.zeros(256), np.zeros(256)
    for label in labels:
        height = np.repeat(np.linspace(0, 1, label.shape[0]), label.shape[1])
        totals += np.bincount(label.ravel(), minlength=256)
        sums += np.bincount(label.ravel(), height, 256)
    return np.where(totals > 100, sums / np.maximum(totals, 1), np.nan)[:count]


def _upright(rows: np.ndarray, names: Sequence[str], shift: int) -> float:
    """How far the class called floor lies below the middle and that called ceiling above it, if labels are shifted."""
    found = [0.0]
    for words, sign in ((BELOW, 1), (ABOVE, -1)):
        places = [names.index(word) + shift for word in words if word in names]
        found += [sign * (rows[k] - 0.5) for k in places if 0 <= k < len(rows) and np.isfinite(rows[k])]
    return float(np.sum(found))
