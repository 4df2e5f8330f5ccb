"""The guard of the ratios: which are worse than those committed, by more than their noise; and their history."""

import subprocess
import time
from pathlib import Path

import numpy as np
import pandas as pd

KEY = ["workload", "work", "way"]
SAME = ["device", "cores", "threads", "times"]  # without which two ratios are not of the same thing
LEAST, WIDE = 1.1, 2.0
IQR = 1.349  # of a normal distribution, in standard deviations


def worse(found, known):
    """Rows of `found` whose ratio is worse than in `known`.

    A ratio is the time of an alternative beside the fastest of ours: the smaller it is, the worse. It is the median
    over repetitions, each of which times all ways in turn; its spread s is the robust standard deviation
    (interquartile range / 1.349) of its logarithm over the repetitions. It is worse where

        log(ratio before / ratio now) > max(log 1.1, 2 √(s² before + s² now)).

    Rows are compared where device, cores, threads and multiplier are the same. Ours have no ratio, and what ran once
    has no spread: neither is judged. Nor is a row that is new, or one whose alternative is not installed any more.

    Parameters
    ----------
    found, known : DataFrame
        With the columns `KEY`, `SAME`, `ours`, `ratio` and `spread`.

    Returns
    -------
    DataFrame
        `KEY`, "ratio", "ratio_before" and "allowed", the ratio below which it is worse.
    """
    both = found[~found["ours"].astype(bool)].merge(known, on=KEY + SAME, suffixes=("", "_before"))
    noise = WIDE * np.sqrt(both["spread"] ** 2 + both["spread_before"] ** 2)
    allowed = both["ratio_before"] / np.exp(noise.clip(lower=np.log(LEAST)))
    both = both.assign(allowed=allowed)[[*KEY, "ratio", "ratio_before", "allowed"]]
    return both[both["ratio"] < both["allowed"]].reset_index(drop=True)  # never where a spread is missing


def kept(found, known, regressed):
    """`known` with what was found in the place of its own work; what got worse stays as it was committed."""
    work = ["workload", "work"]
    bad = set(regressed[work].apply(tuple, axis=1)) if len(regressed) else set()
    good = found[~found[work].apply(tuple, axis=1).isin(bad)]
    if known is None:
        return good
    rest = known[~known[work].apply(tuple, axis=1).isin(set(good[work].apply(tuple, axis=1)))]
    return pd.concat([rest, good]).sort_values("workload", kind="stable").reset_index(drop=True)


def longer(history, found):
    """`history` with the ratios of this run at its end, also those that are worse; those of the same commit once."""
    new = found.loc[~found["ours"].astype(bool), [*KEY, "ratio", "spread", "error", *SAME[:3], "date", "commit"]]
    both = new if history is None else pd.concat([history, new])
    return both.drop_duplicates([*KEY, *SAME[:3], "date", "commit"], keep="last").reset_index(drop=True)


def origin():
    """When this is, and of which commit the code is."""
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        commit = ""
    return {"date": time.strftime("%Y-%m-%d"), "commit": commit}
