"""Checking what `extract` was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from rgbd_insight._recording.listening import FILLS
from rgbd_insight.data.batch import Dataset
from rgbd_insight.features import Ablation
from rgbd_insight.hooks import Tap, unknown


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
    conditions: Sequence[str | Ablation], data: Dataset, model: nn.Module, taps: list[Tap]
) -> tuple[list[str], list[Ablation]]:
    """The names of the conditions asked for, those of the data, and the ablations among them."""
    conditions = [conditions] if isinstance(conditions, str | Ablation) else list(conditions)
    modalities = [m.name for m in data.modalities]
    known = ["both", *modalities, "none", *(f"{m}:{kind}" for m in (*modalities, "none") for kind in FILLS)]
    default = {"rgb": modalities[0], "depth": modalities[1]}  # the default's names, whatever the data calls them
    names = [c if c in known else default.get(c, c) for c in conditions if not isinstance(c, Ablation)]
    ablations = [c for c in conditions if isinstance(c, Ablation)]
    for name in [*names, *(a.inputs for a in ablations)]:
        if name not in known:
            raise ValueError(unknown("conditions", str(name), known))
    own = tuple(getattr(model, "modalities", modalities))
    if len(own) == 1:
        wrong = [a.name for a in ablations if a.inputs not in ("both", own[0])]
        if (names and own[0] not in names) or wrong:
            raise ValueError(f"`conditions` of a model of {own[0]!r} alone must be {own[0]!r}; got {wrong or names}")
        names = [own[0]] if names else []
    if not names and not ablations:
        raise ValueError(f"`conditions` must name at least one of {', '.join(known)}, or an Ablation; got none")
    _check_ablations(ablations, known, taps)
    return list(dict.fromkeys(names)), ablations


def _check_ablations(ablations: list[Ablation], known: list[str], taps: list[Tap]) -> None:
    names, places = [a.name for a in ablations], {(tap.stream, tap.level) for tap in taps}
    for a in ablations:
        if not a.name or a.name in known or set(a.name) & set("/#") or names.count(a.name) > 1:
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


def check_number(name: str, value: int) -> None:
    """Raise a ValueError where `value` is no whole number from 1."""
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"`{name}` must be a whole number from 1; got {value!r}")
