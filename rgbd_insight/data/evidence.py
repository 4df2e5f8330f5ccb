"""What images say of a mistake in how they were stored: each function gives the reason, or None."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rgbd_insight.data.reading import rescale

HIGH = 120  # rows to which images are reduced before they are compared
ENOUGH = 8  # images, for whatever is judged over images
CLEAR = 3.0  # standard errors
NEAR, FAR = 0.3, 12.0  # metres, for the median reading of indoor images
UNITS = {1000.0: "metres", 10.0: "centimetres", 0.1: "tenths of a millimetre", 0.2: "fifths of a millimetre"}
BELOW, ABOVE = ("floor", "ground", "road"), ("ceiling", "sky")
REACH = 0.12  # of each side, how far colour and depth may be apart for it to be found
ALIKE = 0.05  # of the best correlation of edges: shifts that fall short of it by less fit as well
GAIN = 0.2  # of the correlation of edges, by which another place must fit better
FAR_ALONG = 4  # pixels of the reduced image, from which a shift that changes little is worth a word


def small(image: np.ndarray) -> np.ndarray:
    """An image of at most HIGH rows, by nearest neighbour."""
    h, w = image.shape[:2]
    if h <= HIGH:
        return image
    size = (HIGH, max(1, round(w * HIGH / h)))
    planes = np.moveaxis(image, -1, 0) if image.ndim == 3 else image[None]
    return np.stack([rescale(plane, size) for plane in planes], -1).reshape(*size, *image.shape[2:])


def rotated_bits(stored: Sequence[np.ndarray]) -> str | None:
    """Whether depth's 16 bits were left rotated by 3, as SUN RGB-D distributes them."""
    values = _readings(stored)
    if not values.size or values.max() < 4096:
        return None
    eight, sixteen = (values % 8 == 0).mean(), (values % 16 == 0).mean()
    return f"{eight:.0%} of the readings are multiples of 8" if eight > 0.98 and sixteen < 0.75 else None


def few_levels(stored: Sequence[np.ndarray]) -> str | None:
    """Whether depth was stretched from 8 bits."""
    values = _readings(stored)
    levels = np.unique(values)
    if not 16 <= len(levels) <= 256 or values.size < 20 * len(levels):
        return None
    step = (int(levels[-1]) - int(levels[0])) / (len(levels) - 1)
    return f"there are only {len(levels)} different readings, {step:.0f} apart on average" if step >= 8 else None


def wrong_unit(readings: Sequence[np.ndarray]) -> str | None:
    """Whether depth, in what is taken for metres, lies where no room is."""
    values = _readings(readings)
    if not values.size or NEAR <= (middle := float(np.median(values))) <= FAR:
        return None
    fits = [name for factor, name in UNITS.items() if 0.8 <= middle * factor <= 6]
    hint = f"; it would be a room if the numbers were {fits[0]}" if fits else ""
    return f"the median reading is {middle:.3g} m{hint}"


def swapped_colours(colours: Sequence[np.ndarray]) -> str | None:
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


@dataclass(frozen=True)
class Register:
    """Whether the edges of depth lie where those of colour do.

    Attributes
    ----------
    fault : str or None
        That they lie elsewhere, or are mirrored, and how clearly.
    unknown : str or None
        Why it cannot be judged, or along what.
    """

    fault: str | None = None
    unknown: str | None = None


def register(colours: Sequence[np.ndarray], readings: Sequence[np.ndarray]) -> Register:
    """Judge whether colour and depth are in register by where the edges of both are.

    The shift is chosen on every other image and judged on the rest. Along edges that all run one way a shift changes
    next to nothing: of the shifts that fit nearly as well as the best, the smallest is taken.
    """
    pairs = [(_edges(c.mean(-1)), _edges(_filled(r))) for c, r in zip(colours, readings, strict=True)]
    pairs = [(c, d) for c, d in pairs if c is not None and d is not None]
    if len(pairs) < 2 * ENOUGH:
        return Register(unknown=f"there are {len(pairs)} images with edges, and {2 * ENOUGH} are needed")
    maps = np.stack([_correlation(c, d) for c, d in pairs])  # (N, 2a + 1, 2b + 1), no shift in the middle
    a, b = maps.shape[1] // 2, maps.shape[2] // 2
    chosen, mean = maps[::2].mean(0), maps.mean(0)
    if _clear(maps.reshape(len(maps), -1)[:, mean.argmax()]) is None:
        return Register(unknown="the edges of colour and depth have too little in common")
    rows, columns = np.nonzero(chosen >= (1 - ALIKE) * chosen.max())
    nearest = np.argmin((rows - a) ** 2 + (columns - b) ** 2)
    row, column = int(rows[nearest]), int(columns[nearest])
    here = maps[:, max(a - 1, 0) : a + 2, max(b - 1, 0) : b + 2].max((1, 2))  # (N,)
    mirrored = np.array([_correlation(c[:, ::-1], d)[a, b] for c, d in pairs])
    if t := _gain(mirrored, here):
        return Register(f"the edges of depth fit those of the mirrored colour image better ({t:.0f} standard errors)")
    down, right = row - a, column - b
    moved = max(abs(down), abs(right)) >= 2
    if moved and (t := _gain(maps[1::2, row, column], here[1::2])):
        where = f"{down:+d} rows and {right:+d} columns from those of colour"
        return Register(f"the edges of depth lie {where} ({t:.0f} standard errors)")
    rows, columns = np.nonzero(mean >= (1 - GAIN) * mean.max())
    far = np.argmax((rows - row) ** 2 + (columns - column) ** 2)
    if max(abs(rows[far] - row), abs(columns[far] - column)) < FAR_ALONG:
        return Register()
    along = f"{abs(rows[far] - row)} rows and {abs(columns[far] - column)} columns"
    return Register(unknown=f"most edges run one way, and a shift of {along} along them would change little")


def _gain(there: np.ndarray, here: np.ndarray) -> float | None:
    """Standard errors by which edges fit better there than here, if clearly and by a good part of the fit."""
    t = _clear(there - here)
    return t if t is not None and (there - here).mean() >= GAIN * there.mean() else None


def shifted_labels(labels: Sequence[np.ndarray], names: Sequence[str]) -> str | None:
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
