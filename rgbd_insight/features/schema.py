"""The nouns of a features directory, and the names on its disk that hold structure: each with one `parse` and `str`."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from typing import Any

PLAIN_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+.\-]*")  # of a file, on every system
SAMPLE_COLUMNS = ("id", "group", "brightness", "contrast", "mean_depth", "depth_std", "missing")
ROLES = ("final", "checkpoint", "untrained")
USUAL_MODALITIES = ("rgb", "depth")  # what is meant where no modality is named
SAID = {"rgb": "colour"}  # modalities that people call by another word
LOOKS = frozenset(("hue", "texture", "colour edge", "depth edge", "depth range", "orientation"))  # measured families
COSINE = "gradient_cosine"  # of training curves; of more than two encoders with "_A+B" behind it
EVERY_SET = 4  # modalities, up to which every set of them is recorded
DRAWN_ORDERS = 5  # of more modalities, each of which is taken backwards too
SIDE = 256  # cells, at most, in a row or column of a grid: an index is one byte
USUAL_SHARE = 0.25  # of the units: the dose that the name of an ablation leaves out
_RUN = re.compile(
    r"(?P<fusion>[^+]+?)(?:\+(?P<encoding>.+?))?-s(?P<seed>\d+)(?:-e(?P<epoch>\d+))?(?:-(?P<role>checkpoint|untrained))?"
)
_ABLATION = re.compile(
    r"(?P<kind>specific|consistent|random) (?P<modality>\S+)(?: (?P<number>\d+))?(?: at (?P<percent>[\d.]+)%)?"
    r"(?: given (?P<inputs>\S+))?"
)


class FeaturesError(ValueError):
    """A features directory that cannot be used as asked: says which path, what is wrong, and how to mend it."""


def subsets(modalities: Sequence[str]) -> list[str]:
    """The conditions in which some modalities, but not all, are kept: each alone, then two of them, and so on.

    Examples
    --------
    >>> subsets(["rgb", "depth"]), subsets(["rgb", "depth", "thermal"])[3:]
    (['rgb', 'depth'], ['rgb+depth', 'rgb+thermal', 'depth+thermal'])
    """
    return ["+".join(some) for count in range(1, len(modalities)) for some in combinations(modalities, count)]


def orders(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """The orders in which more than `EVERY_SET` modalities are added: five that are drawn, always the same, and back.

    Examples
    --------
    >>> found = orders("abcde")
    >>> len(found), found[1] == found[0][::-1], sorted(found[0]) == list("abcde")
    (10, True, True)
    """
    draw = random.Random(len(modalities))
    drawn = [tuple(draw.sample(list(modalities), len(modalities))) for _ in range(DRAWN_ORDERS)]
    return [order for one in drawn for order in (one, one[::-1])]


def usual_subsets(modalities: Sequence[str]) -> list[str]:
    """Of `subsets`, those that are recorded where none are named: all of up to `EVERY_SET` modalities.

    Of more, of which there are 2^M: each alone, all but each, and what `orders` come by. That is at most 12 M - 30.

    Examples
    --------
    >>> len(subsets("abcd")), len(usual_subsets("abcd")), len(subsets("abcdefgh")), len(usual_subsets("abcdefgh"))
    (14, 14, 254, 62)
    """
    every = list(modalities)
    if len(every) <= EVERY_SET:
        return subsets(every)
    found = {frozenset(order[:size]) for order in orders(every) for size in range(2, len(every) - 1)}
    found |= {frozenset(every) - {name} for name in every} | {frozenset([name]) for name in every}
    return ["+".join(name for name in every if name in some) for some in sorted(found, key=lambda s: _place(every, s))]


def _place(every: list[str], some: frozenset[str]) -> tuple[int, list[int]]:
    return len(some), sorted(map(every.index, some))


def in_words(modality: str) -> str:
    """What people call a modality.

    Examples
    --------
    >>> in_words("rgb"), in_words("thermal")
    ('colour', 'thermal')
    """
    return SAID.get(modality, modality)


@dataclass(frozen=True)
class Modality:
    """One input of the network.

    Attributes
    ----------
    name : str
        Such as "rgb" or "depth".
    unit : str
        Of its values; "" for none.
    low, high : float
        Their range.
    channels : int or None
        Of its images; None is 3 for a picture (no unit, range 0 to 1) and else 1.

    Examples
    --------
    >>> Modality("depth", "m", 0.0, 10.0).planes, Modality("rgb", "", 0.0, 1.0).planes
    (1, 3)
    """

    name: str
    unit: str
    low: float
    high: float
    channels: int | None = None

    @property
    def planes(self) -> int:
        """Channels of its images."""
        return self.channels or (3 if (self.unit, self.low, self.high) == ("", 0, 1) else 1)

    def as_json(self) -> dict:
        """What a manifest holds of it; `channels` only where it is given."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Concept:
    """A named pixel label.

    Attributes
    ----------
    name : str
        Unlike that of any other concept of the data.
    family : str
        Concepts of a family exclude one another in a pixel.
    kind : str
        The modality that shows it: rgb, depth, both, neither, together, graded or unknown.
    visible : dict of str to float, or None
        Its planted visibility in each modality, in [0, 1].

    Examples
    --------
    >>> Concept("rug", "class", "rgb", {"rgb": 1.0, "depth": 0.0}).visible["rgb"]
    1.0
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
    name : str
        The condition's name in `Features.predictions`.
    units : dict of (str, int) to tuple of int
        Indices of the units to silence at each (stream, level).
    value : str
        "mean" (a unit keeps its mean over the first block of samples) or "zero".
    inputs : str
        What the network is given meanwhile, the name of any condition.

    Examples
    --------
    >>> Ablation("no edges", {("rgb", 1): (0, 3)}).as_json()
    {'units': [['rgb', 1, [0, 3]]], 'value': 'mean', 'inputs': 'both'}
    """

    name: str
    units: dict[tuple[str, int], tuple[int, ...]] = field(hash=False)
    value: str = "mean"
    inputs: str = "both"

    @classmethod
    def from_json(cls, name: str, found: dict) -> Ablation:
        """The ablation that a manifest describes."""
        units = {(stream, int(level)): tuple(chosen) for stream, level, chosen in found["units"]}
        return cls(name, units, found["value"], found["inputs"])

    def as_json(self) -> dict:
        """What a manifest holds of it, beside the name."""
        units = [[stream, level, [int(u) for u in chosen]] for (stream, level), chosen in self.units.items()]
        return {"units": units, "value": self.value, "inputs": self.inputs}


