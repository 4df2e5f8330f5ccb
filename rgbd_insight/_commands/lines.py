"""What went wrong, in one line on stderr, whatever text it is made of."""

from __future__ import annotations

import os
import sys

WHERE, LONGEST = "RGBD_INSIGHT_TRACEBACK", 1000


def say(message: object, code: int) -> int:
    """Print one line and return `code`; what steers a terminal is left out, the middle of a very long text too.

    Examples
    --------
    >>> say("nothing", 1)
    1
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(message)).split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
    print(f"rgbd-insight: {line}", file=sys.stderr)
    return code


def unforeseen(error: Exception) -> int:
    """The last resort: a damaged file that no check had foreseen must not end in a traceback; returns 1."""
    if os.environ.get(WHERE):
        raise error
    return say(f"{type(error).__name__}: {error}. The input is damaged in a way that no check foresaw, or this is a"
               f" mistake in rgbd-insight; set {WHERE}=1 to see where.", 1)  # fmt: skip
