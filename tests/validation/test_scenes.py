"""The committed tables, and the numbers by which they are judged."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from rgbd_insight.features import FeaturesError
from rgbd_insight.features.tables import read_table, write_table
from rgbd_insight.validation import scenes as tables
from rgbd_insight.validation.scenes import certificate_bound, expected_labels, label_scores

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"
PLANTED = {  # concept: kind, visibility in rgb and in depth, expected label
    "rug": ("rgb", 1, 0, "rgb"),
    "dome": ("depth", 0, 1, "depth"),
    "ball": ("both", 1, 1, "both"),
    "tag 1": ("neither", 0, 0, "neither"),
    "alarm": ("together", 2 / 3, 2 / 3, "together"),
    "plaque": ("graded", 0.7, 0.3, "both"),
    "faint": ("graded", 0.6, 0, "rgb"),
    "shelf": ("graded", 0.9, 0.1, "rgb"),
}


def measured(labels=None, *, run="twins", level=0, order=1.0):
    """A table in which δ follows the planted visibility (`order` −1: goes against it) and labels are as expected."""
    rows = []
    for concept, (kind, rgb, depth, label) in PLANTED.items():
        base = {"run": run, "level": level, "concept": concept, "family": f"planted: {kind}", "n": 5000}
        rows.append(base | {"measure": "label", "label": (labels or {}).get(concept, label)})
        for modality, v in (("rgb", rgb), ("depth", depth)):
            value = order * 0.8 * v
            rows.append(
                base
                | {
                    "measure": "decodability",
                    "modality": modality,
                    "planted": v,
                    "value": value,
                    "low": value - 0.02,
                    "high": value + 0.02,
                }
            )
    rows.append({"run": run, "level": level, "concept": "red", "family": "hue", "measure": "label", "label": "rgb"})
    return pd.DataFrame(rows)


def test_expected_labels_follow_the_kind_and_for_graded_concepts_the_visibility():
    planted = measured().query("family != 'hue'")
    found = expected_labels(planted)
    assert found["expected"].to_dict() == {concept: row[3] for concept, row in PLANTED.items()}
    assert found.index[~found["judged"]].tolist() == ["shelf"]  # its visibility in depth is the margin itself


def test_perfect_labels():
    scores = label_scores(measured()).loc[("twins", 0)]
    assert (scores[["right", "wrong", "undecided", "together"]] == [1, 0, 0, 1]).all()
    assert scores["concepts"] == 8 and scores["judged"] == 7 and scores["scenes"] == 5000
    assert scores["spearman"] > 0.97 and scores["spearman_low"] <= scores["spearman"] <= scores["spearman_high"]


def test_wrong_and_undecided_labels_are_counted_apart_and_the_margin_not_at_all():
    labels = {"rug": "both", "dome": "undecided", "alarm": "both", "shelf": "depth"}
    scores = label_scores(measured(labels)).loc[("twins", 0)]
    assert np.allclose(scores[["right", "wrong", "undecided", "together"]].astype(float), [4 / 7, 2 / 7, 1 / 7, 0])


def test_a_row_for_each_run_and_level_and_the_order_decides_the_correlation():
    both = label_scores(pd.concat([measured(), measured(run="sum", level=2, order=-1)]))
    assert both.index.tolist() == [("twins", 0), ("sum", 2)]
    assert both.loc[("sum", 2), "spearman"] < -0.97


def test_a_table_without_planted_labels_is_refused():
    with pytest.raises(ValueError, match='must have rows "label"'):
        label_scores(measured().query("family == 'hue'"))


@pytest.mark.parametrize("column", ["run", "concept"])
def test_two_rows_of_one_concept_are_refused(column):
    with pytest.raises(ValueError, match="one row for each of run, level, measure, modality, concept; got two of "):
        label_scores(pd.concat([measured(), measured(run="sum")]).assign(**{column: "x"}))


def test_the_certificate_is_judged_by_what_the_other_modality_alone_shows():
    rows = [
        ("rug", "rgb", "rgb", 1, 0.9),
        ("rug", "rgb", "depth", 0, 0.01),
        ("dome", "depth", "rgb", 0, 0.04),
        ("ball", "both", "rgb", 1, 0.8),
        ("ball", "both", "depth", 1, 0.7),
    ]
    table = pd.DataFrame(rows, columns=["concept", "kind", "modality", "planted", "high"])
    assert certificate_bound(table) == 0.04
    with pytest.raises(ValueError, match="one modality alone"):
        certificate_bound(table[table["kind"] == "both"])
    with pytest.raises(ValueError, match="a bound in its column 'high'"):
        certificate_bound(table.assign(high=[0.9, np.nan, 0.04, 0.8, 0.7]))


def test_reading_checks_the_digest_and_the_name(tmp_path):
    with pytest.raises(FeaturesError, match="make features"):
        read_table(tmp_path, "labels")
    write_table(measured(), tmp_path, "labels", "make features")
    assert len(read_table(tmp_path, "labels")) == len(measured())
    with pytest.raises(FeaturesError, match="must be one of labels"):
        read_table(tmp_path, "label")
    (tmp_path / "labels.parquet").write_bytes(b"else")
    with pytest.raises(FeaturesError, match="is not the table"):
        read_table(tmp_path, "labels")
    assert json.loads((tmp_path / "index.json").read_text())["labels"]["command"] == "make features"


@pytest.mark.parametrize("run", ["twins", "sum"])
def test_the_committed_labels_meet_what_was_planted(run):
    scores = label_scores(read_table(RESULTS, "labels")).loc[(run, 0)]
    assert scores["scenes"] >= 4000 and scores["concepts"] >= 24
    assert scores["spearman"] >= 0.9
    assert scores["wrong"] <= 0.05
    assert scores["undecided"] <= 0.25
    assert scores["together"] == 1


def test_what_was_planted_for_one_modality_is_hidden_from_the_other():
    table = read_table(RESULTS, "certificate")
    assert set(table["modality"]) == {"rgb", "depth"}
    assert certificate_bound(table) < 0.05


def test_rank_correlations_are_spearmans():
    rng = np.random.default_rng(0)
    rows, truth = rng.normal(size=(6, 10)), np.repeat([0.1, 0.3, 0.3, 0.5, 0.9], 2)
    rows[0] = 1.0
    found = tables._rank_correlations(rows, truth)
    assert np.isnan(found[0]) and np.allclose(found[1:], [spearmanr(row, truth).statistic for row in rows[1:]])
