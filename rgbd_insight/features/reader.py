"""What every question reads: the responses, predictions and concepts in features directories. No model is needed."""

from __future__ import annotations

import copy
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from rgbd_insight.features.checks import refuse, wrong_areas, wrong_samples, wrong_values
from rgbd_insight.features.directory import concept_table, read_execution, read_manifest, run_table, steady
from rgbd_insight.features.files import (
    Columns,
    dequantise,
    inside,
    read_parquet,
    read_tensors,
    verify_sums,
)
from rgbd_insight.features.joining import Joins, Own
from rgbd_insight.features.schema import Ablation, FeaturesError, Modality, TensorKey
from rgbd_insight.features.tasks import COUNTED, Scoring
from rgbd_insight.utils.messages import nearest

RESTORE = "restore it from its source or extract the run again"


class Features(Joins):
    """Unit responses, predictions and concepts of one or more runs on the same samples; read with `load`.

    Attributes
    ----------
    path : Path
        The (first) directory.
    manifest : dict
        Its manifest, with the runs of all joined directories.
    modalities, classes, families : tuple of Modality, tuple of str, tuple of str
        What was put in, what was predicted, what the concepts are grouped in.
    concepts : DataFrame
        Index k: name, family, kind, visible_<modality> (NaN where unknown), cut.
    samples : DataFrame
        Id, group, brightness, contrast, mean_depth, depth_std, missing.
    groups : ndarray of int (N,)
        The physical scene of each sample, coded 0, 1, …
    runs : DataFrame
        Index run id: fusion, seed, epoch, role, data.
    own : tuple of Own
        Concepts of one's own that were joined, which the directory knows nothing of.
    """

    def __init__(self, folders: list[Path], manifests: list[dict]) -> None:
        self.path, self._folders = folders[0], folders
        self._home = {run: folder for folder, m in zip(folders, manifests, strict=True) for run in m["runs"]}
        self.manifest = manifests[0] | {"runs": {run: e for m in manifests for run, e in m["runs"].items()}}
        self.manifest |= next(({"cells": m["cells"]} for m in manifests if "cells" in m), {})
        self.modalities = tuple(Modality(**m) for m in self.manifest["modalities"])
        self.classes, self.families = tuple(self.manifest["classes"]), tuple(self.manifest["families"])
        self.concepts = concept_table(self.manifest)
        samples = inside(self.path, "samples.parquet")
        self.samples = read_parquet(samples, self.manifest["samples"])
        refuse(samples, wrong_samples(self.samples, self.manifest["samples"]), RESTORE)
        self.groups = pd.factorize(self.samples["group"])[0]  # (N,)
        self.runs = run_table(self.manifest)
        self.own: tuple[Own, ...] = ()
        self._cache: dict[tuple[str, str], np.ndarray] = {}
        self._paths: dict[str, dict[str, Path]] = {}
        self._columns: Columns | None = None  # of the file that was read last: one run's tensors are asked in a row

    @cached_property
    def whole(self) -> Features:
        """The features with all their modalities, of which `pair` shows two."""
        return self

    def pair(self, first: str, second: str) -> Features:
        """The same features as if these two of their modalities were all: what is asked of pairs is asked of them.

        Responses to one modality are as they were recorded, beside guests in all others.
        """
        known = {m.name: m for m in self.whole.modalities}
        if first == second or not {first, second} <= {*known}:
            raise FeaturesError(f"`first` and `second` must be two of {', '.join(known)}; got {first!r} and {second!r}")
        pairs = self.whole.__dict__.setdefault("_pairs", {})
        if (first, second) not in pairs:
            chosen = copy.copy(self.whole)
            chosen.modalities, chosen.whole = (known[first], known[second]), self.whole
            pairs[first, second] = chosen
        return pairs[first, second]

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        sizes = f"{len(self)} samples, {len(self.concepts)} concepts, {len(self.runs)} runs"
        return f"Features({str(self.path)!r}: {sizes})"

    @cached_property
    def areas(self) -> np.ndarray:
        """Share of each image's pixels that carry each concept, float32 (N, K), in [0, 1]."""
        path = inside(self.path, "concepts.safetensors")
        areas = steady([self.path], lambda: read_tensors(path, ["areas"])[0])
        refuse(path, wrong_areas(areas, (len(self), len(self.manifest["concepts"]))), RESTORE)
        return np.hstack([areas, *(own.areas for own in self.own)]) if self.own else areas

    @cached_property
    def present(self) -> np.ndarray:
        """Whether each concept is present in each image, bool (N, K): area >= the concept's cut."""
        return self.areas >= self.concepts["cut"].to_numpy(np.float32)

    @property
    def execution(self) -> dict:
        """Where and when each run was extracted: {"runs": [...]}."""
        return {
            "runs": [run for folder in self._folders for run in steady([folder], lambda f=folder: read_execution(f))]
        }

    def verify(self) -> None:
        """Raise a FeaturesError that names the first file whose bytes are not those that were written."""
        for folder in self._folders:
            steady([folder], lambda f=folder: verify_sums(f))

    def find(
        self, *, fusion: str | None = None, seed: int | None = None, epoch: int | None = None, role: str | None = None
    ) -> list[str]:
        """Run ids with these properties, ordered by fusion, seed and epoch; empty where there are none."""
        wanted = {"fusion": fusion, "seed": seed, "epoch": epoch, "role": role}
        rows = self.runs
        for column, value in wanted.items():
            rows = rows if value is None else rows[rows[column] == value]
        return rows.index.tolist()

    def resolve(self, run: str) -> str:
        """The run id meant by `run`: itself, or for a bare fusion name its final run of the lowest seed."""
        if run in self.runs.index:
            return run
        final = self.find(fusion=run, role="final")
        if final:
            return final[0]
        others = self.find(fusion=run)
        if others:
            raise FeaturesError(f"`run` {run!r} has no final run in {self.path}; name one of {', '.join(others)}")
        raise FeaturesError(
            f"`run` must be a run id or a fusion name of {self.path}; got {run!r}; nearest: "
            f"{nearest(run, [*self.runs.index, *self.runs['fusion'].unique()])}"
        )

    def entry(self, run: str) -> dict:
        """What the manifest says of a run."""
        return self.manifest["runs"][self.resolve(run)]

    def siblings(self, run: str) -> list[str]:
        """The same run under other seeds (same fusion and role; same epoch too for checkpoints)."""
        e = self.entry(run)
        same = self.find(fusion=e["fusion"], role=e["role"], epoch=e["epoch"] if e["role"] == "checkpoint" else None)
        return [other for other in same if self.runs.loc[other, "seed"] != e["seed"]]

    def twin(self, run: str, modality: str) -> str | None:
        """The unimodal run of `modality` with the same encoder, seed and role (and epoch, for checkpoints), or None."""
        e = self.entry(run)
        epoch = e["epoch"] if e["role"] == "checkpoint" else None
        found = self.find(fusion=modality, seed=e["seed"], role=e["role"], epoch=epoch)
        return next((other for other in found if self.same_encoder(run, other, modality)), None)

    def same_encoder(self, run: str, other: str, modality: str) -> bool:
        """Whether two runs were read in encoders alike: in modules of the same names, of the same widths.

        What the encoder itself is called, the first part of a module's name, makes no difference; of a run without a
        stream of `modality` the fused one is compared. Where no level is common to both, they are not alike.
        """
        places = []
        for entry in map(self.entry, (run, other)):
            own = any(tap["stream"] == modality for tap in entry["taps"])
            taps = [tap for tap in entry["taps"] if tap["stream"] == (modality if own else "fused")]
            widths = entry.get("widths") or {}
            places.append(
                {tap["level"]: (_inside(tap["module"]), widths.get(f"{tap['stream']}/{tap['level']}")) for tap in taps}
            )
        one, two = places
        alike = [
            one[k][0] == two[k][0] and (one[k][1] == two[k][1] or None in (one[k][1], two[k][1]))
            for k in one.keys() & two.keys()
        ]
        return bool(alike) and all(alike)

    def streams(self, run: str) -> tuple[str, ...]:
        """Streams that were tapped, in the order of the taps."""
        return tuple(dict.fromkeys(tap["stream"] for tap in self.entry(run)["taps"]))

    def levels(self, run: str) -> tuple[int, ...]:
        """Levels that were tapped, rising."""
        return tuple(sorted({tap["level"] for tap in self.entry(run)["taps"]}))

    def conditions(self, run: str) -> tuple[str, ...]:
        """Conditions whose predictions were recorded, ablations left out."""
        return tuple(self.entry(run)["conditions"])

    def ablations(self, run: str) -> dict[str, Ablation]:
        """The ablations that were recorded, by name."""
        return {name: Ablation.from_json(name, found) for name, found in self.entry(run)["ablations"].items()}

    def has(self, run: str, stream: str, level: int, condition: str) -> bool:
        """Whether the responses of this stream and level were recorded under this condition."""
        return str(TensorKey(condition, stream, level)) in self._index(run)

    def responses(self, run: str, stream: str, level: int, condition: str) -> np.ndarray:
        """Image-pooled responses, float32 (N, U): the mean of each unit's map over its positions.

        Raises
        ------
        FeaturesError
            Where they were not recorded; it names the nearest that were and the call that would add them.
        """
        return self.tensor(run, str(TensorKey(condition, stream, level)), f"conditions=({condition!r},)")

    def view(self, run: str, modality: str, level: int) -> np.ndarray:
        """What the run makes of one modality at a level, float32 (N, U), the other input being another scene's.

        The modality's own stream where there is one, else the fused stream, under the condition named `modality`.
        """
        names = [m.name for m in self.modalities]
        if modality not in names:
            raise FeaturesError(f"`modality` must be one of {names}; got {modality!r}")
        own = self.has(run, modality, level, modality) or not self.has(run, "fused", level, modality)
        return self.responses(run, modality if own else "fused", level, modality)

    def purity(self, run: str) -> pd.DataFrame:
        """How far each tap moves when only one input is swapped: stream, level, modality, moved (0.0 = pure)."""
        return pd.DataFrame(self.entry(run)["purity"], columns=["stream", "level", "modality", "moved"])

    def shares(self, run: str) -> pd.DataFrame:
        """Whose the variance of each tap is where one input is a sample's own and the other a guest's.

        Columns stream, level, modality (that is kept), own, guest, both (`Parts`, which add up to 1), share (of the
        sample's own in the recorded mean over guests), low, high. Empty where an earlier version recorded the run.
        """
        columns = ["stream", "level", "modality", "own", "guest", "both", "share", "low", "high"]
        return pd.DataFrame((self.entry(run).get("isolated") or {}).get("shares", []), columns=columns)

    def scoring(self, run: str) -> Scoring:
        """How the run's predictions were scored: its task, and whether there were labels."""
        return Scoring.of(self.entry(run).get("task"), self.classes)

    def predictions(self, run: str, condition: str) -> dict[str, np.ndarray]:
        """What the task keeps of every image's prediction, `part` -> (N, C): nothing where it is "none".

        Of classes, int32 pixels or images: `hit` (right), `target` (labelled), `guess` (predicted). Small copies may
        leave out `guess`, and hold `target`, which is the same under every condition, only once.
        """
        parts = self.scoring(run).task.parts
        keys = {part: str(TensorKey(condition, part=part)) for part in parts}
        if parts != COUNTED:
            return {part: self.tensor(run, key, f"conditions=({condition!r},)") for part, key in keys.items()}
        hit = self.tensor(run, keys["hit"], f"conditions=({condition!r},)")
        index = self._index(run)
        targets = [keys["target"], *(key for key in index if key.endswith("/target"))]
        found = {"hit": hit, "target": self.tensor(run, next(key for key in targets if key in index))}
        if (found["hit"] > found["target"]).any():
            raise FeaturesError(f"{index[keys['hit']]} is damaged: more pixels hit than there are; {RESTORE}")
        return found | ({"guess": self.tensor(run, keys["guess"])} if keys["guess"] in index else {})

    def curves(self, run: str) -> pd.DataFrame | None:
        """Training curves of the run, or None where there are none."""
        run = self.resolve(run)
        name = self.entry(run)["curves"]
        home = self._home[run]
        return None if name is None else steady([home], lambda: read_parquet(inside(home, name)))

    def _index(self, run: str) -> dict[str, Path]:
        run = self.resolve(run)
        if run not in self._paths:
            files = {inside(self._home[run], name): keys for name, keys in self.entry(run)["files"].items()}
            self._paths[run] = {key: path for path, keys in files.items() for key in keys}
        return self._paths[run]

    def tensor(self, run: str, key: str, call: str = "") -> np.ndarray:
        """The stored tensor `key` ("stream/level/condition" or "condition/part") of a run, read-only."""
        run = self.resolve(run)
        if (run, key) not in self._cache:
            index = self._index(run)
            if key not in index:
                raise FeaturesError(
                    f"run {run!r} in {self._home[run]} has no {key!r}; nearest: {nearest(key, index)}; "
                    f"to add it: ri.extract(model, data, taps, out={str(self._home[run])!r}, {call})"
                )
            values = steady([self._home[run]], lambda: self._stored(self.entry(run), key, index[key]))
            values.setflags(write=False)  # it is cached: a caller's change would reach every later caller
            self._cache[run, key] = values
        return self._cache[run, key]

    def _stored(self, entry: dict, key: str, path: Path) -> np.ndarray:
        """A tensor from its file, checked."""
        name, wrong = TensorKey.parse(key), None
        columns = Scoring.of(entry.get("task"), self.classes).columns
        if path.suffix == ".parquet":
            column = entry["same"].get(key, key)
            if self._columns is None or self._columns.path != path:
                self._columns = Columns(path, len(self) * len(columns))
            values = self._columns.read([column])[column].to_numpy()
            values = values.reshape(len(self), -1) if values.size % len(self) == 0 else values  # (N, C)
        elif key in (entry.get("quantised") or {}):
            codes, scale, offset = read_tensors(path, [key, f"{key}#scale", f"{key}#offset"])
            if codes.dtype != np.uint8 or scale.shape != codes.shape[1:] or offset.shape != scale.shape:
                wrong = f"{key!r} must be one byte a value, with a scale and an offset a unit"
            elif not (np.isfinite(scale) & (scale >= 0)).all():
                wrong = f"the scale of {key!r} must be 0 or more"
            values = codes if wrong else dequantise(codes, scale, offset)
        else:
            values = read_tensors(path, [key])[0]
        width = len(columns) if name.part else (entry.get("widths") or {}).get(name.tap)
        pixels = int(np.prod(self.manifest["size"]))
        refuse(path, wrong or wrong_values(name, values, (len(self), width), pixels), RESTORE)
        return values.astype(np.int32) if name.part in COUNTED else values


