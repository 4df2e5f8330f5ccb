"""What a features directory must hold, asked by the writer before it publishes and by the reader. Use `features`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np
import pandas as pd

from rgbd_insight.features.files import GRID
from rgbd_insight.features.schema import ROLES, SAMPLE_COLUMNS, SIDE, FeaturesError, RunId, TensorKey
from rgbd_insight.features.tasks import COUNTED, wrong_scoring

_HEAD = {
    "name": str,
    "fingerprint": dict,
    "modalities": list,
    "classes": list,
    "concepts": list,
    "families": list,
    "size": list,
    "samples": int,
    "runs": dict,
}
_RUN = {
    "fusion": str,
    "seed": int,
    "epoch": int,
    "role": str,
    "about": dict,
    "taps": list,
    "conditions": list,
    "ablations": dict,
    "purity": list,
    "files": dict,
}


def first_wrong(manifest: dict) -> str | None:
    """The first thing that is not in `manifest` as it must be, in words; None where all is."""
    try:
        return next(_wrong(manifest), None)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        return f"{error!r} in its parts"


def _wrong(manifest: dict) -> Iterator[str]:
    yield from _wrong_kinds(manifest, _HEAD)
    for run, entry in manifest["runs"].items():
        yield from _wrong_kinds(entry, _RUN, f" of run {run!r}")
    yield from _wrong_head(manifest)
    yield from _wrong_grid(manifest)
    for run, entry in manifest["runs"].items():
        for what in _wrong_run(run, entry):
            yield f"{what} in run {run!r}"


def _wrong_kinds(value: object, kinds: dict[str, type], where: str = "") -> Iterator[str]:
    for key, kind in kinds.items():
        if not isinstance(value, dict) or not isinstance(value.get(key), kind) or isinstance(value.get(key), bool):
            yield f"{key!r}{where} is not a {kind.__name__}"


def _wrong_head(manifest: dict) -> Iterator[str]:
    if not _names(manifest["name"]):
        yield "the dataset must have a name"
    for m in manifest["modalities"]:
        wanted = {"name", "unit", "low", "high"}
        if m.keys() - {"channels"} != wanted or not _names(m["name"]) or not isinstance(m["unit"], str):
            yield "a modality must have name and unit, low and high"
        elif "channels" in m and not _wholes(m["channels"], least=1):
            yield f"the channels of {m['name']!r} must be a whole number from 1; got {m['channels']!r}"
        elif not _numbers(m["low"], m["high"]) or not m["low"] < m["high"]:
            yield f"the range of {m['name']!r} must rise from low to high; got {m['low']!r} to {m['high']!r}"
    names = [m["name"] for m in manifest["modalities"]]
    if not names or len({*names}) < len(names):
        yield f"modalities must be one or more, each with a name of its own; got {names}"
    for part in ("classes", "families"):
        if not all(isinstance(name, str) for name in manifest[part]):
            yield f"{part} must be texts; got {manifest[part]!r}"
    if len(manifest["size"]) != 2 or not _wholes(*manifest["size"], least=1):
        yield f"size must be height and width; got {manifest['size']!r}"
    if not _wholes(manifest["samples"], least=1):
        yield f"samples must be 1 or more; got {manifest['samples']!r}"
    for c in manifest["concepts"]:
        seen = (c["visible"] or {}).values()
        if not _names(c["name"], c["family"], c["kind"]):
            yield "a concept must have name, family and kind"
        elif not _numbers(c["cut"], *seen) or not all(0 <= x <= 1 for x in (c["cut"], *seen)):
            yield f"cut and visibility of concept {c['name']!r} must be 0 to 1; got {c['cut']!r} and {c['visible']!r}"
    if len({c["name"] for c in manifest["concepts"]}) < len(manifest["concepts"]):
        yield "each concept must have a name of its own"


def _wrong_grid(manifest: dict) -> Iterator[str]:
    """What is wrong of the cells that are common to all runs."""
    cells, runs = manifest.get("cells"), [run for run, entry in manifest["runs"].items() if entry.get("cells")]
    if cells is None and runs:
        yield f"there must be a grid for the cells of run {runs[0]!r}"
    if cells is not None:
        grid, count = cells["grid"], cells["count"]
        if len(grid) != 2 or not _wholes(*grid, least=1) or max(grid) > SIDE:
            yield f"the grid of cells must be rows and columns, 1 to {SIDE}; got {grid!r}"
        elif not _wholes(count, least=1) or count > grid[0] * grid[1]:
            yield f"the cells of an image must be 1 to {grid[0] * grid[1]}; got {count!r}"


def _wrong_run(run: str, entry: dict) -> Iterator[str]:
    if entry["role"] not in ROLES or not _wholes(entry["seed"], entry["epoch"]):
        yield f"role must be one of {', '.join(ROLES)}, seed and epoch whole numbers from 0"
    elif run != str(RunId.described(entry)):
        yield "fusion, seed, epoch and role are of another run: they are not what the name says"
    for key in ("draws", "block"):
        if key in entry and not _wholes(entry[key], least=1):
            yield f"{key} must be 1 or more; got {entry[key]!r}"
    if wrong := wrong_scoring(entry.get("task")):
        yield wrong
    for tap in entry["taps"]:
        if not _names(tap["stream"]) or not _integers(tap["level"]):
            yield f"a tap must have stream and level, a whole number; got {tap['stream']!r} and {tap['level']!r}"
    if not entry["taps"] or len({(tap["stream"], tap["level"]) for tap in entry["taps"]}) < len(entry["taps"]):
        yield "there must be taps, one a stream and level"
    if not _names(*entry["conditions"]):
        yield "conditions must be texts"
    for name, spec in entry["ablations"].items():
        units = all(_names(s) and _integers(level) and _wholes(*chosen) for s, level, chosen in spec["units"])
        if not units or spec["value"] not in ("mean", "zero") or not _names(spec["inputs"]):
            yield f"ablation {name!r} must have units, a value and inputs"
    for p in entry["purity"]:
        if not _names(p["stream"], p["modality"]) or not _numbers(p["moved"]) or p["moved"] < 0:
            yield "the purity must have stream, modality and moved, 0 or more"
    for row in (entry.get("isolated") or {}).get("shares", []):
        numbers = [row[name] for name in ("own", "guest", "both", "share")]
        if not _names(row["stream"], row["modality"]) or not _integers(row["level"]) or not _numbers(*numbers):
            yield "the shares of a tap must have stream, level and modality, own, guest, both and share"
    yield from _wrong_tensors(entry)
    yield from _wrong_cells(entry.get("cells") or {"files": {}, "units": {}, "loss": {}})


def _wrong_tensors(entry: dict) -> Iterator[str]:
    """What is wrong of which tensors there are, how wide and how exact."""
    for keys in entry["files"].values():
        if not _names(*keys):
            yield "the tensors of files must be texts"
        for key in keys:
            TensorKey.parse(key)
    if not all(_wholes(width, least=1) for width in (entry.get("widths") or {}).values()):
        yield "widths must be 1 or more"
    if not all(_wholes(*units) for units in (entry.get("units") or {}).values()):
        yield "units must be whole numbers from 0"
    if not all(_numbers(loss) and loss >= 0 for loss in (entry.get("quantised") or {}).values()):
        yield "the loss of a quantised tensor must be 0 or more"
    if not all(_names(key, other) for key, other in (entry.get("same") or {}).items()):
        yield "tensors that are the same must be texts"
    if entry.get("curves") is not None and not _names(entry["curves"]):
        yield "curves must be a file"


def _wrong_cells(cells: dict) -> Iterator[str]:
    """What is wrong of a run's responses at cells."""
    for key in [key for keys in cells["files"].values() for key in keys]:
        name = TensorKey.parse(key)
        if name.part is not None or not cells["units"].get(name.tap) or not _numbers(cells["loss"][key]):
            yield f"{key!r} at cells must be of a tap, with units and the loss of one byte a value"
        elif cells["loss"][key] < 0:
            yield f"the loss of {key!r} at cells must be 0 or more"
    if not all(_names(*keys) for keys in cells.get("profiles", {}).values()):
        yield "the profiles over cells must be texts"
    if not all(_names(key) and _numbers(loss) and loss >= 0 for key, loss in cells.get("grids", {}).items()):
        yield "the images on grids must be texts, each with the error of its products, 0 or more"
    if not all(_wholes(*units) and len({*units}) == len(units) for units in cells["units"].values()):
        yield "units at cells must be different whole numbers from 0"


