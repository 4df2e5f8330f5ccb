"""Reading and silencing units inside any network."""

from rgbd_insight.hooks.candidates import candidates
from rgbd_insight.hooks.listening import Recording, listen, mute, purity, taps
from rgbd_insight.hooks.tap import Tap, wired

__all__ = ["Recording", "Tap", "candidates", "listen", "mute", "purity", "taps", "wired"]
