import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from rgbd_insight.data import Scenes
from rgbd_insight.extraction import extract
from rgbd_insight.features import FeaturesError, load
from rgbd_insight.models import build
from rgbd_insight.report import answers, audit, compare
from rgbd_insight.report.page import figures
from rgbd_insight.result import Missing, Result

NASTY = "<script>alert('x')</script>&\""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    data, out = Scenes(110), tmp_path_factory.mktemp("features") / "mine"
    for fusion, conditions in (("sum", ("both", "rgb", "depth", "none")), ("depth", ("depth",))):
        model = build(fusion, data.classes, width=8)
        extract(model, data, out=out, conditions=conditions, draws=1, progress=False, device="cpu")
    return out


@pytest.fixture(scope="module")
def found(folder):
    return audit(load(folder), permutations=20)


def test_one_checkpoint_one_seed_no_twins_is_enough(found):
    assert found.run == "sum-s0-e0"
    assert list(found.results) == ["joint", "consistency", "specificity", "evolution", "collaboration"]
    missing = {m.what for m in found.missing}
    assert {"a second seed of sum", "checkpoints of sum", "the rgb twin of sum, seed 0"} <= missing
    assert "the depth twin of sum, seed 0" not in missing
    text = found.text()
    assert all(m.call in text for m in found.missing)
    assert found.card["ceiling"] == "split half"


def test_the_text_has_four_answers_with_intervals(found):
    for name, answer in found.answers.items():
        assert f"\n{name.upper()}. " in found.text()
        assert (" to " in answer or name not in found.results) and "nan" not in answer
    assert "nan" not in found.text()


def test_the_numbers_of_the_text_are_those_of_the_tables(found):
    rows = found.results["consistency"].rows("cka")
    assert f"{rows.value.mean():.3f}".lstrip("-") in found.answers["consistency"]
    both = found.results["collaboration"].one("accuracy", condition="both")
    assert f"with both inputs {both.value:.3f} ({both.low:.3f} to {both.high:.3f})" in found.answers["collaboration"]


def test_the_card_says_what_must_agree(found):
    card = found.card
    assert (card["images"], card["groups"], card["draws of the partner"]) == (110, 110, 1)
    assert card["size (H x W)"] == "48 x 64"
    assert card["modalities"] == "rgb (0 to 1), depth (0 to 10 m)"
    assert "depth moves rgb at level 2" in card["purity"]  # the sum goes on in the colour encoder
    assert card["versions"].startswith("rgbd_insight ") and "torch" in card["versions"]


