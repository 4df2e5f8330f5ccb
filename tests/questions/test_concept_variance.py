"""The semantic variance of every concept: its interval is that of the difference, also where there is one split."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from rgbd_insight import load
from rgbd_insight.metrics.probes import decodability

BOOK = Path(__file__).resolve().parents[2] / "book"
QUESTION = import_module("rgbd_insight.questions.specificity")
LEVEL = 4


@pytest.fixture(scope="module")
def found():
    measures = ["difference", "semantic variance"]
    table = QUESTION.specificity(load(BOOK / "features" / "scenes"), "twins", levels=[LEVEL], measures=measures).table
    gap, variance = (table[table.measure == m].set_index("concept") for m in measures)
    return gap.loc[variance.index], variance


def test_value_is_half_the_mean_product_of_differences_in_two_folds(found):
    scenes = load(BOOK / "features" / "scenes")
    delta = [
        decodability(
            scenes.view(m, m, LEVEL).astype(float), scenes.present, scenes.groups, components=32, folds=5
        ).by_fold
        for m in ("rgb", "depth")
    ]
    d = dict(zip(scenes.concepts["name"], (delta[0] - delta[1]).T, strict=True))
    pairs = [(f, g) for f in range(5) for g in range(5) if f != g]
    for concept, row in found[1].iterrows():
        np.testing.assert_allclose(row.value, np.mean([d[concept][f] * d[concept][g] for f, g in pairs]) / 2, atol=1e-6)


def test_interval_is_that_of_the_difference_squared_and_halved(found):
    gap, variance = found
    assert ((variance.low <= variance.value) & (variance.value <= variance.high)).all()
    apart = (gap.low > 0) | (gap.high < 0)
    assert 0 < apart.sum() < len(apart)
    assert (variance.low[~apart] <= 0).all(), "what may be 0 must have 0 in its interval"
    ends = gap[["low", "high"]].to_numpy() ** 2 / 2
    inside = apart.to_numpy() & (ends.min(1) <= variance.value) & (variance.value <= ends.max(1))
    assert inside.sum() > apart.sum() / 2
    np.testing.assert_allclose(variance[["low", "high"]][inside], np.sort(ends[inside], axis=1))


def test_with_one_split_the_squared_error_is_taken_off(found, monkeypatch):
    monkeypatch.setattr(QUESTION, "MANY", 100)
    measures = ["difference", "semantic variance"]
    once = QUESTION.specificity(load(BOOK / "features" / "scenes"), "twins", levels=[LEVEL], measures=measures)
    gap, variance = (once.rows(m).set_index("concept")["value"] for m in measures)
    assert len(variance) == len(gap) and (variance < gap**2 / 2).all()
    assert variance.corr(found[1]["value"], method="spearman") > 0.8
