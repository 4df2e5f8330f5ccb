"""What the book says in words is what it computed: verdicts beside their numbers, stated thresholds; and spelling."""

import json
import math
import re
from dataclasses import dataclass

import codespell_lib
import plain
import pytest
from readme import glued

from rgbd_insight.metrics.dissection import TOP
from rgbd_insight.questions.evolution import DECODED
from rgbd_insight.questions.specificity import MARGIN
from rgbd_insight.validation.scenes import CLEARANCE
from tests.book._chapters import BOOK, CHAPTERS, read, run
from tests.book._style import CODE, PARAGRAPH, SENTENCE, american, faults, rendered

ROOT = BOOK.parent
INTERVAL = re.compile(r"(-?\d+(?:\.\d+)?)(?:\s*%)? \((-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)")
# Decimal numbers that a chapter states in its prose; all others must be computed. Each is tied to what makes it true.
STATED = {
    "index": {},
    "data": {"0.05": 0.05},  # asked for in advance; the verdict beside it is computed
    "models": {},
    "consistency": {"0.1": 0.1},  # an example
    # .3 is the plaque's planted visibility in depth: see below
    "specificity": {"0.05": CLEARANCE, "0.3": 0.3, "0.005": TOP},
    "evolution": {"0.1": DECODED},
    "collaboration": {},
    "your_model": {"0.1": 0.1, "1.4": math.sqrt(2)},
    # the level of a test, the bounds that its cell counts by, the margin of the labels
    "trust": {"0.05": 0.05, "0.92": 0.92, "0.98": 0.98, "0.1": MARGIN},
    "claims": {},
    "speed": {},
}


def prose(path):
    """A page's text without code, formulas, roles and directives."""
    if path.suffix == ".ipynb":
        text = "\n\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
    else:
        text = path.read_text(encoding="utf-8")
    text = re.sub(r"^(`{3,})(?!\{).*?^\1\s*$", " ", plain.markdown(text, {}, {}), flags=re.M | re.S)
    return re.sub(r"\$\$.*?\$\$|\$[^$\n]*(?:\n[^$\n]+)?\$|`[^`]*`|⟨[^⟩]*⟩|\]\([^)]*\)", " ", text, flags=re.S)


@dataclass
class Interval:
    """A glued "value (low to high)"."""

    value: float
    low: float
    high: float

    @classmethod
    def read(cls, text):
        found = INTERVAL.search(text)
        assert found, f"no interval in {text!r}"
        return cls(*map(float, found.groups()))


def above(a, b):
    """Whether `a` lies certainly above `b`; None where rounding hides it."""
    return None if a.low == b.high else a.low > b.high


