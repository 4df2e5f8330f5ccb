"""A short form of the malformed calls and of the errors in `forward`, and the names that figures and pages meet."""

import io
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

import rgbd_insight as ri
from rgbd_insight import plots
from rgbd_insight.cli import main
from rgbd_insight.extraction import extract
from rgbd_insight.features import FeaturesError, files, load
from rgbd_insight.features.files import read_parquet
from rgbd_insight.models import build
from rgbd_insight.result import Missing, Result
from rgbd_insight.utils.files import digest
from rgbd_insight.utils.messages import WHERE
from tests import _results
from tests._toy import ToyData, ToyNet
from tests.faults._commands import malformed_commands
from tests.faults._forward import forwards
from tests.faults._malformed import WELL, malformed
from tests.faults.campaign import GOOD
from tests.features.test_features import written

SAMPLED = (
    "metrics.debiased_cka",
    "metrics.decodability",
    "metrics.matching",
    "metrics.variance_partitioning",
    "stats.estimate",
    "stats.max_p",
    "data.Scenes",
    "hooks.Tap",
    "hooks.purity",
    "features.RunId",
    "features.write_table",
    "plots.class_iou",
    "plots.coverage",
    "training.Recipe",
)
NAMES = (r"$\frac0$", "$", "5 $ or 6 $", "a_b^c{", "}", "<b>&", "two\nlines", "\\", "%", "x" * 60)


def test_malformed_commands_are_a_line_and_write_nothing(tmp_path):
    found = malformed_commands(tmp_path.resolve(), every=61)
    assert not {what: n for what, n in found.items() if what not in GOOD and n}
    assert found["malformed commands"] > 80 and found["malformed commands refused"] > 60


def test_malformed_calls_name_what_is_wrong(tmp_path):
    found = malformed(tmp_path.resolve(), SAMPLED, every=9)
    assert not {what: n for what, n in found.items() if what not in GOOD and n}
    assert found["functions"] == len(SAMPLED) and found["malformed calls"] > 60
    assert sum(found[f"malformed calls {how}"] for how in WELL) == found["malformed calls"]


def test_an_error_in_forward_leaves_nothing(tmp_path):
    torch.set_num_threads(1)
    found = forwards(tmp_path, 6)
    assert found["errors in forward"] >= 3
    assert set(found) <= {"errors in forward", "called less often"}, found


def test_a_network_of_the_wrong_shape_leaves_no_folder(tmp_path):
    model = build("sum", classes=2, width=8)  # the data has 3
    with pytest.raises(ValueError, match="classes"):
        extract(model, ToyData(4), out=tmp_path / "a" / "b", progress=False, device="cpu")
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_comes_once_is_not_blamed_on_the_size(tmp_path):
    model, calls = ToyNet(), []

    def adapt(model, rgb, depth):
        calls.append(None)
        if len(calls) == 3:
            raise RuntimeError("once")
        return model(rgb, depth)

    with pytest.raises(RuntimeError, match="^once$"):
        extract(model, ToyData(8), out=tmp_path / "f", adapt=adapt, batch_size=4, progress=False, device="cpu")


def test_an_error_of_the_callers_own_is_not_blamed_on_an_argument():
    def statistic(rows, partner):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        ri.stats.estimate(statistic, np.arange(40), ri.stats.Resampling(20, 20, 0))


@pytest.mark.parametrize("question", ["consistency", "specificity", "evolution", "collaboration"])
def test_names_are_no_formulas_in_figures(question):
    found = getattr(_results, question)()
    for column in ("concept", "family", "fusion", "modality", "label"):
        held = list(found.table[column].dropna().unique())
        names = dict(zip(held[::-1], NAMES, strict=False))  # as many as there are
        table = found.table.assign(**{column: found.table[column].replace(names)})
        ax = ri.plot(Result(question, table, found.missing, found.made))
        ax.figure.savefig(io.BytesIO(), format="png", dpi=20)
        plt.close("all")


