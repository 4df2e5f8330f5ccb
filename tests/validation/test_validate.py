"""The validation: worlds kept apart, work that goes on, scores against independent formulas, the committed tables."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, spearmanr, ttest_1samp, ttest_rel
from sklearn.metrics import roc_auc_score

from rgbd_insight import stats
from rgbd_insight.cli import main, validate
from rgbd_insight.data import Knobs, World
from rgbd_insight.features.tables import read_table, write_table
from rgbd_insight.metrics.cka import cka_statistic
from rgbd_insight.validation import errors, inputs, joint, kinds, origin, scores, work
from rgbd_insight.validation.bars import OTHER_CODE, bars, joint_bars
from rgbd_insight.validation.plan import best_iou, held_out_knobs, kind_knobs, outside, read_plan, slices, tasks
from rgbd_insight.validation.ranking import auroc
from rgbd_insight.validation.truth import MARGIN, THIN, absence, carried_on
from rgbd_insight.validation.validate import COLUMNS
from tests.book._chapters import of_a_gpu

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"
PLAN = read_plan()
PLACES = ["n", "width", "noise", "noise_ratio", "cooccurrence", "repetition"]
SAME = ["world", "measure", "condition", "part", *PLACES]  # of one row
FOUND = ["value", "low", "high", "truth", "p"]


def test_tuning_and_held_out_worlds_are_apart():
    tuned, held = PLAN["seeds"]["tuning"], PLAN["seeds"]["held_out"]
    assert tuned[1] < held[0]
    for task in tasks(PLAN):
        assert held[0] <= task[1]["seed"] <= held[1]
    for seed in range(held[0], held[0] + 40):
        knobs = held_out_knobs(PLAN, seed)
        assert outside(PLAN, knobs) and knobs == held_out_knobs(PLAN, seed)
    with pytest.raises(ValueError, match="`seed` must be from"):
        held_out_knobs(PLAN, tuned[1])


def test_outside_names_the_knobs():
    assert outside(PLAN, Knobs(n=400, width=32, other_width=32, noise=0.9, polysemy=3)) == ["noise", "polysemy"]


def test_the_plan_is_as_large_as_what_is_asked():
    count = pd.Series([battery for battery, _ in tasks(PLAN)]).value_counts()
    assert count["ranking"] >= 24 and count["null"] >= 400 and count["calibration"] >= 24
    assert all(PLAN["coverage"][size]["repetitions"] >= 400 for size in ("small", "shares"))
    keys = [work._key(task) for task in tasks(PLAN)]
    assert len(keys) == len(set(keys))
    quick = [battery for battery, _ in tasks(read_plan(quick=True))]
    assert set(quick) == set(count.index) and len(quick) < 45


def test_every_new_kind_has_the_worlds_that_are_asked():
    made = list(tasks(PLAN))
    for battery in ("account", "ranking"):
        seeds = {kind: set() for kind in PLAN["kinds"]}
        for options in (options for name, options in made if name == battery and "kind" in options):
            seeds[options["kind"]].add(options["seed"])
        assert all(
            len(s) == 150
            for kind, s in seeds.items()
            if kind in PLAN[{"ranking": "ranking_kinds"}.get(battery, battery)]["kinds"]
        )
        drawn = [seed for some in seeds.values() for seed in some]
        assert len(drawn) == len(set(drawn))
    alike = pd.Series([options["value"] for name, options in made if name == "neighbours"]).value_counts()
    assert alike.to_dict() == {0.0: 150, 0.3: 150, 0.6: 150}
    draws = [o for name, o in made if name == "coverage" and "kind" in o and o["what"] == "interval"]
    assert pd.DataFrame(draws).groupby("kind")["count"].sum().to_dict() == dict.fromkeys(
        ["sparse log-normal", "rectified", "heavy tails", "uneven groups"], 400
    )


@pytest.mark.parametrize("kind", PLAN["kinds"])
def test_a_kind_of_worlds_differs_in_what_it_says_and_in_nothing_else(kind):
    changed = PLAN["kinds"][kind]
    knobs, plain = kind_knobs(PLAN, 31000, kind), held_out_knobs(PLAN, 31000, outlier=0, **changed)
    assert knobs == plain and all(getattr(knobs, name) == value for name, value in changed.items())
    assert knobs.outlier == 0 and Knobs(**changed) != Knobs()


@pytest.mark.parametrize("task", slices(PLAN), ids=lambda task: " ".join([task[0], task[1].get("kind", "")]).strip())
def test_what_is_computed_now_is_what_the_committed_table_says(task):
    committed = read_table(RESULTS, "validation")
    committed = committed[(committed["battery"] == task[0]) & (committed["kind"].fillna("") == task[1].get("kind", ""))]
    now = pd.DataFrame(work.one(task, PLAN)).reindex(columns=COLUMNS)
    places, known = (rows[SAME].astype(object).where(rows[SAME].notna(), "") for rows in (now, committed))
    known = committed[FOUND].set_index(pd.MultiIndex.from_frame(known))
    assert known.index.is_unique
    rows = known.reindex(pd.MultiIndex.from_frame(places))
    assert rows["value"].notna().eq(now["value"].notna().to_numpy()).all(), "rows are not in the committed table"
    np.testing.assert_allclose(now[FOUND].to_numpy(float), rows.to_numpy(float), rtol=0, atol=1e-9)


def test_slices_are_of_every_battery_and_of_every_kind():
    found = {(battery, options.get("kind", "")) for battery, options in slices(PLAN)}
    assert found == {(battery, options.get("kind", "")) for battery, options in tasks(PLAN)}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """Folder of a quick run, and what its command returned."""
    folder = tmp_path_factory.mktemp("quick")
    return folder, main(["validate", "--quick", "--out", str(folder)])


def test_quick_run_writes_its_tables_within_a_minute_and_meets_what_it_is_asked(quick, capsys):
    folder, status = quick
    assert status == 0 and main(["validate", "--judge", str(folder)]) == 0
    assert "bars are met" in capsys.readouterr().out
    assert not origin.changed(folder) and not list(folder.glob("*.partial"))
    table = read_table(folder, "validation")
    assert tuple(table.columns) == COLUMNS and set(table["battery"]) == set(work.BATTERIES)
    found = bars(table)
    asked = found[found["met"].notna()]
    assert set(asked["score"]) == {  # of so few and so small worlds
        "false positives, groups permuted",
        "false positives, neighbours 0.6",
        "bias, largest |z| of the null mean",
        "degenerate input",
        "calibration, root mean square error",
        "variance partitioning, error of the worst share",
        "variance partitioning, sums off by",
    }
    worst = asked[asked["score"] == "variance partitioning, error of the worst share"]
    assert worst["about"].str.contains("corrected").all() and len(worst) == len(PLAN["account"]["kinds"])
    assert len(read_table(folder, "validation_differences")) > 20


def test_a_missed_bar_and_a_table_of_other_code_end_in_an_error_that_names_them(quick, tmp_path, monkeypatch, capsys):
    table = read_table(quick[0], "validation")
    wrong = table.assign(part=table["part"].where(table["battery"] != "inputs", "silent"))
    write_table(wrong, tmp_path, "validation", "a command", origin.digests())
    missed = f"missed: degenerate input, silent NaN: {(table['battery'] == 'inputs').sum()} (asked: none)"
    assert main(["validate", "--judge", str(tmp_path)]) == 1 and missed in capsys.readouterr().out
    monkeypatch.setattr(validate, "validate", lambda *_, **__: {"validation": wrong})
    assert main(["validate", "--out", str(tmp_path)]) == 1 and missed in capsys.readouterr().out
    write_table(table, tmp_path, "validation", "a command", origin.digests() | {"metrics.cka": "0" * 16})
    monkeypatch.setattr(validate.sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["validate", "--judge", str(tmp_path)]) == 1
    said = f"{validate.RED}missed: {OTHER_CODE}, metrics.cka: 1 (asked: none){validate.PLAIN}"
    assert said in capsys.readouterr().out
    write_table(table, tmp_path, "validation", "a command")
    assert origin.changed(tmp_path) == sorted(origin.digests())  # it does not say which code made it


def test_a_killed_run_goes_on_and_a_changed_plan_begins_anew(tmp_path, monkeypatch):
    file, made = tmp_path / "validation.partial", []
    pieces = [("first", {"seed": 1}), ("second", {"seed": 2})]

    def one(task, plan):
        if made == ["first"]:
            made.append("killed")
            raise KeyboardInterrupt
        made.append(task[0])
        return [{"battery": task[0]}]

    monkeypatch.setattr(work, "tasks", lambda plan: iter(pieces))
    monkeypatch.setattr(work, "one", one)
    with pytest.raises(KeyboardInterrupt):
        work.run({"a": 1}, file, workers=1, progress=False)
    with file.open("a") as cut:
        cut.write('{"task": "cut o')  # as a run leaves it that is killed while it writes
    wanted = [{"battery": "first"}, {"battery": "second"}]
    assert work.run({"a": 1}, file, workers=1, progress=False) == wanted
    assert work.run({"a": 1}, file, workers=1, progress=False) == wanted
    assert made == ["first", "killed", "second"]
    work.run({"a": 2}, file, workers=1, progress=False)
    assert made[3:] == ["first", "second"]


def test_only_code_counts_in_a_digest_and_all_of_it_does():
    code = "def f(x):\n    return x + 1\n\n\nclass A:\n    y: int = 3\n"
    same = '"""A module."""\n\n\ndef f(x):  # adds\n    """One more."""\n    return (x + 1)\n\n'
    same += 'class A:\n    "Doc."\n    y: int = 3'
    assert origin.code_digest(code) == origin.code_digest(same)
    for old, new in (
        ("x + 1", "x - 1"),
        ("x + 1", "x + 1.0"),
        ("= 3", "= 4"),
        ("f(x)", "f(x, *z)"),
        ("return x", "y = x"),
    ):
        assert origin.code_digest(code.replace(old, new)) != origin.code_digest(code)
    only = 'x = 1\n"""Not a docstring of the module."""\n'
    assert origin.code_digest(only) != origin.code_digest("x = 1\n")
    assert {"metrics.cka", "stats.resampling", "data.worlds", "validation.work", "validation.validate.toml"} <= set(
        origin.digests()
    )


def test_rows_of_other_code_are_computed_again(tmp_path, monkeypatch):
    file, made = tmp_path / "validation.partial", []
    monkeypatch.setattr(work, "tasks", lambda plan: iter([("first", {"seed": 1}), ("second", {"seed": 2})]))

    def one(task, plan):
        made.append(task[0])
        if task[0] == "second":
            raise KeyboardInterrupt
        return [{"battery": task[0]}]

    monkeypatch.setattr(work, "one", one)
    for code in ({"a": "1"}, {"a": "1"}, {"a": "2"}):
        monkeypatch.setattr(work, "digests", lambda code=code: code)
        with pytest.raises(KeyboardInterrupt):
            work.run({}, file, workers=1, progress=False)
    assert made == ["first", "second", "second", "first", "second"]


def test_the_truth_of_an_account_holds_as_much_of_a_unit_as_its_variance_has_signal(monkeypatch):
    monkeypatch.setattr(kinds, "corrected_partitioning", lambda *given: SimpleNamespace(level=np.zeros(4)))
    seed, kind = 190007, "noise ratio 3"  # of depth, whose units' noise differs by up to nine times
    rows = pd.DataFrame(kinds.account(PLAN, seed, kind))
    size = {"n": int(rows["n"][0]), "width": 64, "other_width": 64}
    world = World(kind_knobs(PLAN, seed, kind, networks=1 + int(rows["count"][0]), **size), seed)
    of_signal = world.unit_shares("depth", beside=range(1, 1 + int(rows["count"][0])))
    by_unit = of_signal / world.stream("depth").var(0)[:, None]  # a signal has variance 1
    np.testing.assert_allclose(rows["truth"], by_unit.sum(0) / by_unit.sum(), atol=0.01)
    assert np.abs(rows["truth"] - of_signal.sum(0) / of_signal.sum()).max() > 0.02  # as if all had as little noise


def test_the_account_is_wrong_by_the_mean_over_shares_and_by_the_worst_of_any_world():
    base = {"battery": "account", "kind": "k", "condition": "corrected", "truth": 0.2}
    errors = {1: [0.01, 0.03], 2: [0.02, -0.1]}
    rows = [base | {"world": w, "value": 0.2 + e} for w, some in errors.items() for e in some]
    found = scores.account(pd.DataFrame(rows)).iloc[0]
    interval = ttest_1samp([0.02, 0.06], 0).confidence_interval()
    assert found[["error", "worst", "worlds"]].tolist() == pytest.approx([0.04, 0.1, 2])
    assert found[["low", "high"]].tolist() == pytest.approx([interval.low, interval.high])


def test_neighbours_that_are_alike_are_exchanged_as_the_questions_do():
    rows = pd.DataFrame(errors.neighbours(PLAN, 5, 0.9))
    world = errors._empty(PLAN["null"] | PLAN["neighbours"], 5, neighbours=0.9)
    assert (rows["condition"] == "neighbours 0.9").all() and len(rows) == 7
    x, y = world.stream("rgb"), world.stream("depth")[:, : world.knobs.width]
    found = stats.neighbours([x, world.stream("depth")], world.groups)
    assert found.alike and (rows["count"] == found.joined).all()
    plan = found.plan(permutations=39, seed=5)
    wanted = stats.estimate(cka_statistic(x, y), found.groups, plan).p
    assert rows.set_index("measure").loc["debiased_cka", "p"] == pytest.approx(wanted)
    assert (rows["value"] == (rows["p"] <= 0.05)).all()


def test_rates_have_exact_bounds():
    hits = {"a": 3, "b": 0, "c": 40}
    rows = [
        {"battery": "null", "measure": m, "condition": "groups", "value": float(i < h)}
        for m, h in hits.items()
        for i in range(40)
    ]
    found = scores.false_positives(pd.DataFrame(rows)).set_index("measure")
    for m, h in hits.items():
        bound = binomtest(h, 40, alternative="greater").proportion_ci(1 - 0.01 / 3, "exact")
        assert found.loc[m, "rate"] == h / 40 and found.loc[m, "low"] == pytest.approx(bound.low)
    assert found.loc["c", "high"] == 1 and found.loc["b", "high"] < 0.2


def test_null_means_and_calibration_are_what_numpy_gives():
    rng = np.random.default_rng(0)
    values = rng.normal(0.1, 1, 50)
    table = pd.DataFrame({"battery": "bias", "measure": "m", "ours": True, "n": 64, "width": 32, "value": values})
    assert scores.null_means(table)["z"].item() == pytest.approx(values.mean() / values.std(ddof=1) * 50**0.5)
    truth = rng.random(30)
    table = pd.DataFrame({"battery": "calibration", "measure": "m", "truth": truth, "value": 0.1 + 0.5 * truth})
    found = scores.calibrated(table).iloc[0]
    assert found["slope"] == pytest.approx(0.5) and found["intercept"] == pytest.approx(0.1)
    assert found["rmse"] == pytest.approx(np.sqrt(((0.1 - 0.5 * truth) ** 2).mean()))


def test_intervals_are_counted_against_the_mean_of_all_fresh_draws():
    base = {"battery": "coverage", "measure": "m", "n": 200, "width": 32}
    rows = [base | {"condition": "expectation", "value": v, "count": c} for v, c in ((0.0, 100), (1.0, 300))]
    limits = [(0.7, 0.8), (0.76, 0.9), (0.1, 0.75), (0.2, 0.3)]
    rows += [
        base | {"condition": "interval", "value": 0.5, "low": a, "high": b, "repetition": i}
        for i, (a, b) in enumerate(limits)
    ]
    found = scores.containment(pd.DataFrame(rows)).iloc[0]
    assert found["expectation"] == 0.75 and found["coverage"] == 0.5 and found["repetitions"] == 4


def test_intervals_of_several_concepts_are_counted_each_against_its_own_mean():
    base = {"battery": "coverage", "measure": "m", "n": 200, "width": 32}
    rows = [
        base | {"condition": "expectation", "part": f"{kind} {k}", "value": float(k), "count": 10}
        for k, kind in enumerate(("both", "rgb", "both"))
    ]
    rows += [
        base
        | {
            "condition": "interval",
            "part": f"{kind} {k}",
            "repetition": draw,
            "value": k,
            "low": k - reach,
            "high": k + 0.1,
        }
        for draw, reach in enumerate((0.1, -0.05))
        for k, kind in enumerate(("both", "rgb", "both"))
    ]
    found = scores.containment(pd.DataFrame(rows)).iloc[0]
    assert found["coverage"] == 0.5 and found["repetitions"] == 2  # draws, not concepts
    kinds = scores.containment(pd.DataFrame(rows), by="shown by")
    assert kinds["part"].tolist() == ["both", "rgb"] and (kinds["coverage"] == 0.5).all()
    each = scores.containment(pd.DataFrame(rows), by="concept")
    assert each["part"].tolist() == ["both 0", "rgb 1", "both 2"] and (each["coverage"] == 0.5).all()
    apart = rows + [row | {"kind": "heavy tails", "value": row["value"] + 9} for row in rows]
    assert scores.containment(pd.DataFrame(apart)).set_index("kind")["coverage"].tolist() == [0.5, 0.0]


def test_differences_are_paired_and_say_who_is_better():
    rng = np.random.default_rng(0)
    ours = rng.random(20)
    close, worse = ours + 0.01 * rng.normal(size=20), ours - 0.2 + 0.01 * rng.normal(size=20)
    base = {
        "battery": "ranking",
        "condition": "held-out",
        "coverage": 0.5,
        "nuisance": 0.2,
        "outlier": 0.0,
        "part": "concept",
    }
    rows = [
        base | {"world": w, "measure": m, "value": v[w], "ours": m == "rank_units"}
        for w in range(20)
        for m, v in (("rank_units", ours), ("close", close), ("worse", worse))
    ]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    found = scores.differences(table).query("where == 'all'").set_index("alternative")
    expected = ttest_rel(ours, worse).confidence_interval()
    assert found.loc["worse", ["low", "high"]].tolist() == pytest.approx([expected.low, expected.high])
    assert found.loc["worse", "verdict"] == "ours is better" and found.loc["close", "verdict"] == "not certain"
    assert found["best"].to_dict() == {"close": True, "worse": False}
    flipped = table.assign(value=-table["value"])
    verdicts = scores.differences(flipped).query("where == 'all'").set_index("alternative")["verdict"]
    assert verdicts["worse"] == "the alternative is better"


def test_the_joint_score_is_compared_by_rank_correlations_over_worlds_drawn_together():
    rng, worlds = np.random.default_rng(0), 60
    truth = rng.random(worlds)
    said = {"joint score": truth + 0.1 * rng.normal(size=worlds), "cka": truth + rng.normal(size=worlds)}
    base = {"battery": "joint", "condition": "joint"}
    rows = [
        base | {"world": w, "measure": m, "value": v[w], "truth": truth[w]}
        for m, v in said.items()
        for w in range(worlds)
    ]
    rows += [row | {"condition": "normalised", "value": -row["value"]} for row in rows if row["measure"] == "cka"]
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    value, draws = scores.rank_correlations(table)
    assert value["joint score"] == pytest.approx(spearmanr(said["joint score"], truth).statistic)
    assert value["cka, normalised"] == pytest.approx(-value["cka"])
    assert draws["cka"].std() == pytest.approx(1 / worlds**0.5, rel=0.3)
    found = scores.differences(table).query("score == 'joint'").set_index("alternative")
    assert found["best"].to_dict() == {"cka": True, "cka, normalised": False} and (found["worlds"] == worlds).all()
    assert found.loc["cka", "difference"] == pytest.approx(value["joint score"] - value["cka"])
    gap = draws["joint score"] - draws["cka"]
    assert found.loc["cka", ["low", "high"]].tolist() == pytest.approx(np.quantile(gap, [0.025, 0.975]).tolist())
    assert (found["verdict"] == "ours is better").all()


def test_what_the_joint_score_is_asked_is_to_beat_its_parts_and_the_best_of_the_others():
    rng, worlds = np.random.default_rng(1), 40
    truth = rng.random(worlds)
    spread = {
        ("joint", "joint score"): 0.02,
        ("joint", "joint score, units"): 0.02,
        ("part", "semantic variance"): 1.0,
        ("normalised", "debiased_cka"): 1.0,
        ("normalised", "rsa"): 0.02,
        ("normalised", "cka"): 1.0,
        ("raw", "cka"): 1.0,
    }
    rows = [
        {"battery": "joint", "condition": c, "measure": m, "world": w, "truth": truth[w], "value": truth[w] + s * e}
        for (c, m), s in spread.items()
        for w, e in enumerate(rng.normal(size=worlds))
    ]
    rows += [
        {"battery": "synergy", "measure": m, "world": w, "value": v + e * (w % 2)}
        for m, v, e in (("excess synergy", 0.95, 0.02), ("co-information", 0.9, 0.0), ("decodability gain", 0.94, 0.04))
        for w in range(worlds)
    ]
    found = joint_bars(scores.differences(pd.DataFrame(rows).reindex(columns=COLUMNS)))
    asked = {row[1]: row[-1] for row in found if row[0].startswith("joint")}
    assert asked == {
        "to semantic variance alone": True,
        "to similarity alone": True,
        "to rsa, normalised, the best there": False,
        "to cka, the best there": True,
        "to joint score, units": None,
    }
    synergy = {row[1]: row[-1] for row in found if row[0].startswith("synergy")}
    assert synergy == {"to co-information": True, "to decodability gain": False, "all held-out worlds": True}


def test_worlds_of_the_joint_battery_differ_in_their_overlap_and_lie_outside_the_tuning_ranges():
    knobs = [joint.overlapping(PLAN, 170000 + i) for i in range(30)]
    overlaps = [k.concept_overlap for k in knobs]
    assert min(overlaps) < 0.15 and max(overlaps) > 0.85 and all(outside(PLAN, k) for k in knobs)
    assert all(k.outlier == 0 and k.networks == 2 and k.n in PLAN["joint"]["n"] for k in knobs)
    wide = {name: max(getattr(k, name) for k in knobs) for name in ("nuisance", "noise", "cooccurrence", "other_width")}
    assert wide["nuisance"] > 0.6 and wide["noise"] > 0.7 and wide["cooccurrence"] > 0.5 and wide["other_width"] == 256


def test_every_comparison_tells_streams_that_share_concepts_from_streams_that_do_not():
    easy = {"width": [32], "other_width": [48], "noise": [0.3], "nuisance": [0.1], "noise_ratio": [1.0]}
    easy |= {"cooccurrence": [0.0], "polysemy": [1], "layout": [0.0], "imbalance": [0.5], "unit_noise": [0.0]}
    plan, said = PLAN | {"held_out": PLAN["held_out"] | easy, "tuning": {"n": [1]}}, {}
    for overlap in (0.0, 1.0):
        plan["joint"] = PLAN["joint"] | {"n": [400], "coverage": [1.0], "concept_overlap": [overlap, overlap]}
        rows = pd.DataFrame(joint.joint(plan, 170500))
        assert rows["truth"].to_numpy() == pytest.approx(overlap)
        said[overlap] = rows.set_index(["condition", "measure"])["value"]
    assert (said[1.0] > said[0.0]).all()
    for name in (("normalised", "debiased_cka"), ("part", "semantic variance"), ("joint", "joint score")):
        assert abs(said[0.0][name]) < 0.2 and abs(said[1.0][name] - 1) < 0.25


def test_thin_concepts_tell_what_is_said_and_are_counted_by_their_label():
    rng = np.random.default_rng(0)
    area, noise = rng.normal(size=(2, 400_000))
    delta = 2 * roc_auc_score(area > 0, THIN * area + np.sqrt(1 - THIN**2) * noise) - 1
    assert delta == pytest.approx(MARGIN, abs=0.006)
    rows = pd.DataFrame(absence(read_plan(quick=True), 5, 800, 5)).assign(battery="absence")
    assert rows["part"].isin(["rgb", "undecided", "both"]).all() and (rows["truth"] == MARGIN).all()
    table = rows.assign(part=["rgb"] * 3 + ["both", "undecided"] * 4 + ["neither"] + ["depth"] * 12)
    found = scores.called_absent(table).set_index("condition")
    assert found["rate"].to_dict() == {"dimmed": 4 / 12, "thin": 0.0} and found.loc["thin", "high"] > 0.2
    assert found.loc["dimmed", "low"] == pytest.approx(binomtest(4, 12).proportion_ci(0.95, "exact").low)


def test_the_error_of_a_share_has_the_interval_of_its_mean_over_worlds():
    rng = np.random.default_rng(0)
    values = {"a -> a": 1 + rng.normal(-0.2, 0.1, 12), "a -> b": rng.normal(0.05, 0.1, 12)}
    base = {"battery": "partitioning", "condition": "1", "noise": 0.3, "noise_ratio": 1.0, "n": 600}
    rows = [
        base | {"part": part, "world": w, "value": v[w], "truth": float(part == "a -> a")}
        for part, v in values.items()
        for w in range(12)
    ]
    found, wanted = scores.shares(pd.DataFrame(rows)).iloc[0], ttest_1samp(1 - values["a -> a"], 0)
    interval = wanted.confidence_interval()
    assert found["error"] == pytest.approx((1 - values["a -> a"]).mean())
    assert [found["low"], found["high"]] == pytest.approx([interval.low, interval.high])


def test_auroc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    score, truth = rng.normal(size=60).round(1), rng.random(60)
    truth[:5] = 0.5
    assert auroc(score, truth, 0.5) == pytest.approx(roc_auc_score(truth[5:] > 0.5, score[5:]))
    assert np.isnan(auroc(score, np.ones(60), 0.5))
    assert np.isnan(auroc(score[:0], truth[:0], 0.5))


def test_extrapolation_is_exact_where_the_error_falls_with_the_number_of_networks():
    value = {m: 0.7 - 0.3 / m for m in (2, 4)}
    assert carried_on(value[2], value[4], [2, 4]) == pytest.approx(0.7)


def test_iou_of_a_unit_that_is_the_concept():
    present = np.arange(100)[:, None] < 10
    x = np.hstack([present, ~present]).astype(float) + np.arange(100)[:, None] * 1e-3
    assert best_iou(x, present)[:, 0].tolist() == [1.0, 0.0]


def test_no_answer_is_silent():
    found = pd.DataFrame(inputs.inputs(PLAN, 0))
    assert not (found["part"] == "silent").any()
    kinds = found.pivot(index="measure", columns="condition", values="part")
    assert (kinds["a value that is not finite"] == "error").all() and (kinds["three images"] == "error").all()
    assert (kinds["identical streams"] == "value").all()
    assert kinds.loc[["profiles", "decodability"], "a concept that never occurs"].eq("reason").all()
    same = found[found["condition"] == "identical streams"].set_index("measure")["value"]
    assert same["debiased_cka"] == pytest.approx(1) and same["procrustes_distance"] == pytest.approx(0, abs=1e-6)


def test_a_silent_answer_would_be_noticed():
    case = inputs.cases()["identical streams"]
    assert inputs.answer(lambda *_: (np.nan, ""), case)[0] == "silent"
    assert inputs.answer(lambda *_: ([1.0, np.nan], "why"), case) == ("reason", 1.0, "why")


def test_image_permutation_finds_what_is_not_there():
    knobs = Knobs(n=150, width=16, other_width=16, likeness=0.8, related=False, concepts=12, networks=1)
    world = World(knobs, 3)
    statistic = cka_statistic(world.stream("rgb"), world.stream("depth"))
    by_images = errors._permutation(statistic, np.arange(150), 99, 0)
    by_groups = errors._permutation(statistic, world.groups, 99, 0)
    assert by_images == 0.01 and by_groups > by_images


def test_committed_differences_are_those_of_the_committed_rows():
    table, committed = read_table(RESULTS, "validation"), read_table(RESULTS, "validation_differences")
    pd.testing.assert_frame_equal(scores.differences(table), committed, check_dtype=False)


def test_bars_say_what_was_asked_of_the_committed_rows_and_of_the_scenes():
    table = read_table(RESULTS, "validation")
    found = bars(table, RESULTS)
    with pytest.raises(ValueError, match="numbers in its column 'nuisance'; got 'much'"):
        bars(table.assign(nuisance="much"))
    assert {"concept labels, spearman", "ranking, paired difference", "degenerate input"} <= set(found["score"])
    assert found["value"].notna().all()
    absent = found[found["score"] == "a true δ of .1 called absent"]
    scenes = absent["about"].str.startswith("scenes")
    asked = absent if of_a_gpu("scenes") else absent[~scenes]  # a reader's own networks may be worse
    assert scenes.sum() == 2 and asked["met"].dropna().all()
    shown = found["bar"].str.startswith(("shown", "reported"))
    assert (found["met"].isna() == shown).all()