def _inside(module: str) -> str:
    """The name of a module in its encoder: "encoder_rgb.layer1" is "layer1"."""
    return module.partition(".")[2] or module


def load(*folders: str | Path, verify: bool = True) -> Features:
    """Read one features directory, or join several that hold different runs on the same samples.

    Parameters
    ----------
    *folders : str or Path
        Directories written by `extract` or `write_quantised`.
    verify : bool, optional
        Compare every file with its digest first (the files are small; a few hundred MiB take a second).

    Returns
    -------
    Features
        All runs of the directories.

    Raises
    ------
    FeaturesError
        Where a directory is missing, damaged, of another schema, not ours, or not on the same samples.

    Examples
    --------
    >>> try:
    ...     load("features/nothing_here_yet")
    ... except FeaturesError as error:
    ...     print(error)
    features/nothing_here_yet is not a directory; make it with ri.extract(model, data, taps, out='features/nothing_...
    """
    if not folders:
        raise FeaturesError("`folders` must name at least one features directory; got none")
    if not all(map(str, folders)):
        raise FeaturesError(f"`folders` must name features directories; got {', '.join(map(repr, folders))}")
    paths = [path if path.name else path.resolve() for path in map(Path, folders)]  # "." has the name of its place
    return steady(paths, lambda: _load(paths, verify))


