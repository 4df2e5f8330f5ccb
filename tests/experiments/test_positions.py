"""What positions certify: the plans, a small campaign from start to finish, and what the committed tables say."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rgbd_insight import joint
from rgbd_insight.data import Scenes
from rgbd_insight.experiments import (
    copies,
    plane,
    plane_choice,
    plane_plans,
    position_plane,
    position_plans,
    position_tables,
    positions,
    run_all,
    zoo_plans,
)
from rgbd_insight.experiments.positions import (
    BARS,
    EMPTY,
    HELD_OUT,
    IMAGES,
    PLACES,
    PLAIN,
    SCENES,
    clear_differences,
    hidden_bound,
    label_shares,
    planted_table,
)
from rgbd_insight.features import load, write_table
from rgbd_insight.features.tables import read_entry, read_table, table_names
from rgbd_insight.questions.joint import PLANE
from rgbd_insight.questions.positions import CERTIFIED
from rgbd_insight.questions.specificity import MARGIN

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"
PLANTED, REAL = (f"positions_{data}" for data in ("scenes", "nyuv2"))


def test_what_is_asked_is_of_scenes_that_nobody_tuned_on():
    scenes, real = position_plans("small", "images")
    assert len(scenes.data("test")) == SCENES == 4000
    assert scenes.data("test").fingerprint()["seed"] == HELD_OUT >= 30000
    assert scenes.data("train").fingerprint()["seed"] == 0
    assert [len(scenes.runs), len(real.runs)] == [4, 2]
    assert real.recipe["epochs"] == positions.PASSES
    assert BARS == {"wrong": 0.05, "undecided": 0.25}


def test_a_small_campaign_is_kept_and_not_done_again(tmp_path, monkeypatch):
    monkeypatch.setattr(positions, "planted_table", partial(planted_table, levels=(4,)))
    plans = position_plans("tiny", None, scenes=260)
    position_tables(plans, "tiny", tmp_path / "work", tmp_path / "book")
    table = read_table(tmp_path / "book" / "results", PLANTED)
    assert read_entry(tmp_path / "book" / "results", PLANTED)["command"] == "rgbd-insight campaign positions"
    assert set(table.place) == {IMAGES, PLACES, PLAIN, EMPTY}
    assert set(table.seed) == {0, 1}
    assert set(table.profile) == {"tiny"}
    delta = table[table.measure == "decodability"]
    assert delta[["value", "low", "high", "se", "planted"]].notna().all(axis=None)
    labels = table[table.measure == "label"]
    assert set(labels.place) == {IMAGES, PLACES, PLAIN}
    assert labels[labels.family == "planted: together"].verdict.eq("").all()
    shown = labels[labels.verdict.isin(["right", "wrong"])]
    assert (shown.verdict == np.where(shown.label == shown.expected, "right", "wrong")).all()

    def never(*_: object) -> None:
        raise AssertionError("what is finished was done again")

    monkeypatch.setattr(positions, "_extract", never)
    monkeypatch.setattr(positions, "planted_table", lambda features: features.runs)
    position_tables(plans, "tiny", tmp_path / "work", tmp_path / "book")
    assert set(read_table(tmp_path / "book" / "results", PLANTED).fusion) == {"rgb", "depth"}


def _committed(name: str) -> pd.DataFrame:
    if name not in table_names(RESULTS):
        pytest.skip(f"{name} was not made")
    return read_table(RESULTS, name)


def test_the_committed_scenes_say_how_far_positions_can_be_trusted():
    table = _committed(PLANTED)
    for level in (0, 4):  # the code judges absence as the table allows
        assert (level in CERTIFIED) == (hidden_bound(table, level=level)[1] < MARGIN)
    found = label_shares(table).loc[(PLACES, 0)]
    assert (found.wrong <= BARS["wrong"]).all()
    assert found.met.all()
    assert hidden_bound(table, PLAIN)[0] > hidden_bound(table, PLACES)[0] > hidden_bound(table, EMPTY)[0]


def test_the_committed_photographs_gain_by_positions():
    found = clear_differences(_committed(REAL))
    images, places = (found.xs(place, level="place") for place in (IMAGES, PLACES))
    assert (places.clear >= 2 * images.clear).all()
    assert (places.se.loc[4] <= images.se.loc[4] / 2).all()


def test_no_reading_of_both_could_gain_the_margin_on_a_conjunction_at_positions():
    """Why "together" is never given there: one modality alone leaves less than the margin to be gained."""
    table = _committed(PLANTED)
    rows = table[(table.place == PLACES) & (table.measure == "decodability") & (table.family == "planted: together")]
    better = rows.groupby(["concept", "level", "seed"]).low.max()
    assert len(better) == 8
    assert (1 - better < MARGIN).all()
    assert (rows.low > MARGIN).all()  # nor does either modality fail


def test_the_plane_at_positions_is_of_scenes_that_nobody_tuned_on(tmp_path, monkeypatch):
    monkeypatch.setattr(plane, "OPERATORS", ())
    plans = plane_plans("tiny", None, scenes=60)
    assert plans[0].data("test").fingerprint()["seed"] == plane.HELD_OUT >= 40000
    assert plans[0].name == position_plans("tiny", None)[0].name  # twins are trained once for both
    rows = pd.DataFrame({"measure": list(PLANE), "fusion": "twins", "level": 1, "value": 0.5})
    monkeypatch.setattr(plane, "placed", lambda features: rows.assign(at="positions", runs=len(features.runs)))
    for _ in range(2):
        position_plane(plans, "tiny", tmp_path / "work", tmp_path / "book")
        monkeypatch.setattr(plane, "_extract", lambda *_: pytest.fail("what is finished was done again"))
    table = read_table(tmp_path / "book" / "results", plane.TABLE)
    assert set(table.runs) == {4} and set(table.device) == {"cpu"} and set(table.profile) == {"tiny"}
    one = load(tmp_path / "work" / "extracted" / "scenes-plane" / "rgb-s1")
    assert one.has_cells("rgb") and len(one.grids("rgb", "rgb", 4)) == 60
    results = tmp_path / "book" / "results"
    assert len(plane_choice(results, data="scenes", at="positions", fusions=["twins"])) == len(PLANE)
    for wrong in ({"data": "nyuv2"}, {"data": "scenes", "at": "images"}, {"data": "scenes", "fusions": ["se"]}):
        with pytest.raises(ValueError, match=f"`{[*wrong][-1]}` must be one of"):
            plane_choice(results, **({"at": "positions"} | wrong))


def test_the_planted_share_is_that_of_what_is_decoded(monkeypatch):
    """Of δ as planted it is the planted one, and every specific concept is apart from every shared one."""
    features = load(RESULTS.parent / "features" / "scenes")
    seen = {m: features.concepts[f"visible_{m}"].to_numpy(float) for m in ("rgb", "depth")}
    unknown = features.concepts.kind.eq("unknown").to_numpy()
    monkeypatch.setattr(plane, "_decoded", lambda nets, m, *_: np.where(unknown, 9.0, seen[m]))
    found = plane.planted_variance(features)
    shares, ranks = (found[found.measure == name] for name in ("planted share", "planted AUROC"))
    gap, size = ((seen["rgb"] - seen["depth"]) ** 2)[~unknown], (seen["rgb"] ** 2 + seen["depth"] ** 2)[~unknown]
    assert shares.value.to_numpy() == pytest.approx(gap.sum() / size.sum())
    assert (shares.value == shares.planted).all() and (ranks.value == 1).all()
    assert len(shares) == 2 * (4 * 2 + 1)  # seeds, levels, places; without strata the last level
    assert plane.planted_variance(load(RESULTS.parent / "features" / "nyuv2")).empty


def test_the_committed_plane_at_positions():
    table = _committed(plane.TABLE)
    for data, part in table[table.measure.isin(PLANE)].groupby("data"):
        for at in part["at"].unique():
            rows = plane_choice(RESULTS, data=data, at=at)
            assert set(rows.level) == {1, 2, 3, 4}
    twins = table[(table.data == "scenes") & (table.measure == "planted AUROC") & (table["at"] == "positions")]
    assert (twins.value >= plane.PLANE_BARS["auroc"]).all()
    last = table[(table.data == "scenes") & (table.measure == "planted share") & (table.level == 4)]
    error = (last.value - last.planted).abs().groupby(last["at"]).max()
    assert error["positions"] <= plane.PLANE_BARS["share"] < error["positions, no strata"]


def _bytes(folder: Path) -> dict[str, bytes]:
    """All that a pipeline made, but for when and where: that is in execution.json, which the digests are of too."""
    skipped = ("execution.json", "SHA256SUMS")
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name not in skipped
    }


def test_two_runs_of_the_whole_pipeline_end_in_the_same_bytes(tmp_path):
    """Train, extract with places and grids, make the small copy and a table of both axes."""
    plan = zoo_plans("tiny", None)[0]
    asked = {"fusions": ("rgb", "depth", "sum"), "seeds": (0,), "silenced": (), "trajectories": (), "located": ()}
    plan = replace(plan, name="again", data=partial(_few, plan.data), **asked)
    for turn in ("one", "two"):
        home = tmp_path / turn
        run_all([plan], "tiny", home / "work")
        copies([plan], home / "work", home / "book")
        features = load(*(home / "work" / "extracted" / "again" / str(run) for run in plan.runs))
        table = joint(features, "sum", levels=[4], at="positions", permutations=20).table
        write_table(table, home / "book" / "results", "axes", "test")
    one, two = (_bytes(tmp_path / turn) for turn in ("one", "two"))
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert {name.rpartition(".")[2] for name in one} >= {"safetensors", "parquet", "json"}
    assert any(name.endswith(".profiles.safetensors") for name in one)
    assert load(tmp_path / "one" / "book" / "features" / "again").manifest["schema"] == 1  # places stay where they are


def _few(data: object, split: str) -> Scenes:
    return data(split) if split == "train" else Scenes(60, seed=5, split="label")
