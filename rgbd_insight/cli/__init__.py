"""The command `rgbd-insight`: one module a group of commands."""

from rgbd_insight.cli.commands import main

__all__ = ["main"]
