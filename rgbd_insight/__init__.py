"""rgbd_insight: what networks that fuse colour and depth represent, measured.

The public names are listed in `__init__.pyi`. Each is imported when it is first used, so that ``import rgbd_insight``
does not wait for torch.
"""

import lazy_loader

from rgbd_insight.utils import messages as _messages  # noqa: F401  first: of Ctrl-C while the rest is imported

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
