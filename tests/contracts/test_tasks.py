"""Every task, with labels and without, of any modalities, alone and beside seeds and twins: what it promises."""

import json
import os
import re
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rgbd_insight.data import Batch
from rgbd_insight.extraction import extract
from rgbd_insight.features import (
    AGREEMENT,
    SCORES,
    TASKS,
    Concept,
    FeaturesError,
    Modality,
    find_task,
    load,
    write_quantised,
)
from rgbd_insight.hooks import Tap
from rgbd_insight.questions import at_chance, collaboration
from rgbd_insight.report import audit

IMAGES, SIDE, CLASSES = 12, 8, 3
MODALITIES = {
    "rgb-depth": (Modality("rgb", "", 0, 1), Modality("depth", "m", 0, 10)),
    "rgb-thermal": (Modality("rgb", "", 0, 1), Modality("thermal", "grey value", 0, 255)),
    "three": (Modality("rgb", "", 0, 1), Modality("depth", "m", 0, 10), Modality("thermal", "K", 250, 350)),
}
NAMED = {"segmentation": CLASSES, "classification": CLASSES, "saliency": 2, "regression": 0, "dense regression": 0}
CHAPTER, PATHS, LINES = Path(__file__).parents[2] / "book" / "your_model.ipynb", 8, 12
EVERY = list(product([*NAMED, "none"], (True, False), MODALITIES, (False, True)))


