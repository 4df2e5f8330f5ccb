"""Reading and silencing units inside any network."""

from rgbd_insight.hooks.candidates import candidates, purity, restless
from rgbd_insight.hooks.tap import Tap, hooked
from rgbd_insight.hooks.units import as_maps, at_level, mute, taps, trace
from rgbd_insight.hooks.wrappers import at_own_precision, bare, evaluating, same_draws
from rgbd_insight.utils.arguments import explain_arguments

__all__ = [
    "Tap",
    "as_maps",
    "at_level",
    "at_own_precision",
    "bare",
    "candidates",
    "evaluating",
    "hooked",
    "mute",
    "purity",
    "restless",
    "same_draws",
    "taps",
    "trace",
]

explain_arguments(globals())
