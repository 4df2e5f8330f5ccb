"""Responses that no network should have and too few images: every question says what it cannot say, and says the rest.

Numbers that are none are named, nothing warns, and errors name what is wrong.
"""

import re
import warnings
from functools import partial
from importlib import import_module

import numpy as np
import pytest

from rgbd_insight import audit
from rgbd_insight.features import FeaturesError
from rgbd_insight.questions import balance
from tests._hostile import AREAS, LAYOUTS, RESPONSES, hostile

QUESTIONS = {
    name: import_module(f"rgbd_insight.questions.{name}")
    for name in ("joint", "consistency", "specificity", "evolution", "collaboration")
}
NULLS = ("joint", "consistency", "evolution")


def asked(features, alone=False):
    """((question, measures), result) of all measures together, and with `alone` of each of them too."""
    for name, module in QUESTIONS.items():
        ask = partial(getattr(module, name), features, "sum")
        ask = partial(ask, permutations=20) if name in NULLS else ask
        measures = (*module.MEASURES, *getattr(module, "FURTHER", ()))
        for chosen in (*((m,) for m in measures if alone), measures):
            yield (name, chosen), ask(measures=chosen)
    yield ("balance", ()), balance(features, ["sum-s0-e3"])


def unnamed(result):
    """Rows whose value is NaN and that no entry of `missing` is about: not about their measure, modality and level."""
    found = []
    for row in result.table[result.table.value.isna() & (result.table.measure != "label")].itertuples():
        about = [m.what for m in result.missing if m.what.startswith(row.measure) and m.why and m.call]
        if isinstance(row.modality, str):
            about = [what for what in about if f" of {row.modality}" in what]
        if not np.isnan(row.level):
            named = "all levels" if row.level == 0 else rf"\b{row.level:.0f}\b"
            about = [what for what in about if re.search(named, what.partition(" at ")[2])]
        if not about:
            found.append(row)
    return found


@pytest.fixture(autouse=True)
def nothing_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="module")
def gallery(tmp_path_factory):
    """One level for each kind of response."""
    return hostile(tmp_path_factory.mktemp("hostile") / "features", tuple(RESPONSES))


def test_every_number_that_is_none_is_named(gallery):
    for place, result in asked(gallery):
        assert not unnamed(result), (place, unnamed(result)[:3])
        assert len(result.table) or result.missing, place


def test_what_can_be_said_beside_it_is_said(gallery):
    level = {kind: i for i, kind in enumerate(RESPONSES, 1)}
    consistency, evolution = (QUESTIONS[name] for name in NULLS[1:])
    found = consistency.consistency(gallery, "sum", measures=["cka"], permutations=20)
    flat = [level[kind] for kind in ("constant", "nothing", "one constant unit", "vanishing")]
    alone = [level[kind] for kind in ("one active image", "an outlier", "an outlier of one unit")]
    assert sorted(set(level.values()) - set(found.table.level)) == sorted(flat)
    assert found.table.level[found.table.value.isna()].tolist() == alone
    why = {m.what: m.why for m in found.missing}
    assert why[f"cka at level {flat[0]}"] == "rgb and depth there are constant over the images"
    assert all(m.call for m in found.missing)
    usual = found.one("cka", level=level["usual"])
    assert usual.low < usual.value < usual.high
    along = evolution.evolution(gallery, "sum", measures=["level similarity"], permutations=20)
    assert set(along.table.level) == set(level.values()) - set(flat)
    said = along.one("level similarity", modality="rgb", level=level["usual"], versus=str(level["huge"]))
    assert np.isfinite(said.value)


def test_the_size_of_responses_changes_no_number(tmp_path):
    measures = ("cka", "matching", "predictivity", "consistent share")
    ask = partial(QUESTIONS["consistency"].consistency, measures=measures, permutations=20)
    kinds = ("usual", "huge", "denormal")
    usual, *others = (ask(hostile(tmp_path / kind, (kind,)), "sum").table.value for kind in kinds)
    for found in others:
        np.testing.assert_allclose(found, usual, atol=1e-3)  # of 1e-40 four digits are kept


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("usual", "4 groups")])
def test_few_images_are_enough_for_an_answer(tmp_path, layout):
    features = hostile(tmp_path / "features", layout=layout)
    for place, result in asked(features, alone=layout == "12 images"):
        assert not unnamed(result), (place, unnamed(result)[:3])
        assert not any("reshape" in m.why for m in result.missing)
    assert audit(features, "sum", permutations=20).text()


def test_too_few_groups_are_an_error_that_says_so(tmp_path):
    features = hostile(tmp_path / "features", layout="4 groups")
    for ask in (*(partial(getattr(m, n), features, "sum") for n, m in QUESTIONS.items()), partial(balance, features)):
        with pytest.raises(ValueError, match="must hold at least 5 groups; got 4"):
            ask()


@pytest.mark.parametrize("areas", [name for name in AREAS if name != "usual"])
def test_concepts_that_are_nowhere_or_everywhere(tmp_path, areas):
    features = hostile(tmp_path / "features", areas=areas)
    for place, result in asked(features):
        assert not unnamed(result), (place, unnamed(result)[:3])
    found = QUESTIONS["specificity"].specificity(
        features, "sum", measures=["level semantic variance", "specific share"]
    )
    assert len(found.rows("specific share")) and "level semantic variance at level 1" in {m.what for m in found.missing}


def test_without_labels_accuracy_is_named(tmp_path):
    features = hostile(tmp_path / "features", counted={"other": np.zeros((2, 104, 2), int)})
    for place, result in asked(features):
        assert not unnamed(result), (place, unnamed(result)[:3])
    found = QUESTIONS["collaboration"].collaboration(features, "sum", measures=["accuracy", "class accuracy"])
    assert {m.why for m in found.missing} == {"no pixel is labelled"} and not found.warnings
    assert "not defined" in audit(features, "sum", permutations=20).text()


@pytest.mark.parametrize("kind", ["constant", "one unit", "one active image", "an outlier"])
def test_an_audit_of_nothing_else_is_written(tmp_path, kind):
    features = hostile(tmp_path / "features", (kind, kind), seeds=1)
    found = audit(features, "sum", permutations=20)
    found.save(tmp_path / "report.html")
    assert all(found.answers.values()) and not re.search(r"\bnan\b", found.text())
    assert found.missing and all(m.what and m.why and m.call for m in found.missing)


def test_what_nobody_foresaw_is_raised(gallery, monkeypatch):
    def broken(*_, **__):
        raise ValueError("operands could not be broadcast together")

    module = QUESTIONS["consistency"]
    monkeypatch.setattr(module, "cka_statistic", broken)
    with pytest.raises(ValueError, match="broadcast"):
        module.consistency(gallery, "sum", levels=[1], measures=["cka controlled"])

    def damaged(*_, **__):
        raise FeaturesError("rgb.safetensors is damaged")

    monkeypatch.setattr(module, "cka_statistic", damaged)
    with pytest.raises(FeaturesError, match="damaged"):
        module.consistency(gallery, "sum", levels=[1], measures=["cka controlled"])
