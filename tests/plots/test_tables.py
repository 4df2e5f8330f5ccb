"""A figure keeps the table that it was drawn from, and a notebook is given it beside the picture."""

import io

import matplotlib.pyplot as plt
import pandas as pd
from figure_tables import tables
from IPython.core.formatters import DisplayFormatter

from rgbd_insight import Result, plots
from rgbd_insight.plots.tables import keeps_table

ROWS = [
    {"measure": measure, "fusion": "sum", "level": level, "value": value, "low": value - 0.1, "high": value + 0.1}
    for measure, value in (("cka", 0.5), ("matching", 0.25))
    for level in (1, 2)
]


def result():
    return Result.of("consistency", ROWS, made={})


def test_the_rows_of_the_measure_that_is_drawn_stay_with_the_figure():
    table = plots.table_of(plots.similarity(result(), measure="matching").figure)
    assert list(table["value"]) == [0.25, 0.25] and set(table["measure"]) == {"matching"}
    assert "ceiling" not in table  # a column without entries
    assert len(plots.table_of(plt.figure())) == 0


def test_two_figures_in_one_are_one_table_without_repeats():
    left, right = plt.figure().subplots(1, 2)
    for ax in (left, right):
        plots.similarity(result(), measure="cka", ax=ax)
    plots.similarity(result(), measure="matching", ax=right)
    assert list(plots.table_of(left.figure)["measure"]) == ["cka", "cka", "matching", "matching"]


def test_tables_by_name_say_which_they_are_of():
    @keeps_table
    def drawn(found, ax=None):
        return plt.figure().subplots()

    table = plots.table_of(drawn({"scenes": pd.DataFrame(ROWS), "photographs": result()}).figure)
    assert list(table.groupby("panel").size()) == [4, 4]


def test_a_notebook_holds_the_table_beside_the_picture():
    figure = plots.similarity(result(), measure="cka").figure
    bundle, _ = DisplayFormatter().format(figure)
    read = pd.read_csv(io.StringIO(bundle["text/csv"]))
    assert list(read["value"]) == [0.5, 0.5] and "text/plain" in bundle
    cell = {"metadata": {"mystnb": {"figure": {"name": "fig-a"}}}, "outputs": [{"data": bundle}]}
    assert tables({"cells": [cell, {"metadata": {}, "source": "text"}]}) == {"fig-a": bundle["text/csv"]}


def test_packed_bits_stay_out_of_a_table():
    @keeps_table
    def drawn(table, ax=None):
        return plt.figure().subplots()

    table = plots.table_of(drawn(pd.DataFrame({"unit": [1, 2], "mask": [b"\xff\x00", b"\x00"]})).figure)
    assert list(table.columns) == ["unit"] and len(table) == 2


def test_the_partitioning_keeps_both_of_its_tables():
    def of(question, measure):
        row = {"measure": measure, "modality": "rgb", "level": 1, "value": 0.25}
        return Result.of(question, [row | {"label": part} for part in ("named", "unnamed", "all")], made={})

    ax = plots.partitioning(of("consistency", "consistent share"), of("specificity", "specific share"), "rgb")
    assert set(plots.table_of(ax.figure)["measure"]) == {"consistent share", "specific share"}
