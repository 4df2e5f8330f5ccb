"""Concepts of one's own: what a table or a folder of masks says, and what is said of one that cannot be joined."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from rgbd_insight.data import with_concepts, with_labels
from rgbd_insight.extraction import extract
from rgbd_insight.features import FeaturesError, write_quantised
from rgbd_insight.questions import specificity
from rgbd_insight.report import audit
from tests._toy import ToyData, ToyNet

N = 120


class Told(ToyData):
    """Colour of every other image is bright."""

    def __init__(self, n):
        super().__init__(n)
        self.groups = tuple(f"g{i}" for i in range(n))

    def batch(self, indices):
        batch = super().batch(indices)
        bright = torch.tensor([0.5 * (i % 2 == 0) for i in indices])[:, None, None, None]
        first = next(iter(batch.inputs))
        return replace(batch, inputs=batch.inputs | {first: (0.5 * batch.inputs[first] + bright).clamp(0, 1)})


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("own") / "f"
    return extract(ToyNet(), Told(N), out=out, draws=1, cells=4, batch_size=60, progress=False, device="cpu")


def table(path, lines):
    path.write_text("\n".join(["id,concept,value", *lines]) + "\n")
    return path


def bright(path):
    return table(path, [f"s{i},bright,{int(i % 2 == 0)}" for i in range(N)])


def test_a_table_is_read_like_concepts_that_were_extracted(features, tmp_path):
    """The same attribute, joined to features and drawn into the data before extraction, gives the same numbers."""
    before = {p.name: p.read_bytes() for p in features.path.iterdir()}
    joined = features.with_concepts(bright(tmp_path / "own.csv"))
    assert joined.concepts["name"].tolist() == [*features.concepts["name"], "bright"]
    assert joined.present[:, -1].tolist() == [i % 2 == 0 for i in range(N)] and len(features.concepts) == 3
    data = with_concepts(Told(N), tmp_path / "own.csv")
    options = {"draws": 1, "cells": 4, "batch_size": 60, "progress": False, "device": "cpu"}
    drawn = extract(ToyNet(), data, out=tmp_path / "f", **options)
    np.testing.assert_array_equal(drawn.areas, joined.areas)
    assert drawn.concepts.equals(joined.concepts) and drawn.families == joined.families
    np.testing.assert_array_equal(drawn.cell_shares, joined.cell_shares)
    answers = [specificity(found, "sum", levels=[1], measures=["decodability"]) for found in (drawn, joined)]
    a, b = (answer.rows(concept="bright")["value"].to_numpy() for answer in answers)
    np.testing.assert_allclose(a, b)
    assert a[0] > 0.8 > abs(a[1])  # colour shows it, and depth does not
    assert "own.csv (1 concept, SHA-256" in answers[1].made["own concepts"][0]
    assert {p.name: p.read_bytes() for p in features.path.iterdir()} == before
    report = audit(joined, "sum", permutations=20)
    assert report.card["own concepts"].startswith("own.csv (1 concept") and "nan" not in report.text()
    with pytest.raises(FeaturesError, match="as they were extracted; own.csv was joined"):
        write_quantised(joined, tmp_path / "small")


def test_profiles_of_what_was_joined_are_none(features, tmp_path):
    joined = features.with_concepts(bright(tmp_path / "own.csv"))
    stored, padded = (found.position_profiles("sum", "rgb", 1) for found in (features, joined))
    np.testing.assert_array_equal(padded[..., :-1], stored)
    assert np.isnan(padded[..., -1]).all()


def test_masks_are_shares_of_images_and_cells(features, tmp_path):
    for i in range(N):
        mask = np.zeros((16, 16), np.uint8)
        mask[:8] = 255 * (i % 2)
        (tmp_path / "masks" / "upper").mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(tmp_path / "masks" / "upper" / f"s{i}.png")
    joined = features.with_concepts(tmp_path / "masks")
    assert joined.areas[:, -1].tolist() == [0.5 * (i % 2) for i in range(N)]
    odd = joined.cell_table["sample"].to_numpy() % 2 == 1
    upper = joined.cell_table["row"].to_numpy() < 0.5
    np.testing.assert_array_equal(joined.cell_shares[:, -1], odd & upper)
    data = with_concepts(Told(N), tmp_path / "masks")
    plane = data.batch([1, 2]).concepts[:, -1]
    assert (plane[0, :4] == 3).all() and (plane[0, 4:] == -1).all() and (plane[1] == -1).all()
    with pytest.raises(ValueError, match="aspect of the images"):
        Image.fromarray(np.full((8, 16), 255, np.uint8)).save(tmp_path / "masks" / "upper" / "s1.png")
        with_concepts(Told(N), tmp_path / "masks").batch([1])


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ["s0,a,1", "s999,a,1"],
            r"1 samples that the data do not have, s999 …: take them out, or give others=True",
        ),
        (["s0,a,1", "s0,a,0"], r"line 3: 'a' of 's0' is given again"),
        (["s0,a,yes"], r"line 2: `value` must be a number from 0 .*; got 'yes'"),
        (["s0,a,nan"], "got 'nan'"),
        (["s0,a,37"], "got '37': scale it"),
        (["x,a,1"], r"must name samples of the data, s0, s1, s2 …; its ids are x"),
        ([], "it lists none"),
        (["s0,wall,1"], "has a concept 'wall', and so have the data: rename it"),
        (["s0,,1"], "line 2: it must hold id, concept, value"),
        (["s0,a,1,2"], "line 2: it must hold"),
    ],
)
def test_a_bad_table_is_explained_in_one_line(features, tmp_path, lines, words):
    with pytest.raises(FeaturesError, match=words) as error:
        features.with_concepts(table(tmp_path / "own.csv", lines))
    assert "\n" not in str(error.value)


def test_other_files_are_explained(features, tmp_path):
    (tmp_path / "wide.csv").write_text("id,bright,dark\ns0,1,0\n")
    with pytest.raises(FeaturesError, match="must have the columns id, concept, value; got id, bright, dark"):
        features.with_concepts(tmp_path / "wide.csv")
    with pytest.raises(FeaturesError, match="cannot be read"):
        features.with_concepts(tmp_path / "none.csv")
    (tmp_path / "m" / "a").mkdir(parents=True)
    (tmp_path / "m" / "a" / "s0.png").write_bytes(b"no image")
    with pytest.raises(FeaturesError, match="cannot be read as an image"):
        features.with_concepts(tmp_path / "m")


def test_samples_that_are_not_listed_are_told(features, tmp_path):
    path = table(tmp_path / "own.csv", ["s0,a,1", "s1,a,0.25", "t0,a,1"])
    with pytest.warns(UserWarning, match="118 of 120 samples are not in"):
        joined = features.with_concepts(path, others=True)
    assert joined.areas[:3, -1].tolist() == [1, 0.25, 0]
    with (
        pytest.raises(ValueError, match="must hold 0 or 1 for a dataset; 'a' of 's1' is 0.25"),
        pytest.warns(UserWarning),
    ):
        with_concepts(Told(N), path, others=True)


def test_labels_of_ones_own_tell_datasets_apart():
    data = Told(6)
    same, other = (with_labels(data, lambda batch, k=k: torch.full((len(batch),), k)) for k in (1.0, 2.0))
    assert same.fingerprint() != other.fingerprint() != with_labels(data, None).fingerprint() != data.fingerprint()
    assert with_labels(data, None).batch([0]).labels is None
