"""``python -m rgbd_insight.cli``: the command ``rgbd-insight`` where the package is not installed."""

import sys

from rgbd_insight.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
