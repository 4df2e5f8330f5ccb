"""Writes what was measured, as CSV named by its conditions and as a table with a digest, which the book reads.

It fails where a ratio is worse than the one that is there by more than their noise; `_guard.worse` has the rule. That
row then stays as it is: delete it from the CSV file to take the new one.
"""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from rgbd_insight.features.tables import write_table
from tests.benchmarks import _published as published
from tests.benchmarks._guard import kept, longer, origin, worse
from tests.benchmarks._race import beside_ours, conditions
from tests.benchmarks._results import ROWS, SCALING

OUT = Path(os.environ.get("RGBD_INSIGHT_BENCH", Path(__file__).parents[2] / "book" / "results"))
COMMAND = "make bench"


@pytest.fixture(scope="session", autouse=True)
def results():
    """Write what was measured when all is done, complete or not: a run of a part replaces only that part's rows."""
    started = conditions() | origin()
    print("\n", started)
    yield
    for name in published.NOWHERE:
        published.package(name, name)
    for what, why in published.MISSING.items():
        print(f"  {what}: {why}")
    name = f"{'gpu' if torch.cuda.is_available() else 'cpu'}_{started['cores']}cores"
    none = pd.DataFrame(columns=["workload", "work"])
    if SCALING:
        grown = pd.DataFrame(SCALING).assign(**started)
        _write(kept(grown, _read(f"scaling_{name}"), none), f"scaling_{name}")
    if not ROWS:
        return
    found, known = beside_ours(ROWS).assign(**started), _read(f"speed_{name}")
    regressed = none if known is None else worse(found, known)
    _write(longer(_read(f"history_{name}"), found), f"history_{name}")
    _write(kept(found, known, regressed), f"speed_{name}")
    assert not len(regressed), f"worse than what is there, by more than the noise:\n{regressed.to_string(index=False)}"


def _read(name):
    path = OUT / f"{name}.csv"
    return pd.read_csv(path) if path.is_file() else None


def _write(table, name):
    OUT.mkdir(parents=True, exist_ok=True)
    table.to_csv(OUT / f"{name}.csv", index=False, float_format="%.6g")
    write_table(table.reset_index(drop=True), OUT, name, COMMAND)
