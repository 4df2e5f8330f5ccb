"""A short form of `make faults`: whatever is disturbed ends in a line or in the same bytes."""

import sys

import pytest

from tests.faults import campaign


@pytest.mark.skipif(not hasattr(campaign.os, "fork"), reason="the faults are made in forked processes")
@pytest.mark.skipif(sys.platform == "darwin", reason="a process that has used these libraries must not be forked there")
def test_every_fault_is_borne():
    counts = campaign.run(short=True)
    assert campaign.bad(counts) == {}
    total = sum((campaign.Counter(part) for part in counts.values()), campaign.Counter())
    assert total["kills"] >= 20 and total["flips"] >= 100 and total["full disks"] >= 10 and total["reads meanwhile"]