def test_weaknesses_are_warned_of(found):
    warned = " ".join(found.warnings)
    assert "untrained" in warned and "Impure taps: depth moves rgb at level 2, 3, 4" in warned
    assert "concepts are in too few images" in warned and "more." in warned
    assert "groups: intervals" not in warned  # 110 are enough


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.images, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in ("img", "meta", "br", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_self_contained(found, tmp_path):
    path = found.save(tmp_path / "new" / "report.html")
    text, page = path.read_text(encoding="utf-8"), Page()
    page.feed(text)
    assert not page.open
    assert "http" not in text and 'src="data:image/png;base64,' in text
    assert len(page.images) >= 4 and all(image["alt"] for image in page.images)
    assert page.tags.count("table") > 8
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_what_comes_from_the_data_is_escaped(found, tmp_path):
    results = {}
    for name, result in found.results.items():
        table = result.table.copy()
        for column in ("concept", "family", "label"):
            table[column] = [NASTY if isinstance(value, str) else value for value in table[column]]
        results[name] = replace(result, table=table, missing=(Missing(NASTY, NASTY, NASTY),))
    spoiled = replace(found, run=NASTY, card=found.card | {"data": NASTY, NASTY: NASTY}, warnings=(NASTY,))
    object.__setattr__(spoiled, "results", results)
    object.__setattr__(spoiled, "answers", dict.fromkeys(results, NASTY))
    text = spoiled.save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text + spoiled._repr_html_()


def test_a_comparison_is_a_page_of_its_own_and_escaped(found, tmp_path):
    spoiled = replace(found, run=NASTY)
    path = compare(spoiled, replace(found, card=found.card | {"data": NASTY})).save(tmp_path / "beside.html")
    text, page = path.read_text(encoding="utf-8"), Page()
    page.feed(text)
    assert not page.open and page.tags.count("table") == 1
    assert "<script" not in text and "http" not in text
    assert "THE NUMBERS DO NOT COMPARE" in text
    with pytest.raises(ValueError, match=r"got 'beside.txt'"):
        compare(found, found).save(tmp_path / "beside.txt")


def test_json_holds_plain_rows_and_the_card(found, tmp_path):
    kept = json.loads(found.save(tmp_path / "report.json").read_text(encoding="utf-8"))
    assert kept["card"] == found.card and kept["answers"] == found.answers
    table = found.results["collaboration"].table
    back = pd.DataFrame(kept["tables"]["collaboration"])
    np.testing.assert_allclose(back["value"].astype(float), table["value"])
    assert not any(value is None for row in kept["tables"]["specificity"] for value in row.values())


def test_another_ending_is_an_error_and_writes_nothing(found, tmp_path):
    with pytest.raises(ValueError, match=r"must end in .html or .json; got 'report.pdf'"):
        found.save(tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())


def test_a_notebook_shows_the_answers(found):
    shown = found._repr_html_()
    assert "<h2>collaboration</h2>" in shown and "<img" not in shown
    assert "audit.save" in repr(found)


def test_runs_that_cannot_be_audited_are_named(folder):
    features = load(folder)
    with pytest.raises(FeaturesError, match="nearest: sum"):
        audit(features, "summ")
    with pytest.raises(FeaturesError, match="sees depth alone"):
        audit(features, "depth")
    features.runs = features.runs.loc[["depth-s0-e0"]]
    with pytest.raises(FeaturesError, match="has depth-s0-e0. Name one"):
        audit(features)


def cka(value, low, high, p):
    row = {
        "measure": "cka",
        "modality": "rgb",
        "versus": "depth",
        "ceiling": 0.9,
        "ceiling_kind": "other seed",
        "null": 0.0,
        "null_high": 0.05,
    }
    numbers = zip(value, low, high, p, strict=True)
    rows = [row | {"level": i + 1, "value": v, "low": a, "high": b, "p": q} for i, (v, a, b, q) in enumerate(numbers)]
    return answers.consistency(Result.of("consistency", rows, made={}))


def test_the_wording_follows_the_numbers():
    assert cka([0.4, 0.5], [0.3, 0.4], [0.5, 0.6], [0.01, 0.01]).startswith("Rgb and depth say the same in part: ")
    mixed = cka([0.4, 0.1, 0.0], [0.3, 0.01, -0.1], [0.5, 0.2, 0.1], [0.01, 0.03, 0.6])
    assert "at some levels only" in mixed and "interval lies above chance at level 1." in mixed
    assert "At level 2 the permutation test tells" in mixed and "At level 3 it cannot be told" in mixed
    assert cka([0.0], [-0.1], [0.1], [0.6]).startswith("That rgb and depth say the same cannot be told from chance")


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.6, 0.8, "much is its own"),
        (0.2, 0.4, "a part is its own"),
        (-0.05, 0.05, "hardly anything is its own"),
        (0.0, 0.4, "whether any is its own cannot be told"),
    ],
)
def test_the_specific_share_is_worded_by_its_interval(low, high, word):
    cells = {"measure": "specific share", "modality": "rgb", "level": 1, "ceiling_kind": "other seed"}
    rows = [cells | {"label": label, "value": (low + high) / 2, "low": low, "high": high} for label in ("named", "all")]
    text = answers.specificity(Result.of("specificity", rows, made={}))
    assert word in text and "No concept is in enough images" in text