def test_names_are_no_formulas_where_seaborn_draws():
    row = {"measure": "class IoU", "condition": "both", "value": 0.9}
    rows = [row | {"fusion": name, "concept": name} for name in NAMES]
    ax = plots.class_iou(pd.DataFrame(rows))
    ax.figure.savefig(io.BytesIO(), format="png", dpi=20)
    plt.close("all")


def test_a_dollar_is_drawn_as_it_is_written():
    row = {"measure": "family", "modality": "rgb", "level": 1, "value": 0.5, "low": 0.4, "high": 0.6, "fusion": "sum"}
    ax = ri.plot(Result.of("evolution", [row | {"family": "$x$"}], made={}))
    title = ax.child_axes[0].title
    assert title.get_text() == "$x$" and not title.get_parse_math()
    plt.close("all")


def test_an_answer_shows_any_name_and_none():
    assert "<b>consistency</b>" in Result("consistency", pd.DataFrame())._repr_html_()
    assert "<b>consistency</b>" in Result.of("consistency", [], made={})._repr_html_()
    rows = [{"measure": "cka", "concept": "<script>", "value": 1.0}]
    missing = [Missing("<script>", "<i>", "call")]
    page = Result.of("consistency", rows, missing=missing, made={"warnings": ("<u>",)})._repr_html_()
    assert not any(tag in page for tag in ("<script>", "<i>", "<u>"))


@pytest.fixture
def features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(WHERE, "1")  # what no check foresaw fails a test
    written(tmp_path / "f")
    return tmp_path / "f"


def _is_one_line(capsys, path: Path) -> None:
    capsys.readouterr()
    assert main(["audit", str(path.parent)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and path.name in err, err
    with pytest.raises(FeaturesError, match=path.name):
        load(path.parent)


@pytest.mark.parametrize("name", ["manifest.json", "execution.json", "SHA256SUMS"])
def test_what_is_no_ordinary_file_is_named(features, capsys, name):
    (features / name).unlink()
    os.mkfifo(features / name)  # nobody ever writes into it
    _is_one_line(capsys, features / name)


def test_a_device_is_no_file(features, capsys):
    (features / "manifest.json").unlink()
    (features / "manifest.json").symlink_to("/dev/zero")
    _is_one_line(capsys, features / "manifest.json")


def test_json_that_is_nested_without_end_is_named(features, capsys):
    (features / "manifest.json").write_text("[" * 10**5)
    _is_one_line(capsys, features / "manifest.json")


@pytest.mark.parametrize("table", ["many rows", "wide values", "lists"])
def test_a_table_that_fills_the_memory_is_not_read(features, table, monkeypatch):
    held = {
        "many rows": {"id": np.zeros(2**25, np.int8)},
        "wide values": {"id": ["x" * 2**21] * 10},
        "lists": {"id": [[0] * 10**5] * 10},
    }
    path = features / "samples.parquet"
    pd.DataFrame(held[table]).to_parquet(path, compression="zstd")
    sums = [f"{digest(path)}  {path.name}\n" for path in sorted(features.iterdir()) if path.name != "SHA256SUMS"]
    (features / "SHA256SUMS").write_text("".join(sums))  # as whoever means harm would
    monkeypatch.setattr(pq.ParquetFile, "read", lambda *_, **__: pytest.fail("it was read"))
    with pytest.raises(FeaturesError, match=r"samples\.parquet cannot be read"):
        load(features)


def test_a_table_of_more_values_than_any_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "bomb.parquet"
    pd.DataFrame({"x": np.zeros(2**12, np.int8)}).to_parquet(path)
    assert len(read_parquet(path)) == 2**12
    monkeypatch.setattr(files, "VALUES", 2**11)
    with pytest.raises(FeaturesError, match=r"bomb\.parquet.*4,096 values"):
        read_parquet(path)


def test_a_table_that_fills_the_memory_is_named(features):
    path = next(features.glob("*.parquet"))
    pd.DataFrame({"x": np.zeros(2**25, np.int8)}).to_parquet(path)  # a few kilobytes of file
    assert path.stat().st_size < 10**6
    with pytest.raises(FeaturesError, match=path.name):
        load(features)
