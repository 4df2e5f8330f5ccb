"""Read what a folder of images declares of itself: classes, splits, groups and camera."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rgbd_insight.data.depth import Intrinsics
from rgbd_insight.features import Modality
from rgbd_insight.utils.messages import nearest

SUFFIXES = (".jpg", ".jpeg", ".png")
Files = dict[str, tuple[Path, Path, Path]]  # colour, second modality and label of each ID, in the order of the split


@dataclass(frozen=True)
class Camera:
    """The second modality, how it is stored, and the lens and the crop of the stored images."""

    modality: Modality = Modality("depth", "m", 0.0, 10.0)
    scale: float = 0.001
    intrinsics: Intrinsics | None = None
    crop: tuple[int, int, int, int] | None = None


def read_json(file: Path, why: str) -> Any:
    """Parse a JSON file, or raise a ValueError that names it and says what it is for."""
    if not file.is_file():
        raise ValueError(f"{file} is missing; {why}")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} must be JSON; {error}") from None


def read_classes(file: Path) -> tuple[str, ...]:
    """Class names, from a list or from {"names": […]}."""
    found = read_json(file, 'it holds the class names, {"names": ["wall", …]}')
    names = found.get("names") if isinstance(found, dict) else found
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f'{file} must be a list of names or {{"names": […]}}; got {str(found)[:60]}')
    if len(set(names)) < len(names) or len(names) > 255:
        raise ValueError(f"{file} must hold 1…255 names, each once; got {len(names)}, {len(set(names))} different")
    if isinstance(found, dict) and found.get("ignore_index", 255) != 255:
        raise ValueError(f"{file} must have ignore_index 255; got {found['ignore_index']}. Store 255 in the labels.")
    return tuple(names)


def read_camera(file: Path) -> Camera:
    """What camera.json declares; notes and other keys in it are left alone."""
    if not file.exists():
        return Camera()
    found = read_json(file, "")
    known = {}
    try:
        if "modality" in found:
            second = found["modality"]
            low, high, scale = (float(second[key]) for key in ("low", "high", "scale"))
            if not (low < high and 0 < scale < float("inf")):
                raise ValueError("low < high and scale > 0")
            known = {"modality": Modality(str(second["name"]), str(second["unit"]), low, high), "scale": scale}
        lens = found.get("intrinsics", found.get("this_resolution"))
        if lens is not None:
            known["intrinsics"] = Intrinsics(*(float(lens[key]) for key in ("fx", "fy", "cx", "cy")))
        crop = found.get("crop", found.get("crop_this_resolution_rows_cols"))
        if crop is not None:
            top, bottom, left, right = (int(edge) for edge in crop)
            known["crop"] = (top, bottom, left, right)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{file} is not as it must be ({type(error).__name__}: {error}); it may declare modality (name, unit,"
            " scale, low, high), intrinsics (fx, fy, cx, cy) and crop (first row, end row, first column, end column)"
        ) from None
    return Camera(**known)


def check_crop(crop: tuple[int, int, int, int], stored: tuple[int, int], file: Path) -> None:
    """Raise a ValueError where the crop does not lie in the image."""
    top, bottom, left, right = crop
    if not (0 <= top < bottom <= stored[0] and 0 <= left < right <= stored[1]):
        raise ValueError(f"`crop` in {file} must lie in the images of {stored} (H, W); got {list(crop)}")


def read_split(path: Path, split: str) -> tuple[Files, tuple[str, ...]]:
    """Files of every ID of a split, and the group of each."""
    file = path / "splits.json"
    splits = read_json(file, 'it lists the IDs of each split, {"train": […], "test": […]}')
    if not isinstance(splits, dict):
        raise ValueError(f'{file} must be {{"train": […], "test": […]}}; got a {type(splits).__name__}')
    names = [name for name, ids in splits.items() if isinstance(ids, list) and not name.endswith("_runs")]
    if split not in names:
        near = nearest(split, names)
        raise ValueError(f"`split` must be one of the lists in {file}; got {split!r}: the nearest are {near}")
    if not splits[split]:
        raise ValueError(f"`split` must have images; {split!r} is empty in {file}")
    _check_entries(splits, split, file)
    colours = _listing(path / "rgb", SUFFIXES)
    ids = [_stem(entry, colours) for entry in splits[split]]
    twice = {stem for stem in ids if ids.count(stem) > 1} if len(set(ids)) < len(ids) else ()
    if twice:
        raise ValueError(f"{file} must name each ID once in {split!r}; got {', '.join(sorted(twice)[:3])} again")
    folders = {"rgb": colours} | {name: _listing(path / name, (".png",)) for name in ("depth", "label")}
    for folder, found in folders.items():
        missing = [stem for stem in ids if stem not in found]
        if missing:
            raise ValueError(
                f"{path / folder / missing[0]}.png is missing, and so are {len(missing) - 1} more of {split!r} in"
                f" {folder}/. Add them, or take these IDs out of {file}."
            )
    return {stem: tuple(found[stem] for found in folders.values()) for stem in ids}, _groups(splits, split, ids, file)


def _check_entries(splits: dict, split: str, file: Path) -> None:
    """Raise a ValueError where an ID or what is said of groups is of another kind."""
    runs = splits.get(f"{split}_runs")
    nested = isinstance(runs, list) and all(isinstance(run, list) for run in runs)
    if runs is not None and not nested:
        raise ValueError(f'"{split}_runs" in {file} must be a list of lists of IDs; got {str(runs)[:60]}')
    if not isinstance(splits.get("groups"), dict | None):
        raise ValueError(f'"groups" in {file} must be {{ID: name}}; got {str(splits["groups"])[:60]}')
    for entry in [*splits[split], *(entry for run in runs or () for entry in run)]:
        if isinstance(entry, bool) or not isinstance(entry, str | int):
            raise ValueError(f"{file} must name images by their IDs, texts or whole numbers; got {str(entry)[:60]}")


def _listing(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Image files of a folder by their stems."""
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing; it holds one image an ID")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in suffixes:
            if file.stem in found:
                raise ValueError(f"{folder} must hold one image an ID; got {found[file.stem].name} and {file.name}")
            found[file.stem] = file
    return found