def chosen():
    """A quarter of the 72 cells, with every two values of any two axes in one of them; RGBD_INSIGHT_EVERY=1: all."""
    if os.environ.get("RGBD_INSIGHT_EVERY"):
        return EVERY
    tasks, names = [*NAMED, "none"], list(MODALITIES)
    place = {cell: (tasks.index(cell[0]), names.index(cell[2])) for cell in EVERY}
    kept = [cell for cell in EVERY if (sum(place[cell]) + cell[1]) % 2 == 0]
    return [cell for cell in kept if (place[cell][0] // 2 + place[cell][1] + cell[3]) % 2 == 0]


@dataclass
class Data:
    """Images with a bright patch that both modalities show, and labels of a task."""

    task: str
    labelled: bool
    modalities: tuple[Modality, ...]

    def __post_init__(self):
        self.name, self.size = "tiny", (SIDE, SIDE)
        self.groups = tuple(f"g{i}" for i in range(IMAGES))
        self.classes = tuple(f"class {i}" for i in range(NAMED.get(self.task, CLASSES)))
        self.concepts, self.families = (Concept("patch", "patch"), Concept("left", "side")), ("patch", "side")

    def __len__(self):
        return IMAGES

    def fingerprint(self):
        return {"task": self.task, "labelled": self.labelled, "n": IMAGES}

    def batch(self, indices):
        pictures = [torch.rand(6, SIDE, SIDE, generator=torch.Generator().manual_seed(i)) for i in indices]
        noise = torch.stack(pictures)  # (B, 6, H, W)
        patch = torch.zeros(len(noise), SIDE, SIDE, dtype=torch.bool)
        for row, i in enumerate(indices):
            patch[row, 2 * (i % 2) : 6, 1 : 2 + i % 5] = i % 3 > 0
        planes, inputs = 0, {}
        for m in self.modalities:
            x = 0.5 * noise[:, planes : planes + m.planes] + 0.5 * patch[:, None]
            inputs[m.name], planes = m.low + x * (m.high - m.low), planes + m.planes
        concepts = torch.full((len(noise), 2, SIDE, SIDE), -1, dtype=torch.int16)
        concepts[:, 0][patch] = 0
        concepts[torch.tensor([i % 4 == 0 for i in indices]), 1, :, : SIDE // 2] = 1
        ids = tuple(f"s{i}" for i in indices)
        return Batch(
            inputs, {}, self._labels(indices, noise, patch), concepts, ids, tuple(self.groups[i] for i in indices)
        )

    def _labels(self, indices, noise, patch):
        if not self.labelled:
            return None
        labels = {
            "segmentation": patch.long() + (noise[:, 0] > 0.8),
            "classification": torch.tensor([i % CLASSES for i in indices]),
            "saliency": patch.long(),
            "regression": patch.float().mean((1, 2)),
            "dense regression": patch + noise[:, 0],
            "none": patch.long(),
        }
        return labels[self.task]


class Net(nn.Module):
    """A stream of two units a modality at two levels, their sum, and a head of the task."""

    def __init__(self, task, modalities, seed=0, alone=None):
        super().__init__()
        torch.manual_seed(seed)
        self.task, self.names, self.seed, self.epoch = task, [m.name for m in modalities], seed, 5
        self.fusion = alone or "sum"
        if alone:
            self.modalities = (alone,)
        self.scale = [m.high - m.low for m in modalities]
        self.one = nn.ModuleDict({m.name: nn.Conv2d(m.planes, 3, 1) for m in modalities})
        self.two = nn.ModuleDict({m.name: nn.Conv2d(3, 3, 3, padding=1) for m in modalities})
        self.head = nn.Conv2d(3, max(NAMED.get(task, CLASSES), 1), 1)

    def taps(self, levels=(1, 2)):
        own = getattr(self, "modalities", self.names)
        return [Tap(name, level, f"{('one', 'two')[level - 1]}.{name}") for level in levels for name in own]

    def forward(self, *inputs):
        own, total = getattr(self, "modalities", self.names), 0
        for name, x, scale in zip(self.names, inputs, self.scale, strict=True):
            if name in own:
                total = total + self.two[name](self.one[name](x / scale).relu())
        maps = self.head(total)
        return {
            "segmentation": lambda: maps,
            "classification": lambda: 50 * maps.mean((2, 3)),
            "saliency": lambda: maps[:, :1] - maps[:, 1:],
            "regression": lambda: maps.mean((2, 3)),
            "dense regression": lambda: maps[:, 0],
            "none": lambda: [maps, maps],
        }[self.task]()


def made(out, task, labelled, names, beside, levels=(1, 2)):
    """Features of a tiny network: one checkpoint and its control, or two seeds and their twins."""
    data = Data(task, labelled, MODALITIES[names])
    options = {"progress": False, "device": "cpu", "draws": 1, "batch_size": IMAGES}
    # what a plane or a column is cannot be seen where there are neither labels nor classes; nor that nothing is wanted
    named = task.removeprefix("dense ") if task == "none" or (not labelled and "regression" in task) else None
    alone = [m.name for m in data.modalities] if beside else []
    for seed in (0, 1) if beside else (0,):
        for twin in (None, *alone):
            control = twin is None and seed == 0 and not beside
            net = Net(task, data.modalities, seed, twin)
            found = extract(net, data, net.taps(levels), out, task=named, control=control, **options)
    return found


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_any_two_values_meet_in_a_chosen_cell():
    for i, j in combinations(range(4), 2):
        assert {(cell[i], cell[j]) for cell in chosen()} == {(cell[i], cell[j]) for cell in EVERY}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("task", "labelled", "names", "beside"), chosen())
def test_every_task_is_audited(task, labelled, names, beside, tmp_path):
    drawn = names == "rgb-depth" and not beside  # figures and levels take most of the time
    features = made(tmp_path / "f", task, labelled, names, beside, (1, 2) if drawn else (2,))
    scoring = features.scoring("sum")
    assert scoring.task.name == task.removeprefix("dense ") and scoring.labelled == labelled
    report = audit(features, "sum", permutations=20)
    page = report.save(tmp_path / "report.html").read_text(encoding="utf-8") if drawn else report._repr_html_()
    assert page.count("<h2>") >= 5 and "nan" not in report.text()
    assert ("one checkpoint" in report.answers) == (not beside)
    assert ("Unlabelled" in " ".join(report.warnings)) == (not labelled)
    said = {re.split(r" of | at |, ", m.what)[0] for m in report.missing}
    for result in report.results.values():  # no value is none without a reason
        for row in result.table[result.table["value"].isna() & (result.table["measure"] != "label")].itertuples():
            assert any(row.measure in m.what or m.what in row.measure for m in result.missing), (row, said)
    lacks = {"none": {"accuracy", "utilisation", "class accuracy"}, "regression": {"class accuracy"}}
    lacking = lacks.get(scoring.task.name, set()) | (set() if labelled else {"class accuracy"})
    assert lacking <= said
    scores = report.results["collaboration"].rows([*SCORES])
    wanted = {scoring.score} if scoring.task.parts else set()
    assert set(scores["measure"]) == wanted
    if scoring.score == AGREEMENT:
        assert scores.set_index("condition").loc["both", "value"] == 1


def output(task, images=6, seed=0):
    """An output of a task and labels for it, some of them unknown."""
    rng = torch.Generator().manual_seed(seed)
    shapes = {
        "segmentation": (images, CLASSES, SIDE, SIDE),
        "classification": (images, CLASSES),
        "saliency": (images, 1, SIDE, SIDE),
        "regression": (images, 2),
    }
    made = torch.randn(shapes[task], generator=rng)
    if task == "regression":
        labels = torch.randn(shapes[task], generator=rng)
        labels[0, 0] = float("nan")
        return made, labels
    places = made.shape[:1] + made.shape[2:]
    labels = torch.randint(0, 2 if task == "saliency" else CLASSES, places, generator=rng)
    labels[0] = 255
    return made, labels


def naive(task, made, labels):
    """The score, one prediction after another."""
    if task == "regression":
        found = []
        for column in range(made.shape[1]):
            known = [
                (p, y) for p, y in zip(made[:, column].tolist(), labels[:, column].tolist(), strict=True) if y == y
            ]
            mean = sum(y for _, y in known) / len(known)
            found.append(1 - sum((p - y) ** 2 for p, y in known) / sum((y - mean) ** 2 for _, y in known))
        return sum(found) / len(found)
    guess = (made[:, 0] > 0).long() if task == "saliency" else made.argmax(1)
    pairs = [(g, y) for g, y in zip(guess.flatten().tolist(), labels.flatten().tolist(), strict=True) if y != 255]
    seen = sorted({y for _, y in pairs})
    return sum(sum(g == y for g, y in pairs if y == c) / sum(y == c for _, y in pairs) for c in seen) / len(seen)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.parts])