def test_an_undefined_share_is_said_so():
    row = {"measure": "specific share", "modality": "rgb", "level": 1, "ceiling_kind": "split half", "label": "all"}
    text = answers.specificity(Result.of("specificity", [row], made={}))
    assert "no specific share can be given" in text and "nan" not in text


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.1, 0.3, "needs rgb"), (-0.3, -0.1, "better without rgb"), (-0.1, 0.1, "cannot be shown to need rgb")],
)
def test_use_is_worded_by_its_interval(low, high, word):
    used = {"measure": "utilisation", "value": (low + high) / 2, "low": low, "high": high}
    rest = {"measure": "utilisation", "value": 0.0, "low": -0.05, "high": 0.05}
    rows = [
        part | {"modality": m, "label": label}
        for m, part in (("rgb", used), ("depth", rest))
        for label in ("conditional", "Shapley")
    ] + [rest | {"label": "interaction"}]
    text = answers.collaboration(Result.of("collaboration", rows, made={}))
    assert word in text and "no interaction can be shown" in text
    assert ("More of the work is rgb's" in text) == (low > 0.05)


def test_a_page_has_no_words_for_developers():
    rows = [{"measure": "accuracy", "fusion": "sum", "condition": "both", "value": 0.5}]
    for question in ("joint", "consistency", "specificity", "evolution"):
        (only,) = figures(Result.of(question, rows, made={}))
        assert only == {"why": "nothing that it would show has a value; what is missing, below, says why."}


def test_json_follows_the_published_schema(found, tmp_path):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parents[2] / "book" / "_static" / "audit.schema.json").read_text())
    kept = json.loads(found.save(tmp_path / "report.json").read_text(encoding="utf-8"))
    check = jsonschema.Draft202012Validator(schema)
    check.check_schema(schema)
    check.validate(kept)
    for spoil in ({"format": "x"}, {"card": {}}, {"tables": {}}, {"more": 1}):
        assert list(check.iter_errors(kept | spoil)), spoil


def share(found, modality="rgb", level=1, **cells):
    number = {"value": found, "low": found - 0.1, "high": found + 0.1, "groups": 50, "ceiling": 1.0}
    kind = {"measure": "specific share", "ceiling_kind": "other seed", "modality": modality, "level": level}
    return [kind | number | {"label": label} | cells for label in ("all", "named")]


@pytest.mark.parametrize("value", [1.16, -2.87])
def test_a_share_outside_0_to_1_is_not_read_out_as_much(value):
    said = answers.specificity(Result.of("specificity", share(value), made={}))
    assert "how much is its own cannot be told, as the share lies outside 0 to 1" in said and f"{value:.3f}" in said
    assert "much is its own:" in answers.specificity(Result.of("specificity", share(0.8), made={}))


def test_a_refused_view_is_said_and_its_level_is_in_no_mean():
    gone = dict.fromkeys(("value", "low", "high", "null_high", "p", "ceiling"))
    rows = share(0.8) + share(0.8, level=2, **gone)
    said = answers.specificity(Result.of("specificity", rows, made={}))
    assert "0.800" in said and "mean over level 1)" in said
    said = answers.specificity(Result.of("specificity", share(0.8, **gone), made={}))
    assert said.startswith("For rgb no specific share can be given: most of a view is the scenes that stood in")
    cka = {"measure": "cka", "modality": "rgb", "versus": "depth", "ceiling_kind": "other seed"}
    cka |= {"value": 0.5, "low": 0.4, "high": 0.6, "null": 0.0, "null_high": 0.1, "p": 0.01, "ceiling": 0.9}
    said = answers.consistency(Result.of("consistency", [cka | {"level": 1}, cka | gone | {"level": 4}], made={}))
    assert "mean over level 1) is 0.500" in said and "Of level 4 nothing is said: most of a view" in said
    said = answers.consistency(Result.of("consistency", [cka | gone | {"level": 4}], made={}))
    assert said.startswith("Whether rgb and depth say the same cannot be told: most of a view")


def test_the_card_says_who_the_guests_were_and_how_much_of_each_view_is_its_own(found):
    assert found.card["guests"] == "the same for every image"
    rgb, depth = found.card["own share of the views"].split("; ")
    assert rgb.startswith("rgb 1.00 ") and depth == "depth 1.00 1.00 1.00 1.00"
    assert "other scenes, the same for every image. Share of the views" in " ".join(found.warnings)
