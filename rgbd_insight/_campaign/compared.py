"""Tables of networks that are trained to be compared with one another only. Use `campaign`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from rgbd_insight import tables
from rgbd_insight._campaign.encoded import encoding_table
from rgbd_insight._campaign.jobs import work_off
from rgbd_insight._campaign.listed import zoo_jobs
from rgbd_insight._campaign.plans import Plan, encodings, overlaps
from rgbd_insight._campaign.steps import device_of, folder, name_of
from rgbd_insight._campaign.zoo import overlap_table
from rgbd_insight.features import load

COMMAND = "python -m rgbd_insight.campaign"
COMPARED = {"encodings": (encodings, encoding_table), "overlaps": (overlaps, overlap_table)}  # plans, table of a plan


def compare(chosen: Iterable[Plan], what: str, scale: str, work: Path, book: Path, *, workers: int = 1) -> None:
    """Train and extract what is not finished of the plans of `encodings` or `overlaps`, and write their tables.

    Parameters
    ----------
    chosen : from `plans.encodings` or `plans.overlaps`.
    what : "encodings" or "overlaps".
    scale : the profile.
    work, book : where weights and full features are kept; where the tables go.
    workers : runs at a time.
    """
    for plan in chosen:
        work_off(zoo_jobs(plan, scale, work), workers)
        data = plan.name.partition("-")[0]  # "scenes" of "scenes-given"
        command = f"{COMMAND} --{what} --profile {scale}" + (" --nyuv2 PATH" if data == "nyuv2" else "")
        table, results = COMPARED[what][1](plan, work).assign(scale=scale), book / "results"
        results.mkdir(parents=True, exist_ok=True)
        tables.write_table(table, results, f"{what}_{data}", command)
        write_places(plan, scale, work, results, f"where_{data}", command)


def write_places(plan: Plan, scale: str, work: Path, results: Path, name: str, command: str) -> None:
    """Write where in the image the units of a plan's finished runs respond."""
    found = [work / "extracted" / plan.name / f"{name_of(run)}.where.parquet" for run in plan.located]
    if found and all(path.exists() for path in found):
        device = device_of(load(folder(plan, work, run), verify=False) for run in plan.located)
        table = pd.concat([pd.read_parquet(path) for path in found], ignore_index=True)
        about = {"device": device, "train": len(plan.data("train")), "scale": scale}
        tables.write_table(table.assign(**about), results, name, command)