class TestTask:
    """What every task promises."""

    def test_the_score_is_the_naive_one_and_adds_up_over_images(self, name):
        task, (made, labels) = TASKS[name], output(name)
        counts = task.count(made, labels)
        assert tuple(counts) == task.parts and {len(part) for part in counts.values()} == {len(made)}
        halves = [task.count(made[rows], labels[rows]) for rows in (slice(0, 2), slice(2, None))]
        for part, values in counts.items():
            np.testing.assert_array_equal(values, np.concatenate([half[part] for half in halves]))
        assert task.value({p: x.sum(0) for p, x in counts.items()}) == pytest.approx(naive(name, made, labels))

    def test_it_agrees_with_itself(self, name):
        task, (made, _) = TASKS[name], output(name)
        assert task.value({p: x.sum(0) for p, x in task.count(made, task.truth(made)).items()}) == pytest.approx(1)

    def test_nothing_known_has_no_score(self, name):
        task, (made, labels) = TASKS[name], output(name)
        unknown = torch.full_like(labels, float("nan") if labels.is_floating_point() else 255)
        assert np.isnan(task.value({p: x.sum(0) for p, x in task.count(made, unknown).items()}))

    def test_it_is_found_from_output_and_labels(self, name):
        made, labels = output(name)
        classes = {"saliency": 2, "regression": 0}.get(name, CLASSES)
        assert find_task(made.shape, labels, classes, (SIDE, SIDE)).name == name
        assert find_task(made.shape, labels, classes, (SIDE, SIDE), name).name == name
        assert TASKS[name].fits(made.shape, labels, classes, (SIDE, SIDE))


@pytest.mark.parametrize(
    ("shape", "labels", "classes", "name", "words"),
    [
        ((5, 1, 8, 8), None, 0, None, "`task` must be named.*saliency or regression; give task='saliency'"),
        ((5, 4), None, 0, None, "`task` must be named.*classification or regression"),
        (None, None, 3, None, 'got none that is one tensor: give `adapt`.*task="none"'),
        ((5, 2, 4, 4), torch.zeros(5, 8, 8).long(), 3, None, r"logits of shape \(5, 3, 8, 8\).*got \(5, 2, 4, 4\)"),
        ((5, 3), torch.zeros(5, 8, 8).long(), 3, "classification", "must be 'segmentation' for data with labels"),
        ((5, 3), None, 3, "segmentaton", "got 'segmentaton': the nearest are segmentation"),
        ((5, 3, 8, 8), None, 3, "regression", "the model must return numbers.*without labels"),
    ],
)
def test_a_guess_that_is_not_unique_or_fits_nothing_is_refused(shape, labels, classes, name, words):
    with pytest.raises(ValueError, match=words):
        find_task(shape, labels, classes, (8, 8), name)


