"""Reading and silencing units inside any network."""

from rgbd_insight.hooks.candidates import candidates
from rgbd_insight.hooks.tap import Tap, bare, evaluating, hooked
from rgbd_insight.hooks.units import as_maps, at_level, mute, purity, taps, trace

__all__ = [
    "Tap",
    "as_maps",
    "at_level",
    "bare",
    "candidates",
    "evaluating",
    "hooked",
    "mute",
    "purity",
    "taps",
    "trace",
]
