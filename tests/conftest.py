"""How `make test` shares the tests out to processes: the chapters are run in one of them, a module stays together."""

import os

import pytest

# one thread here and one in the chapters' kernels: processes of several threads each wait for each other
os.environ["OMP_NUM_THREADS"] = "1"


def _needs_chapters(item):
    module = getattr(item, "module", None)
    return hasattr(module, "run") and getattr(module.run, "__module__", "") == "tests._chapters"


def pytest_collection_modifyitems(config, items):
    items.sort(key=lambda item: not _needs_chapters(item))  # the longest part begins first
    if config.pluginmanager.hasplugin("xdist"):
        for item in items:
            group = "chapters" if _needs_chapters(item) else item.nodeid.partition("::")[0]
            item.add_marker(pytest.mark.xdist_group(group))