def _load(paths: list[Path], verify: bool) -> Features:
    manifests = [read_manifest(path, verify) for path in paths]
    parts = [Features([path], [manifest]) for path, manifest in zip(paths, manifests, strict=True)]
    owner: dict[str, Path] = {}
    for part in parts:
        _check_same(parts[0], part)
        for run in part.runs.index:
            if run in owner:
                raise FeaturesError(f"run {run!r} is in {owner[run]} and in {part.path}; leave one of the two out")
            owner[run] = part.path
    return Features(paths, manifests) if len(parts) > 1 else parts[0]


def _check_same(first: Features, other: Features) -> None:
    for what in ("modalities", "classes", "families", "concepts"):
        if not first.manifest[what] == other.manifest[what]:
            raise FeaturesError(f"{other.path} cannot be joined to {first.path}: their {what} differ; load them apart")
    grids = [part.manifest.get("cells") for part in (first, other)]
    if None not in grids and grids[0] != grids[1]:
        raise FeaturesError(
            f"{other.path} cannot be joined to {first.path}: its cells are {grids[1]}, and those {grids[0]}; load them "
            "apart, or extract both with taps of the same coarsest grid and the same `cells`"
        )
    if not first.samples[["id", "group"]].equals(other.samples[["id", "group"]]):
        raise FeaturesError(
            f"{other.path} ({len(other)} samples) cannot be joined to {first.path} ({len(first)} "
            "samples): their samples differ; extract both from the same data, or load them apart"
        )
