"""A control without training: the same network with its weights drawn anew."""

from __future__ import annotations

import copy

import torch
from torch import nn

SEED = 1_000_000_007  # unlike any that a network was made with: the same draw would be the network at its start


def redrawn(model: nn.Module, seed: int = SEED) -> nn.Module:
    """A copy of a network whose weights are drawn anew, as by its own layers when they were made.

    Parameters
    ----------
    model : Module
        Left as it is.
    seed : int, optional
        Of the draw.

    Returns
    -------
    Module
        The copy.

    Raises
    ------
    ValueError
        Where the network cannot be copied.

    Notes
    -----
    Layers that know how (``reset_parameters``: those of ``torch.nn``) draw their own weights and forget running
    statistics. Parameters of other modules, such as position codes, keep their mean and spread and are drawn from a
    normal distribution: what a network's own constructor would have drawn is not known. Buffers stay as they are, and
    parameters that are tied stay tied.

    Examples
    --------
    >>> layer = nn.Linear(2, 2)
    >>> other = redrawn(layer)
    >>> bool((layer.weight != other.weight).all())
    True
    """
    try:
        other = copy.deepcopy(model)
    except Exception as error:  # whatever the network's own attributes raise
        raise ValueError(
            f"the model cannot be copied for a control ({type(error).__name__}: {error}); make one with your own code, "
            'untrained, and extract it with run={"role": "untrained"}'
        ) from error
    devices = {p.device for p in other.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices=list(devices)), torch.no_grad():
        torch.manual_seed(seed)
        known: set[int] = set()
        for module in other.modules():
            if callable(getattr(module, "reset_parameters", None)):
                module.reset_parameters()
                known |= {id(p) for p in module.parameters(recurse=False)}
        for parameter in other.parameters():
            if id(parameter) not in known and parameter.is_floating_point():
                spread = parameter.std(correction=0) if parameter.numel() > 1 else parameter.abs().mean()
                parameter.copy_(parameter.mean() + spread * torch.randn_like(parameter))
    return other
