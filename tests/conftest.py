"""How `make test` shares the tests out to processes: the chapters are run in one of them, a module stays together."""

import os
import re
import sys
from pathlib import Path

import pytest

if not any("benchmarks" in word and "=" not in word for word in sys.argv):
    # one thread in each process: several processes of several threads wait for each other
    os.environ["OMP_NUM_THREADS"] = "1"
MISSING = re.compile(r"not installed|could not import|No module named")
EXECUTED = ("test_chapters", "test_exercises", "test_prose")  # they look at executed chapters, which one process keeps


def _needs_chapters(nodeid):
    return Path(nodeid.partition("::")[0]).stem in EXECUTED


def _again(item):
    """Whether an example is a public function's own, seen a second time where its package lists it."""
    dtest = getattr(item, "dtest", None)
    return dtest is not None and hasattr(dtest.globs.get(dtest.name.rpartition(".")[2]), "__wrapped__")


def pytest_collection_modifyitems(items):
    items[:] = [item for item in items if not (item.path.name == "__init__.py" and _again(item))]
    items.sort(key=lambda i: (not _needs_chapters(i.nodeid), i.path.name != "test_site.py"))  # the longest parts first


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling

    class Modules(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "chapters" if _needs_chapters(nodeid) else nodeid.partition("::")[0]

    return Modules(config, log)


def _fails_for_a_package(report):
    """Where every package was installed (.ci/run), a test that is skipped for the lack of one fails."""
    if report.skipped and os.environ.get("RGBD_INSIGHT_EVERY_TEST") and MISSING.search(str(report.longrepr)):
        report.outcome = "failed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    _fails_for_a_package(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    _fails_for_a_package(report)
    return report
