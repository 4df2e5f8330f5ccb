"""Views that are their guests' are found out: by theory, beside a naive reference, and by every question."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from rgbd_insight.features import FeatureWriter, load, partners
from rgbd_insight.metrics import debiased_cka
from rgbd_insight.questions import collaboration, consistency, evolution, specificity
from rgbd_insight.questions.guests import freed, guests_share, own_share
from rgbd_insight.questions.isolation import judged
from rgbd_insight.questions.networks import networks
from rgbd_insight.result import Result

BOOK = Path(__file__).resolve().parents[2] / "book"
N, U, DRAWS = 240, 12, 4
GROUPS = [f"g{i:03d}" for i in range(N)]
CONDITIONS = ("both", "rgb", "depth", "none")


def written(out, views, *, seed, role="final", draws=DRAWS, moved=0.5, samples=N, isolated=None, **about):
    """A run whose views of rgb and depth at level 1 are the given arrays (N, U)."""
    head = {
        "name": "made",
        "fingerprint": {"n": samples},
        "samples": N,
        "size": [4, 4],
        "families": ["class"],
        "classes": ["wall"],
        "modalities": [{"name": m, "unit": "", "low": 0, "high": 1} for m in ("rgb", "depth")],
        "concepts": [{"name": "wall", "family": "class", "kind": "both", "visible": None}],
    }
    taps = [{"stream": s, "level": 1, "module": s} for s in views]
    run = {
        "fusion": "mixer",
        "seed": seed,
        "epoch": 3 if role == "final" else 1,
        "role": role,
        "about": {},
        "taps": taps,
    }
    run |= {"draws": draws, "block": N, "conditions": list(CONDITIONS), "ablations": {}} | about
    numbers = dict.fromkeys(
        ("brightness", "contrast", "mean_depth", "depth_std", "missing"), np.linspace(0, 1, N).tolist()
    )
    writer = FeatureWriter(out, head, run)
    writer.write(
        0,
        responses={f"{s}/1/{s}": x.astype(np.float32) for s, x in views.items()},
        predictions={f"{c}/{part}": np.ones((N, 1), int) for c in CONDITIONS for part in ("hit", "target", "guess")},
        areas=np.random.default_rng(0).random((N, 1)).astype(np.float32),
        samples={"id": GROUPS, "group": GROUPS} | numbers,
    )
    purity = [
        {"stream": "rgb", "level": 1, "modality": "depth", "moved": moved},
        {"stream": "depth", "level": 1, "modality": "rgb", "moved": 0.0},
    ]
    device = {"device": {"type": "cpu"}}
    writer.finish(purity=purity, isolated=isolated, execution=device)
    return writer.id


def planted(weight, *, seed=0, bend=None, draws=DRAWS, shown=8):
    """enc(own + weight · guest), each image having guests of its own; the depth stream shows some of 8 features."""
    rng = np.random.default_rng(7)  # the scenes are the same for every seed of the network
    own, other = rng.normal(size=(2, N, 8))
    mix = np.random.default_rng([seed, 1]).normal(size=(2, 8, U))
    felt = other[partners(GROUPS, draws)]  # (D, N, 8)
    bend = bend or (lambda x: x)
    return {"rgb": bend((own + weight * felt) @ mix[0]).mean(0), "depth": other[:, :shown] @ mix[1, :shown]}


def theory(weight, draws=DRAWS):
    return 1 / (1 + weight**2 / draws)


@pytest.mark.parametrize("weight", [0, 1, 2, 3])
def test_the_guests_share_is_what_was_planted(weight):
    table = partners(GROUPS, DRAWS)
    found = []
    for repeat in range(12):
        rng = np.random.default_rng(repeat)
        own, guest = rng.normal(size=(2, N, U))
        found.append(guests_share(own + weight * guest[table].mean(0), GROUPS, table))
    values = np.array([f.value for f in found])
    assert abs(values.mean() - (1 - theory(weight))) < 0.05
    assert sum(f.low < 1 - theory(weight) < f.high for f in found) >= 9


def test_the_guests_share_of_any_function_of_the_guest_is_that_of_a_naive_regression():
    """The slope of the images' products on how many guests they share, over pairs of different groups."""
    rng, groups = np.random.default_rng(3), np.repeat(np.arange(N // 2), 2)
    table = partners([str(g) for g in groups], DRAWS)
    own, guest = rng.normal(size=(N, U)) + rng.normal(size=(N // 2, U))[groups], np.abs(rng.normal(size=(N, U))) ** 2
    x = own + guest[table].mean(0)
    x = x - x.mean(0)
    shared = np.array([[len({*table[:, i]} & {*table[:, j]}) for j in range(N)] for i in range(N)])
    apart = groups[:, None] != groups
    slope, usual = np.polyfit(shared[apart], (x @ x.T)[apart], 1)
    expected = DRAWS * slope / ((x**2).sum(1).mean() - (x @ x.T)[apart].mean())
    assert guests_share(x, groups, table).value == pytest.approx(expected, abs=0.02)
    with pytest.raises(ValueError, match="two draws or more; got 1"):
        guests_share(x, groups, table[:1])


@pytest.fixture(scope="module")
def mixers(tmp_path_factory):
    """Features of an earlier version, by how much of the guest goes into the view and how much of it depth shows."""
    made = {}
    for weight, shown in ((0, 8), (1, 8), (1.5, 8), (3, 8), (1.5, 1), (3, 1)):
        out = tmp_path_factory.mktemp("mixers") / f"{weight}-{shown}"
        for seed in (0, 1):
            written(out, planted(weight, seed=seed, shown=shown), seed=seed)
        made[weight, shown] = load(out)
    return made


def test_the_own_share_falls_with_the_guests_weight_as_theory_says(mixers):
    shares = {key: own_share(f, "mixer", "rgb", 1) for key, f in mixers.items()}
    for (weight, shown), share in shares.items():
        assert share.how == "shared guests" and share.recorded == pytest.approx(theory(weight), abs=0.12)
        left = theory(weight * np.sqrt((8 - shown) / 8))  # what of the guest no depth stream shows stays in the view
        assert share.value == pytest.approx(left, abs=0.12) and share.low <= share.value <= share.high
    assert own_share(mixers[3, 8], "mixer", "depth", 1).how == "pure"
    assert [key for key, share in shares.items() if share.refused] == [(3, 1)]


def viewed(result):
    """What a result says of views, the seeds' numbers apart."""
    return {m.what.split("-e3's ")[1] for m in result.missing if "view of" in m.what}


def test_questions_refuse_what_is_mostly_the_guests_and_name_what_is_mixed_or_corrected(mixers):
    options = {"measures": ["cka", "cka within"], "permutations": 20}
    keys = (0, 8), (3, 8), (1.5, 1), (3, 1)
    clear, corrected, mixed, lost = (consistency(mixers[key], "mixer", **options) for key in keys)
    for kept in (clear, corrected, mixed):
        assert kept.table.value.notna().all()
    assert viewed(clear) == set() and viewed(mixed) == {"view of rgb, without its guests"}
    assert viewed(corrected) == {"view of rgb, beside the same guests for every image"}
    assert lost.table[["value", "low", "high", "null", "p", "ceiling"]].isna().all(axis=None)
    said = [m for m in lost.missing if "view of rgb" in m.what]
    assert len(said) == 2 and all(
        "mostly other scenes'" in m.why and "ri.extract" in m.call for m in said
    )  # both seeds
    shares = specificity(mixers[3, 1], "mixer", measures=["specific share"]).table
    assert len(shares) and shares.value.isna().all()  # of both: the one is what the other's is compared with
    sizes = evolution(mixers[3, 1], "mixer", measures=["effective dimension"]).rows("effective dimension")
    assert sizes.set_index("modality").value.isna().to_dict() == {"rgb": True, "depth": False}
    assert collaboration(mixers[3, 1], "mixer", measures=["accuracy"]).table.value.notna().all()  # no view


@pytest.mark.parametrize("bend", [None, np.abs])
def test_what_the_guests_predict_can_be_taken_out(tmp_path, mixers, bend):
    """Planted: enc(own + k · guest); what is left is the scene's own, wholly where enc is linear."""
    table = partners(GROUPS, DRAWS)
    for weight in (0, 1, 3):
        features = mixers[weight, 8]
        if bend is not None:
            written(tmp_path / f"{weight}", planted(weight, bend=bend), seed=0)
            features = load(tmp_path / f"{weight}")
        own = planted(0, bend=bend)["rgb"]
        before, after = features.view("mixer", "rgb", 1), freed(features, "mixer", "rgb", 1)
        if bend is None:
            assert debiased_cka(after, own) > 0.9
            assert abs(guests_share(after, GROUPS, table).value) < 0.12
        assert debiased_cka(after, own) > debiased_cka(before, own) - 0.02
    np.testing.assert_array_equal(freed(features, "mixer", "depth", 1), features.view("mixer", "depth", 1))
    before, after = mixers[3, 8].view("mixer", "rgb", 1), networks(mixers[3, 8], "mixer").view(0, "rgb", 1)
    hosts = mixers[3, 8].view("mixer", "depth", 1).astype(float)[table].mean(0)
    plain = LinearRegression().fit(hosts, before).predict(hosts)  # what 12 features of 240 guests predict, not held out
    assert debiased_cka(after, before - plain) > 0.98


def test_what_cannot_be_known_is_said(tmp_path):
    views = planted(3)
    part = tmp_path / "part"
    written(part, views, seed=0, samples=2 * N)  # a copy of half of the images: their guests were drawn from all
    assert own_share(load(part), "mixer", "rgb", 1).how == "unknown"
    np.testing.assert_array_equal(freed(load(part), "mixer", "rgb", 1), views["rgb"].astype(np.float32))
    found = consistency(load(part), "mixer", measures=["cka"], permutations=20)
    assert found.table.value.notna().all() and any(
        "whether" in m.what and "view of rgb" in m.what for m in found.missing
    )
    lone = tmp_path / "lone"
    written(lone, planted(3, draws=1), seed=0, draws=1)
    share = own_share(load(lone), "mixer", "rgb", 1)
    assert share.how == "predicted" and share.refused and share.value >= theory(3, 1) - 0.05  # an upper bound


def test_features_of_today_say_it_themselves_and_need_no_note(tmp_path):
    row = {"stream": "rgb", "level": 1, "modality": "rgb", "own": 0.3, "guest": 0.6, "both": 0.1}
    kept = {"guests": [], "reserves": [], "reserved": 0, "shares": [row | {"share": 0.9, "low": 0.85, "high": None}]}
    written(tmp_path / "f", planted(0), seed=0, isolated=kept, isolation="same guests")
    share = own_share(load(tmp_path / "f"), "mixer", "rgb", 1)
    assert (share.value, share.low, share.how) == (0.9, 0.85, "recorded") and np.isnan(share.high)
    assert not share.refused and not share.qualified
    assert own_share(load(tmp_path / "f"), "mixer", "rgb", 0).value == 0.9  # all levels: this one
    written(tmp_path / "g", planted(0), seed=0, isolation="same guests")
    assert own_share(load(tmp_path / "g"), "mixer", "rgb", 1).how == "unknown"


def test_a_checkpoint_is_judged_by_its_own_view_and_by_the_end_it_is_compared_with(tmp_path):
    out = tmp_path / "f"
    early = written(out, planted(3, shown=1), seed=0, role="checkpoint")
    for seed in (0, 1):
        written(out, planted(0, seed=seed), seed=seed)
    features = load(out)
    rows = [
        {
            "measure": measure,
            "run": run,
            "seed": 0,
            "epoch": epoch,
            "modality": "rgb",
            "versus": versus,
            "level": 1,
            "value": 1,
        }
        for measure, run, epoch, versus in (
            ("to final", early, 1, "final"),
            ("family in training", early, 1, None),
            ("family in training", "mixer-s0-e3", 3, None),
            ("family", "mixer", 3, None),
        )
    ]
    found = judged(features, Result.of("evolution", rows, made={}))
    assert found.table.value.isna().tolist() == [True, True, False, False]
    label = {"measure": "label", "seed": 0, "epoch": 1, "modality": "rgb", "level": 1, "label": "rgb"}
    both = judged(features, Result.of("specificity", [label | {"run": run} for run in (early, "mixer")], made={}))
    assert both.table.label.tolist() == ["undecided", "rgb"]
    assert len(found.missing) == 1 and found.missing[0].what.startswith(early)


def test_a_modality_without_a_stream_of_its_own_is_named():
    scenes = load(BOOK / "features" / "scenes")
    assert own_share(scenes, "early", "depth", 1).stream == "fused"
    found = consistency(scenes, "early", levels=[1], measures=["cka"], permutations=20)
    (depth,) = [m for m in found.missing if m.what.startswith("early-s0-e8's view of depth")]
    assert "which is read at the fused tap" in depth.what and "level 1 0.52, now " in depth.why


def test_an_untrained_network_without_an_end_is_asked_as_well(tmp_path):
    rng = np.random.default_rng(0)
    for seed in (0, 1):
        views = {m: rng.normal(size=(N, U)) for m in ("rgb", "depth")}
        written(tmp_path / str(seed), views, seed=seed, role="untrained")
    features = load(tmp_path / "0", tmp_path / "1")
    found = consistency(features, features.find(seed=1)[0], measures=["cka"], permutations=20)
    assert list(found.table.run) == ["mixer"] and np.isfinite(found.one("cka").value)
