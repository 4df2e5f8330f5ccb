"""Figures of trust: what is drawn is what the tables hold."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rgbd_insight import plots


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def bias():
    rng = np.random.default_rng(0)
    sizes = [
        (m, ours, n, w)
        for m, ours in (("debiased_cka", True), ("svcca", False))
        for n in (64, 256, 1024)
        for w in (32, 512)
        if ours or (n < 1000 and w == 32)
    ]
    return pd.DataFrame(
        [
            {"battery": "bias", "measure": m, "ours": ours, "n": n, "width": w, "value": v}
            for m, ours, n, w in sizes
            for v in rng.normal(size=5)
        ]
    )


def test_null_curves_are_of_a_width_that_the_alternatives_have():
    ax = plots.null_curves(bias())
    title = ax.get_title("left")
    assert title.startswith("Nothing shared, 64 images, 32 units: SVCCA finds") and "ours find at most" in title
    ours, other = (next(line for line in ax.lines if line.get_label() == name) for name in ("debiased CKA", "SVCCA"))
    assert ours.get_linestyle() == "-" and other.get_linestyle() == "--"
    assert list(ours.get_xdata()) == [64, 256, 1024] and list(other.get_xdata()) == [64, 256]
    table = bias()
    mean = table[(table.measure == "svcca") & (table.n == 256)].value.mean()
    assert other.get_ydata()[1] == pytest.approx(mean)
    assert len(plots.null_curves(table, width=512).lines) == 2  # the axis, and ours alone


def test_false_positives_mark_groups_and_images():
    found = {"groups": 0.0, "images": 1.0}
    rows = [
        {"battery": "null", "measure": m, "condition": c, "value": v}
        for m in ("debiased_cka", "profiles")
        for c, v in found.items()
        for _ in range(4)
    ]
    ax = plots.false_positives(pd.DataFrame(rows))
    marks = [line for line in ax.lines if line.get_marker() == "o"]
    assert [list(line.get_xdata()) for line in marks] == [[0, 0], [1, 1]]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["debiased CKA", "profiles"]
    title = ax.get_title("left").replace("\n", " ")
    assert title.endswith("permuting groups in up to 0 %, permuting images in up to 100 %")


def test_partitioning_errors_are_drawn_for_each_pooling_and_ratio():
    base = {"battery": "partitioning", "world": 0, "part": "a -> a", "truth": 1.0}
    rows = [
        base | {"condition": c, "noise": noise, "noise_ratio": r, "n": n, "value": 1 - 0.1 * r}
        for c in ("1", "4")
        for noise in (0.3, 1.0)
        for r in (1.0, 3.0)
        for n in (300, 600)
    ]
    ax = plots.partitioning_errors(pd.DataFrame(rows))
    assert ax.get_title("left").replace("\n", " ").endswith("1 network errs by 0.30, 4 networks errs by 0.30")
    assert len(ax.lines) == 4 and {line.get_linestyle() for line in ax.lines} == {"-", "--"}
    dashed = next(line for line in ax.lines if line.get_linestyle() == "--")
    assert np.allclose(dashed.get_ydata(), 0.3) and list(dashed.get_xdata()) == [300, 600]


def test_kind_errors_are_means_with_the_worst_beside_them():
    base = {"battery": "account", "truth": 0.2}
    rows = [
        base | {"kind": kind, "condition": form, "world": world, "value": 0.2 + sign * 0.01 * world}
        for kind in ("heavy tails", "rectified")
        for form in ("corrected", "one")
        for world in (1, 2, 3)
        for sign in (1, -1)
    ]
    ax = plots.kind_errors(pd.DataFrame(rows))
    dots = [line for line in ax.lines if line.get_marker() not in ("None", "")]
    full, hollow = ([line for line in dots if (line.get_markerfacecolor() == "none") is h] for h in (False, True))
    assert len(full) == len(hollow) == 2
    assert all(np.allclose(line.get_xdata(), 0.02) for line in full)
    assert all(np.allclose(line.get_xdata(), 0.03) for line in hollow)
    assert {line.get_xdata()[0] for line in ax.lines if line not in dots} == {0.03, 0.08}
    assert [text.get_text() for text in ax.get_yticklabels()] == ["heavy tails", "rectified"]


def test_advantages_are_sorted_and_an_unknown_score_is_refused():
    row = {"score": "concept", "where": "all", "ours": "rank_units", "value": 0.9, "other": 0.8, "worlds": 24}
    rows = [
        row | {"alternative": name, "difference": d, "low": d - 0.02, "high": d + 0.02, "best": name == "b"}
        for name, d in (("a", 0.2), ("b", 0.01), ("c", -0.1))
    ]
    ax = plots.advantages(pd.DataFrame(rows), "concept")
    assert [text.get_text() for text in ax.get_yticklabels()] == ["c (0.80)", "b (0.80)", "a (0.80)"]
    assert [line.get_marker() for line in ax.lines[1:]] == ["o", "D", "o"]
    assert ax.get_title("left").replace("\n", " ").startswith("ranking of units scores 0.90, the best alternative")
    with pytest.raises(ValueError, match="`score` must be one of concept"):
        plots.advantages(pd.DataFrame(rows), "colour")


def test_a_table_without_the_rows_says_where_they_come_from():
    for figure in (
        plots.calibration,
        plots.null_curves,
        plots.false_positives,
        plots.coverage,
        plots.partitioning_errors,
    ):
        with pytest.raises(ValueError, match="`table` must have rows of .*read_table"):
            figure(pd.DataFrame({"battery": ["other"]}))


def test_values_are_drawn_around_their_truth():
    ax = plots.against_truth({"one": [0.1, 0.3], "two": np.array([0.5])}, 0.2, x="R²")
    assert list(ax.lines[0].get_xdata()) == [0.2, 0.2] and list(ax.lines[2].get_xdata()) == [0.2, 0.2]
    assert ax.get_title("left") == "Planted 0.20; on average one 0.20, two 0.50"
    assert list(plots.table_of(ax.figure).value) == [0.1, 0.3, 0.5]
    assert (
        ax.get_xlabel() == "R²"
        and plots.measure_name("pwcca") == "PWCCA"
        and plots.measure_name("matching") == "matching"
    )


def test_a_normalised_measure_is_named_after_what_it_normalises():
    assert plots.measure_name("cka, normalised") == "biased CKA, normalised"
    assert plots.measure_name("joint score") == "joint score"


def judged():
    """Criteria as `validation.bars` gives them: two of coverage, a comparison, one that was not asked."""
    scores = ["coverage of 95 % intervals"] * 2 + ["synergy, paired difference", "joint score, paired difference"]
    return pd.DataFrame(
        {
            "score": [*scores, "bias, largest |z| of the null mean", "conjunctions found"],
            "about": ["a", "b", "to x", "to semantic variance alone", "matching", ""],
            "value": [0.99, 0.8, 0.01, -0.1, 1.0, 1.0],
            "low": [0.98, 0.7, -0.1, -0.2, np.nan, np.nan],
            "high": [1.0, 0.9, 0.1, -0.05, np.nan, np.nan],
            "bar": "asked",
            "met": pd.array([False, False, False, False, True, None], dtype="boolean"),
        }
    )


def test_criteria_count_what_was_asked_and_met():
    ax = plots.criteria(judged())
    assert ax.get_title("left") == "1 of 5 criteria set beforehand are met"
    counts = plots.table_of(ax.figure).set_index("property")
    assert counts.asked.to_dict() == {
        "intervals cover": 2,
        "synergy beats alternatives": 1,
        "joint score beats alternatives": 1,
        "chance: no value from nothing": 1,
    }
    assert [text.get_text() for text in ax.texts] == [
        "0 of 2, 2 missed",
        "0 of 1, 1 missed",
        "0 of 1, 1 missed",
        "1 of 1",
    ]


def test_each_missed_criterion_has_its_number_and_a_reason():
    found = plots.missed(judged())
    assert list(found.criterion.str.partition(": ")[2]) == ["a", "b", "to x", "to semantic variance alone"]
    assert found.measured[1] == "0.800 (0.700 to 0.900)"
    starts = ("wider than promised", "narrower than promised", "better or worse by no more than chance", "similarity")
    assert all(why.startswith(start) for why, start in zip(found.why, starts, strict=True))
    assert plots.missed(judged().iloc[[4]]).empty
