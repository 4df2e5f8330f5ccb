"""The guard of `make bench`: which ratios are worse than the committed ones, on made numbers of either side."""

import numpy as np
import pandas as pd
import pytest

from tests.benchmarks._guard import kept, longer, worse
from tests.benchmarks._race import beside_ours

PLACE = {"device": "x86_64", "cores": 2, "threads": 2, "times": 1}


def measured(ratio, spread=0.05, **other):
    ours = {"workload": "A", "work": "CKA", "way": "ours", "ours": True, "ratio": 1.0, "spread": 0.0, "error": 0}
    theirs = ours | {"way": "theirs", "ours": False, "ratio": ratio, "spread": spread}
    return pd.DataFrame([ours | PLACE, theirs | PLACE | other])


@pytest.mark.parametrize(
    ("before", "now", "spreads", "fails"),
    [
        (5.0, 5.2, (0.0, 0.0), False),  # better
        (5.0, 4.6, (0.0, 0.0), False),  # within a tenth, however quiet the machine
        (5.0, 4.5, (0.0, 0.0), True),
        (5.0, 4.0, (0.1, 0.1), False),  # within twice the noise of both: 5 / exp(2 √.02) = 3.77
        (5.0, 3.7, (0.1, 0.1), True),
        (0.9, 0.8, (0.0, 0.01), True),  # where the alternative is the faster one too
        (5.0, 1.0, (0.05, np.nan), False),  # ran once: not judged
    ],
)
def test_a_ratio_is_worse_beyond_its_noise(before, now, spreads, fails):
    found = worse(measured(now, spreads[1]), measured(before, spreads[0]))
    assert len(found) == fails
    if fails:
        assert found.loc[0, ["way", "ratio", "ratio_before"]].tolist() == ["theirs", now, before]


@pytest.mark.parametrize("other", [{"device": "arm64"}, {"threads": 1}, {"cores": 8}, {"times": 100}])
def test_what_ran_elsewhere_or_in_another_size_is_not_compared(other):
    assert len(worse(measured(1.0, **other), measured(5.0))) == 0


def test_what_got_worse_stays_as_it_was_and_is_in_the_history():
    known, found = measured(5.0), measured(2.0)
    other = measured(3.0).assign(work="RSA")
    both = pd.concat([found, other])
    table = kept(both, known, worse(both, known))
    assert table.set_index(["work", "way"])["ratio"].loc[("CKA", "theirs")] == 5.0
    assert table.set_index(["work", "way"])["ratio"].loc[("RSA", "theirs")] == 3.0 and len(table) == 4
    assert kept(other, None, worse(other, known)) is not None and len(kept(found, known, worse(known, known))) == 2
    when = {"date": "2026-01-01", "commit": "abc"}
    past = longer(None, known.assign(**when))
    past = longer(past, found.assign(**when | {"commit": "def"}))
    past = longer(past, measured(2.1).assign(**when | {"commit": "def"}))  # once more: the last counts
    assert past["ratio"].tolist() == [5.0, 2.1] and set(past["way"]) == {"theirs"}


def test_ratios_are_medians_of_repetitions_and_spreads_are_theirs():
    rng = np.random.default_rng(0)
    load = np.exp(rng.normal(0, 1, 401))  # of the machine, which both ways of a repetition meet
    times = {"slow": 9.0 * load, "fast": 2.0 * load, "theirs": 10 * load * np.exp(rng.normal(0, 0.1, 401))}
    rows = [
        {"workload": "A", "work": "CKA", "way": way, "ours": way != "theirs", "seconds": np.median(t), "each": list(t)}
        for way, t in times.items()
    ]
    once = {"workload": "E", "work": "much", "ours": True}
    rows += [once | {"way": "one", "seconds": 6.0}, once | {"way": "two", "seconds": 3.0}]
    table = beside_ours(rows).set_index("way")
    assert table.loc["theirs", "ratio"] == pytest.approx(5, rel=0.02)
    assert table.loc["theirs", "spread"] == pytest.approx(0.1, rel=0.15)
    assert table.loc[["fast", "slow", "one"], "ratio"].tolist() == pytest.approx([1, 4.5, 2])
    assert table["spread"].isna().tolist() == [False] * 3 + [True] * 2 and "each" not in table
