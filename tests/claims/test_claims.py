"""The ledger: every test on outcomes whose answer is planted, and what it says where nothing can be said."""

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats as reference

from rgbd_insight import load, stats
from rgbd_insight.claims import inference, strategies
from rgbd_insight.claims import ledger as of_ledger
from rgbd_insight.claims import twins as of_twins
from rgbd_insight.claims.ledger import COLUMNS, FILE, SCENES_ONLY, STATED, claims, digest, specification, stated_before
from rgbd_insight.claims.rows import VERDICTS, judged
from rgbd_insight.extraction import extract
from rgbd_insight.features import FeaturesError
from rgbd_insight.features.tables import write_table
from rgbd_insight.questions import consistency, specificity
from rgbd_insight.questions.ablation import ablations, chosen_on
from rgbd_insight.questions.networks import networks as networks_of
from rgbd_insight.result import Result
from tests._toy import ToyData, ToyNet
from tests.claims.test_intervention import outcomes

SCENES = Path(__file__).resolve().parents[2] / "book" / "features" / "scenes"


@pytest.fixture(scope="module")
def scenes():
    return load(SCENES)


def test_the_file_states_a_test_for_every_row():
    stated = tomllib.loads(FILE.read_text(encoding="utf-8"))["claim"]
    assert [c["id"] for c in stated] == ["1", "1b", "2a", "2b", "3a", "3b", "4", "5", "6a", "6b", "7"]
    assert all(c["says"] and c["test"] for c in stated) and specification()["7"]["rule"]
    assert set(SCENES_ONLY) < set(specification())


def test_what_is_not_tested_has_no_number_and_a_command(scenes):
    table = claims(scenes, only=["3a", "3b", "4", "5", "6b", "7"]).table
    assert tuple(table.columns) == COLUMNS and set(table.verdict) <= set(VERDICTS)
    absent = table[table.verdict == "not tested"]
    assert absent[["value", "low", "high", "p"]].isna().all(axis=None) and (absent.command != "").all()
    assert (absent.why != "").all()