def _names(*values: object) -> bool:
    return all(isinstance(value, str) and value != "" for value in values)


def _integers(*values: object) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _wholes(*values: object, least: int = 0) -> bool:
    return _integers(*values) and all(value >= least for value in values)


def _numbers(*values: object) -> bool:
    return all(isinstance(x, int | float) and not isinstance(x, bool) and isfinite(x) for x in values)


def wrong_samples(table: pd.DataFrame, rows: int) -> str | None:
    """What is wrong with the table of the samples, of which there must be `rows`; None where nothing is."""
    if tuple(table.columns) != SAMPLE_COLUMNS or len(table) != rows:
        return f"it must have {rows} rows and the columns {', '.join(SAMPLE_COLUMNS)}"
    try:
        texts = all(_names(*table[column]) for column in ("id", "group"))
    except UnicodeDecodeError:  # arrow's texts are decoded when they are asked for
        texts = False
    if not texts:
        return "id and group must be texts"
    for column in SAMPLE_COLUMNS[2:]:
        values = table[column]
        if not pd.api.types.is_numeric_dtype(values) or (column != "mean_depth" and (values < 0).any()):
            return f"{column} must be numbers from 0"
    return "missing must be a share, 0 to 1" if (table["missing"] > 1).any() else None


def wrong_values(key: TensorKey, values: np.ndarray, shape: tuple[int, int | None], pixels: int) -> str | None:
    """What is wrong with a run's tensor of this shape (None is any), from images of `pixels`; None where nothing is."""
    counted = key.part in COUNTED
    kind = np.integer if counted else np.floating
    fits = values.ndim == 2 and values.shape == (shape[0], shape[1] or values.shape[1])
    if not fits or not np.issubdtype(values.dtype, kind):
        return f"'{key}' must be {shape[0]} samples of {shape[1] or 'some'} numbers; got {values.shape}, {values.dtype}"
    if not counted:
        return None if np.isfinite(values).all() else f"'{key}' must be finite"
    if values.size and not 0 <= values.min() <= values.max() <= pixels:
        return f"'{key}' must be pixels, 0 to {pixels}; got {values.min()} to {values.max()}"
    return None


