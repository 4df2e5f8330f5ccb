"""What is said where a public function cannot use what it was given: which argument it was, and what it must be."""

from __future__ import annotations

import dis
import functools
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, get_args

import numpy as np

from rgbd_insight.utils.values import as_array, beyond, fits, has_shape, oddities, shown, unreal

PACKAGE = Path(__file__).parents[1]
LIBRARIES = (str(PACKAGE), *{sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")}, "<")
COMPILED = (".pyx", ".pxi", ".pyi")
HEARD = ("over", "invalid", "divide")
RAISE = dis.opmap["RAISE_VARARGS"]


def explain_arguments(namespace: MutableMapping[str, Any]) -> None:
    """Let the public functions and classes of a package name the argument that they cannot use.

    Parameters
    ----------
    namespace : mapping of str to object
        The package's ``globals()``; what its ``__all__`` lists and it has defined itself is replaced.

    Notes
    -----
    What a function can say best of its arguments, such as which range they must be in, it checks itself. This is for
    all else that people pass: an argument is looked at *after* another's error (of Python, NumPy, pandas or PyTorch)
    came out of a call, or a value that is no number did, and is judged by its annotation and by what the documentation
    says of its shape. So a good call costs some microseconds, and nothing is refused that could be used. Where no
    argument is found wrong, the error is passed on as it is.

    Examples
    --------
    >>> def half(x: float) -> float:
    ...     return x / 2
    >>> space = {"__name__": __name__, "__all__": ["half"], "half": half}
    >>> explain_arguments(space)
    >>> space["half"](1.0)
    0.5
    >>> space["half"]("1")
    Traceback (most recent call last):
    ValueError: `x` must be float; got '1'
    """
    root = __name__.partition(".")[0]
    for name in namespace["__all__"]:
        value = namespace[name]
        if inspect.isclass(value) and value.__module__.startswith(root):
            if inspect.isfunction(value.__init__) and not issubclass(value, Exception):
                checked = hasattr(value, "__post_init__")  # others are records of what we found ourselves
                value.__init__ = _explaining(_Function(value.__init__, value.__doc__), checked=checked)
        elif inspect.isfunction(value) and value.__module__.startswith(root):
            namespace[name] = _explaining(_Function(value, value.__doc__))
            namespace[name].__module__ = namespace["__name__"]  # where pickle finds it


def _explaining(about: _Function, *, checked: bool = False) -> Callable:
    function, name = about.function, about.function.__name__

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        met: list[str] = []
        about.refuse(about.without_end(args, kwargs) or (about.later and about.of_another_kind(args, kwargs)))
        try:
            heard = {kind: "call" for kind, how in np.geterr().items() if kind in HEARD and how != "ignore"}
            with np.errstate(**heard, call=lambda kind, _: met.append(kind)):  # a caller who expects it says so
                result = function(*args, **kwargs)
        except Exception as error:
            said = None if _is_ours(error) else about.culprit(args, kwargs, error)
            if said is None:
                raise
            raise ValueError(said) from error
        if checked:
            about.refuse(about.not_whole(args, kwargs))
        if met or (about.finite and unreal(result)):
            about.refuse(about.not_finite(args, kwargs))
            for kind in dict.fromkeys(met):  # as NumPy would have
                warnings.warn(f"{kind} encountered in {name}", RuntimeWarning, stacklevel=2)
        return result

    return call


def _is_ours(error: Exception) -> bool:
    """Whether an error says by itself what is wrong: it was not met by accident."""
    if isinstance(error, OSError) or type(error).__name__ == "OutOfMemoryError":
        return True  # the system's, which names the file or what there was too little of
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
        file = trace.tb_frame.f_code.co_filename
        if not (file.startswith(LIBRARIES) or file.endswith(COMPILED)):
            return True  # of a network, a dataset or a statistic of the caller's own
    code = trace.tb_frame.f_code
    return code.co_code[trace.tb_lasti] == RAISE and Path(code.co_filename).is_relative_to(PACKAGE)


class _Function:
    """A public function, and what its annotations and its documentation say of arguments and answers."""

    def __init__(self, function: Callable, text: str | None) -> None:
        self.function, self.text = function, text or ""
        self.finite = "NaN" not in self.text and "infin" not in self.text
        self.real = "complex" not in self.text
        self.later = inspect.isgeneratorfunction(inspect.unwrap(function))  # what is wrong would be met after the call

    @staticmethod
    def refuse(said: str | None | bool) -> None:
        """An error, where there is something to say."""
        if said:
            raise ValueError(said)

    def given(self, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name; none where Python's own words name what is wrong with them."""
        try:
            bound = inspect.signature(self.function).bind(*args, **kwargs)
        except TypeError:
            return {}
        return {name: value for name, value in bound.arguments.items() if name != "self"}

    def without_end(self, args: tuple, kwargs: Mapping[str, Any]) -> str | None:
        """What a call would never end with, or would lose a half of each number of."""
        if any(beyond(value, self.real) for value in (*args, *kwargs.values())):
            for name, value in self.given(args, kwargs).items():
                if name != "seed" and (must := beyond(value, self.real)):
                    return f"`{name}` must be {must}; got {shown(value)}"
        return None

    def not_finite(self, args: tuple, kwargs: Mapping[str, Any]) -> str | None:
        """What is infinite, or so large that its square is."""
        for name, value in self.given(args, kwargs).items():
            for found in oddities(value, None):
                if "finite" in found:
                    return f"`{name}` must {found}"
        return None

    def not_whole(self, args: tuple, kwargs: Mapping[str, Any]) -> str | None:
        """What is no number; infinity may be meant where the documentation says so, but never of a whole one."""
        given = self.given(args, kwargs)
        numbers = {name: value for name, value in given.items() if isinstance(value, float | tuple) and unreal(value)}
        said = self._of_another_kind(numbers)
        return self.not_finite(args, kwargs) if not said and numbers and self.finite else said

    def of_another_kind(self, args: tuple, kwargs: Mapping[str, Any]) -> str | None:
        """The argument that is not of the kind that it is annotated with."""
        return self._of_another_kind(self.given(args, kwargs))

    def _of_another_kind(self, given: Mapping[str, Any]) -> str | None:
        parameters = inspect.signature(self.function).parameters
        for name, value in given.items():
            hint = self._hint(name)
            if parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:  # these are looked at one by one
                hint = tuple[hint, ...]
            elif parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                hint = dict[str, hint]
            if not fits(value, hint):
                return f"`{name}` must be {self._documented(name) or _spoken(hint)}; got {shown(value)}"
        return None

    def culprit(self, args: tuple, kwargs: Mapping[str, Any], error: Exception) -> str | None:
        """What is wrong with the argument that another's error came of; None where none looks so."""
        given = self.given(args, kwargs)
        if said := self._of_another_kind(given):
            return said
        for name, value in given.items():
            if isinstance(error, AttributeError) and error.obj is value and value is not self.function:
                return f"`{name}` must be {self._documented(name) or 'another object'}; got {shown(value)}"
        for name, value in given.items():
            for found in oddities(value, error):
                return f"`{name}` must {found}"
        for name, value in given.items():
            if not has_shape(value, self._documented(name)):
                return f"`{name}` must be {self._documented(name)}; got shape {np.shape(value)}"
        other = re.search(r"unexpected keyword argument '(.+)'", str(error))
        if other and other[1] in kwargs and other[1] not in inspect.signature(self.function).parameters:
            name = self.function.__name__
            return f"`{other[1]}` must not be given: {name} has no such option; see its documentation"
        nothing = next((name for name, value in given.items() if type(value) in (int, float) and not value), None)
        return _lengths(given) or (f"`{nothing}` must be in its range; got 0" if nothing else None)

    def _hint(self, name: str) -> Any:
        function = inspect.unwrap(self.function)
        hint = function.__annotations__.get(name, Any)
        torch = sys.modules.get("torch")  # some modules import it for type checkers only
        known = {"Tensor": torch.Tensor, "nn": torch.nn} if torch is not None else {}
        with suppress(Exception):  # another such name
            return eval(hint, known | function.__globals__) if isinstance(hint, str) else hint
        return Any

    def _documented(self, name: str) -> str:
        """What the docstring says that a parameter is."""
        found = re.search(rf"^\s*(?:\w+, )*\*{{0,2}}{name}(?:, \w+)* : (.+)$", self.text, re.M)
        return found[1].removesuffix(", optional") if found else ""


def _spoken(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")


def _lengths(given: Mapping[str, Any]) -> str | None:
    """Arrays whose rows cannot be those of one set of samples."""
    arrays = {name: array for name, value in given.items() if (array := as_array(value)) is not None}
    (first, shape), *others = [(name, np.shape(array)) for name, array in arrays.items()] or [("", ())]
    for name, other in others:
        if other[:1] != shape[:1]:
            return f"`{name}` must have as many rows as `{first}`; got shapes {other} and {shape}"
    return None
