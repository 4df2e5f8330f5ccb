"""The nouns of a features directory: Modality, Concept, Ablation. Use `features` instead."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Modality:
    """One input of the network: `name`, `unit` of its values ("" for none) and their range `low` … `high`."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Concept:
    """A named pixel label.

    `family` groups concepts that exclude one another in a pixel; `kind` is the modality that shows it (rgb, depth,
    both, neither, together, graded or unknown); `visible` maps a modality to its planted visibility in [0, 1].
    """

    name: str
    family: str
    kind: str = "unknown"
    visible: dict[str, float] | None = None


@dataclass(frozen=True)
class Ablation:
    """A condition under which some units are silenced; only its predictions are recorded.

    Attributes
    ----------
    name : the condition's name in `Features.predictions`.
    units : {(stream, level): indices of the units to silence}.
    value : "mean" (a unit keeps its mean over the first block of samples) or "zero".
    inputs : what the network is given meanwhile, the name of any condition.
    """

    name: str
    units: dict[tuple[str, int], tuple[int, ...]] = field(hash=False)
    value: str = "mean"
    inputs: str = "both"