def wrong_areas(areas: np.ndarray, shape: tuple[int, int]) -> str | None:
    """What is wrong with the area of each concept in each image, which must be of `shape`; None where nothing is."""
    if areas.shape != shape or not np.issubdtype(areas.dtype, np.floating):
        return f"areas must be {shape}, samples and concepts; got {areas.shape}"
    # sums of shares in single precision may pass 1 by its rounding
    return None if np.all((areas >= 0) & (areas <= 1 + 1e-5)) else "areas must be shares of the image, 0 to 1"


def wrong_places(places: dict[str, np.ndarray], rows: int, cells: dict, concepts: int) -> str | None:
    """What is wrong with row, column and shares of the `cells` (as in a manifest) of `rows` images; None: nothing."""
    (h, w), count = cells["grid"], cells["count"]
    for name, width, most in (("row", count, h - 1), ("column", count, w - 1), ("shares", count * concepts, 255)):
        values = places[name]
        if values.shape != (rows, width) or values.dtype != np.uint8:
            return f"{name} of the cells must be {width} bytes of {rows} images; got {values.shape}, {values.dtype}"
        if values.size and values.max() > most:
            return f"{name} of the cells must be 0 to {most}; got {values.max()}"
    return None


def wrong_codes(key: str, tensors: Sequence[np.ndarray], shape: tuple[int, int], units: int) -> str | None:
    """What is wrong with codes (of `shape`), scale and offset of `units`; None where nothing is."""
    codes, scale, offset = tensors
    if codes.dtype != np.uint8 or codes.shape != shape or scale.shape != (units,) or offset.shape != (units,):
        return f"{key!r} must be one byte a value, {shape}, with a scale and an offset for {units} units"
    if not (np.isfinite(scale) & (scale >= 0)).all() or not np.isfinite(offset).all():
        return f"the scale of {key!r} must be 0 or more, its offset finite"
    return None


def wrong_profiles(name: str, values: np.ndarray, concepts: int) -> str | None:
    """What is wrong with profiles (F, U, K), overlaps (U, K) or images on grids (n, R); None where nothing is."""
    if name.endswith(GRID):
        fits = values.ndim == 2 and values.dtype == np.float16 and np.isfinite(values).all()
        return None if fits else f"{name!r} must be finite half-precision numbers, images by coordinates"
    axes, low = (2, 0) if name.endswith("#iou") else (3, -1)
    if values.ndim != axes or values.shape[-1] != concepts or values.dtype != np.float16:
        return f"{name!r} must be half-precision numbers for {concepts} concepts; got {values.shape}, {values.dtype}"
    known = values[~np.isnan(values)]
    return None if known.size == 0 or low <= known.min() <= known.max() <= 1 else f"{name!r} must be {low} to 1"


def wrong_images(chosen: np.ndarray, images: int) -> str | None:
    """What is wrong with the numbers (n,) of the images on grids, of so many; None where nothing is."""
    fits = chosen.ndim == 1 and chosen.dtype == np.int32 and chosen.size and (np.diff(chosen) > 0).all()
    inside = fits and 0 <= chosen[0] and chosen[-1] < images
    return None if inside else f"the images on grids must be rising numbers from 0 to {images - 1}"


def refuse(what: object, wrong: str | None, fix: str) -> None:
    """Raise a FeaturesError where something is `wrong` with `what`."""
    if wrong is not None:
        raise FeaturesError(f"{what} is damaged: {wrong}; {fix}")
