"""What a campaign makes, and that it does not make it twice."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rgbd_insight import campaign
from rgbd_insight._campaign import steps, zoo
from rgbd_insight._campaign.intervention import (
    Cell,
    best_opponent,
    cells,
    fresh_runs,
    intervention_table,
    run_cell,
    weights_by_rule,
)
from rgbd_insight._campaign.plans import DEEP, TRACED, plans
from rgbd_insight.features import load
from rgbd_insight.models import FUSIONS
from rgbd_insight.questions.balance import balance
from rgbd_insight.questions.claims import specification
from rgbd_insight.questions.collaboration import collaboration
from rgbd_insight.questions.consistency import consistency
from rgbd_insight.questions.intervention import COLUMNS
from rgbd_insight.tables import read_table
from tests.questions.test_intervention import outcomes


def test_small_is_what_the_book_is_built_on():
    scenes, real = plans("small", "images")
    assert sorted(scenes.runs) == sorted((f, s) for f in ("rgb", "depth", "early", "sum", "se") for s in (0, 1))
    assert sorted(real.runs) == sorted((f, s) for f in ("rgb", "depth", "se") for s in (0, 1))
    assert scenes.trajectories == scenes.silenced == (("sum", 0),) and scenes.deep is None
    assert scenes.keeps("sum-s0-e8", "rgb/1/rgb") and not scenes.keeps("sum-s0-e8", "rgb/1/both")


def test_full_is_the_whole_zoo():
    scenes, real = plans("full", "images")
    count = {f: sum(fusion == f for fusion, _ in scenes.runs) for f in FUSIONS}
    assert count.pop("rgb") == count.pop("depth") == 8 and set(count.values()) == {3}
    assert {f for f, _ in real.runs} == set(FUSIONS) and all(
        sum(fusion == f for fusion, _ in real.runs) == 2 for f in FUSIONS
    )
    assert len(TRACED) >= 4 and set(scenes.trajectories) == {(f, s) for f in TRACED for s in (0, 1, 2)}
    assert scenes.draws >= 99 and len(scenes.shares) >= 3 and set(scenes.removals) == {"zero", "mean", "noise"}
    assert set(scenes.deep) == {(f, s) for f in DEEP for s in (0, 1)}
    assert scenes.keeps("se-s0-e32", "rgb/1/rgb") and not scenes.keeps("cross-s0-e32", "rgb/1/rgb")
    assert len(scenes.data("test")) == 1000


def test_a_finished_step_is_not_done_again_even_without_weights(tmp_path, monkeypatch):
    done = []
    plan = plans("tiny", None)[0]

    def extract_one(plan, work, run):
        done.append(run)

    for _ in range(2):
        steps.once(extract_one, plan, tmp_path, ("sum", 0))
    assert done == [("sum", 0)] and not (tmp_path / "weights").exists()

    def fails(plan, work, run):
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        steps.once(fails, plan, tmp_path, ("sum", 0))
    assert not list(tmp_path.rglob("fails-*"))


def test_every_cell_of_the_intervention_is_there():
    spec = specification()["6b"]
    made = cells(spec)
    assert len(made) * len(spec["seeds"]) - sum(c.placebo for c in made) * len(spec["seeds"]) == 162
    assert len({c.name for c in made}) == len(made)
    assert {c.common for c in made if c.placebo} == {0.3, 1.0}


def test_the_rule_takes_the_best_cell_at_half_redundancy():
    table = outcomes()
    table.loc[(table.common == 0.3) & (table.private == 1.0) & (table.redundancy == 0.5), "accuracy"] += 1
    table.loc[table.redundancy == 1.0, "accuracy"] += 5
    assert weights_by_rule(table) == (0.3, 1.0)


def test_opponents():
    rows = [(f, v) for f, v in (("sum", 0.9), ("insight", 0.95), ("cross", 0.7), ("concat", 0.6))]
    zoo = pd.DataFrame(rows, columns=["fusion", "value"]).assign(measure="accuracy", condition="both")
    assert best_opponent(zoo, ["se", "sum"]) == "cross"
    runs = fresh_runs(specification()["7"], ["se", "sum", "cross"])
    assert len(runs) == 40 and min(seed for _, seed in runs) >= 300


def test_one_run_of_a_cell(tmp_path):
    torch.set_num_threads(1)
    cell = Cell("late", 1.0, 0.3, 0.5, placebo=True)
    out = run_cell("tiny", tmp_path, (cell, 200))
    found = load(out)
    assert found.entry("late-s200-e1")["about"]["cell"]["placebo"] is True and found.manifest["fingerprint"]
    assert set(found.conditions("late")) == {"both", "rgb", "depth"}
    (tmp_path / "weights").rename(tmp_path / "gone")
    assert run_cell("tiny", tmp_path, (cell, 200)) == out and not (tmp_path / "weights").exists()


def test_the_table_of_a_small_intervention(tmp_path):
    torch.set_num_threads(1)
    spec = {"operators": ["late"], "common": [0.0, 1.0], "private": [0.0], "redundancies": [0.5], "seeds": [200, 201]}
    table = intervention_table("tiny", tmp_path, spec)
    assert set(COLUMNS) <= set(table) and np.isfinite(table[["accuracy", "C", "S"]].to_numpy(float)).all()
    count = table.groupby(["common", "placebo"]).size()
    assert count.to_dict() == {(0.0, False): 2, (0.0, True): 2, (1.0, False): 2, (1.0, True): 2}
    zero = table[table.common == 0].drop(columns="placebo")
    assert zero.duplicated().sum() == 2  # with nothing to align, a placebo is the run itself


def test_commands_that_do_not_go_together():
    with pytest.raises(SystemExit):
        campaign.main(["--intervention", "--derived"])


BOOK = Path(__file__).resolve().parents[1] / "book"
CHEAP = {consistency: ("cka",), collaboration: ("accuracy",)}


@pytest.fixture(scope="module")
def cheap_zoo():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "ASKED", CHEAP)
        patch.setattr(zoo, "PERMUTATIONS", 20)
        patch.setattr(zoo, "balance", lambda features: balance(features, []))
        return zoo.zoo_table(load(BOOK / "features" / "scenes"))


def test_the_zoo_has_every_network_of_two_inputs(cheap_zoo):
    cka = cheap_zoo[cheap_zoo.measure == "cka"]
    joint = [f for f in ("early", "sum", "se") if load(BOOK / "features" / "scenes").find(fusion=f)]
    assert set(cka.run) == {"twins", *joint} and (cka.low <= cka.value).all()
    assert set(joint) <= set(cheap_zoo[cheap_zoo.measure == "accuracy"].run)  # beside their twins


def test_tables_of_the_zoo_are_those_of_the_deep_runs(cheap_zoo):
    """Where the zoo was made: its rows for runs whose responses are committed, computed again from these."""
    if "zoo_scenes" not in json.loads((BOOK / "results" / "index.json").read_text()):
        pytest.skip("the zoo has not been made on a GPU yet: make features PROFILE=full")
    keys = ["run", "measure", "level", "modality", "condition", "fusion"]
    stored = read_table(BOOK / "results", "zoo_scenes").merge(cheap_zoo, on=keys, suffixes=("", "_again"))
    assert len(stored)
    exact = stored.measure == "accuracy"
    np.testing.assert_allclose(stored.value[exact], stored.value_again[exact], atol=1e-9)
    np.testing.assert_allclose(stored.value[~exact], stored.value_again[~exact], atol=0.05)  # of half the units


@pytest.mark.parametrize("data", ["scenes", "nyuv2"])
def test_points_in_the_plane_are_of_the_committed_features(data):
    sums = hashlib.sha256((BOOK / "features" / data / "SHA256SUMS").read_bytes()).hexdigest()
    table = read_table(BOOK / "results", f"balance_{data}")
    assert set(table.features) == {sums}, "python -m rgbd_insight.campaign --balance"
    found = balance(load(BOOK / "features" / data), [table[table.fusion == "se"].run.iloc[0]]).table
    again = table.merge(found, on=["run", "measure"], suffixes=("", "_again"))
    assert len(again) == 2
    np.testing.assert_allclose(again.value, again.value_again, atol=1e-6)
