"""The order of the tests: those that look at executed chapters come last; the chapters are run beside the others."""

import os
import sys

# one thread here and one in the chapters' kernels: two processes of two threads each wait for each other on two cores
os.environ["OMP_NUM_THREADS"] = "1"


def _needs_chapters(item):
    module = getattr(item, "module", None)
    return hasattr(module, "run") and getattr(module.run, "__module__", "") == "tests._chapters"


def pytest_collection_modifyitems(items):
    items.sort(key=_needs_chapters)


def pytest_collection_finish(session):
    wanted = [item for item in session.items if _needs_chapters(item)]
    if len(wanted) > 50 and not session.config.option.collectonly:  # all of them, not one that somebody looks into
        sys.modules["tests._chapters"].begin()


def pytest_sessionfinish(session):
    if "tests._chapters" in sys.modules:
        sys.modules["tests._chapters"].POOL.shutdown(wait=False, cancel_futures=True)
