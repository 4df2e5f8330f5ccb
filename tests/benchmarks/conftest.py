"""Writes what was measured, as CSV named by its conditions and as a table with a digest, which the book reads."""

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from rgbd_insight.features.tables import write_table
from tests.benchmarks import _published as published
from tests.benchmarks._race import beside_ours, conditions
from tests.benchmarks._results import ROWS, SCALING

OUT = Path(os.environ.get("RGBD_INSIGHT_BENCH", Path(__file__).parents[2] / "book" / "results"))
COMMAND = "make bench"


@pytest.fixture(scope="session", autouse=True)
def results():
    """Write what was measured when all is done, complete or not: a run of a part replaces only that part's rows."""
    started = conditions()
    print("\n", started)
    yield
    for what, name in published.MISSING.items():
        print(f"  {what}: {name}")
    name = f"{'gpu' if torch.cuda.is_available() else 'cpu'}_{started['cores']}cores"
    for kind, rows in (
        ("speed", beside_ours(ROWS) if ROWS else None),
        ("scaling", pd.DataFrame(SCALING) if SCALING else None),
    ):
        if rows is None:
            continue
        table, path = rows.assign(**started), OUT / f"{kind}_{name}.csv"
        if path.is_file():
            old, key = pd.read_csv(path), ["workload", "work"]
            table = pd.concat([old[~old[key].apply(tuple, axis=1).isin(table[key].apply(tuple, axis=1))], table])
            table = table.sort_values("workload", kind="stable")
        OUT.mkdir(parents=True, exist_ok=True)
        table.to_csv(path, index=False, float_format="%.6g")
        write_table(table.reset_index(drop=True), OUT, f"{kind}_{name}", COMMAND)
