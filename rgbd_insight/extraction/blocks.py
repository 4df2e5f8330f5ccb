"""What an extraction does with one block of samples, the model apart: check it, describe it, count."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rgbd_insight.data import IGNORE, Batch, Dataset
from rgbd_insight.features import SAMPLE_COLUMNS, Ablation, occurrences, usual_subsets
from rgbd_insight.hooks import Tap
from rgbd_insight.utils.messages import unknown

REPLACEMENTS = ("zero", "mean", "noise")


def check_dataset(data: Dataset) -> None:
    """Raise a ValueError where `data` cannot be extracted: empty, groups missing, or one group only."""
    if len(data) == 0:
        raise ValueError("`data` must have samples; got an empty dataset: check its split and its path")
    if len(data.groups) != len(data):
        raise ValueError(f"`data.groups` must name a group for each of the {len(data)} samples; got {len(data.groups)}")
    names = [m.name for m in data.modalities]
    wrong = [name for name in names if not re.fullmatch(r"[^\s/:+#]+", name) or name in ("both", "none", "fused")]
    if wrong or len(set(names)) < len(names) or len(names) < 2:
        raise ValueError(
            f"`data.modalities` must be two or more, each of a name of its own: a word without / : + #, not both, none "
            f"or fused; got {', '.join(names)}"
        )
    if len(set(data.groups)) < 2:
        raise ValueError(
            f"`data` must have samples of two or more groups; got only {data.groups[0]!r}: one input is "
            "isolated by taking the other from another group, so give each physical scene its own group"
        )


def check_batch(batch: Batch, data: Dataset) -> Batch:
    """Return `batch`, or raise a ValueError that names the sample and the value that are wrong."""
    b, (h, w), f = len(batch.ids), data.size, len(data.families)
    names = [m.name for m in data.modalities]
    if list(batch.inputs) != names or not set(batch.valid) <= set(names):
        raise ValueError(
            f"`inputs` must be a dict of {', '.join(names)}, the names of data.modalities in their order, and `valid` "
            f"of some of them; got {list(batch.inputs)} and {list(batch.valid)} for {batch.ids[0]!r}: name them alike"
        )
    parts = [(m.name, batch.inputs[m.name], (b, m.planes, h, w)) for m in data.modalities]
    parts += [(f"valid of {name}", known, (b, 1, h, w)) for name, known in batch.valid.items()]
    parts += [("concepts", batch.concepts, (b, f, h, w))]
    for name, values, shape in parts:
        if tuple(values.shape) != shape:
            raise ValueError(
                f"`{name}` must have shape {shape} (from data.size, data.modalities and data.families); got "
                f"{tuple(values.shape)} for {batch.ids[0]!r}: resize the images to data.size"
            )
    for m, x in zip(data.modalities, batch.inputs.values(), strict=True):
        if m.planes == 3 and (m.unit, m.low, m.high) == ("", 0, 1):
            _reject(batch, m.name, x, ~((x >= 0) & (x <= 1)), "in [0, 1]", "divide 8-bit colour by 255")
        _reject(batch, m.name, x, ~torch.isfinite(x), "finite", "write 0 and valid=False where nothing was read")
    _check_labels(batch, data)
    k = len(data.concepts)
    wrong = (batch.concepts < -1) | (batch.concepts >= k)
    _reject(batch, "concepts", batch.concepts, wrong, f"-1 (none) to {k - 1}", "check data.concepts")
    return batch


def _check_labels(batch: Batch, data: Dataset) -> None:
    """Labels are a class a pixel or image, or numbers, or none."""
    labels, (b, c) = batch.labels, (len(batch.ids), len(data.classes))
    if labels is None:
        return
    shape = tuple(labels.shape)
    if shape not in ((b, *data.size), (b,)) and not (labels.is_floating_point() and len(shape) == 2 and shape[0] == b):
        raise ValueError(
            f"`labels` must have shape {(b, *data.size)} (samples, data.size), {(b,)} of images, or ({b}, D) of "
            f"numbers; got {shape} for {batch.ids[0]!r}: resize them to data.size"
        )
    if labels.is_floating_point():
        _reject(batch, "labels", labels, torch.isinf(labels), "finite, or NaN where unknown", "check the targets")
        return
    wrong = ((labels < 0) | (labels >= c)) & (labels != IGNORE)
    _reject(batch, "labels", labels, wrong, f"0 to {c - 1}, or {IGNORE} for ignore", "check data.classes")


def _reject(batch: Batch, name: str, values: Tensor, wrong: Tensor, must: str, fix: str) -> None:
    if bool(wrong.any()):
        sample = int(wrong.reshape(len(wrong), -1).any(1).nonzero()[0, 0])
        value = values[sample][wrong[sample]].flatten()[0].item()
        raise ValueError(f"`{name}` must be {must}; got {value} in sample {batch.ids[sample]!r}: {fix}")


def describe(batch: Batch) -> dict[str, list]:
    """The columns of samples.parquet for one batch; a mean and a deviation are 0 where no pixel has a reading.

    Notes
    -----
    brightness and contrast are mean and standard deviation of the first modality's grey image (mean of the channels);
    mean_depth and depth_std are those of the second modality, whatever its name, over the pixels with a reading, and
    missing is the share of pixels without one. Further modalities have mean_NAME, NAME_std and missing_NAME.
    """
    first, second, *further = batch.inputs
    grey = batch.inputs[first].float().mean(1).flatten(1).cpu().double()  # (B, HW)
    found = {
        "id": list(batch.ids),
        "group": list(batch.groups),
        "brightness": grey.mean(1).tolist(),
        "contrast": grey.std(1, correction=0).tolist(),
    }
    columns = dict.fromkeys([second], SAMPLE_COLUMNS[4:])
    columns |= {name: (f"mean_{name}", f"{name}_std", f"missing_{name}") for name in further}
    for name, three in columns.items():
        found |= dict(zip(three, _readings(batch, name), strict=True))
    return found


def _readings(batch: Batch, name: str) -> tuple[list, list, list]:
    """Mean and standard deviation of a modality's readings in each image, and the share of pixels without one."""
    x = batch.inputs[name].mean(1).flatten(1).cpu().double()  # (B, HW)
    known = batch.valid[name].flatten(1).cpu().double() if name in batch.valid else torch.ones_like(x)  # (B, HW)
    count = known.sum(1).clamp_min(1)  # (B,)
    mean = (x * known).sum(1) / count  # (B,)
    deviation = (((x - mean[:, None]) ** 2 * known).sum(1) / count).sqrt()  # (B,)
    return mean.tolist(), deviation.tolist(), (1 - known.mean(1)).tolist()