def _stem(entry: str | int, known: dict[str, Path]) -> str:
    """ID that an entry of splits.json means: itself, or for a number the ID of that value, zeros before it or not."""
    if isinstance(entry, str):
        return entry
    return next((stem for stem in (f"{entry:0{width}d}" for width in range(1, 13)) if stem in known), f"{entry:04d}")


def _groups(splits: dict, split: str, ids: Sequence[str], file: Path) -> tuple[str, ...]:
    """Physical scene of each ID, as declared, else the run of consecutive numbers that it is in."""
    runs = splits.get(f"{split}_runs")
    named = splits.get("groups")
    if named is None and runs is not None:
        known = dict.fromkeys(ids)
        named = {}
        for run in runs:
            stems = [_stem(entry, known) for entry in run]
            named |= dict.fromkeys(stems, f"run {stems[0]}" if stems else "")
    if named is not None:
        without = [stem for stem in ids if stem not in named]
        if without:
            what = "groups" if "groups" in splits else f"{split}_runs"
            rest = f"{without[0]} and {len(without) - 1} more have none"
            raise ValueError(f"`{what}` in {file} must name the group of every ID; {rest}")
        return tuple(str(named[stem]) for stem in ids)
    return _consecutive(ids, file)


def _consecutive(ids: Sequence[str], file: Path) -> tuple[str, ...]:
    """Runs of consecutive numbers, or with a warning every image by itself where that gives no two groups."""
    if all(stem.isdecimal() for stem in ids):
        start: dict[int, str] = {}
        for stem in sorted(ids, key=int):
            start[int(stem)] = start.get(int(stem) - 1, f"run {stem}")
        groups = tuple(start[int(stem)] for stem in ids)
        if len(set(groups)) > 1 or len(ids) == 1:
            return groups
    warnings.warn(
        f"no groups are known, so every image is taken for a scene of its own. Where several show one place, declare"
        f' "groups": {{ID: name}} in {file}: else intervals are too narrow.',
        stacklevel=5,
    )
    return tuple(ids)