def sha256(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_every_version_that_a_run_names_is_kept_as_it_was():
    kept = {sha256(file): file for file in (*STATED.glob("*.toml"), FILE)}
    assert all(file == FILE or file.stem == name[:12] for name, file in kept.items())
    for home in sorted(SCENES.parent.iterdir()):
        assert {run["claims"] for run in load(home, verify=False).execution["runs"]} <= set(kept)


def test_a_claim_is_stated_before_runs_that_name_the_same_words(scenes):
    first = STATED / "2e8699326213.toml"
    assert {run["claims"] for run in scenes.execution["runs"]} == {sha256(first)}
    restated = [claim for claim in specification() if not stated_before(claim, [sha256(first)])]
    assert restated == ["1", "1b"]  # the others are as they were, though the file is another
    assert all(stated_before(claim, [digest()]) for claim in specification())
    for unknown in (None, "0" * 64):
        assert not any(stated_before(claim, [digest(), unknown]) for claim in specification())


def test_a_setting_counts_for_the_claims_that_are_judged_by_it(tmp_path):
    text = FILE.read_text(encoding="utf-8")
    now = of_ledger._stated_in(FILE)
    changes = {"pilot_seeds = 0": {"7"}, "level = 0.05": set(now), "twin_seeds = 8": {"4"}}
    for line, wanted in changes.items():
        (tmp_path / "claims.toml").write_text(text.replace(line, line.rsplit(" ", 1)[0] + " 9"), encoding="utf-8")
        then = of_ledger._stated_in(tmp_path / "claims.toml")
        assert {claim for claim in now if now[claim] != then[claim]} == wanted


def test_runs_that_are_older_than_the_test_are_told(scenes, monkeypatch):
    found = claims(scenes, only=["2a"])
    assert found.table.beforehand.tolist() == [True] and "the runs are older than the test" not in found.text()
    later = {"2a": specification()["2a"] | {"test": "another"}}
    monkeypatch.setattr(of_ledger, "specification", lambda: later)
    found = claims(scenes, only=["2a"])
    assert found.table.beforehand.tolist() == [False] and "the runs are older than the test" in found.text()


def test_an_intervention_was_stated_before_its_own_runs(scenes, tmp_path):
    for named, beforehand in ((digest(), True), ("0" * 64, False)):
        write_table(outcomes().assign(claims=named), tmp_path, "intervention", "a command")
        assert claims(scenes, results=tmp_path, only=["6b"]).table.beforehand.tolist() == [beforehand]


def test_similarity_trend_is_pages(scenes):
    row = of_twins.similarity_trend(scenes, specification()["2a"])
    assert -1 <= row.value <= 1 and 0 < row.p <= 1 and (row.verdict == "supported") == (row.p < 0.05)


def answered(measure, values, *, label="all", half=0.02, levels=(1, 2)):
    """A question that answers with these values, of every modality and level in turn."""
    places = [(m, level) for m in ("rgb", "depth") for level in levels]
    rows = [
        {"measure": measure, "label": label, "modality": m, "level": lv, "value": v, "low": v - half, "high": v + half}
        for (m, lv), v in zip(places, values, strict=True)
    ]
    more = [rows[0] | {"label": "named", "value": -1.0, "low": -1.0}] if label == "all" else []
    asked = []

    def question(features, run, *, levels=None, measures):
        asked.append((run, levels, measures))
        return Result.of("consistency", [*rows, *more], made={})

    return question, asked


@pytest.fixture(scope="module")
def every_seed():
    return load(SCENES, SCENES.with_name("scenes-twins"))


@pytest.mark.parametrize(
    "values, verdict",
    [
        ((0.5, 0.4, 0.2, 0.6), "supported"),
        ((0.5, 0.4, 0.05, 0.6), "not supported"),
        ((0.5, 0.4, 0.11, 0.6), "inconclusive"),
    ],
)
def test_discrepancy_is_decided_where_it_is_least_certain(every_seed, scenes, monkeypatch, values, verdict):
    question, asked = answered("specific share", values)
    monkeypatch.setattr(of_twins, "specificity", question)
    row = of_twins.discrepancy(every_seed, specification()["1"])
    assert row.verdict == verdict and row.value == min(values) and "level 1 of depth" in row.why
    assert asked == [("twins", None, ["specific share"])] and "uncorrected" not in row.effect
    row = of_twins.discrepancy(scenes, specification()["1"])  # of one other seed nothing can be corrected
    assert row.verdict == "inconclusive" and row.value == min(values) and row.effect.endswith("uncorrected")


@pytest.mark.parametrize(
    "values, verdict",
    [
        ((0.8, 1.0, 1.2, 0.9), "supported"),
        ((0.8, 1.0, 1.29, 0.9), "inconclusive"),
        ((0.8, 0.6, 1.0, 0.9), "not supported"),
        ((0.8, 1.4, 1.0, 0.9), "not supported"),  # it has two sides
    ],
)
def test_what_is_shared_by_name_beside_what_is_known(every_seed, scenes, monkeypatch, values, verdict):
    spec = specification()["1b"]
    question, asked = answered("share of the known", values, label="named", levels=spec["levels"])
    monkeypatch.setattr(of_twins, "consistency", question)
    row = of_twins.as_known(every_seed, spec)
    assert row.verdict == verdict and asked == [("twins", [3, 4], ["share of the known"])]
    assert of_twins.as_known(scenes, spec).verdict == "not tested" and of_twins.as_known(scenes, spec).command


def test_the_shares_of_the_claims_are_the_corrected_ones_of_all_seeds(every_seed):
    table = claims(every_seed, only=["1", "1b"], results=SCENES.parents[1] / "results").table.set_index("claim")
    own = specificity(every_seed, "twins", measures=["specific share"]).rows(label="all")
    assert table.low["1"] == pytest.approx(own.low.min()) and table.value["1"] == own.value[own.low.idxmin()]
    found = consistency(every_seed, "twins", levels=[3, 4], measures=["share of the known"]).table
    assert table.value["1b"] in found.value.tolist() and not table.beforehand.any()  # stated after these runs


def test_verdict_of_an_interval():
    assert [judged(*ends, 0.1) for ends in ((0.2, 0.3), (0.0, 0.05), (0.0, 0.3))] == [
        "supported",
        "not supported",
        "inconclusive",
    ]


def test_strategies_that_differ_are_told_from_strategies_that_do_not():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 3)
    noise = rng.normal(size=(15, 2))
    assert strategies.strategy_test(noise + 4 * labels[:, None], labels)[1] < 0.01
    p = [strategies.strategy_test(rng.normal(size=(15, 2)), labels, permutations=99)[1] for _ in range(40)]
    assert np.mean(np.array(p) < 0.05) < 0.2 and 0.3 < np.mean(p) < 0.7


