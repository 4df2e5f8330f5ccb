"""Figures of the zoo and the intervention: what is drawn is what the tables hold."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from rgbd_insight import plots
from rgbd_insight.questions.balance import as_made


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def balances():
    rng, rows = np.random.default_rng(0), []
    for fusion in (f"operator {i}" for i in range(13)):
        for seed in (0, 1):
            run = {"fusion": fusion, "run": f"{fusion}-s{seed}"}
            c, s, accuracy = rng.random(3)
            rows += [
                run | {"measure": m, "value": v, "low": v - 0.01, "high": v + 0.01} for m, v in (("C", c), ("S", s))
            ]
            rows += [
                run | {"measure": "accuracy", "condition": k, "value": accuracy * x}
                for k, x in (("both", 1), ("rgb", 0))
            ]
    return pd.DataFrame(rows)


def test_no_two_networks_look_alike():
    looks = {(m["color"], m["marker"]) for m in map(plots.network_style, range(64))}
    assert len(looks) == 64
    lines = [bar.lines[0] for bar in plots.balance(balances()).containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 13
    assert {line.get_linestyle() for line in lines} == {"None"}


def test_uncorrected_balances_are_drawn_as_such():
    table = balances()
    plain = as_made(table)
    for figure in (plots.balance, plots.accuracy_by_balance):
        assert "uncorrected" not in figure(table).get_title("left")
        assert figure(plain).get_title("left").endswith(", uncorrected")
    some = table[table.fusion.isin(["operator 0", "accuracy"]) & table.measure.isin(["C", "S"])]
    assert plots.balance(pd.concat([plain, some])).get_title("left").endswith("uncorrected")  # all alike


@pytest.mark.parametrize("measure", ["C", "S"])
def test_points_are_the_means_over_seeds(measure):
    table = balances()
    bars = plots.accuracy_by_balance(table, measure).containers
    place = table[table.measure == measure].groupby("fusion", sort=False).value
    done = table[(table.measure == "accuracy") & (table.condition == "both")].groupby("fusion", sort=False).value
    points = np.array([(bar.lines[0].get_xdata()[0], bar.lines[0].get_ydata()[0]) for bar in bars])
    np.testing.assert_allclose(points, np.stack([place.mean(), done.mean()], 1))
    across = bars[0].lines[2][0].get_segments()[0][:, 0]
    np.testing.assert_allclose(sorted(across), sorted(place.get_group("operator 0")))
    with pytest.raises(ValueError, match="of the same runs; got none"):
        plots.accuracy_by_balance(table[table.measure != measure], measure)


def test_bands_of_random_sets():
    base = {"measure": "dose", "versus": "25%", "condition": "both", "low": 0.0, "high": 0.3, "null": 0.05}
    rows = [
        base | {"fusion": f, "modality": m, "label": kind, "value": 0.1 * i, "null_high": 0.05 + 0.01 * i}
        for i, f in ((1, "sum"), (2, "se"))
        for m in ("rgb", "depth")
        for kind in ("specific", "consistent")
    ]
    ax = plots.doses(pd.DataFrame(rows))
    bands = sorted((round(bar.get_x(), 3), round(bar.get_width(), 3)) for bar in ax.patches)
    assert bands == [(0.05, 0.01)] * 2 + [(0.05, 0.02)] * 2
    values = sorted(x for line in ax.lines if line.get_marker() in ("D", "o") for x in line.get_xdata())
    np.testing.assert_allclose(values, [0.1] * 4 + [0.2] * 4)
    with pytest.raises(ValueError, match="of 50% under 'both'; got none"):
        plots.doses(pd.DataFrame(rows), "50%")


def test_the_intervention_has_a_panel_a_redundancy_and_leaves_the_placebo_out():
    rows = [
        {"operator": o, "common": c, "redundancy": r, "placebo": p, "accuracy": c * (1 - c) + r, "C": c + 0.1 * p}
        for o in ("late", "acnet")
        for c in (0.0, 0.3, 1.0)
        for r in (0.0, 0.5)
        for p in (False, True)
    ]
    panels = plots.intervention(pd.DataFrame(rows)).child_axes
    assert [panel.get_title() for panel in panels] == ["redundancy 0", "redundancy 0.5"]
    points = [line for line in panels[1].lines if line.get_linestyle() == "None"]
    assert sorted(x for line in points for x in line.get_xdata()) == [0.0, 0.0, 0.3, 0.3, 1.0, 1.0]
    curve = next(line for line in panels[1].lines if line.get_linestyle() != "None")
    x, y = curve.get_xdata(), curve.get_ydata()
    np.testing.assert_allclose(y, x * (1 - x) + 0.5, atol=1e-9)  # the parabola that was planted
    with pytest.raises(ValueError, match="no placebo, with numbers; got none"):
        plots.intervention(pd.DataFrame(rows).assign(placebo=True))


def test_the_classes_of_every_network():
    rows = [
        {"fusion": f, "concept": k, "condition": c, "seed": seed, "measure": "class IoU", "value": value + seed / 50}
        for f, conditions in (("rgb_wide", ["rgb"]), ("sum", ["both", "rgb"]))
        for c in conditions
        for k, value in (("rug", 0.5), ("dome", 0.1))
        for seed in (0, 1)
    ]
    ax = plots.class_iou(pd.DataFrame(rows))
    assert [text.get_text() for text in ax.texts] == ["51", "51", "11", "11"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["rgb_wide", "sum"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rug", "dome"]
    with pytest.raises(ValueError, match='rows "class IoU" under "both"'):
        plots.class_iou(pd.DataFrame(rows).query("condition == 'rgb' and fusion == 'sum'"))
