"""The table that a figure was drawn from stays with it: a notebook keeps it beside the picture, as CSV."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, wraps
from inspect import signature
from typing import ParamSpec

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rgbd_insight.result import Result

P = ParamSpec("P")
HELD = "_tables"  # of a figure: what its axes were drawn from, in the order in which they were drawn


def keeps_table(draw: Callable[P, Axes], *, measures: Sequence[str] = ()) -> Callable[P, Axes]:
    """Of a function of a figure: the table that it is given stays with the figure.

    Where the function has a `measure`, or draws `measures` only, the rows of these stay; columns without any entry are
    left out.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> @keeps_table
    ... def line(table, ax=None):
    ...     return plt.figure().subplots()
    >>> table_of(line(pd.DataFrame({"level": [1, 2], "value": [0.5, 0.25], "low": [None, None]})).figure)
       level  value
    0      1   0.50
    1      2   0.25
    """
    parameters = signature(draw)

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> Axes:
        ax = draw(*args, **kwargs)
        given = parameters.bind(*args, **kwargs)
        given.apply_defaults()
        first, wanted = next(iter(given.arguments.values())), measures or (given.arguments.get("measure"),)
        return keep(ax, *(_rows(table, wanted) for table in _tables(first)))

    return drawn


def keep(ax: Axes, *tables: pd.DataFrame) -> Axes:
    """The same axes, whose figure keeps `tables`: of a function that draws a summary of what it is given.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> ax = keep(plt.figure().subplots(), pd.DataFrame({"level": [1]}), pd.DataFrame({"level": [2]}))
    >>> list(table_of(ax.figure)["level"])
    [1, 2]
    """
    figure = ax.figure.figure  # the whole, where the axes are in a part of it
    if not hasattr(figure, HELD):
        setattr(figure, HELD, [])
        figure._repr_mimebundle_ = partial(_beside_the_picture, figure)
    getattr(figure, HELD).extend(tables)
    return ax


def table_of(figure: Figure) -> pd.DataFrame:
    """The table that a figure of this package was drawn from, each row once; empty where it was drawn from no table.

    Parameters
    ----------
    figure : Figure
        For example ``ri.plot(result).figure``.

    Returns
    -------
    DataFrame
        The rows of everything that its axes show; columns as in the results that they are of.

    Examples
    --------
    >>> import rgbd_insight as ri
    >>> rows = [{"measure": "cka", "fusion": "sum", "level": level, "value": 0.5} for level in (1, 2)]
    >>> len(table_of(ri.plot(ri.Result.of("consistency", rows, made={})).figure))
    2
    """
    tables = [t for t in getattr(figure, HELD, []) if len(t)]
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    return table.loc[~table.astype(str).duplicated()].reset_index(drop=True)


def _beside_the_picture(figure: Figure, include: object = None, exclude: object = None) -> dict[str, str]:
    """What IPython, which asks every object that it shows, adds to the picture."""
    return {"text/csv": table_of(figure).to_csv(index=False)}


def _tables(given: object) -> Iterable[pd.DataFrame]:
    """Every table in what a figure is given: one, a result's, or several of either, by name or in a row."""
    if isinstance(given, pd.DataFrame):
        yield given
    elif isinstance(given, Result):
        yield given.table
    elif isinstance(given, Mapping):
        for name, part in given.items():
            yield from (table.assign(panel=name) for table in _tables(part))
    elif isinstance(given, list | tuple):
        for part in given:
            yield from _tables(part)


def _rows(table: pd.DataFrame, measures: Sequence[str | None]) -> pd.DataFrame:
    """The rows of some measures, where the table has them; without columns that are empty, or of packed bits."""
    if "measure" in table and (drawn := table["measure"].isin(measures)).any():
        table = table.loc[drawn]
    packed = [name for name in table if any(isinstance(cell, bytes) for cell in table[name])]
    return table.drop(columns=packed).dropna(axis="columns", how="all")