def test_labellings_are_counted():
    assert strategies._labellings([2, 2, 2]) == 15 and strategies._labellings([3, 2]) == 10


def test_profiles_beyond_the_twins_spread():
    rng = np.random.default_rng(1)
    twins, joint = rng.normal(0, 0.05, (8, 12)), rng.normal(0, 0.05, (3, 12))
    assert strategies.distance_test(joint + 0.2, twins)[1] == pytest.approx(1 / 165)  # exact: 11 over 3
    p = [strategies.distance_test(rng.normal(0, 0.05, (3, 12)), rng.normal(0, 0.05, (8, 12)))[1] for _ in range(20)]
    assert 0.25 < np.mean(p) < 0.75


@pytest.fixture
def results(tmp_path):
    write_table(outcomes(), tmp_path, "intervention", "a command")
    return tmp_path


def test_the_intervention_is_read_from_its_table_and_no_other(scenes, results):
    row = claims(scenes, results=results, only=["6b"]).table.iloc[0]
    assert row.verdict == "supported" and row.low < row.value < row.high and "slope of S" in row.why
    (results / "intervention.parquet").write_bytes(b"changed")
    with pytest.raises(FeaturesError, match="not the table that was written"):
        claims(scenes, results=results, only=["6b"])


def test_an_unfinished_intervention_says_how_far_it_is(scenes, tmp_path):
    write_table(outcomes().query("seed < 2"), tmp_path, "intervention", "a command")
    row = claims(scenes, results=tmp_path, only=["6b"]).table.iloc[0]
    assert row.verdict == "not tested" and row.why.startswith("108 of 162")


class Paired:
    """Features with nothing but accuracies: `gains` of `insight` over each opponent."""

    def __init__(self, gains, count=10, first=300):
        rng = np.random.default_rng(0)
        base = rng.normal(0.6, 0.03, count)
        table = {"insight": base} | {f: base - gain + rng.normal(0, 0.003, count) for f, gain in gains.items()}
        self.values = {f"{f}-s{first + i}": v for f, row in table.items() for i, v in enumerate(row)}
        self.runs = pd.DataFrame(
            [(run, run.split("-s")[0], int(run.split("-s")[1])) for run in self.values],
            columns=["run", "fusion", "seed"],
        ).set_index("run")
        gpu = {"type": "cuda", "name": "a GPU"}
        self.execution = {"runs": [{"run": run, "device": gpu} for run in self.values]}

    def find(self, *, fusion, role):
        return self.runs.index[self.runs.fusion == fusion].tolist()


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        ({"se": 0.02, "sum": 0.03, "cross": 0.01}, "supported"),
        ({"se": 0.02, "sum": 0.03, "cross": -0.02}, "not supported"),
        ({"se": 0.02, "sum": 0.03, "cross": 0.0}, "inconclusive"),
        ({"se": 0.02, "sum": 0.03}, "not tested"),
    ],
)
def test_derived_fusion(monkeypatch, gains, verdict):
    fake = Paired(gains)
    monkeypatch.setattr(inference, "accuracy_estimate", lambda f, run, c: type("E", (), {"value": f.values[run]}))
    assert inference.derived(fake, specification()["7"]).verdict == verdict
    assert inference.derived(Paired(gains, first=0), specification()["7"]).verdict == "not tested"  # not fresh


