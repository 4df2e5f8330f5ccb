"""How a network is trained: the options, the profiles, the epochs that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from rgbd_insight.training.alignment import Alignment
from rgbd_insight.utils.messages import checked_whole

MOST_EPOCHS = 10**5  # beyond which no training would end

RANGES = {  # of what is a number
    "lr": (0, inf),
    "weight_decay": (0, inf),
    "warmup": (0, 1),
    "clip": (0, inf),
    "encoder_lr": (0, inf),
    "zoom": (1, 4),
    "jitter": (0, 1),
}

# what goes to the dataset, to build() and to train(): seconds on a CPU, minutes on a laptop, a GPU
PROFILES: dict[str, dict[str, dict]] = {
    "tiny": {"data": {"n": 64}, "model": {"width": 8}, "train": {"epochs": 2, "batch_size": 16}},
    "small": {"data": {"n": 3000}, "model": {"width": 32}, "train": {"epochs": 8, "batch_size": 32, "lr": 3e-3}},
    "full": {"data": {"n": 20000}, "model": {"width": 32}, "train": {"epochs": 8, "lr": 3e-3}},
}


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; every field can be given to :func:`train` by name.

    Parameters
    ----------
    epochs, batch_size : int, optional
        Passes over the data, samples a step.
    lr, weight_decay, warmup, clip : float, optional
        Peak learning rate of AdamW, its decay, the share of steps in which the rate rises, the largest gradient norm.
    encoder_lr : float, optional
        Multiple of `lr` for the encoders; below 1 where these begin with pretrained weights.
    flip : bool, optional
        Mirror half of the samples, all of their planes alike; False where a label depends on left and right.
    zoom : float, optional
        Enlarge by a factor from 1 to this (uniform in its logarithm) and crop to the size, all planes alike: colour
        bilinearly, all readings and labels by nearest neighbour, depth in the same metres. 1 leaves this out.
    jitter : float, optional
        Brightness, contrast and saturation of colour are each multiplied by a factor from 1 - this to 1 + this.
    modality_dropout : float, optional
        Chance of each input of a network of two modalities or more to be left out (colour at its mean, of others no
        reading), never two at once and so at most 1 / their number; twins have none.
    precision : str, optional
        "bf16", "fp32", or None: bf16 where the device computes in it.
    alignment : Alignment, optional
        What is asked of the two streams beside the task (an intervention), or None.
    """

    epochs: int = 12
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    warmup: float = 0.05
    clip: float = 5.0
    encoder_lr: float = 1.0
    flip: bool = True
    zoom: float = 1.0
    jitter: float = 0.0
    modality_dropout: float = 0.1
    precision: str | None = None
    alignment: Alignment | None = None

    def __post_init__(self) -> None:
        checked_whole("epochs", self.epochs, 1, MOST_EPOCHS, "8 to 64 are usual")
        checked_whole("batch_size", self.batch_size, 1, 10**6, "32 or 64 are usual")
        for name, (least, most) in RANGES.items():
            value = getattr(self, name)
            if not least <= value <= most or value == inf:
                upper = "" if most == inf else f" to {most}"
                raise ValueError(f"`{name}` must be a number from {least}{upper}; got {value}: choose another")
        if not 0 <= self.modality_dropout <= 0.5:
            raise ValueError(
                f"`modality_dropout` must be 0 to 0.5; got {self.modality_dropout}: it is drawn for each input"
            )
        if self.precision not in (None, "bf16", "fp32"):
            raise ValueError(f'`precision` must be "bf16", "fp32" or None; got {self.precision!r}: None chooses')


def log_spaced(epochs: int) -> tuple[int, ...]:
    """The epochs after which weights are kept.

    Parameters
    ----------
    epochs : int
        Of the whole training.

    Returns
    -------
    tuple of int
        0, the powers of two, and the last.

    Examples
    --------
    >>> log_spaced(12)
    (0, 1, 2, 4, 8, 12)
    """
    return (0, *(2**k for k in range(epochs.bit_length()) if 2**k < epochs), epochs)
