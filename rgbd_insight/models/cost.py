"""What an operator costs: parameters and multiplications, counted and not run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from rgbd_insight.models.fusion import FUSIONS
from rgbd_insight.models.network import build

REFERENCE = "se"


def cost(
    fusions: Iterable[str] | None = None,
    classes: int | Sequence[str] = 28,
    *,
    size: tuple[int, int] = (96, 128),
    **options: object,
) -> pd.DataFrame:
    """Parameters and floating-point operations of each fusion, absolute and as a multiple of `se`.

    Parameters
    ----------
    fusions : iterable of str, optional
        Names in ``FUSIONS``; default all.
    classes : int or sequence of str, optional
        As for ``build``.
    size : (int, int), optional
        (H, W) of the image pair that is counted.
    **options : object
        Of ``build``: `width`, `blocks`, `levels`.

    Returns
    -------
    DataFrame
        Index fusion: `encoders` (how many), `parameters`, `parameters_of_se`, `flops` (of one image pair),
        `flops_of_se`; 1 is the cost of `se`.

    Raises
    ------
    ValueError
        As ``build``.

    Notes
    -----
    A multiplication with its addition counts as two; only convolutions and matrix products are counted, which leaves
    out normalisations and pointwise functions. The network is built without numbers, so that nothing is computed.

    Examples
    --------
    >>> table = cost(["sum", "se"], width=32)
    >>> bool(table.loc["sum", "parameters_of_se"] < 1), table.loc["se", "flops_of_se"].item()
    (True, 1.0)
    """
    names = list(FUSIONS) if fusions is None else list(fusions)
    table = pd.DataFrame({name: _count(name, classes, size, options) for name in names}).T.rename_axis("fusion")
    reference = _count(REFERENCE, classes, size, {k: v for k, v in options.items() if k != "levels"})
    for name in ("parameters", "flops"):
        table[f"{name}_of_se"] = table[name] / reference[name]
    return table[["encoders", "parameters", "parameters_of_se", "flops", "flops_of_se"]]


def _count(fusion: str, classes: int | Sequence[str], size: tuple[int, int], options: dict) -> dict[str, int]:
    with torch.device("meta"):
        model = build(fusion, classes, **options).eval()
        others = model.config.get("others") or {}
        given = [_blank(c, size) for c in (3, 1, *(about["channels"] for about in others.values()))]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*given)
    return {
        "encoders": len(model.encoders),
        "parameters": model.parameter_count(),
        "flops": counter.get_total_flops(),
    }


def _blank(channels: int, size: tuple[int, int]) -> Tensor:
    return torch.zeros(1, channels, *size)  # (1, channels, H, W)