def claims(values):
    """(name, whether its words say yes, whether the numbers do) of every verdict that stands beside its numbers."""

    def interval(name):
        return Interval.read(values[name])

    def two(verdict, yes, more, less):
        # a family that is told nowhere has words in the place of an interval
        if {verdict, more, less} <= set(values) and INTERVAL.search(values[more]) and INTERVAL.search(values[less]):
            return [(verdict, bool(re.match(yes, values[verdict])), above(interval(more), interval(less)))]
        return []

    found = []
    for m in ("rgb", "depth"):
        found += two(f"consistency-{m}-trend", "more", f"consistency-{m}-4", f"consistency-{m}-1")
        found += two(f"specificity-{m}-trend", "falls", f"specificity-{m}-1", f"specificity-{m}-4")
        found += two(f"specificity-{m}-trend", "rises", f"specificity-{m}-4", f"specificity-{m}-1")
    found += two("consistency-trained", "more", "consistency-cka-4", "consistency-untrained")
    for name in ("scenes", "real"):
        found += two(f"accuracy-{name}", "less", f"accuracy-twin-{name}", f"accuracy-rgb-{name}")
        found += two(f"accuracy-{name}", "more", f"accuracy-rgb-{name}", f"accuracy-twin-{name}")
        found += two(f"order-{name}", "before", f"class-{name}", f"hue-{name}")
        found += two(f"order-{name}", "after", f"hue-{name}", f"class-{name}")
    for name, text in values.items():
        for verdict, compare in (("more than", lambda e: e.low > 0), ("less than", lambda e: e.high < 0)):
            if re.fullmatch(rf"{INTERVAL.pattern}\) {verdict}", text):
                found.append((name, True, compare(Interval.read(text))))
    for bound, verdict, yes in (
        ("specificity-bound", "specificity-hidden", "below"),
        ("data-bound", "data-hidden", "below$"),
    ):
        if bound in values and float(values[bound]) != 0.05:
            found.append((verdict, bool(re.match(yes, values[verdict])), float(values[bound]) < 0.05))
    if "models-within" in values:
        share = float(values["models-within"].split("\u00a0")[0])
        found.append(("models-fair", values["models-fair"] == "within", share <= 5))
    return [claim for claim in found if claim[2] is not None]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_verdicts_say_what_the_numbers_beside_them_say(path):
    assert not [
        f"{name}: {said} in words, {true} in numbers"
        for name, said, true in claims(glued(run(path)[0]))
        if said != true
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_values_lie_inside_their_intervals(path):
    wrong = []
    for name, text in glued(run(path)[0]).items():
        wrong += [f"{name}: {m[0]}" for m in INTERVAL.finditer(text) if not float(m[2]) <= float(m[1]) <= float(m[3])]
    assert not wrong


def test_counts_of_labels_add_up():
    values = glued(run(BOOK / "specificity.ipynb")[0])
    right, wrong, undecided, judged = (
        int(values[f"specificity-{k}"]) for k in ("right", "wrong", "undecided", "judged")
    )
    assert right + wrong + undecided == judged


def test_a_false_verdict_is_seen():
    values = {
        "consistency-rgb-trend": "more at level 4",
        "consistency-rgb-1": "0.30 (0.20 to 0.40)",
        "consistency-rgb-4": "0.35 (0.25 to 0.45)",
        "gain": "0.10 (-0.01 to 0.21) more than",
    }
    assert claims(values) == [("consistency-rgb-trend", True, False), ("gain", True, False)]


@pytest.mark.parametrize("name", STATED)
def test_numbers_in_prose_are_computed_or_tied_to_what_makes_them_true(name):
    found = set(re.findall(r"(?<![\w.])\d+\.\d+(?!\w)", prose(BOOK / f"{name}.ipynb")))
    assert found == set(STATED[name]), "a number was typed in: glue it, or tie it to its source in STATED"
    for text, true in STATED[name].items():
        assert float(text) == round(true, len(text.split(".")[1]))


def test_planted_numbers_in_prose_are_those_of_the_catalogue():
    from rgbd_insight.data import Scenes

    plaque = next(c for c in Scenes(n=1).concepts if c.name == "plaque")
    assert plaque.visible == {"rgb": 0.7, "depth": 0.3}
    for name in ("data", "specificity"):
        assert re.search(r"7(?: in|\s+of) 10 of its\s+appearances", prose(BOOK / f"{name}.ipynb"))
    assert MARGIN == 0.1 and "m = 0.1" in "".join(c.source for c in read(BOOK / "specificity.ipynb").cells)


PAGES = [*CHAPTERS, *sorted(BOOK.glob("*.md")), *(ROOT / f"{n}.md" for n in ("README", "CONTRIBUTING", "CHANGELOG"))]


def misspelt(path):
    """Whether a file holds known misspellings."""
    return codespell_lib.main("--quiet-level", "2", str(path)) != 0


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_spelling(path, tmp_path):
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    assert not misspelt(tmp_path / "text.txt")
    assert not american(prose(path)), "the book is written in British English"


def test_a_misspelling_is_seen(tmp_path):
    (tmp_path / "text.txt").write_text("two seperate streams", encoding="utf-8")
    assert misspelt(tmp_path / "text.txt")
    assert american("the color stream")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_style_of_a_chapter_as_it_is_read(path):
    notebook = run(path)[0]
    assert not faults(rendered(notebook, glued(notebook)))


@pytest.mark.parametrize(
    "path", [*(p for p in sorted(BOOK.glob("*.md")) if p.stem != "decisions"), ROOT / "README.md"], ids=lambda p: p.stem
)
def test_style_of_a_page(path):  # the decisions are a log, kept as it was written
    assert not faults(plain.markdown(path.read_text(encoding="utf-8"), {}, {}))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_lines_of_code_fit_their_box(path):
    lines = [line for cell in read(path).cells if cell.cell_type == "code" for line in cell.source.split("\n")]
    assert not [line for line in lines if len(line) > CODE]


def test_faults_of_style_are_seen():
    sentence = "It is " + "very " * SENTENCE + "long."
    assert len(faults(sentence)) == len(faults("A short one. " * (PARAGRAPH // 3 + 1))) == 1
    for text in (
        "What colour shows is told.",
        "Things are better.",
        "The color stream.",
        "It normalizes the labeled ones.",
    ):
        assert faults(text), text
    fine = "A concept of colour is 0.52 (0.45 to 0.58), *both* cameras see it. $x$ is `told`, as in [this](things.md)."
    assert not faults(f"{fine}\n\n| told | things |\n\n```\ntold\n```\n\n- {'word ' * 30}\n- {'word ' * 30}")