def concept_areas(batch: Batch, count: int) -> np.ndarray:
    """Share of each image's pixels that carry each of `count` concepts, in any plane: float32 (B, K)."""
    pixels = batch.concepts.shape[2] * batch.concepts.shape[3]
    values = batch.concepts.flatten(1)  # (B, F·HW)
    return (occurrences(values, values >= 0, count) / pixels).astype(np.float32)


def replacement(batch: Batch, name: str, kind: str, limits: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel that stand in for input `name` under "zero", "mean" or "noise".

    Returns two (1, channels, 1, 1) tensors; pixels without a reading do not count.
    """
    values = batch.inputs[name].double().movedim(1, -1)  # (B, H, W, c)
    if name in batch.valid:
        values = values[batch.valid[name][:, 0]]  # (P, c)
    values = values.flatten(0, -2)  # (P, c)
    if kind == "zero" or len(values) == 0:
        values = torch.zeros_like(values[:1]) if len(values) else values.new_zeros(1, values.shape[1])
    mean = values.mean(0).clamp(*limits) if kind != "zero" else values.mean(0)
    deviation = values.std(0, correction=0) if kind == "noise" else torch.zeros_like(mean)
    return mean.float()[None, :, None, None], deviation.float()[None, :, None, None]


def check_taps(model: nn.Module, taps: Sequence[Tap] | None) -> list[Tap]:
    """The taps asked for, or the model's own; one a stream and level."""
    if taps is None:
        if not callable(getattr(model, "taps", None)):
            raise ValueError(
                f"`taps` must be given, as {type(model).__name__} has no taps() of its own: make them with"
                ' ri.taps("encoder_{stream}.layer{level}", levels=range(1, 5)), the pattern naming '
                "modules of model.named_modules()"
            )
        taps = model.taps()
    taps = list(taps)
    places = [(tap.stream, tap.level) for tap in taps]
    if not taps or len(set(places)) < len(places):
        raise ValueError(f"`taps` must be one or more, one a stream and level; got {places}: give each its own level")
    for stream, _ in places:
        if not stream or set(stream) & set("/#:"):
            raise ValueError(f"a tap's stream must be a word without / # :; got {stream!r}: rename it")
    return taps


def check_conditions(
    conditions: Sequence[str | Ablation] | None, data: Dataset, model: nn.Module, taps: list[Tap], *, predicts: bool
) -> tuple[list[str], list[Ablation]]:
    """The names of the conditions asked for, None being all without stand-ins, and the ablations among them.

    Where the task `predicts` nothing, those alone under which there are responses.
    """
    modalities = [m.name for m in data.modalities]
    answered, usual = ["both", *modalities], ["both", *usual_subsets(modalities), "none"]
    if conditions is None:
        conditions = usual if predicts else answered
    conditions = [conditions] if isinstance(conditions, str | Ablation) else list(conditions)
    known = [*usual, *(f"{name}:{kind}" for name in usual[1:] for kind in REPLACEMENTS)]
    if not predicts and (others := [getattr(c, "name", c) for c in conditions if c not in answered]):
        raise ValueError(
            f"`conditions` of task none must be among {', '.join(answered)}; got {others}, of which predictions alone "
            "are recorded: leave them out, or name another task"
        )
    names = [c for c in conditions if not isinstance(c, Ablation)]
    ablations = [c for c in conditions if isinstance(c, Ablation)]
    for name in [*names, *(a.inputs for a in ablations)]:
        if not _is_condition(name, modalities):
            raise ValueError(unknown("conditions", str(name), known))
    own = tuple(getattr(model, "modalities", modalities))
    if len(own) == 1:
        wrong = [a.name for a in ablations if a.inputs not in ("both", own[0])]
        if (names and own[0] not in names) or wrong:
            raise ValueError(f"`conditions` of a model of {own[0]!r} alone must be {own[0]!r}; got {wrong or names}")
        names = [own[0]] if names else []
    if not names and not ablations:
        raise ValueError(f"`conditions` must name at least one of {', '.join(known)}, or an Ablation; got none")
    _check_ablations(ablations, modalities, taps)
    return list(dict.fromkeys(names)), ablations


def _is_condition(name: object, modalities: Sequence[str]) -> bool:
    """Whether it is "both", "none" or some of the modalities in their order, with or without what replaces others."""
    kept, _, kind = str(name).partition(":")
    some = kept.split("+")
    in_order = [m for m in modalities if m in some] == some and len(some) < len(modalities)
    return name == "both" or ((in_order or kept == "none") and name in (kept, *(f"{kept}:{k}" for k in REPLACEMENTS)))


def _check_ablations(ablations: list[Ablation], modalities: Sequence[str], taps: list[Tap]) -> None:
    names, places = [a.name for a in ablations], {(tap.stream, tap.level) for tap in taps}
    for a in ablations:
        if not a.name or _is_condition(a.name, modalities) or set(a.name) & set("/#") or names.count(a.name) > 1:
            raise ValueError(
                f"an Ablation's name must be its own, without / and #, no condition's; got {a.name!r}: rename it"
            )
        if a.value not in ("mean", "zero"):
            raise ValueError(f'`value` of ablation {a.name!r} must be "mean" or "zero"; got {a.value!r}')
        for place, units in a.units.items():
            if tuple(place) not in places:
                raise ValueError(unknown(f"units of {a.name}", str(place), [str(p) for p in places]))
            if not all(isinstance(u, int | np.integer) and u >= 0 for u in units):
                raise ValueError(f"units of ablation {a.name!r} at {place} must be whole numbers from 0; got {units}")