def test_derived_fusion_says_where_its_runs_were_made(monkeypatch):
    fake = Paired({"se": 0.02, "sum": 0.03, "cross": 0.01})
    monkeypatch.setattr(inference, "accuracy_estimate", lambda f, run, c: type("E", (), {"value": f.values[run]}))
    row = inference.derived(fake, specification()["7"])
    assert "GPU" not in row.why
    gains = np.array([fake.values[f"insight-s{300 + i}"] - fake.values[f"cross-s{300 + i}"] for i in range(10)])
    low, high = reference.ttest_1samp(gains, 0).confidence_interval()
    assert (row.value, row.low, row.high) == pytest.approx((gains.mean(), low, high))
    for entry in fake.execution["runs"]:
        if entry["run"] in ("sum-s304", "insight-s309", "se-s309", "sum-s309", "cross-s309"):
            entry["device"] = {"type": "cpu", "name": "x86_64"}
    assert inference.derived(fake, specification()["7"]).why.endswith("runs: 35 on a GPU, 5 on a CPU, 1 pairs on both")


@pytest.fixture(scope="module")
def silenced(tmp_path_factory):
    """A network of two seeds, every unit set of which was silenced beside 99 random ones, under three inputs."""
    torch.set_num_threads(1)
    out, data = tmp_path_factory.mktemp("silenced"), ToyData(330)
    options = {"batch_size": 110, "draws": 1, "progress": False, "device": "cpu"}
    for seed in (0, 1):
        extract(
            ToyNet(seed, width=16),
            data,
            out=out / str(seed),
            conditions=("both", "rgb", "depth", "rgb:mean", "depth:mean"),
            **options,
        )
    found = load(out / "0", out / "1")
    sets = ablations(found, "sum", draws=99, inputs=("both", "rgb:mean", "depth:mean"))
    extract(ToyNet(0, width=16), data, out=out / "0", conditions=sets, **options)
    return load(out / "0", out / "1")


def lost(features, name, given):
    """Accuracy lost on the half of the groups on which no units were chosen."""
    judged = ~chosen_on(networks_of(features, "sum"))
    hit, target = (
        np.stack([features.predictions("sum", c)[part][judged].sum(0) for c in (given, name)])
        for part in ("hit", "target")
    )
    return float(np.diff(-(hit / target).mean(1))[0])


def test_specific_units_stand_beside_random_ones(silenced):
    row = strategies.specific_units(silenced, specification()["3a"])
    p = {}
    for m in ("rgb", "depth"):
        random = np.array([lost(silenced, f"random {m} {i + 1}", "both") for i in range(99)])
        p[m] = (1 + (random >= lost(silenced, f"specific {m}", "both") - 1e-12).sum()) / 100
    assert row.p == pytest.approx(max(stats.holm(list(p.values()))), abs=0.021)
    assert row.verdict == ("supported" if row.p < 0.05 else "inconclusive") and row.low <= row.value <= row.high


def test_consistent_units_are_missed_more_without_the_other_input(silenced):
    row = strategies.consistent_units(silenced, specification()["3b"])
    more = {
        m: lost(silenced, f"consistent {m} given {m}:mean", f"{m}:mean") - lost(silenced, f"consistent {m}", "both")
        for m in ("rgb", "depth")
    }
    assert min(abs(row.value - value) for value in more.values()) < 1e-9
    assert row.verdict in ("supported", "not supported", "inconclusive")


def test_clear_errors(scenes):
    with pytest.raises(ValueError, match="nearest"):
        claims(scenes, only=["66"])
    with pytest.raises(ValueError, match="at least one"):
        claims()
    assert json.dumps(specification())