@dataclass(frozen=True)
class AblationName:
    """The name of an ablation that a question has chosen: "random rgb 3", "specific rgb at 12.5% given rgb:mean".

    Attributes
    ----------
    kind : str
        "specific", "consistent" or "random".
    modality : str
        Whose units are silenced.
    number : int
        Which of several random sets, from 1; 0 where there is one set.
    share : float
        The share of the units, in (0, 1); a quarter is not named.
    inputs : str
        The condition that the network is given; "both" is not named.

    Examples
    --------
    >>> str(AblationName("random", "rgb", 3)), str(AblationName("specific", "rgb", share=0.125, inputs="rgb:mean"))
    ('random rgb 3', 'specific rgb at 12.5% given rgb:mean')
    >>> AblationName.parse("consistent depth at 50%").share, AblationName.parse("my own units")
    (0.5, None)
    """

    kind: str
    modality: str
    number: int = 0
    share: float = USUAL_SHARE
    inputs: str = "both"

    @classmethod
    def parse(cls, text: str) -> AblationName | None:
        """The name that `text` is; None for a name of another form, which a user may give."""
        found = _ABLATION.fullmatch(text)
        if found is None:
            return None
        share = float(found["percent"]) / 100 if found["percent"] else USUAL_SHARE
        return cls(found["kind"], found["modality"], int(found["number"] or 0), share, found["inputs"] or "both")

    @property
    def percent(self) -> str:
        """The share in words, "25%"."""
        return f"{100 * self.share:.4g}%"

    def __str__(self) -> str:
        words = [self.kind, self.modality]
        words += [str(self.number)] if self.number else []
        words += [] if self.share == USUAL_SHARE else ["at", self.percent]
        return " ".join(words + ([] if self.inputs == "both" else ["given", self.inputs]))