def test_probabilities_are_no_logits_of_saliency():
    with pytest.raises(ValueError, match="must return logits of saliency.*got values in \\[0, 1\\]"):
        TASKS["saliency"].truth(torch.linspace(0, 1, 64).reshape(1, 1, 8, 8))
    TASKS["saliency"].truth(torch.full((1, 1, 8, 8), 0.2))  # as an untrained network may answer


def test_a_regression_is_kept_exactly_and_known_to_be_no_better_than_the_mean(tmp_path):
    features = made(tmp_path / "f", "regression", True, "rgb-depth", False)
    parts = features.predictions("sum", "both")
    data, net = Data("regression", True, MODALITIES["rgb-depth"]), Net("regression", MODALITIES["rgb-depth"])
    batch = data.batch(range(IMAGES))
    with torch.no_grad():
        wrong = ((net(*batch.inputs.values())[:, 0].double() - batch.labels.double()) ** 2).numpy()
    np.testing.assert_allclose(parts["errors"][:, 0], wrong, rtol=1e-5)
    value = collaboration(features, "sum", measures=["accuracy"]).one("R²", condition="both").value
    assert value == pytest.approx(1 - wrong.mean() / batch.labels.double().var(correction=0).item(), rel=1e-5)
    assert "by always saying the mean 0" in at_chance(features, features.resolve("sum"))
    small = load(write_quantised(features, tmp_path / "small", units=2))
    np.testing.assert_array_equal(small.predictions("sum", "both")["errors"], parts["errors"])


def test_responses_only_record_no_predictions(tmp_path):
    features = made(tmp_path / "f", "none", False, "rgb-depth", False)
    assert features.conditions("sum") == ("both", "rgb", "depth") and features.predictions("sum", "both") == {}
    with pytest.raises(ValueError, match="of task none must be among both, rgb, depth; got \\['none'\\]"):
        net = Net("none", MODALITIES["rgb-depth"])
        extract(net, Data("none", False, MODALITIES["rgb-depth"]), out=tmp_path / "g", task="none", conditions=["none"])
    assert not (tmp_path / "g").exists()


def test_the_task_of_a_run_cannot_change(tmp_path):
    made(tmp_path / "f", "segmentation", False, "rgb-depth", False)
    net, data = Net("segmentation", MODALITIES["rgb-depth"]), Data("segmentation", False, MODALITIES["rgb-depth"])
    with pytest.raises(FeaturesError, match="was made with 'task'"):
        extract(net, data, out=tmp_path / "f", task="none", draws=1, batch_size=IMAGES, progress=False, device="cpu")


def test_committed_features_are_of_a_segmentation_with_labels():
    scoring = load("book/features/scenes", verify=False).scoring("sum")
    assert (scoring.task.name, scoring.labelled, len(scoring.columns)) == ("segmentation", True, 28)


def test_a_control_is_the_same_network_with_other_weights(tmp_path):
    features = made(tmp_path / "f", "segmentation", True, "rgb-depth", False)
    assert features.runs["role"].tolist() == ["untrained", "final"]
    control, run = features.runs.index
    assert features.entry(control)["about"]["control"] == "weights drawn anew"
    assert features.levels(control) == features.levels(run) and features.conditions(control) == features.conditions(run)
    ours, theirs = (features.responses(name, "rgb", 1, "both") for name in (run, control))
    assert np.abs(ours - theirs).max() > 0.01
    with pytest.raises(ValueError, match="`control` is for a trained network"):
        net = Net("segmentation", MODALITIES["rgb-depth"])
        data = Data("segmentation", True, MODALITIES["rgb-depth"])
        extract(net, data, out=tmp_path / "g", control=True, run={"epoch": 0, "role": "untrained"})


def test_a_first_time_users_path_for_each_task_is_short():
    """They are cells of the chapter, which is run from start to finish by another test."""
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    paths = ["".join(cell["source"]) for cell in cells if "task" in cell["metadata"].get("tags", [])]
    assert len(paths) == PATHS
    assert all(len([line for line in path.splitlines() if line.strip()]) <= LINES for path in paths)
