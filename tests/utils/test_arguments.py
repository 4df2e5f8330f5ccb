"""What is said of an argument that cannot be used, and that nothing is said of one that can."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import ArrayLike

from rgbd_insight.utils import arguments
from rgbd_insight.utils.messages import checked_path
from rgbd_insight.utils.values import as_array, beyond, fits, has_shape, oddities, unreal


@pytest.mark.parametrize(
    ("hint", "right", "wrong"),
    [
        (int, [1, np.int64(3)], [True, 1.0, "1", None]),
        (float, [1, 1.5, np.float32(2)], [True, "1", None, [1.0]]),
        (bool, [True, np.bool_(False)], [1, "yes"]),
        (str | None, ["a", None], [b"a", 3]),
        (Sequence[str], [["a"], ("a", "b")], ["ab", 3, [1]]),
        (Mapping[str, int], [{"a": 1}], [{"a": "b"}, {1: 1}, []]),
        (Literal["a", "b"], ["a"], ["c", 3]),
        (tuple[int, int], [(1, 2), [1, 2]], [(1,), (1, "b")]),
        (ArrayLike, [[1, 2], 3.0, np.ones(2), torch.ones(2), [[True]]], ["ab", None, {}, [[1], [1, 2]], object()]),
        (ArrayLike | Sequence[ArrayLike], [[1, 2], [np.ones(2), np.ones(3)]], ["ab", [[1], [[1], [1, 2]]], object()]),
        (np.ndarray, [np.ones(2)], [3.0, "ab"]),
        (Any, [object()], []),
    ],
)
def test_annotations_say_what_fits(hint, right, wrong):
    assert all(fits(value, hint) for value in right)
    assert not any(fits(value, hint) for value in wrong)


@pytest.mark.parametrize(
    ("value", "documented", "is_it"),
    [
        (np.ones((3, 2)), "array (N, U)", True),
        (np.ones(3), "array (N, U)", False),
        (np.ones((2, 5)), "array of float (2, 2, 2, U)", False),
        (np.ones((2, 2, 2, 5)), "array of float (2, 2, 2, U)", True),
        ([1, 2, 3], "sequence of int (2,)", False),
        (torch.ones(4, 3), "Tensor or sequence of float (3,) or (B, 3), optional", True),
        (3.0, "array (D, …)", False),
        (np.ones((4, 2, 2)), "array (D, …)", True),
        (np.ones(3), "array, as `estimate` has it", True),
        ("ab", "array (N, U)", True),  # of another kind, which is said first
    ],
)
def test_the_documentation_says_which_shape(value, documented, is_it):
    assert has_shape(value, documented) is is_it


def test_tensors_of_every_kind_are_looked_into():
    assert as_array(torch.ones(2, dtype=torch.bfloat16)).tolist() == [1, 1]
    assert as_array(torch.ones(2, requires_grad=True)).tolist() == [1, 1]
    assert as_array(torch.ones(2, dtype=torch.complex64)).dtype.kind == "c"
    assert unreal(torch.tensor([1.0, torch.nan])) and not unreal(torch.tensor([1, 2]))
    assert "real numbers" in beyond({"a": np.ones(2) * 1j}, True) and beyond({"epochs": 10**20}, True) == ""


@pytest.mark.parametrize("name", ["a\0b", "caf\udce9", ""])
def test_names_that_no_file_can_have(name):
    assert "can be used" in next(oddities(name, ValueError()))
    assert "can be used" in next(oddities([name], ValueError()))
    assert list(oddities("café", ValueError())) == []


@pytest.fixture(autouse=True)
def ours(monkeypatch):
    """Functions of this file are the package's: an error in a caller's own code is passed on."""
    monkeypatch.setattr(arguments, "LIBRARIES", (*arguments.LIBRARIES, __file__))


def explained(function):
    space = {"__name__": arguments.__name__, "__all__": ["function"], "function": function}
    function.__module__ = arguments.__name__
    arguments.explain_arguments(space)
    return space["function"]


def test_an_error_names_the_argument_that_it_came_of():
    @explained
    def function(x: ArrayLike, table: pd.DataFrame, size: int = 1) -> float:
        """Something.

        Parameters
        ----------
        x : array (N, U)
            Numbers.
        """
        return float(np.asarray(x)[:, 0].sum() + table["value"].sum()) / size

    good = pd.DataFrame({"value": [1.0]})
    assert function(np.ones((2, 2)), good) == 3
    for given, words in _cases(good):
        with pytest.raises(ValueError, match=words):
            function(*given)


def _cases(good: pd.DataFrame) -> Iterator[tuple[tuple, str]]:
    two = np.ones((2, 2))
    yield ("a", good), r"`x` must be array \(N, U\); got 'a'"
    yield (np.ones(3), good), r"`x` must be array \(N, U\); got shape \(3,\)"
    yield (two, pd.DataFrame({"other": [1]})), "`table` must have the column 'value'; it has other"
    yield (two, good, 0), "`size` must be in its range; got 0"
    yield (two, good.assign(value="a")), "`table` must hold numbers in its column 'value'; got 'a'"
    yield (two * np.inf, good.assign(value=-np.inf)), "`x` must be finite"
    yield (two, good, 10**12), "`size` must be a number below"


def test_what_is_found_by_nobody_is_passed_on():
    @explained
    def function(x: int) -> int:
        return {}[x]

    with pytest.raises(KeyError):
        function(3)


def test_a_caller_who_expects_what_is_undefined_is_not_told():
    @explained
    def function(x: np.ndarray) -> np.ndarray:
        """NaN where there is none."""
        return x / x

    with pytest.warns(RuntimeWarning, match="invalid value encountered in function"):
        function(np.zeros(2))
    with np.errstate(invalid="ignore"):
        assert np.isnan(function(np.zeros(2))).all()


def test_neither_torch_nor_pandas_is_imported_for_it():
    code = "import sys, rgbd_insight.utils.arguments; sys.exit(bool({'torch', 'pandas'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("wrong", ["", 3, None, ["a"]])
def test_a_path_is_no_other_thing(wrong):
    assert str(checked_path("work", "a")) == "a"
    with pytest.raises(ValueError, match="`work` must be a path"):
        checked_path("work", wrong)