@dataclass(frozen=True)
class RunId:
    """Which trained network, and at which epoch: "sum-s0-e64", "sum+hha-s0-e64", "sum-s0-e0-untrained".

    Attributes
    ----------
    fusion : str
        The fusion operator, or the modality of a twin; letters, digits, _ . -, and "NAME+ENCODING" for both at once.
    seed : int
        From 0.
    epoch : int or None
        None stands for the training as a whole, as its folder does: "sum-s0"; and for an epoch that nobody knows.
    role : str
        One of `ROLES`; "final" is not named.
    encoding : str
        What depth was given as; "" for metres.

    Raises
    ------
    FeaturesError
        Where the name could not be that of a file.

    Examples
    --------
    >>> str(RunId("sum", 0, 64)), str(RunId("sum", 0, 0, "untrained")), str(RunId("rgb+hha", 1))
    ('sum-s0-e64', 'sum-s0-e0-untrained', 'rgb+hha-s1')
    >>> RunId.parse("rgb+hha-s1-e8")
    RunId(fusion='rgb', seed=1, epoch=8, role='final', encoding='hha')
    """

    fusion: str
    seed: int
    epoch: int | None = None
    role: str = "final"
    encoding: str = ""

    def __post_init__(self) -> None:
        fusion, _, encoding = self.fusion.partition("+")
        if fusion and encoding and not self.encoding:
            object.__setattr__(self, "fusion", fusion)
            object.__setattr__(self, "encoding", encoding)
        if not PLAIN_NAME.fullmatch(str(self)):
            raise FeaturesError(
                f"`run` must make a plain file name (letters, digits, _ . + -); got {str(self)!r}; rename it"
            )

    @classmethod
    def parse(cls, text: str) -> RunId:
        """The run that `text` names.

        Raises
        ------
        FeaturesError
            Where it names none.
        """
        found = _RUN.fullmatch(text)
        if found is None:
            raise FeaturesError(f"`run` must be FUSION-sSEED or FUSION-sSEED-eEPOCH; got {text!r}")
        epoch = None if found["epoch"] is None else int(found["epoch"])
        return cls(found["fusion"], int(found["seed"]), epoch, found["role"] or "final", found["encoding"] or "")

    @classmethod
    def described(cls, run: Mapping[str, Any]) -> RunId:
        """The run that an entry of a manifest describes; of no epoch where nobody said which it is."""
        epoch = None if "epoch" in str(run["about"].get("unknown")) else run["epoch"]
        return cls(run["fusion"], run["seed"], epoch, run["role"])

    @property
    def network(self) -> str:
        """Fusion and encoding, as the column "fusion" of `Features.runs` has them."""
        return f"{self.fusion}+{self.encoding}" if self.encoding else self.fusion

    def __str__(self) -> str:
        name = f"{self.network}-s{self.seed}"
        name += "" if self.epoch is None else f"-e{self.epoch}"
        return name + ("" if self.role == "final" else f"-{self.role}")


@dataclass(frozen=True)
class TensorKey:
    """Which tensor of a run: responses, "rgb/2/both", or counts of pixels, "both/hit".

    Attributes
    ----------
    condition : str
        What the network was given.
    stream, level : str and int, or None
        Of responses: where they were read.
    part : str or None
        Of counts: "hit", "target" or "guess".

    Examples
    --------
    >>> str(TensorKey("both", stream="rgb", level=2)), str(TensorKey("both", part="hit"))
    ('rgb/2/both', 'both/hit')
    >>> TensorKey.parse("rgb/2/both").tap, TensorKey.parse("both/hit").part
    ('rgb/2', 'hit')
    """

    condition: str
    stream: str | None = None
    level: int | None = None
    part: str | None = None

    @classmethod
    def parse(cls, text: str) -> TensorKey:
        """The tensor that `text` names.

        Raises
        ------
        FeaturesError
            Where it has neither form.
        """
        match text.split("/"):
            case [condition, part]:
                return cls(condition, part=part)
            case [stream, level, condition] if level.removeprefix("-").isdecimal():
                return cls(condition, stream, int(level))
        raise FeaturesError(f"`key` must be STREAM/LEVEL/CONDITION or CONDITION/PART; got {text!r}")

    @property
    def tap(self) -> str:
        """Where responses were read, "rgb/2"."""
        return f"{self.stream}/{self.level}"

    def __str__(self) -> str:
        return f"{self.tap}/{self.condition}" if self.part is None else f"{self.condition}/{self.part}"
